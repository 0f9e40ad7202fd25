"""The settings of the learning algorithms. A docstring under each field is also its ``--help``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlm_rewards.errors import InvalidInputError


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


def check_algorithm(algorithm: AlgorithmConfig) -> None:
    """Check the settings of an algorithm.

    Raises:
        InvalidInputError: A setting breaks a rule.
    """
    if not isinstance(algorithm, tuple(ALGORITHMS.values())):
        raise InvalidInputError(f"algorithm must be a DQNConfig or a SACConfig, got {algorithm!r}.")
    for name in ("buffer_size", "batch_size", "train_freq", "learning_starts"):
        check_plain_count(name, getattr(algorithm, name))
    if algorithm.gradient_steps != -1:
        check_plain_count("gradient_steps (or -1)", algorithm.gradient_steps)
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
            check_plain_count("sde_sample_freq (or -1)", algorithm.sde_sample_freq)
        if not math.isfinite(algorithm.log_std_init):
            raise InvalidInputError(f"log_std_init must be finite, got {algorithm.log_std_init!r}.")
        return
    check_plain_count("target_update_interval", algorithm.target_update_interval)
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


def check_plain_count(name: str, value: object) -> None:
    """Check that a setting is a whole number of at least 1, and a plain int: it goes to JSON.

    Raises:
        InvalidInputError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} must be an int of at least 1, got {value!r}.")
