"""The settings of a run. A docstring under each field is also its ``--help``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Fixed, OmitArgPrefixes

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.config import RewardConfig
from vlm_rewards.settings import Count, Fraction, Prompt, Seed, Settings, one_of
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.files import load_task_file
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import (
    AlgorithmConfig,
    OffPolicyConfig,
    PPOConfig,
    algorithm_name,
    first_learned_from,
    get_algorithm,
    rollout_rows,
)


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Everything that decides what a run does."""

    task: Fixed[str]
    """Name of the task."""
    preset: Fixed[str]
    """The preset that these settings started from."""
    algorithm: AlgorithmConfig
    """The learning algorithm and its settings."""
    goal: Prompt
    """What the state should look like."""
    baseline: Prompt
    """What any state looks like; sharpens the goal (eq. 3)."""
    encoder: str = "bundled"
    """"bundled", "Name/tag" of open_clip, "hf-hub:org/name", a folder, or "Name=/path/file"."""
    alpha: Fraction = 0.5
    """Strength of the baseline, 0 (ignored) to 1 (only what lies along goal minus baseline counts)."""
    steps: Count = 60_000
    """Environment steps in all, over all simulators."""
    n_envs: Count = 8
    """Simulators that step together."""
    seed: Seed = 0
    """Seeds everything random, in [0, 2**32)."""
    standardise: Count | None = None
    """Fit mean and standard deviation of the reward on this many first transitions; None leaves it raw."""
    chunk_frames: Count = 256
    """Frames that the encoder is given in one go."""
    label_every: Count = 1
    """Render and score one state in so many, and the first and last of each episode; the rewards of those between
    are interpolated. A rollout should be a multiple of it: after its last frame that reward holds."""
    snapshots: Count = 10
    """Policies saved along the way, at equal distances."""
    selection_episodes: Count = 8
    """Episodes whose VLM return chooses the best snapshot."""
    evaluation_episodes: Count = 100
    """Episodes of the final evaluation."""
    device: Annotated[str, one_of("auto", "cpu", "cuda", "mps")] = "auto"
    """"auto", "cpu", "cuda" or "mps": where encoder and learner run."""
    dtype: Annotated[str, one_of("auto", "fp32", "bf16", "fp16")] = "auto"
    """"auto", "fp32", "bf16" or "fp16": precision of the encoder."""
    n_workers: Count | None = None
    """Processes that host the simulators; None is one a core."""
    watch: Annotated[str, one_of("auto", "criterion", "true-reward", "held-out", "off")] = "auto"
    """What the reward is watched against for reward hacking: "criterion", "true-reward", "held-out", "off"; "auto" is
    the criterion, or else the held-out reward if there is one, or else the true reward."""
    watch_goal: Prompt | None = None
    """Held-out reward: another sentence for the goal, which the learner never sees; None is the goal."""
    watch_baseline: Prompt | None = None
    """Held-out reward: another sentence for the baseline; None is the baseline."""
    watch_encoder: str | None = None
    """Held-out reward: another encoder, which embeds every frame, too; None is the encoder."""
    reward: OmitArgPrefixes[RewardConfig] = field(default_factory=RewardConfig)
    """How frames become rewards."""
    humanoid: OmitArgPrefixes[HumanoidConfig | None] = None
    """How the humanoid is drawn and observed, where the task is one of its poses."""
    environment: Fixed[EnvironmentConfig | None] = None
    """The Gymnasium environment, where the task is one that was named by its id."""
    task_file: Fixed[str | None] = None
    """Absolute path of the Python file that the task comes from."""
    task_file_sha256: Fixed[str | None] = None
    """Digest of that file: another file is another task."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_held_out()
        algorithm_name(self.algorithm)  # or it is no algorithm's
        if isinstance(self.algorithm, OffPolicyConfig) and self.algorithm.learning_starts >= self.steps:
            raise InvalidInputError(
                f"learning_starts must be less than steps ({self.steps}), got {self.algorithm.learning_starts}: "
                "no update would ever be made."
            )
        if self.goal == self.baseline:
            raise InvalidInputError(f"goal and baseline must differ, both are {self.goal!r}.")
        if self.standardise == 1:
            raise InvalidInputError("standardise must be an int of at least 2: one value has no deviation, got 1.")
        first = first_learned_from(self.algorithm, self.n_envs)
        if self.standardise is not None and self.standardise > first:
            limit = "learning_starts" if isinstance(self.algorithm, OffPolicyConfig) else "n_steps x n_envs"
            raise InvalidInputError(
                f"standardise must be at most {limit} ({first}), got {self.standardise}: "
                "learning would start before the rewards are known."
            )

    @property
    def has_held_out(self) -> bool:
        """Whether a held-out reward is asked for."""
        return not self.watch_goal is self.watch_baseline is self.watch_encoder is None

    def _check_held_out(self) -> None:
        goal, baseline = self.watch_goal or self.goal, self.watch_baseline or self.baseline
        if self.has_held_out and goal == baseline:
            raise InvalidInputError(f"watch_goal and watch_baseline must differ, both are {goal!r}.")
        if self.has_held_out and self.watch not in ("auto", "held-out"):
            raise InvalidInputError(f"watch must be 'auto' or 'held-out' with a held-out reward, got {self.watch!r}.")
        if self.watch == "held-out" and not self.has_held_out:
            raise InvalidInputError("watch='held-out' needs watch_goal, watch_baseline or watch_encoder, got none.")

    @property
    def algorithm_name(self) -> str:
        """Such as ``"dqn"`` or ``"sac"``."""
        return algorithm_name(self.algorithm)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able settings, the algorithm's with its name; `from_dict` restores them."""
        values = super().to_dict()
        return {**values, "algorithm": {"name": self.algorithm_name, **values["algorithm"]}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], whose: str = "") -> TrainConfig:
        """Restore settings from `to_dict`; see `Settings.from_dict`."""
        algorithm = values.get("algorithm")
        if not isinstance(algorithm, Mapping):
            raise InvalidInputError(f"algorithm must be an object with a name and settings, got {algorithm!r}.")
        kind = get_algorithm(str(algorithm.get("name"))).config
        own = {name: value for name, value in algorithm.items() if name != "name"}
        return super().from_dict({**values, "algorithm": kind.from_dict(own, "algorithm")}, whose)


_FROM_FILES: dict[tuple[str, str | None, str | None], Task] = {}


def task_from_file(file: str, name: str | None, digest: str | None) -> Task:
    """Run a task file, once for each of its contents, which the digest tells apart; see `load_task_file`."""
    # Once: classes that the file defines, such as an algorithm's settings, would be others the second time.
    if (file, name, digest) not in _FROM_FILES:
        task = load_task_file(Path(file), name)
        _FROM_FILES[file, name, digest] = _FROM_FILES[file, task.name, digest] = task
    return _FROM_FILES[file, name, digest]


@dataclass(frozen=True)
class UpdateBudget:
    """How much learning a configuration amounts to."""

    updates: int
    """Gradient updates in the whole run."""
    replay_ratio: float
    """How many times a transition is sampled, on average."""
    rounds: int
    """Rollouts in the whole run; the first ones may be followed by no updates."""
    updates_in_a_round: int
    """Gradient updates after each of the others."""
    warning: str
    """Why nothing can be learned, or an empty string."""


_FEW_UPDATES = 2_000
_FEW_PPO_UPDATES = 500  # each from fresh rollouts
_FEW_USES = 0.5


def update_budget(config: TrainConfig) -> UpdateBudget:
    """Count the updates of a run, and warn where they are too few to learn from, or use a transition too rarely."""
    algorithm = config.algorithm
    per_round = rollout_rows(algorithm, config.n_envs)
    rounds = learning_rounds = math.ceil(config.steps / per_round)
    if isinstance(algorithm, PPOConfig):
        in_a_round = algorithm.n_epochs * math.ceil(per_round / algorithm.batch_size)
        advice = "Raise steps or n_epochs, or lower n_steps, n_envs or batch_size."
        few = _FEW_PPO_UPDATES
    elif isinstance(algorithm, OffPolicyConfig):
        in_a_round = per_round if algorithm.gradient_steps < 0 else algorithm.gradient_steps
        # Stable-Baselines3 updates after every round that ends beyond learning_starts.
        learning_rounds -= algorithm.learning_starts // per_round
        advice = "Raise steps or gradient_steps, or lower train_freq or n_envs."
        few = _FEW_UPDATES
    updates = in_a_round * learning_rounds
    ratio = updates * min(algorithm.batch_size, per_round if isinstance(algorithm, PPOConfig) else math.inf)
    ratio /= config.steps
    warning = ""
    if updates < few or ratio < _FEW_USES:
        warning = (
            f"{config.steps:,} steps make only {updates:,} updates, and each transition is used {ratio:.2g} times: "
            f"that is too few to learn from. {advice}"
        )
    return UpdateBudget(updates, ratio, rounds, in_a_round, warning)
