"""The learning algorithms: their settings, and how Stable-Baselines3 or sbx builds them.

A docstring under each field is also its ``--help``.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
from dataclasses import dataclass, fields
from typing import Any

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


@dataclass(frozen=True)
class _OffPolicyConfig:
    """What all algorithms with a replay buffer have."""

    learning_rate: float = 3e-4
    """Adam's step size, of every network."""
    final_learning_rate: float | None = None
    """Step size that a run ends with, on a straight line from `learning_rate`; None keeps it as it began."""
    learning_starts: int = 2_000
    """Transitions collected with random actions before the first update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    batch_size: int = 256
    """Transitions in a minibatch."""
    gamma: float = 0.99
    """Discount per step."""
    n_steps: int = 1
    """Steps whose rewards are summed before the value estimate takes over (n-step returns)."""
    train_freq: int = 32
    """Vector steps (one step of every simulator) between rounds of updates."""
    gradient_steps: int = 64
    """Updates in a round; -1 is one for each transition collected."""
    net_arch: tuple[int, ...] = (256, 256)
    """Hidden units of each layer of each network."""


@dataclass(frozen=True)
class _GSDEConfig:
    """Smooth exploration."""

    use_sde: bool = False
    """State-dependent exploration (gSDE): smooth noise instead of white noise."""
    sde_sample_freq: int = -1
    """Vector steps between new gSDE noise; -1 is once a round."""
    log_std_init: float = -3.0
    """Initial log standard deviation of the exploration noise, with gSDE."""


@dataclass(frozen=True)
class DQNConfig(_OffPolicyConfig):
    """Settings of Stable-Baselines3's DQN, for discrete actions."""

    learning_rate: float = 1e-3
    """Adam's step size."""
    batch_size: int = 128
    """Transitions in a minibatch."""
    tau: float = 1.0
    """Share of the online network copied into the target at each target update."""
    target_update_interval: int = 500
    """Transitions between target updates."""
    exploration_fraction: float = 0.2
    """Share of the run over which epsilon falls to its final value."""
    exploration_final_eps: float = 0.05
    """Epsilon (probability of a random action) from then on."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """Settings of sb3-contrib's QR-DQN (a DQN that learns the distribution of the return), for discrete actions."""

    n_quantiles: int = 50
    """Quantiles of the return that are learned for each action."""


@dataclass(frozen=True)
class SACConfig(_GSDEConfig, _OffPolicyConfig):
    """Settings of Stable-Baselines3's SAC, for continuous actions."""

    tau: float = 0.005
    """Share of the online critics blended into the targets at each update."""
    ent_coef: str = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""
    use_sde_at_warmup: bool = False
    """Whether gSDE also replaces the random actions before `learning_starts`."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class TD3Config(_OffPolicyConfig):
    """Settings of Stable-Baselines3's TD3, for continuous actions."""

    tau: float = 0.005
    """Share of the online networks blended into the targets at each update."""
    action_noise: float = 0.1
    """Standard deviation of the exploration noise, where the action range is [-1, 1]; 0 is none."""
    policy_delay: int = 2
    """Updates of the critics for each one of the actor."""
    target_policy_noise: float = 0.2
    """Standard deviation of the noise on the target's actions."""
    target_noise_clip: float = 0.5
    """Where that noise is cut off."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class DDPGConfig(_OffPolicyConfig):
    """Settings of Stable-Baselines3's DDPG, for continuous actions."""

    tau: float = 0.005
    """Share of the online networks blended into the targets at each update."""
    action_noise: float = 0.1
    """Standard deviation of the exploration noise, where the action range is [-1, 1]; 0 is none."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class TQCConfig(SACConfig):
    """Settings of sb3-contrib's TQC (SAC with truncated quantile critics), for continuous actions."""

    n_critics: int = 2
    """Critics."""
    n_quantiles: int = 25
    """Quantiles of the return that each critic learns."""
    top_quantiles_to_drop_per_net: int = 2
    """Quantiles of each critic that the target leaves out, against overestimation."""


@dataclass(frozen=True)
class CrossQConfig(_GSDEConfig, _OffPolicyConfig):
    """Settings of sb3-contrib's CrossQ (SAC, batch normalised, without target networks), for continuous actions."""

    learning_rate: float = 1e-3
    """Adam's step size, of every network."""
    ent_coef: str = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""
    policy_delay: int = 3
    """Updates of the critics for each one of the actor."""
    critic_arch: tuple[int, ...] = (512, 512)
    """Hidden units of each layer of the critics; the method wants them wide."""
    use_sde_at_warmup: bool = False
    """Whether gSDE also replaces the random actions before `learning_starts`."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


@dataclass(frozen=True)
class SBXSACConfig(_OffPolicyConfig):
    """Settings of sbx's SAC (in JAX), for continuous actions."""

    tau: float = 0.005
    """Share of the online critics blended into the targets at each update."""
    ent_coef: str = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""
    policy_delay: int = 1
    """Updates of the critics for each one of the actor."""


@dataclass(frozen=True)
class SBXCrossQConfig(_OffPolicyConfig):
    """Settings of sbx's CrossQ (in JAX), for continuous actions."""

    learning_rate: float = 1e-3
    """Adam's step size, of every network."""
    ent_coef: str = "auto"
    """Entropy coefficient: "auto", "auto_X" (tuned from X) or a number."""
    policy_delay: int = 3
    """Updates of the critics for each one of the actor."""
    critic_arch: tuple[int, ...] = (512, 512)
    """Hidden units of each layer of the critics; the method wants them wide."""


@dataclass(frozen=True)
class PPOConfig(_GSDEConfig):
    """Settings of Stable-Baselines3's PPO, for discrete or continuous actions; it keeps no replay."""

    learning_rate: float = 3e-4
    """Adam's step size."""
    final_learning_rate: float | None = None
    """Step size that a run ends with, on a straight line from `learning_rate`; None keeps it as it began."""
    n_steps: int = 128
    """Vector steps (one step of every simulator) in a rollout."""
    batch_size: int = 256
    """Transitions in a minibatch."""
    n_epochs: int = 10
    """Times that each rollout is learned from."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Trade-off of the advantage estimate between bias (0) and variance (1)."""
    clip_range: float = 0.2
    """How far the probability of an action may move from what it was when the rollout was collected."""
    ent_coef: float = 0.0
    """Weight of the entropy in the loss."""
    vf_coef: float = 0.5
    """Weight of the value function in the loss."""
    max_grad_norm: float = 0.5
    """Where the norm of the gradient is cut off."""
    net_arch: tuple[int, ...] = (64, 64)
    """Hidden units of each layer of actor and value function."""
    log_std_init: float = 0.0
    """Initial log standard deviation of continuous actions, with or without gSDE."""
    scale_observations: bool = False
    """Map observations with finite bounds to [-1, 1] inside the networks."""


OffPolicyConfig = (
    DQNConfig
    | QRDQNConfig
    | SACConfig
    | TD3Config
    | DDPGConfig
    | TQCConfig
    | CrossQConfig
    | SBXSACConfig
    | SBXCrossQConfig
)
AlgorithmConfig = OffPolicyConfig | PPOConfig

ALGORITHMS: dict[str, type[Any]] = {
    "dqn": DQNConfig,
    "qrdqn": QRDQNConfig,
    "sac": SACConfig,
    "td3": TD3Config,
    "ddpg": DDPGConfig,
    "tqc": TQCConfig,
    "crossq": CrossQConfig,
    "sbx-sac": SBXSACConfig,
    "sbx-crossq": SBXCrossQConfig,
    "ppo": PPOConfig,
}
"""Names on the command line and in a run's settings."""

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


def algorithm_name(algorithm: AlgorithmConfig) -> str:
    """Name of the algorithm whose settings these are.

    Raises:
        InvalidInputError: They are no algorithm's.
    """
    for name, kind in ALGORITHMS.items():
        if type(algorithm) is kind:
            return name
    kinds = ", ".join(kind.__name__ for kind in ALGORITHMS.values())
    raise InvalidInputError(f"algorithm must be the settings of one ({kinds}), got {algorithm!r}.")


def rollout_rows(algorithm: AlgorithmConfig, n_envs: int) -> int:
    """Transitions between two rounds of updates."""
    return n_envs * (algorithm.n_steps if isinstance(algorithm, PPOConfig) else algorithm.train_freq)


def first_learned_from(algorithm: AlgorithmConfig, n_envs: int) -> int:
    """Transitions that are there at the first update: a whole rollout for PPO, ``learning_starts`` for the others."""
    return rollout_rows(algorithm, n_envs) if isinstance(algorithm, PPOConfig) else algorithm.learning_starts


_COUNTS = ("batch_size", "learning_starts", "buffer_size", "train_freq", "n_steps", "n_epochs", "policy_delay")
_MORE_COUNTS = ("target_update_interval", "n_quantiles", "n_critics")
_COUNTS_OR_MINUS_ONE = ("gradient_steps", "sde_sample_freq")
_FROM_0_TO_1 = ("gamma", "tau", "exploration_final_eps", "gae_lambda")
_POSITIVE = ("learning_rate", "clip_range", "max_grad_norm")
_NOT_NEGATIVE = ("final_learning_rate", "action_noise", "target_policy_noise", "target_noise_clip", "vf_coef")


def check_algorithm(algorithm: AlgorithmConfig) -> None:
    """Check the settings of an algorithm.

    Raises:
        InvalidInputError: A setting breaks a rule.
    """
    algorithm_name(algorithm)
    values = {field.name: getattr(algorithm, field.name) for field in fields(algorithm)}
    if values["final_learning_rate"] is None:
        del values["final_learning_rate"]
    for name in (*_COUNTS, *_MORE_COUNTS):
        if name in values:
            check_plain_count(name, values[name])
    for name in _COUNTS_OR_MINUS_ONE:
        if name in values and values[name] != -1:
            check_plain_count(f"{name} (or -1)", values[name])
    _check_numbers(values)
    for name in ("net_arch", "critic_arch"):
        if name in values and (not values[name] or min(values[name]) < 1):
            raise InvalidInputError(f"{name} must list at least one positive width, got {values[name]!r}.")
    if isinstance(values.get("ent_coef"), str):
        _check_entropy_coefficient(values["ent_coef"])
    _check_combinations(algorithm)


def _check_numbers(values: dict[str, Any]) -> None:
    for names, rule, holds in (
        (_POSITIVE, "positive", lambda value: value > 0),
        (_FROM_0_TO_1, "a number from 0 to 1", lambda value: 0 <= value <= 1),
        (_NOT_NEGATIVE, "a number of at least 0", lambda value: value >= 0),
        (("exploration_fraction",), "a number above 0 to 1", lambda value: 0 < value <= 1),
        (("log_std_init",), "finite", lambda value: True),
    ):
        for name in names:
            value = values.get(name, 0.5)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and holds(value)):
                raise InvalidInputError(f"{name} must be {rule}, got {value!r}.")
    entropy = values.get("ent_coef", 0.0)
    if not isinstance(entropy, str) and not (math.isfinite(entropy) and entropy >= 0):
        raise InvalidInputError(f"ent_coef must be a number of at least 0, got {entropy!r}.")


def _check_combinations(algorithm: AlgorithmConfig) -> None:
    if isinstance(algorithm, TQCConfig):
        dropped = algorithm.top_quantiles_to_drop_per_net
        if isinstance(dropped, bool) or not isinstance(dropped, int) or not 0 <= dropped < algorithm.n_quantiles:
            raise InvalidInputError(
                f"top_quantiles_to_drop_per_net must be an int from 0 to {algorithm.n_quantiles - 1} (below "
                f"n_quantiles), got {dropped!r}."
            )
    if isinstance(algorithm, CrossQConfig | SBXCrossQConfig | PPOConfig) and algorithm.batch_size < 2:
        raise InvalidInputError(f"batch_size must be at least 2 to be normalised, got {algorithm.batch_size}.")


def check_plain_count(name: str, value: object) -> None:
    """Check that a setting is a whole number of at least 1, and a plain int: it goes to JSON.

    Raises:
        InvalidInputError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} must be an int of at least 1, got {value!r}.")


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


_UNBOUNDED = 1e6  # "unbounded" is often written as the largest float


class ScaledObservations(BaseFeaturesExtractor):
    """Maps every bounded number of an observation to [-1, 1] and leaves the others alone.

    The bounds are the observation space's, so there is nothing to estimate, to
    save or to resume. MountainCar's velocity, for one, lies within 0.07 and
    would hardly reach the network otherwise.

    Args:
        observation_space: Box of shape ``[k]``.
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


@dataclass(frozen=True)
class _Library:
    """Where an algorithm comes from and what it can act in."""

    module: str
    name: str
    actions: tuple[type[gym.Space[Any]], ...]
    extra: str | None = None


_BOX, _DISCRETE = (gym.spaces.Box,), (gym.spaces.Discrete,)
_LIBRARIES = {
    "dqn": _Library("stable_baselines3", "DQN", _DISCRETE),
    "qrdqn": _Library("sb3_contrib", "QRDQN", _DISCRETE, "contrib"),
    "sac": _Library("stable_baselines3", "SAC", _BOX),
    "td3": _Library("stable_baselines3", "TD3", _BOX),
    "ddpg": _Library("stable_baselines3", "DDPG", _BOX),
    "tqc": _Library("sb3_contrib", "TQC", _BOX, "contrib"),
    "crossq": _Library("sb3_contrib", "CrossQ", _BOX, "contrib"),
    "sbx-sac": _Library("sbx", "SAC", _BOX),
    "sbx-crossq": _Library("sbx", "CrossQ", _BOX),
    "ppo": _Library("stable_baselines3", "PPO", (*_BOX, *_DISCRETE)),
}
_POLICY_SETTINGS = {"net_arch", "critic_arch", "scale_observations", "log_std_init", "n_quantiles", "n_critics"}
"""Fields that go to the policy instead of the algorithm."""


def check_action_space(algorithm: AlgorithmConfig, space: gym.Space[Any]) -> None:
    """Check that an algorithm can act in a space.

    Raises:
        InvalidInputError: It cannot; the message says which ones can.
    """
    name = algorithm_name(algorithm)
    wanted = _LIBRARIES[name].actions
    if not isinstance(space, wanted):
        kinds = " or ".join(kind.__name__ for kind in wanted)
        fitting = [other for other, library in _LIBRARIES.items() if isinstance(space, library.actions)]
        hint = f" Algorithms for this space: {', '.join(fitting)}." if fitting else ""
        raise InvalidInputError(f"algorithm {name} needs a {kinds} action space, got {space!r}.{hint}")


def build_algorithm(
    algorithm: AlgorithmConfig, venv: VecEnv, *, seed: int, device: str, for_inference: bool = False
) -> BaseAlgorithm:
    """Build an algorithm that waits for its rewards.

    Args:
        algorithm: The settings.
        venv: A `RenderedVecEnv`, or a wrapper around one.
        seed: Seeds the networks, the exploration and the environment.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; sbx goes where JAX does.
        for_inference: Keep the replay buffer to one row: nothing will be learned.

    Returns:
        The algorithm, ready for ``learn(callback=LabelRewards(...))``.

    Raises:
        InvalidInputError: It cannot act in the environment's action space or scale its observations, or its
            transitions do not fit into memory.
        MissingExtraError: Its library is not installed.
    """
    check_action_space(algorithm, venv.action_space)
    name = algorithm_name(algorithm)
    kind = _load(name)
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
    if isinstance(algorithm, PPOConfig):
        row = rollout_row(venv.observation_space, venv.action_space)
        check_memory("n_steps", algorithm.n_steps * venv.num_envs, bytes_of(row))
    else:
        settings |= _replay(settings, for_inference=for_inference)
    policy = _policy_settings(algorithm, name, venv.observation_space)
    settings |= {"policy_kwargs": policy, "seed": seed, "device": device}
    return kind("MlpPolicy", venv, **settings)


def _load(name: str) -> type[Any]:
    library = _LIBRARIES[name]
    if library.module == "sbx":
        # JAX would reserve three quarters of a GPU's memory, where the encoder has to be, too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        return getattr(importlib.import_module(library.module), library.name)
    except ImportError as error:
        if library.extra is None:
            raise
        raise MissingExtraError(
            f"algorithm {name} needs {library.module}: pip install 'vlm-rewards[{library.extra}]' ({error})."
        ) from None


def _replay(settings: dict[str, Any], *, for_inference: bool) -> dict[str, Any]:
    buffer: dict[str, Any] = {"replay_buffer_class": LabelledReplayBuffer}
    if settings["n_steps"] > 1:
        steps = {"n_steps": settings["n_steps"], "gamma": settings["gamma"]}
        buffer = {"replay_buffer_class": LabelledNStepReplayBuffer, "replay_buffer_kwargs": steps}
    # All that Stable-Baselines3 does with n_steps is to choose its own buffer; with one of ours it warns.
    return buffer | {"n_steps": 1} | ({"buffer_size": 1} if for_inference else {})


def _policy_settings(algorithm: AlgorithmConfig, name: str, observations: gym.Space[Any]) -> dict[str, Any]:
    given = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)}
    settings: dict[str, Any] = {"net_arch": list(given["net_arch"])}
    if "critic_arch" in given:
        settings["net_arch"] = {"pi": list(given["net_arch"]), "qf": list(given["critic_arch"])}
    if given.get("scale_observations"):
        if not isinstance(observations, gym.spaces.Box) or len(observations.shape) != 1:
            raise InvalidInputError(f"scale_observations needs a Box of one dimension, got {observations!r}.")
        settings["features_extractor_class"] = ScaledObservations
    if given.get("use_sde") or name == "ppo":
        settings["log_std_init"] = given["log_std_init"]
    return settings | {key: given[key] for key in ("n_quantiles", "n_critics") if key in given}


def _action_noise(sigma: float, space: gym.Space[Any]) -> NormalActionNoise | None:
    # Stable-Baselines3 adds it to actions that are scaled to [-1, 1].
    size = int(np.prod(space.shape or (1,)))
    return NormalActionNoise(np.zeros(size), np.full(size, sigma)) if sigma else None
