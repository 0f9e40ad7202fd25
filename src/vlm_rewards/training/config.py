"""The settings of a run. A docstring under each field is also its ``--help``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tyro.conf import Fixed

from vlm_rewards.errors import InvalidInputError, unknown_name


@dataclass(frozen=True)
class DQNConfig:
    """Settings of Stable-Baselines3's DQN, for discrete actions."""

    learning_rate: float = 1e-3
    """Adam's step size."""
    learning_starts: int = 2_000
    """Transitions collected with random actions before the first update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    batch_size: int = 128
    """Transitions in a minibatch."""
    gamma: float = 0.99
    """Discount per step."""
    tau: float = 1.0
    """Share of the online network copied into the target at each target update."""
    target_update_interval: int = 500
    """Transitions between target updates."""
    train_freq: int = 32
    """Vector steps (one step of every simulator) between rounds of updates."""
    gradient_steps: int = 64
    """Updates in a round; -1 is one for each transition collected."""
    exploration_fraction: float = 0.2
    """Share of the run over which epsilon falls to its final value."""
    exploration_final_eps: float = 0.05
    """Epsilon (probability of a random action) from then on."""
    net_arch: tuple[int, ...] = (256, 256)
    """Hidden units of each layer of the Q-network."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class SACConfig:
    """Settings of Stable-Baselines3's SAC, for continuous actions."""

    learning_rate: float = 3e-4
    """Adam's step size, for actor, critics and entropy coefficient."""
    learning_starts: int = 2_000
    """Transitions collected with random actions before the first update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    batch_size: int = 256
    """Transitions in a minibatch."""
    gamma: float = 0.99
    """Discount per step."""
    tau: float = 0.005
    """Share of the online critics blended into the targets at each update."""
    ent_coef: str = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""
    train_freq: int = 32
    """Vector steps (one step of every simulator) between rounds of updates."""
    gradient_steps: int = 64
    """Updates in a round; -1 is one for each transition collected."""
    use_sde: bool = False
    """State-dependent exploration (gSDE): smooth noise instead of white noise."""
    sde_sample_freq: int = -1
    """Vector steps between new gSDE noise; -1 is once a round."""
    use_sde_at_warmup: bool = False
    """Whether gSDE also replaces the random actions before `learning_starts`."""
    log_std_init: float = -3.0
    """Initial log standard deviation of the exploration noise, with gSDE."""
    net_arch: tuple[int, ...] = (256, 256)
    """Hidden units of each layer of actor and critics."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


AlgorithmConfig = DQNConfig | SACConfig
ALGORITHMS: dict[str, type[DQNConfig] | type[SACConfig]] = {"dqn": DQNConfig, "sac": SACConfig}


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
    """Pictures that the encoder is given in one go."""
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

    def __post_init__(self) -> None:
        for name in ("steps", "n_envs", "chunk_frames", "snapshots", "selection_episodes", "evaluation_episodes"):
            _check_count(name, getattr(self, name))
        for name in ("standardise", "n_workers"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name))
        if isinstance(self.alpha, bool) or not (isinstance(self.alpha, (int, float)) and 0 <= self.alpha <= 1):
            raise InvalidInputError(f"alpha must be a number from 0 to 1, got {self.alpha!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise InvalidInputError(f"seed must be an int from 0 to {2**32 - 1}, got {self.seed!r}.")
        _check_choice("device", self.device, ("auto", "cpu", "cuda", "mps"))
        _check_choice("dtype", self.dtype, ("auto", "fp32", "bf16", "fp16"))
        _check_algorithm(self.algorithm)
        if self.algorithm.learning_starts >= self.steps:
            raise InvalidInputError(
                f"learning_starts must be less than steps ({self.steps}), got {self.algorithm.learning_starts}: "
                "no update would ever be made."
            )
        for name in ("goal", "baseline"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise InvalidInputError(f"{name} must be a sentence, got {getattr(self, name)!r}.")
        if self.goal == self.baseline:
            raise InvalidInputError(f"goal and baseline must differ, both are {self.goal!r}.")
        if self.standardise == 1:
            raise InvalidInputError("standardise must be an int of at least 2: one value has no deviation, got 1.")
        if self.standardise is not None and self.standardise > self.algorithm.learning_starts:
            raise InvalidInputError(
                f"standardise must be at most learning_starts ({self.algorithm.learning_starts}), got "
                f"{self.standardise}: learning would start before the rewards are known."
            )

    @property
    def algorithm_name(self) -> str:
        """``"dqn"`` or ``"sac"``."""
        return next(name for name, kind in ALGORITHMS.items() if isinstance(self.algorithm, kind))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able settings; `from_dict` restores them."""
        values = dataclasses.asdict(self)
        values["algorithm"] = {"name": self.algorithm_name, **dataclasses.asdict(self.algorithm)}
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
        if "net_arch" in algorithm:
            algorithm["net_arch"] = tuple(algorithm["net_arch"])
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
    warning: str = field(default="")
    """Why nothing can be learned, or an empty string."""


_FEW_UPDATES = 2_000
_FEW_USES = 0.5


def update_budget(config: TrainConfig) -> UpdateBudget:
    """Count the updates of a run and judge whether anything can be learned from so few.

    Returns:
        The count, and a warning where there are under 2,000 updates or where a
        transition is used less than half a time.
    """
    algorithm = config.algorithm
    per_round = algorithm.train_freq * config.n_envs
    gradient_steps = per_round if algorithm.gradient_steps < 0 else algorithm.gradient_steps
    # Stable-Baselines3 updates after every round that ends beyond learning_starts.
    rounds = math.ceil(config.steps / per_round) - algorithm.learning_starts // per_round
    updates = gradient_steps * rounds
    ratio = updates * algorithm.batch_size / config.steps
    warning = ""
    if updates < _FEW_UPDATES or ratio < _FEW_USES:
        warning = (
            f"{config.steps:,} steps make only {updates:,} updates, and each transition is used {ratio:.2g} times: "
            "that is too few to learn from. Raise steps or gradient_steps, or lower train_freq or n_envs."
        )
    return UpdateBudget(updates, ratio, warning)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} must be an int of at least 1, got {value!r}.")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInputError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def _check_algorithm(algorithm: AlgorithmConfig) -> None:
    if not isinstance(algorithm, tuple(ALGORITHMS.values())):
        raise InvalidInputError(f"algorithm must be a DQNConfig or a SACConfig, got {algorithm!r}.")
    for name in ("buffer_size", "batch_size", "train_freq", "learning_starts"):
        _check_count(name, getattr(algorithm, name))
    if algorithm.gradient_steps != -1:
        _check_count("gradient_steps (or -1)", algorithm.gradient_steps)
    if not (math.isfinite(algorithm.learning_rate) and algorithm.learning_rate > 0):
        raise InvalidInputError(f"learning_rate must be positive, got {algorithm.learning_rate!r}.")
    for name in ("gamma", "tau"):
        if not 0 <= getattr(algorithm, name) <= 1:
            raise InvalidInputError(f"{name} must be a number from 0 to 1, got {getattr(algorithm, name)!r}.")
    if not algorithm.net_arch or min(algorithm.net_arch) < 1:
        raise InvalidInputError(f"net_arch must list at least one positive width, got {algorithm.net_arch!r}.")
    if isinstance(algorithm, SACConfig):
        _check_entropy_coefficient(algorithm.ent_coef)
        if algorithm.sde_sample_freq != -1:
            _check_count("sde_sample_freq (or -1)", algorithm.sde_sample_freq)
        if not math.isfinite(algorithm.log_std_init):
            raise InvalidInputError(f"log_std_init must be finite, got {algorithm.log_std_init!r}.")
        return
    _check_count("target_update_interval", algorithm.target_update_interval)
    for name, low in (("exploration_fraction", "above 0"), ("exploration_final_eps", "from 0")):
        value = getattr(algorithm, name)
        if not 0 <= value <= 1 or (low == "above 0" and value == 0):
            raise InvalidInputError(f"{name} must be a number {low} to 1, got {value!r}.")


def _check_entropy_coefficient(value: str) -> None:
    number = value.removeprefix("auto_") if value.startswith("auto") else value
    if value == "auto":
        return
    try:
        valid = math.isfinite(float(number)) and float(number) > 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInputError(f'ent_coef must be "auto", "auto_X" or X with a positive number X, got {value!r}.')
