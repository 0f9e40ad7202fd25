"""The training settings of the paper, to start from and to compare a run's own with."""

from __future__ import annotations

import inspect
from typing import Any

from stable_baselines3 import DQN, SAC

from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.config import TrainConfig

_LIBRARY = {"dqn": DQN, "sac": SAC}
_DEFAULT = object()  # the paper names the library's default
_CARTPOLE = {
    "algorithm": "dqn",
    "steps": 3_000_000,
    "horizon": 200,
    "snapshot_every": 64_000,
    "learning_rate": 2.3e-3,
    "net_arch": (256, 256),
    "learning_starts": 75_000,
    "train_freq": 200,
    "gradient_steps": 200,
    **dict.fromkeys(("gamma", "tau", "batch_size"), _DEFAULT),
}
_MOUNTAIN_CAR = {
    "algorithm": "sac",
    "steps": 3_000_000,
    "horizon": 200,
    "learning_rate": 1e-4,
    "net_arch": (64, 64),
    **dict.fromkeys(("learning_starts", "train_freq", "gradient_steps", "batch_size"), _DEFAULT),
    "gamma": 0.9999,
    "tau": 0.01,
    "ent_coef": "0.1",
}
_HUMANOID = {
    "algorithm": "sac",
    "steps": 10_000_000,
    "horizon": 100,
    "encoder": "ViT-bigG-14/laion2b_s39b_b160k",
    "n_envs": 32,
    "chunk_frames": 3_200,
    "snapshot_every": 128_000,
    "humanoid": HumanoidConfig().to_dict(),
    "learning_rate": 6e-4,
    "net_arch": (256, 256),
    "learning_starts": 50_000,
    "train_freq": 100,
    "gradient_steps": 100,
    "batch_size": 512,  # of the released job file
    "gamma": 0.95,
    "tau": 0.005,
    "ent_coef": "auto",
}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "cartpole": _CARTPOLE,
    "mountaincar": _MOUNTAIN_CAR,
    "mountaincar-textured": _MOUNTAIN_CAR,
    **dict.fromkeys(GOALS, _HUMANOID),
}
PAPER_TASKS = frozenset(_PUBLISHED)
"""Tasks that the paper has settings for."""


def published(task: str) -> dict[str, Any] | None:
    """All that the paper says of a task; where it names the library's default, that is its value."""
    said = _PUBLISHED.get(task)
    if said is None:
        return None
    library = inspect.signature(_LIBRARY[said["algorithm"]].__init__).parameters
    return {name: library[name].default if value is _DEFAULT else value for name, value in said.items()}


def compare_with_paper(config: TrainConfig, horizon: int) -> list[dict[str, Any]]:
    """Hold a run's settings against the paper's table.

    Returns:
        All that the paper says of the task, nothing where it does not have it: ``name``, its value in ``paper`` and
        ``here``, and whether they are the ``same``.
    """
    said = published(config.task)
    if said is None:
        return []
    task, algorithm = get_task(config.task), config.algorithm
    here = {
        "algorithm": config.algorithm_name,
        "horizon": horizon,
        "snapshot_every": config.steps // config.snapshots,
        "humanoid": None if config.humanoid is None else config.humanoid.to_dict(),
    }
    rows: list[dict[str, Any]] = []
    for name, value in {"goal": task.goal, "baseline": task.baseline, **said}.items():
        own = here[name] if name in here else getattr(config, name, getattr(algorithm, name, None))
        rows.append({"name": name, "paper": value, "here": own, "same": value == own})
    return rows
