"""Shaped rewards, and those of several cameras, where learners find them: in replay and in PPO's rollout."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from every_algorithm import CountingStateReward, counting_config, judge, train
from vlm_rewards.collection.shaping import PotentialShaping, shaped
from vlm_rewards.errors import LabellerError
from vlm_rewards.files import read_state
from vlm_rewards.rewards.combined import CameraReward
from vlm_rewards.tasks.task import Task, register_task
from vlm_rewards.testing.counting import CountingEnv, counting_label, counting_task
from vlm_rewards.testing.fakes import state_differences

GAMMA = 0.75  # of no algorithm here: whoever used the learner's would be found out


def shaping(fails_at: int = -1, base: str = "environment") -> PotentialShaping:
    potential = CountingStateReward(fails_at)
    if base == "environment":
        return PotentialShaping(potential, gamma=GAMMA)
    return PotentialShaping(potential, gamma=GAMMA, base=CountingStateReward())


def expected(observations: np.ndarray, next_observations: np.ndarray, terminated: Any, base: str) -> np.ndarray:
    """One transition at a time: the environment's own reward is the count."""
    after = counting_label(next_observations)
    own = next_observations[..., 1] * 4096 if base == "environment" else after
    return shaped(own, counting_label(observations), after, terminated, GAMMA)


@pytest.mark.parametrize(
    ("case", "n_envs", "n_workers", "chunk_frames", "base"),
    [
        pytest.param("dqn", 1, 1, 256, "environment", marks=pytest.mark.slow),
        ("dqn", 3, 2, 7, "environment"),
        ("dqn, 3 steps", 2, 1, 5, "pictures"),
        pytest.param("qrdqn", 3, 1, 1, "pictures", marks=pytest.mark.slow),
    ],
)
def test_every_row_of_replay_is_shaped_also_after_resuming(
    case: str, n_envs: int, n_workers: int, chunk_frames: int, base: str, tmp_path: Path
) -> None:
    config = counting_config(case, n_envs=n_envs, n_workers=n_workers, chunk_frames=chunk_frames)
    whole = train(config, tmp_path / "whole", shaping(base=base), judge).run
    with pytest.raises(LabellerError, match="power cut"):
        train(config, tmp_path / "cut", shaping(12, base), judge, checkpoint_seconds=0)
    resumed = train(config, tmp_path / "cut", shaping(base=base), judge, resume=True).run
    state = read_state(resumed.state)
    assert state_differences(state, read_state(whole.state)) == []
    rows = state["replay"]["rows"]
    terminated = (rows["dones"] > 0) & (rows["timeouts"] == 0)
    assert terminated.any()
    assert (rows["timeouts"] > 0).any()
    wanted = expected(rows["observations"], rows["next_observations"], terminated, base)
    np.testing.assert_array_equal(rows["rewards"], wanted)


def test_ppo_learns_from_shaped_rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_task(counting_task("counting-shaped", ending="terminate", horizon=20), replace=True)
    learn, ends = PPO.train, []

    def checking(self: PPO) -> None:
        buffer = self.rollout_buffer
        after = buffer.observations.copy()
        after[..., 1] += 1 / 4096
        follows = np.concatenate([buffer.episode_starts[1:], np.asarray(self._last_episode_starts)[None]])
        wanted = expected(buffer.observations, after, follows > 0, "environment")
        np.testing.assert_allclose(buffer.rewards, wanted, atol=1e-6)
        ends.append(follows.sum())
        learn(self)

    monkeypatch.setattr(PPO, "train", checking)
    train(counting_config("ppo, discrete", task="counting-shaped"), tmp_path / "run", shaping(), judge)
    assert len(ends) == 6
    assert sum(ends) > 0


class TwoViews(gym.Wrapper[Any, Any, Any, Any]):
    """The second view shows the number in the same colour, at another shape."""

    def render(self) -> Any:
        picture = np.asarray(self.env.render())
        return np.stack([picture, picture[::-1]])


def two_views(image_size: int) -> gym.Env[Any, Any]:
    return TwoViews(CountingEnv(image_size))


@pytest.mark.parametrize("rule", ["mean", pytest.param("min", marks=pytest.mark.slow)])
def test_rewards_of_several_cameras_find_their_rows(rule: Any, tmp_path: Path) -> None:
    task = Task(
        name="counting-views", goal="a", baseline="b", simulator=functools.partial(two_views), horizon=8, cameras=2
    )
    register_task(task, replace=True)
    reward = CameraReward(CountingStateReward(), cameras=2, rule=rule)
    config = counting_config("dqn", task="counting-views", n_envs=3, n_workers=2, chunk_frames=7)
    rows = read_state(train(config, tmp_path / "run", reward, judge).run.state)["replay"]["rows"]
    np.testing.assert_array_equal(rows["rewards"], counting_label(rows["next_observations"]))
