"""The training settings of the paper, to hold a run's own against."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from stable_baselines3 import DQN, SAC

from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import PAPER_TASKS

_LIBRARY = {"dqn": DQN, "sac": SAC}


class _Default:
    """The paper names the library's default."""


@dataclass(frozen=True)
class _Published:
    """A column of the paper's table of settings; None is what it does not say."""

    algorithm: str
    steps: int
    horizon: int
    learning_rate: float
    net_arch: tuple[int, ...]
    learning_starts: int | type[_Default]
    train_freq: int | type[_Default]
    gradient_steps: int | type[_Default]
    gamma: float | type[_Default]
    tau: float | type[_Default]
    batch_size: int | type[_Default]
    ent_coef: str | None = None
    snapshot_every: int | None = None
    n_envs: int | None = None
    chunk_frames: int | None = None
    encoder: str | None = None


_CARTPOLE = _Published(
    algorithm="dqn",
    steps=3_000_000,
    horizon=200,
    learning_rate=2.3e-3,
    net_arch=(256, 256),
    learning_starts=75_000,
    train_freq=200,
    gradient_steps=200,
    gamma=_Default,
    tau=_Default,
    batch_size=_Default,
    snapshot_every=64_000,
)
_MOUNTAIN_CAR = _Published(
    algorithm="sac",
    steps=3_000_000,
    horizon=200,
    learning_rate=1e-4,
    net_arch=(64, 64),
    learning_starts=_Default,
    train_freq=_Default,
    gradient_steps=_Default,
    gamma=0.9999,
    tau=0.01,
    batch_size=_Default,
    ent_coef="0.1",
)
_HUMANOID = _Published(
    algorithm="sac",
    steps=10_000_000,
    horizon=100,
    learning_rate=6e-4,
    net_arch=(256, 256),
    learning_starts=50_000,
    train_freq=100,
    gradient_steps=100,
    gamma=0.95,
    tau=0.005,
    batch_size=512,  # of the released job file
    ent_coef="auto",
    snapshot_every=128_000,
    n_envs=32,
    chunk_frames=3_200,
    encoder="ViT-bigG-14/laion2b_s39b_b160k",
)
_PUBLISHED = {
    "cartpole": _CARTPOLE,
    "mountaincar": _MOUNTAIN_CAR,
    "mountaincar-textured": _MOUNTAIN_CAR,
    **dict.fromkeys(GOALS, _HUMANOID),
}


@dataclass(frozen=True)
class PaperSetting:
    """A setting of the paper beside the run's."""

    name: str
    """The setting."""
    paper: Any
    """Its value in the paper; where that names the library's default, the default."""
    here: Any
    """Its value in the run."""

    @property
    def same(self) -> bool:
        """Whether they agree."""
        return self.paper == self.here


def compare_with_paper(config: TrainConfig, horizon: int) -> tuple[PaperSetting, ...]:
    """Hold a run's settings against the paper's table.

    Args:
        config: The run's settings.
        horizon: Steps of an episode of its task.

    Returns:
        All that the paper says of the task; nothing where it does not have it.
    """
    published = _PUBLISHED.get(config.task)
    if published is None or config.task not in PAPER_TASKS:
        return ()
    task, algorithm = get_task(config.task), config.algorithm
    here: dict[str, Any] = {
        "goal": config.goal,
        "baseline": config.baseline,
        "encoder": config.encoder,
        "algorithm": config.algorithm_name,
        "steps": config.steps,
        "horizon": horizon,
        "n_envs": config.n_envs,
        "chunk_frames": config.chunk_frames,
        "snapshot_every": config.steps // config.snapshots,
    }
    if config.humanoid is not None:
        here["humanoid"] = config.humanoid.to_dict()
    paper = {"goal": task.goal, "baseline": task.baseline, "humanoid": HumanoidConfig().to_dict()}
    names = [*here, *(name for name in vars(published) if name not in here)]
    rows: list[PaperSetting] = []
    for name in names:
        value = paper[name] if name in paper else getattr(published, name)
        if value is _Default:
            value = inspect.signature(_LIBRARY[published.algorithm].__init__).parameters[name].default
        if value is not None:
            rows.append(PaperSetting(name, value, here.get(name, getattr(algorithm, name, None))))
    return tuple(rows)
