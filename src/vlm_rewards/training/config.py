"""The settings of a run. A docstring under each field is also its ``--help``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tyro.conf import Fixed, OmitArgPrefixes

from vlm_rewards.errors import InvalidInputError, check_prompt, unknown_name
from vlm_rewards.rewards.config import RewardConfig
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.training.algorithms import (
    ALGORITHMS,
    AlgorithmConfig,
    PPOConfig,
    algorithm_name,
    check_algorithm,
    check_plain_count,
    first_learned_from,
    rollout_rows,
)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run does."""

    task: Fixed[str]
    """Name of the task."""
    preset: Fixed[str]
    """The preset that these settings started from."""
    algorithm: AlgorithmConfig
    """The learning algorithm and its settings."""
    goal: str
    """What the state should look like."""
    baseline: str
    """What any state looks like; sharpens the goal (eq. 3)."""
    encoder: str = "bundled"
    """"bundled", "Name/tag" of open_clip, "hf-hub:org/name", a folder, or "Name=/path/file"."""
    alpha: float = 0.5
    """Strength of the baseline, 0 (ignored) to 1 (only what lies along goal minus baseline counts)."""
    steps: int = 60_000
    """Environment steps in all, over all simulators."""
    n_envs: int = 8
    """Simulators that step together."""
    seed: int = 0
    """Seeds everything random, in [0, 2**32)."""
    standardise: int | None = None
    """Fit mean and standard deviation of the reward on this many first transitions; None leaves it raw."""
    chunk_frames: int = 256
    """Frames that the encoder is given in one go."""
    label_every: int = 1
    """Render and score one state in so many, and the first and last of each episode; the rewards of those between
    are interpolated. A rollout should be a multiple of it: after its last frame that reward holds."""
    snapshots: int = 10
    """Policies saved along the way, at equal distances."""
    selection_episodes: int = 8
    """Episodes whose VLM return chooses the best snapshot."""
    evaluation_episodes: int = 100
    """Episodes of the final evaluation."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps": where encoder and learner run."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16": precision of the encoder."""
    n_workers: int | None = None
    """Processes that host the simulators; None is one a core."""
    watch: str = "auto"
    """What the reward is watched against for reward hacking: "criterion", "true-reward", "held-out", "off"; "auto" is
    the criterion, or else the held-out reward if there is one, or else the true reward."""
    watch_goal: str | None = None
    """Held-out reward: another sentence for the goal, which the learner never sees; None is the goal."""
    watch_baseline: str | None = None
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
        for name in (
            "steps",
            "n_envs",
            "chunk_frames",
            "label_every",
            "snapshots",
            "selection_episodes",
            "evaluation_episodes",
        ):
            check_plain_count(name, getattr(self, name))
        for name in ("standardise", "n_workers"):
            if getattr(self, name) is not None:
                check_plain_count(name, getattr(self, name))
        if isinstance(self.alpha, bool) or not (isinstance(self.alpha, (int, float)) and 0 <= self.alpha <= 1):
            raise InvalidInputError(f"alpha must be a number from 0 to 1, got {self.alpha!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise InvalidInputError(f"seed must be an int from 0 to {2**32 - 1}, got {self.seed!r}.")
        _check_choice("device", self.device, ("auto", "cpu", "cuda", "mps"))
        _check_choice("dtype", self.dtype, ("auto", "fp32", "bf16", "fp16"))
        _check_choice("watch", self.watch, ("auto", "criterion", "true-reward", "held-out", "off"))
        self._check_held_out()
        check_algorithm(self.algorithm)
        if not isinstance(self.algorithm, PPOConfig) and self.algorithm.learning_starts >= self.steps:
            raise InvalidInputError(
                f"learning_starts must be less than steps ({self.steps}), got {self.algorithm.learning_starts}: "
                "no update would ever be made."
            )
        for name in ("goal", "baseline"):
            check_prompt(name, getattr(self, name))
        if self.goal == self.baseline:
            raise InvalidInputError(f"goal and baseline must differ, both are {self.goal!r}.")
        if self.standardise == 1:
            raise InvalidInputError("standardise must be an int of at least 2: one value has no deviation, got 1.")
        first = first_learned_from(self.algorithm, self.n_envs)
        if self.standardise is not None and self.standardise > first:
            limit = "n_steps x n_envs" if isinstance(self.algorithm, PPOConfig) else "learning_starts"
            raise InvalidInputError(
                f"standardise must be at most {limit} ({first}), got {self.standardise}: "
                "learning would start before the rewards are known."
            )

    @property
    def has_held_out(self) -> bool:
        """Whether a held-out reward is asked for."""
        return not self.watch_goal is self.watch_baseline is self.watch_encoder is None

    def _check_held_out(self) -> None:
        for name in ("watch_goal", "watch_baseline"):
            if getattr(self, name) is not None:
                check_prompt(name, getattr(self, name))
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
        """JSON-able settings; `from_dict` restores them."""
        values = dataclasses.asdict(self)
        values["algorithm"] = {"name": self.algorithm_name, **dataclasses.asdict(self.algorithm)}
        values["reward"] = self.reward.to_dict()
        values["environment"] = None if self.environment is None else self.environment.to_dict()
        values["humanoid"] = None if self.humanoid is None else self.humanoid.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Restore settings from `to_dict`.

        Raises:
            InvalidInputError: A setting is missing, unknown or breaks a rule.
        """
        rest = dict(values)
        algorithm = rest.pop("algorithm", None)
        if not isinstance(algorithm, Mapping):
            raise InvalidInputError(f"algorithm must be an object with a name and settings, got {algorithm!r}.")
        algorithm = dict(algorithm)
        name = algorithm.pop("name", None)
        if name not in ALGORITHMS:
            raise unknown_name("algorithm", name, ALGORITHMS)
        for layers in ("net_arch", "critic_arch"):
            if layers in algorithm:
                algorithm[layers] = tuple(algorithm[layers])
        parts = {"reward": RewardConfig, "environment": EnvironmentConfig, "humanoid": HumanoidConfig}
        for part, kind in parts.items():
            if rest.get(part) is not None:
                if not isinstance(rest[part], Mapping):
                    raise InvalidInputError(f"{part} must be an object with settings, got {rest[part]!r}.")
                rest[part] = kind.from_dict(rest[part])
        try:
            return cls(algorithm=ALGORITHMS[name](**algorithm), **rest)
        except TypeError as error:
            raise InvalidInputError(f"the settings do not fit this version: {error}.") from None


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
    warning: str = field(default="")
    """Why nothing can be learned, or an empty string."""


_FEW_UPDATES = 2_000
_FEW_PPO_UPDATES = 500  # each from fresh rollouts
_FEW_USES = 0.5


def update_budget(config: TrainConfig) -> UpdateBudget:
    """Count the updates of a run and judge whether anything can be learned from so few.

    Returns:
        The count, and a warning where there are under 2,000 updates or where a
        transition is used less than half a time.
    """
    algorithm = config.algorithm
    per_round = rollout_rows(algorithm, config.n_envs)
    rounds = learning_rounds = math.ceil(config.steps / per_round)
    if isinstance(algorithm, PPOConfig):
        in_a_round = algorithm.n_epochs * math.ceil(per_round / algorithm.batch_size)
        advice = "Raise steps or n_epochs, or lower n_steps, n_envs or batch_size."
        few = _FEW_PPO_UPDATES
    else:
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


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
