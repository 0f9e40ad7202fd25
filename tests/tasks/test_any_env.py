"""Any Gymnasium environment as a task: how it is found, drawn, and looked at before a run."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch._dynamo  # noqa: F401 - before anything is drawn in this process

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task, termination_warning
from vlm_rewards.tasks.rendering import BAR_COLOUR, FrameRenderer
from vlm_rewards.tasks.task import make_task_env

MODULE = """
import gymnasium as gym
import numpy as np

class Words(gym.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gym.spaces.Dict({"b": gym.spaces.Discrete(3), "a": gym.spaces.Box(0, 1, (2,))})
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"a": np.full(2, 0.25, dtype=np.float32), "b": 2}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}

    def render(self):
        return np.zeros((32, 32, 3), dtype=np.uint8)

if "vlm-rewards-test/Words-v0" not in gym.registry:
    gym.register("vlm-rewards-test/Words-v0", entry_point=Words)
"""


def task_of(env_id: str, **changes: Any) -> Any:
    return environment_task(EnvironmentConfig(env_id, **changes), goal="a goal", baseline="a baseline")


def picture(env_id: str, size: int = 96, steps: int = 5, **changes: Any) -> np.ndarray:
    task = task_of(env_id, **changes)
    env = make_task_env(task, size)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(steps):
        env.step(env.action_space.sample())
    frame = FrameRenderer(env, size, task.cameras).render()
    env.close()
    return np.array(frame)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "worded_envs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "worded_envs:vlm-rewards-test/Words-v0"
    gym.registry.pop("vlm-rewards-test/Words-v0", None)
    sys.modules.pop("worded_envs", None)


def test_a_module_is_imported_first_and_observations_are_flattened(module: str) -> None:
    task = task_of(module, horizon=5)
    assert task.name == "worded_envs-vlm-rewards-test-Words-v0"
    env = make_task_env(task, 32)
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [0.25, 0.25, 0, 0, 1]
    ends = [env.step(0)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]


def test_without_a_limit_of_its_own_a_horizon_is_needed(module: str) -> None:
    with pytest.raises(InvalidInputError, match=r"horizon must be given: .* has no time limit of its own"):
        task_of(module)


def test_episodes_have_the_environments_limit_or_the_given_one() -> None:
    assert task_of("Pendulum-v1").horizon == 200
    assert task_of("Pendulum-v1", horizon=7).horizon == 7
    env = make_task_env(task_of("Pendulum-v1", horizon=7), 32)
    env.reset(seed=0)
    assert [env.step(np.zeros(1))[3] for _ in range(7)] == [False] * 6 + [True]


def test_arguments_reach_the_environment() -> None:
    env = make_task_env(task_of("Pendulum-v1", env_kwargs='{"g": 3.5}'), 32)
    assert env.get_wrapper_attr("g") == 3.5


def test_pictures_that_are_not_square_are_letterboxed() -> None:
    frame = picture("CartPole-v1")
    assert frame.shape == (96, 96, 3)
    assert (frame[:16] == BAR_COLOUR).all()  # 600 x 400: two thirds of the height
    assert (frame[-16:] == BAR_COLOUR).all()
    assert (frame[16:-16] == 255).mean() > 0.5


def test_settings_survive_json() -> None:
    config = EnvironmentConfig("Hopper-v5", 7, '{"frame_skip": 2}', ("track", "0"), full_drawing=True)
    assert EnvironmentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InvalidInputError, match="unknown 'colour'"):
        EnvironmentConfig.from_dict({**config.to_dict(), "colour": 1})
    config = EnvironmentConfig("Hopper-v5", textures="realistic", view=(3.0, 0.0, 0.0, 1.0, 90.0, -10.0))
    assert EnvironmentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_records_from_before_textures_and_views_load() -> None:
    old = {"env_id": "Hopper-v5", "horizon": 7, "env_kwargs": "{}", "cameras": ["track"], "full_drawing": False}
    assert EnvironmentConfig.from_dict(old) == EnvironmentConfig("Hopper-v5", 7, cameras=("track",))


def test_a_run_is_warned_where_episodes_end_early() -> None:
    warning = termination_warning(task_of("CartPole-v1"))
    assert "CartPole-v1 ends episodes by itself (8 of 8 random ones, after " in warning
    length = int(warning.split("after ")[1].split(" steps")[0])
    assert 10 < length < 40  # what random actions are known to reach
    assert termination_warning(task_of("Pendulum-v1", horizon=20)) == ""
    kept = '{"terminate_when_unhealthy": false}'
    assert termination_warning(task_of("Hopper-v5", horizon=20, env_kwargs=kept)) == ""


class TestMuJoCo:
    def test_is_drawn_at_the_size_that_is_asked_for(self) -> None:
        env = make_task_env(task_of("Hopper-v5"), 64)
        env.reset(seed=0)
        assert np.asarray(env.render()).shape == (64, 64, 3)
        env.close()
        env = make_task_env(task_of("Hopper-v5", full_drawing=True), 64)
        env.reset(seed=0)
        assert np.asarray(env.render()).shape == (480, 480, 3)
        env.close()

    def test_cheap_drawing_shows_the_same_scene(self) -> None:
        cheap, full = (picture("HalfCheetah-v5", full_drawing=full).astype(float) for full in (False, True))
        assert not np.array_equal(cheap, full)
        assert np.corrcoef(cheap.mean(axis=2).ravel(), full.mean(axis=2).ravel())[0, 1] > 0.7
        assert np.ptp(cheap) > 100

    def test_cameras_are_put_one_below_another(self) -> None:
        strip = picture("Hopper-v5", cameras=("track", "-1"))
        assert strip.shape == (192, 96, 3)
        for half, camera in ((strip[:96], "track"), (strip[96:], "-1")):
            assert np.array_equal(half, picture("Hopper-v5", cameras=(camera,)))
        assert not np.array_equal(strip[:96], strip[96:])

    def test_textures_change_the_picture_and_nothing_of_the_environment(self) -> None:
        task = task_of("Hopper-v5", textures="realistic", env_kwargs='{"frame_skip": 3}')
        env = make_task_env(task, 96)
        assert env.spec is not None
        assert (env.spec.id, env.spec.kwargs["frame_skip"], task.horizon) == ("Hopper-v5", 3, 1000)
        assert gym.spec("Hopper-v5").entry_point == "gymnasium.envs.mujoco.hopper_v5:HopperEnv"
        env.close()
        original, realistic = (picture("Hopper-v5", textures=kind).astype(int) for kind in ("original", "realistic"))
        assert np.abs(original - realistic).mean() > 20
        assert np.array_equal(realistic, picture("Hopper-v5", textures="realistic"))

    def test_a_view_stands_where_it_is_put(self) -> None:
        view = (3.0, 0, 0, 1, 90, -10)
        near, far = (picture("Hopper-v5", 224, view=(distance, *view[1:])) for distance in (3.0, 6.0))
        # The hopper is orange, as nothing else is. From half the distance it is four times as large, or about that.
        seen = [((one[..., 0].astype(int) - one[..., 2]) > 40).sum() for one in (near, far)]
        assert 3 < seen[0] / seen[1] < 6
        assert task_of("Hopper-v5", view=view).camera == "free, 3 m from (0, 0, 1), azimuth 90, elevation -10"
        # Of this version the constructor takes no camera.
        older = picture("Hopper-v4", 224, view=view, textures="realistic")
        assert np.array_equal(older, picture("Hopper-v5", 224, view=view, textures="realistic"))

    @pytest.mark.slow
    def test_workers_draw_what_this_process_draws(self) -> None:
        task = task_of("Hopper-v5", textures="realistic", view=(3.0, 0, 0, 1, 90, -10))
        env = pickle.loads(pickle.dumps(task.simulator))(64)
        env.reset(seed=0)
        here = np.array(FrameRenderer(env, 64).render())
        env.close()
        venv = RenderedVecEnv(task, 1, image_size=64, n_workers=1, slots=4)
        try:
            venv.env_method("reset", seed=0)
            there = venv.env_method("render")
        finally:
            venv.close()
        assert np.array_equal(here, there[0])

    def test_a_view_excludes_the_environments_own_camera(self) -> None:
        arguments = '{"default_camera_config": {}, "camera_id": 0}'
        with pytest.raises(InvalidInputError, match="env_kwargs must not hold 'camera_id', 'default_camera_config'"):
            EnvironmentConfig("Hopper-v5", env_kwargs=arguments, view=(3.0, 0.0, 0.0, 1.0, 90.0, 0.0))

    @pytest.mark.parametrize("changes", [{"textures": "realistic"}, {"view": (3.0, 0, 0, 1, 90, 0)}])
    def test_textures_and_views_are_for_mujoco(self, changes: dict[str, Any]) -> None:
        with pytest.raises(InvalidInputError, match=f"{next(iter(changes))} must be left out: 'Pendulum-v1' is no MuJ"):
            task_of("Pendulum-v1", **changes)

    @pytest.mark.parametrize(
        ("camera", "message"),
        [
            ("trak", "unknown camera 'trak'. Did you mean 'track'"),
            ("7", r"camera must be a number from -1 \(free\) to 0"),
        ],
    )
    def test_cameras_that_it_does_not_have_are_refused(self, camera: str, message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            task_of("Hopper-v5", cameras=(camera,))


@pytest.mark.slow
def test_simulators_of_one_process_draw_each_in_their_own_context() -> None:
    """Without that, all but the last to be made draw black where their settings differ."""
    alone = [picture("Hopper-v5", size) for size in (64, 96)]
    envs = [make_task_env(task_of("Hopper-v5"), size) for size in (64, 96)]
    renderers = [FrameRenderer(env, size) for env, size in zip(envs, (64, 96), strict=True)]
    for env in envs:
        env.reset(seed=0)
        env.action_space.seed(0)
    for renderer in renderers:
        renderer.render()
    for env in envs:
        for _ in range(5):
            env.step(env.action_space.sample())
    for _ in range(2):
        for renderer, expected in zip(renderers, alone, strict=True):
            assert np.array_equal(renderer.render(), expected)
    for env in envs:
        env.close()
