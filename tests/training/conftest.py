"""A task that needs no model, and settings that finish in a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vlm_rewards.envs import register_task, tasks
from vlm_rewards.rewards import VLMReward
from vlm_rewards.testing import FakeEncoder, counting_task, point_task
from vlm_rewards.training import DQNConfig, SACConfig, TrainConfig

ALGORITHMS: dict[str, dict[str, Any]] = {
    "dqn": {"target_update_interval": 8},
    "sac": {"ent_coef": "auto"},
}


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_REGISTRY", dict(tasks._REGISTRY))
    for actions, suffix in (("discrete", "dqn"), ("box", "sac")):
        register_task(point_task(f"point-{suffix}", actions=actions))
        register_task(counting_task(f"counting-{suffix}", actions=actions))


@pytest.fixture
def make_config() -> Callable[..., TrainConfig]:
    """Settings of a tiny run; algorithm settings go into ``algorithm_settings``."""

    def make(algorithm: str = "dqn", algorithm_settings: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
        small: dict[str, Any] = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 4}
        small |= {"gradient_steps": 2, "net_arch": (8,)} | ALGORITHMS[algorithm] | (algorithm_settings or {})
        settings: dict[str, Any] = {
            "task": f"point-{algorithm}",
            "preset": "cpu",
            "algorithm": {"dqn": DQNConfig, "sac": SACConfig}[algorithm](**small),
            "goal": "a white wall",
            "baseline": "a wall",
            "steps": 96,
            "n_envs": 2,
            "snapshots": 3,
            "selection_episodes": 2,
            "chunk_frames": 5,
            "standardise": 10,
            "device": "cpu",
            "n_workers": 1,
        }
        return TrainConfig(**(settings | changes))

    return make


@pytest.fixture
def reward() -> VLMReward:
    """Means nothing, but is one."""
    return VLMReward(FakeEncoder(image_size=32), goal="a white wall", baseline="a wall")
