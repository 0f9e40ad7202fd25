"""The humanoid goes on whatever happens, is Gymnasium's in all but its look, and looks as it is asked to."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch._dynamo  # noqa: F401 - before anything is drawn in this process

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.builtin import GOALS, config_of, configured, humanoid_task
from vlm_rewards.tasks.humanoid.model import HumanoidConfig, build_humanoid
from vlm_rewards.tasks.rendering import draw
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.point import point_task

DIGEST = """
import hashlib
import numpy as np
from vlm_rewards.tasks.humanoid.model import build_humanoid
env = build_humanoid(96)
env.reset(seed=1)
print(hashlib.sha256(np.ascontiguousarray(env.render()).tobytes()).hexdigest())
"""


def course(env: gym.Env[Any, Any], steps: int) -> list[Any]:
    found = [env.reset(seed=2)[0]]
    env.action_space.seed(2)
    for _ in range(steps):
        found += env.step(env.action_space.sample())[:4]
    env.close()
    return found


def picture(moved: float = 0.0, size: int = 96, **settings: Any) -> np.ndarray:
    env: Any = build_humanoid(size, HumanoidConfig(**settings))
    env.reset(seed=1)
    place = env.data.qpos.copy()
    place[:2] = 0.0, moved  # along y: sideways for the fixed camera
    env.set_state(place, np.zeros(23))
    frame = np.array(draw(env))
    env.close()
    return frame


def robot(frame: np.ndarray) -> np.ndarray:
    """Where the frame is orange: head, hands and feet."""
    red, green, blue = np.moveaxis(frame.astype(int), -1, 0)
    return np.argwhere((red - blue > 90) & (red > green + 30))


def test_it_never_terminates() -> None:
    env = build_humanoid(32)
    ends = course(env, 150)[3::4]
    assert len(ends) == 150
    assert not any(ends)
    assert env.unwrapped.data.qpos[2] < 1.0  # it has fallen, where Gymnasium's own ends the episode


@pytest.mark.parametrize(("observations", "count"), [("full", 348), ("compact", 45)])
def test_observations(observations: Any, count: int) -> None:
    env = build_humanoid(32, HumanoidConfig(observations=observations))
    assert env.observation_space.shape == env.reset(seed=0)[0].shape == (count,)
    env.close()


def test_physics_is_gymnasiums_bit_for_bit() -> None:
    theirs = course(gym.make("Humanoid-v5", terminate_when_unhealthy=False).unwrapped, 100)
    for settings in ({"textures": "realistic"}, {"textures": "original", "camera": "original", "full_drawing": True}):
        ours = course(build_humanoid(32, HumanoidConfig(**settings)), 100)
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_compact_observations_are_the_first_of_the_full_ones() -> None:
    full, compact = (course(build_humanoid(32, HumanoidConfig(observations=kind)), 5) for kind in ("full", "compact"))
    pairs = zip([full[0], *full[1::4]], [compact[0], *compact[1::4]], strict=True)
    assert all(np.array_equal(one[:45], other) for one, other in pairs)


class TestPictures:
    def test_the_original_camera_follows_and_the_fixed_one_does_not(self) -> None:
        here, there = (robot(picture(moved, camera="original")) for moved in (0.0, 3.0))
        assert len(here) > 20
        assert np.abs(here.mean(axis=0) - there.mean(axis=0)).max() < 2
        here, there = (robot(picture(moved)) for moved in (0.0, 3.0))
        assert len(here) > 20
        assert len(there) == 0
        assert np.abs(robot(picture(0.5)).mean(axis=0) - here.mean(axis=0)).max() > 5

    @pytest.mark.slow
    def test_every_setting_is_seen(self) -> None:
        frames = [
            picture(**settings)
            for settings in ({}, {"textures": "original"}, {"camera": "original"}, {"full_drawing": True})
        ]
        for index, one in enumerate(frames):
            assert all(np.abs(one.astype(int) - other).mean() > 1 for other in frames[:index])
        assert np.array_equal(picture(), picture(observations="compact"))

    @pytest.mark.parametrize("size", [32, 96, 224])
    def test_they_have_the_size_that_is_asked_for(self, size: int) -> None:
        assert picture(size=size).shape == (size, size, 3)

    def test_the_same_state_gives_the_same_picture_twice_and_in_another_process(self) -> None:
        env = build_humanoid(96)
        env.reset(seed=1)
        first, second = (np.ascontiguousarray(draw(env)) for _ in range(2))
        assert np.array_equal(first, second)
        env.close()
        told = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, timeout=500, check=True)
        assert told.stdout.strip() == hashlib.sha256(first.tobytes()).hexdigest()


class TestSettings:
    def test_survive_json(self) -> None:
        config = HumanoidConfig("original", "original", "compact", full_drawing=True)
        assert HumanoidConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    def test_unknown_ones_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="settings do not fit this version: unknown 'colour'"):
            HumanoidConfig.from_dict({"colour": 1})

    def test_are_those_of_the_task(self) -> None:
        for name in GOALS:
            assert config_of(get_task(name)) == HumanoidConfig()
        other = HumanoidConfig("original", "original", "compact")
        task = configured(humanoid_task("splits"), other)
        assert config_of(task) == other
        assert (task.camera, task.metadata["humanoid"]) == ("original", other.to_dict())
        assert config_of(point_task()) is None
        with pytest.raises(InvalidInputError, match="humanoid must be left out: the simulator of task 'point'"):
            configured(point_task(), other)
