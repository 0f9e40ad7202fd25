"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_rewards.errors import InvalidInputError, check_count, unknown_name

STAGES = ("drawing", "preprocessing", "embedding", "updates", "collection", "end-to-end", "memory")
"""What can be measured, in the order in which it is."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured and how often. A docstring under each field is also its ``--help``."""

    stages: tuple[str, ...] = STAGES
    """What to measure."""
    repeats: int = 5
    """Runs of each, after one to warm up; the table shows medians."""
    pictures: int = 128
    """Frames in a run of preprocessing or embedding; drawing draws four times as many."""
    updates: int = 500
    """Updates in a run."""
    rollouts: int = 4
    """Rollouts in a run of collection or end-to-end, with CartPole."""
    n_envs: int = 8
    """Simulators in such a run; those of the common way are a process each."""
    train_freq: int = 32
    """Steps of each simulator in a rollout; an update follows for every second of them all."""
    humanoid_rollouts: int = 2
    """Rollouts in a run with the humanoid, as long as its preset's; the common way draws some ten frames a second."""
    humanoid_n_envs: int = 8
    """Simulators in a run with the humanoid."""
    architectures: tuple[str, ...] = ("RN50", "ViT-B-32")
    """Models of open_clip besides the bundled encoder; they get random weights, on which speed does not depend."""
    mujoco: str = "Humanoid-v5"
    """MuJoCo environment that is drawn, where MuJoCo is installed."""

    def __post_init__(self) -> None:
        for stage in self.stages:
            if stage not in STAGES:
                raise unknown_name("stage", stage, STAGES)
        if not self.stages:
            raise InvalidInputError(f"stages must name at least one of {', '.join(STAGES)}, got none.")
        counts = "repeats", "pictures", "updates", "rollouts", "n_envs", "train_freq"
        for name in (*counts, "humanoid_rollouts", "humanoid_n_envs"):
            check_count(name, getattr(self, name))


QUICK = BenchSettings(
    STAGES[:-1],
    repeats=1,
    pictures=8,
    updates=20,
    rollouts=1,
    n_envs=2,
    train_freq=16,
    humanoid_rollouts=1,
    humanoid_n_envs=2,
    architectures=("ViT-B-32",),
)
"""Whether it works, in a minute or two; the numbers mean little. Memory, which takes minutes, only by name."""
