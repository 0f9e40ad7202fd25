"""Every algorithm that is offered, with settings for tasks of a second, and what a tiny run needs besides."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.task import register_task
from vlm_rewards.testing.counting import counting_reward, counting_task
from vlm_rewards.testing.fakes import FakeEncoder, scored_by
from vlm_rewards.training.algorithms import AlgorithmConfig, get_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.runner import learn

GSDE = {"use_sde": True, "sde_sample_freq": 3}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": ("dqn", "discrete", {"target_update_interval": 8}),
    "dqn, 3 steps": ("dqn", "discrete", {"n_steps": 3, "target_update_interval": 8}),
    "qrdqn": ("qrdqn", "discrete", {"target_update_interval": 8, "n_quantiles": 5}),
    "sac": ("sac", "box", {}),
    "sac, 3 steps": ("sac", "box", {"n_steps": 3, "final_learning_rate": 0.0}),
    "td3": ("td3", "box", {}),
    "ddpg": ("ddpg", "box", {}),
    "tqc": ("tqc", "box", {"n_quantiles": 5}),
    "tqc, gSDE": ("tqc", "box", {"n_quantiles": 5, **GSDE}),
    "crossq": ("crossq", "box", {"critic_arch": (8,)}),
    "sbx-sac": ("sbx-sac", "box", {"final_learning_rate": 0.0}),
    "sbx-crossq": ("sbx-crossq", "box", {"critic_arch": (8,)}),
    "ppo, discrete": ("ppo", "discrete", {}),
    "ppo, continuous": ("ppo", "box", {}),
    "ppo, gSDE": ("ppo", "box", GSDE),
}
"""By what a test is called: algorithm, kind of actions, settings besides those that all have."""

COMMON = ("dqn", "sac", "ppo, continuous")
"""Those that every run of the tests covers; the others are slow together, above all those that JAX compiles."""

_OFF_POLICY = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 4, "gradient_steps": 2}
_ON_POLICY = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}


def with_slow_ones(names: Iterable[str], common: Sequence[str] = COMMON) -> list[Any]:
    """Names of cases as parameters of a test, of which all but the common ones are marked as slow."""
    return [pytest.param(name, marks=() if name in common else pytest.mark.slow) for name in names]


def tiny(case: str) -> AlgorithmConfig:
    """Settings under which almost nothing is computed."""
    name, _, settings = CASES[case]
    common = _ON_POLICY if name == "ppo" else _OFF_POLICY
    return get_algorithm(name).config(**{**common, "net_arch": (8,), **settings})


def counting_config(case: str, **changes: Any) -> TrainConfig:
    """Settings of a tiny run in `counting_task`, which is registered for it where no other task is named."""
    actions: Any = CASES[case][1]
    name = f"counting-{actions}"
    register_task(counting_task(name, actions=actions), replace=True)
    return TrainConfig(**{
        "task": name, "preset": "cpu", "algorithm": tiny(case), "goal": "a large number", "baseline": "a number",
        "steps": 96, "n_envs": 2, "snapshots": 2, "selection_episodes": 2, "chunk_frames": 5, "device": "cpu",
        "n_workers": 1, **changes,
    })  # fmt: skip


class CountingStateReward:
    """`counting_reward` with what a run wants to know of its reward; may fail at the n-th batch, as in a power cut."""

    def __init__(self, fails_at: int = -1) -> None:
        self.encoder = FakeEncoder(image_size=32)
        self.frame_size = 32
        self.left = fails_at

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            power_cut()
        return counting_reward(frames)

    def embed(self, frames: Any) -> np.ndarray:
        return self(frames)[:, None]

    def score(self, embeddings: Any) -> np.ndarray:
        return embeddings[:, 0]

    def describe(self) -> dict[str, Any]:
        return {"formula": "counting"}


class Disturbed(VLMReward):
    """Means nothing, and something happens while the n-th batch of frames is scored."""

    def __init__(self, calls: int, what: Callable[[], Any]) -> None:
        super().__init__(FakeEncoder(image_size=32), goal="a white wall", baseline="a wall")
        self.left, self.what = calls, what

    def __call__(self, frames: Any) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            self.what()
        return super().__call__(frames)


def power_cut() -> None:
    raise ZeroDivisionError("power cut")


def rows(path: Path) -> list[dict[str, str]]:
    """A log of a run, but for what tells of time."""
    times = ("wall_seconds", "steps_per_second")
    with path.open(newline="") as file:
        return [{name: text for name, text in row.items() if name not in times} for row in csv.DictReader(file)]


def train(config: TrainConfig, folder: Path, reward: Any, judge: Callable[..., dict[str, Any]], **options: Any) -> Any:
    """Learn with snapshots that a function scores in place of episodes."""
    with scored_by(judge):
        return learn(config, folder, reward, **options)


def judge(policy: Callable[[np.ndarray], np.ndarray], *, episodes: int, seed: int) -> dict[str, Any]:
    observations = np.linspace(0, 1, 3 * 16, dtype=np.float32).reshape(16, 3)
    value = float(np.asarray(policy(observations), dtype=np.float64).sum())
    return {"vlm_return": value, "vlm_return_std": 0.5, "true_return": -value, "success_rate": 0.5}
