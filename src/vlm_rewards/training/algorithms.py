"""Settings to an algorithm of Stable-Baselines3, sb3-contrib or sbx."""

from __future__ import annotations

import dataclasses
import importlib
import os
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards.errors import InvalidInputError, MissingExtraError
from vlm_rewards.labelling import LabelledNStepReplayBuffer, LabelledReplayBuffer
from vlm_rewards.labelling.memory import bytes_of, check_memory, rollout_row
from vlm_rewards.training.algorithm_config import AlgorithmConfig, PPOConfig, algorithm_name
from vlm_rewards.training.scaled_observations import ScaledObservations


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
        venv: A `PhotographedVecEnv`, or a wrapper around one.
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
