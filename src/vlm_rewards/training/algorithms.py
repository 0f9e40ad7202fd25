"""The learning algorithms: their settings, and how Stable-Baselines3 or sbx builds them.

A docstring under each field is also its ``--help``, and a field's annotation carries its rule.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards.collection.replay_buffer import (
    LabelledNStepReplayBuffer,
    LabelledReplayBuffer,
    bytes_of,
    check_memory,
    rollout_row,
)
from vlm_rewards.errors import InvalidInputError, MissingExtraError
from vlm_rewards.registry import Registry
from vlm_rewards.settings import (
    Count,
    CountOrMinusOne,
    Finite,
    Fraction,
    NotNegative,
    Positive,
    PositiveFraction,
    Rule,
    Settings,
    Widths,
    whole,
)


def _is_entropy_coefficient(value: Any) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return 0 <= value < math.inf
    try:
        return value == "auto" or 0 < float(str(value).removeprefix("auto_")) < math.inf
    except ValueError:
        return False


EntropyCoefficient: TypeAlias = Annotated[
    str, Rule('"auto", "auto_X" or X with a positive number X', _is_entropy_coefficient)
]
BatchToNormalise: TypeAlias = Annotated[
    int, Rule("an int of at least 2, as batches are normalised", lambda value: type(value) is int and value > 1)
]


@dataclass(frozen=True)
class AlgorithmConfig(Settings):
    """Settings of a learning algorithm. A subclass with a replay buffer starts from `OffPolicyConfig`."""

    learning_rate: Positive = 3e-4
    """Adam's step size, of every network."""
    final_learning_rate: NotNegative | None = None
    """Step size that a run ends with, on a straight line from `learning_rate`; None keeps it as it began."""
    batch_size: Count = 256
    """Transitions in a minibatch."""
    gamma: Fraction = 0.99
    """Discount per step."""
    n_steps: Count = 1
    """Steps whose rewards are summed before the value estimate takes over (n-step returns)."""
    net_arch: Widths = (256, 256)
    """Hidden units of each layer of each network."""


@dataclass(frozen=True)
class OffPolicyConfig(AlgorithmConfig):
    """What all algorithms with a replay buffer have."""

    learning_starts: Count = 2_000
    """Transitions collected with random actions before the first update."""
    buffer_size: Count = 100_000
    """Transitions kept for replay."""
    train_freq: Count = 32
    """Vector steps (one step of every simulator) between rounds of updates."""
    gradient_steps: CountOrMinusOne = 64
    """Updates in a round; -1 is one for each transition collected."""


@dataclass(frozen=True)
class _Scaling:
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class _Targets:
    tau: Fraction = 0.005
    """Share of the online networks blended into the targets at each update."""


@dataclass(frozen=True)
class _Entropy:
    ent_coef: EntropyCoefficient = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""


@dataclass(frozen=True)
class _SmoothExploration:
    use_sde: bool = False
    """State-dependent exploration (gSDE): smooth noise instead of white noise."""
    sde_sample_freq: CountOrMinusOne = -1
    """Vector steps between new gSDE noise; -1 is once a round."""
    log_std_init: Finite = -3.0
    """Initial log standard deviation of the exploration noise, with gSDE."""


@dataclass(frozen=True)
class _SmoothWarmup(_SmoothExploration):
    use_sde_at_warmup: bool = False
    """Whether gSDE also replaces the random actions before `learning_starts`."""


@dataclass(frozen=True)
class _WideCritics:
    learning_rate: Positive = 1e-3
    """Adam's step size, of every network."""
    batch_size: BatchToNormalise = 256
    """Transitions in a minibatch."""
    policy_delay: Count = 3
    """Updates of the critics for each one of the actor."""
    critic_arch: Widths = (512, 512)
    """Hidden units of each layer of the critics; the method wants them wide."""


@dataclass(frozen=True)
class DQNConfig(_Scaling, _Targets, OffPolicyConfig):
    """Settings of Stable-Baselines3's DQN, for discrete actions."""

    learning_rate: Positive = 1e-3
    """Adam's step size."""
    batch_size: Count = 128
    """Transitions in a minibatch."""
    tau: Fraction = 1.0
    """Share of the online network copied into the target at each target update."""
    target_update_interval: Count = 500
    """Transitions between target updates."""
    exploration_fraction: PositiveFraction = 0.2
    """Share of the run over which epsilon falls to its final value."""
    exploration_final_eps: Fraction = 0.05
    """Epsilon (probability of a random action) from then on."""


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """Settings of sb3-contrib's QR-DQN (a DQN that learns the distribution of the return), for discrete actions."""

    n_quantiles: Count = 50
    """Quantiles of the return that are learned for each action."""


@dataclass(frozen=True)
class SACConfig(_Scaling, _SmoothWarmup, _Entropy, _Targets, OffPolicyConfig):
    """Settings of Stable-Baselines3's SAC, for continuous actions."""


@dataclass(frozen=True)
class DDPGConfig(_Scaling, _Targets, OffPolicyConfig):
    """Settings of Stable-Baselines3's DDPG, for continuous actions."""

    action_noise: NotNegative = 0.1
    """Standard deviation of the exploration noise, where the action range is [-1, 1]; 0 is none."""


@dataclass(frozen=True)
class TD3Config(DDPGConfig):
    """Settings of Stable-Baselines3's TD3, for continuous actions."""

    policy_delay: Count = 2
    """Updates of the critics for each one of the actor."""
    target_policy_noise: NotNegative = 0.2
    """Standard deviation of the noise on the target's actions."""
    target_noise_clip: NotNegative = 0.5
    """Where that noise is cut off."""


@dataclass(frozen=True)
class TQCConfig(SACConfig):
    """Settings of sb3-contrib's TQC (SAC with truncated quantile critics), for continuous actions."""

    n_critics: Count = 2
    """Critics."""
    n_quantiles: Count = 25
    """Quantiles of the return that each critic learns."""
    top_quantiles_to_drop_per_net: Annotated[int, whole(0)] = 2
    """Quantiles of each critic that the target leaves out, against overestimation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(0, self.n_quantiles - 1).check("top_quantiles_to_drop_per_net", self.top_quantiles_to_drop_per_net)


@dataclass(frozen=True)
class CrossQConfig(_WideCritics, _Scaling, _SmoothWarmup, _Entropy, OffPolicyConfig):
    """Settings of sb3-contrib's CrossQ (SAC, batch normalised, without target networks), for continuous actions."""


@dataclass(frozen=True)
class SBXSACConfig(_Entropy, _Targets, OffPolicyConfig):
    """Settings of sbx's SAC (in JAX), for continuous actions."""

    policy_delay: Count = 1
    """Updates of the critics for each one of the actor."""


@dataclass(frozen=True)
class SBXCrossQConfig(_WideCritics, _Entropy, OffPolicyConfig):
    """Settings of sbx's CrossQ (in JAX), for continuous actions."""


@dataclass(frozen=True)
class PPOConfig(_Scaling, _SmoothExploration, AlgorithmConfig):
    """Settings of Stable-Baselines3's PPO, for discrete or continuous actions; it keeps no replay."""

    batch_size: BatchToNormalise = 256
    """Transitions in a minibatch."""
    n_steps: Count = 128
    """Vector steps (one step of every simulator) in a rollout."""
    n_epochs: Count = 10
    """Times that each rollout is learned from."""
    gae_lambda: Fraction = 0.95
    """Trade-off of the advantage estimate between bias (0) and variance (1)."""
    clip_range: Positive = 0.2
    """How far the probability of an action may move from what it was when the rollout was collected."""
    ent_coef: NotNegative = 0.0
    """Weight of the entropy in the loss."""
    vf_coef: NotNegative = 0.5
    """Weight of the value function in the loss."""
    max_grad_norm: Positive = 0.5
    """Where the norm of the gradient is cut off."""
    net_arch: Widths = (64, 64)
    """Hidden units of each layer of actor and value function."""
    log_std_init: Finite = 0.0
    """Initial log standard deviation of continuous actions, with or without gSDE."""


Builder: TypeAlias = Callable[..., BaseAlgorithm]
"""Called as the classes of Stable-Baselines3 are: ``build("MlpPolicy", venv, seed=..., device=..., **settings)``."""


@dataclass(frozen=True)
class _Library:
    """A class of a library that is imported when it is first called."""

    module: str
    name: str
    extra: str | None = None

    def __call__(self, *arguments: Any, **settings: Any) -> BaseAlgorithm:
        if self.module == "sbx":
            # JAX would reserve three quarters of a GPU's memory, where the encoder has to be, too.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        try:
            kind = getattr(importlib.import_module(self.module), self.name)
        except ImportError as error:
            if self.extra is None:
                raise
            raise MissingExtraError(
                f"algorithm {self.name} needs {self.module}: pip install 'vlm-rewards[{self.extra}]' ({error})."
            ) from None
        return kind(*arguments, **settings)


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm as it is registered."""

    config: type[AlgorithmConfig]
    """Class of its settings."""
    build: Builder
    """Makes it."""
    actions: tuple[type[gym.Space[Any]], ...]
    """Kinds of action spaces that it can act in."""


BOX, DISCRETE = (gym.spaces.Box,), (gym.spaces.Discrete,)
ALGORITHMS: Registry[Algorithm] = Registry(
    "algorithm", "vlm_rewards.algorithms", is_value=lambda value: isinstance(value, Algorithm)
)
"""All algorithms. An entry point of a package brings what `register_algorithm` returns, or a function that does."""
_NAMES: dict[type[Any], str] = {}


def register_algorithm(
    name: str,
    config: type[AlgorithmConfig],
    build: Builder,
    *,
    actions: tuple[type[gym.Space[Any]], ...] = (*BOX, *DISCRETE),
    replace: bool = False,
) -> Algorithm:
    """Add a learning algorithm that has the interface of Stable-Baselines3.

    Args:
        name: What it is called on the command line.
        config: Class of its settings, its own: a frozen dataclass that extends `OffPolicyConfig` (with a replay buffer)
            or `PPOConfig` (with rollouts), or one of those in this module.
        build: The algorithm's class, or a function that is called like one. Fields of the settings are its keyword
            arguments, but for those of the policy: ``net_arch``, ``critic_arch``, ``log_std_init``, ``n_quantiles``,
            ``n_critics``, ``scale_observations``. With a replay buffer it also gets ``replay_buffer_class``.
        actions: Kinds of action spaces that it can act in.
        replace: Whether an algorithm of that name may be replaced.

    Returns:
        The algorithm: ``--algo module:attribute`` may name it where nobody registers it.

    Raises:
        InvalidInputError: The name is taken, or the settings are those of another algorithm or of none.
    """
    kinds = (OffPolicyConfig, PPOConfig)
    if not (isinstance(config, type) and issubclass(config, kinds) and dataclasses.is_dataclass(config)):
        raise InvalidInputError(
            f"config must be a dataclass that extends OffPolicyConfig or PPOConfig, got {config!r}."
        )
    if _NAMES.get(config, name) != name:
        raise InvalidInputError(
            f"config of algorithm {name!r} must be a class of its own: {config.__name__} is that of {_NAMES[config]!r}."
        )
    algorithm = ALGORITHMS.register(name, Algorithm(config, build, actions), replace=replace)
    _NAMES[config] = name
    return algorithm


for _name, _config, _build, _actions in (
    ("dqn", DQNConfig, _Library("stable_baselines3", "DQN"), DISCRETE),
    ("qrdqn", QRDQNConfig, _Library("sb3_contrib", "QRDQN", "contrib"), DISCRETE),
    ("sac", SACConfig, _Library("stable_baselines3", "SAC"), BOX),
    ("td3", TD3Config, _Library("stable_baselines3", "TD3"), BOX),
    ("ddpg", DDPGConfig, _Library("stable_baselines3", "DDPG"), BOX),
    ("tqc", TQCConfig, _Library("sb3_contrib", "TQC", "contrib"), BOX),
    ("crossq", CrossQConfig, _Library("sb3_contrib", "CrossQ", "contrib"), BOX),
    ("sbx-sac", SBXSACConfig, _Library("sbx", "SAC"), BOX),
    ("sbx-crossq", SBXCrossQConfig, _Library("sbx", "CrossQ"), BOX),
    ("ppo", PPOConfig, _Library("stable_baselines3", "PPO"), (*BOX, *DISCRETE)),
):
    register_algorithm(_name, _config, _build, actions=_actions)

REFUSED = {
    "her": "hindsight relabelling changes goals after the fact, and a sentence is the only goal here.",
    "a2c": "use ppo, which does the same with better use of each rollout.",
    "trpo": "use ppo, which follows the same idea.",
    "ars": "it perturbs whole policies and sums an episode's rewards as it goes, before frames have been scored.",
    "recurrent-ppo": "its rollout buffer stores sequences, whose late rewards nobody here fills in; use ppo.",
    "maskable-ppo": "it asks simulators for masks, which worker processes do not pass on; use ppo.",
    "dreamer": "it is no algorithm of Stable-Baselines3; VLMRewardWrapper brings the reward to any library.",
}
"""Algorithms that people ask for, and why they are not offered."""


def get_algorithm(name: str) -> Algorithm:
    """Look an algorithm up.

    Args:
        name: Its name, or ``module:attribute``.

    Raises:
        InvalidInputError: It cannot work here; the message says why.
        UnknownNameError: There is none of that name.
    """
    if name in REFUSED:
        raise InvalidInputError(f"algorithm {name!r} is not offered: {REFUSED[name]}")
    algorithm = ALGORITHMS.get(name)
    _NAMES[algorithm.config] = name  # as it was asked for: another process can find it by that
    return algorithm


def algorithm_name(algorithm: AlgorithmConfig) -> str:
    """Name of the algorithm whose settings these are; InvalidInputError if they are no algorithm's."""
    if type(algorithm) in _NAMES:
        return _NAMES[type(algorithm)]
    kinds = ", ".join(kind.__name__ for kind in _NAMES)
    raise InvalidInputError(f"algorithm must be the settings of one ({kinds}), got {algorithm!r}.")


def rollout_rows(algorithm: AlgorithmConfig, n_envs: int) -> int:
    """Transitions between two rounds of updates."""
    return n_envs * (algorithm.train_freq if isinstance(algorithm, OffPolicyConfig) else algorithm.n_steps)


def first_learned_from(algorithm: AlgorithmConfig, n_envs: int) -> int:
    """Transitions that are there at the first update: a whole rollout for PPO, ``learning_starts`` for the others."""
    off_policy = isinstance(algorithm, OffPolicyConfig)
    return algorithm.learning_starts if off_policy else rollout_rows(algorithm, n_envs)


_UNBOUNDED = 1e6  # "unbounded" is often written as the largest float


class ScaledObservations(BaseFeaturesExtractor):
    """Maps every bounded number of an observation ``[k]`` to [-1, 1] and leaves the others alone.

    The bounds are the observation space's, so there is nothing to estimate, to save or to resume. MountainCar's
    velocity, for one, lies within 0.07 and would hardly reach the network otherwise.
    """

    centre: torch.Tensor
    half_range: torch.Tensor

    def __init__(self, observation_space: gym.spaces.Box) -> None:
        super().__init__(observation_space, observation_space.shape[0])
        low, high = observation_space.low.astype(np.float64), observation_space.high.astype(np.float64)
        bounded = (np.abs(low) < _UNBOUNDED) & (np.abs(high) < _UNBOUNDED) & (high > low)
        centre = np.where(bounded, (low + high) / 2, 0.0)
        half = np.where(bounded, (high - low) / 2, 1.0)
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32))
        self.register_buffer("half_range", torch.as_tensor(half, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Scale observations ``[n k]``."""
        return (observations - self.centre) / self.half_range


_POLICY_SETTINGS = {"net_arch", "critic_arch", "scale_observations", "log_std_init", "n_quantiles", "n_critics"}
"""Fields that go to the policy instead of the algorithm."""


def check_action_space(algorithm: AlgorithmConfig, space: gym.Space[Any]) -> None:
    """Raise InvalidInputError if an algorithm cannot act in a space; the message says which ones can."""
    name = algorithm_name(algorithm)
    wanted = ALGORITHMS.get(name).actions
    if not isinstance(space, wanted):
        kinds = " or ".join(kind.__name__ for kind in wanted)
        fitting = [other for other in _NAMES.values() if isinstance(space, ALGORITHMS.get(other).actions)]
        hint = f" Algorithms for this space: {', '.join(fitting)}." if fitting else ""
        raise InvalidInputError(f"algorithm {name} needs a {kinds} action space, got {space!r}.{hint}")


def build_algorithm(
    algorithm: AlgorithmConfig, venv: VecEnv, *, seed: int, device: str, for_inference: bool = False
) -> BaseAlgorithm:
    """Build an algorithm that waits for its rewards, ready for ``learn(callback=LabelRewards(...))``.

    With ``for_inference`` its replay buffer has one row: nothing will be learned. sbx goes where JAX does, whatever the
    ``device``.

    Raises:
        InvalidInputError: It cannot act in the environment's action space or scale its observations, or its
            transitions do not fit into memory.
        MissingExtraError: Its library is not installed.
    """
    check_action_space(algorithm, venv.action_space)
    build = ALGORITHMS.get(algorithm_name(algorithm)).build
    settings: dict[str, Any] = {
        field.name: getattr(algorithm, field.name)
        for field in dataclasses.fields(algorithm)
        if field.name not in _POLICY_SETTINGS
    }
    final = settings.pop("final_learning_rate")
    if final is not None:
        settings["learning_rate"] = LinearSchedule(algorithm.learning_rate, final, end_fraction=1.0)
    if isinstance(settings.get("ent_coef"), str) and not settings["ent_coef"].startswith("auto"):
        settings["ent_coef"] = float(settings["ent_coef"])
    if "action_noise" in settings:
        settings["action_noise"] = _action_noise(settings["action_noise"], venv.action_space)
    if isinstance(algorithm, OffPolicyConfig):
        settings |= _replay(settings, for_inference=for_inference)
    else:
        row = rollout_row(venv.observation_space, venv.action_space)
        check_memory("n_steps", algorithm.n_steps * venv.num_envs, bytes_of(row))
    policy = _policy_settings(algorithm, venv.observation_space)
    settings |= {"policy_kwargs": policy, "seed": seed, "device": device}
    return build("MlpPolicy", venv, **settings)


def _replay(settings: dict[str, Any], *, for_inference: bool) -> dict[str, Any]:
    buffer: dict[str, Any] = {"replay_buffer_class": LabelledReplayBuffer}
    if settings["n_steps"] > 1:
        steps = {"n_steps": settings["n_steps"], "gamma": settings["gamma"]}
        buffer = {"replay_buffer_class": LabelledNStepReplayBuffer, "replay_buffer_kwargs": steps}
    # All that Stable-Baselines3 does with n_steps is to choose its own buffer; with one of ours it warns.
    return buffer | {"n_steps": 1} | ({"buffer_size": 1} if for_inference else {})


def _policy_settings(algorithm: AlgorithmConfig, observations: gym.Space[Any]) -> dict[str, Any]:
    given = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)}
    settings: dict[str, Any] = {"net_arch": list(given["net_arch"])}
    if "critic_arch" in given:
        settings["net_arch"] = {"pi": list(given["net_arch"]), "qf": list(given["critic_arch"])}
    if given.get("scale_observations"):
        if not isinstance(observations, gym.spaces.Box) or len(observations.shape) != 1:
            raise InvalidInputError(f"scale_observations needs a Box of one dimension, got {observations!r}.")
        settings["features_extractor_class"] = ScaledObservations
    if given.get("use_sde") or isinstance(algorithm, PPOConfig):
        settings["log_std_init"] = given["log_std_init"]
    return settings | {key: given[key] for key in ("n_quantiles", "n_critics") if key in given}


def _action_noise(sigma: float, space: gym.Space[Any]) -> NormalActionNoise | None:
    # Stable-Baselines3 adds it to actions that are scaled to [-1, 1].
    size = int(np.prod(space.shape or (1,)))
    return NormalActionNoise(np.zeros(size), np.full(size, sigma)) if sigma else None
