"""Settings to a Stable-Baselines3 algorithm."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling import LabelledReplayBuffer
from vlm_rewards.training.algorithm_config import AlgorithmConfig, DQNConfig, SACConfig

_UNBOUNDED = 1e6


def check_action_space(algorithm: AlgorithmConfig, space: gym.Space[Any]) -> None:
    """Check that an algorithm can act in a space.

    Raises:
        InvalidInputError: DQN without Discrete actions, SAC without Box actions.
    """
    wanted = gym.spaces.Discrete if isinstance(algorithm, DQNConfig) else gym.spaces.Box
    if not isinstance(space, wanted):
        name = "dqn" if isinstance(algorithm, DQNConfig) else "sac"
        raise InvalidInputError(f"algorithm {name} needs a {wanted.__name__} action space, got {space!r}.")


def build_algorithm(
    algorithm: AlgorithmConfig, venv: VecEnv, *, seed: int, device: str, for_inference: bool = False
) -> OffPolicyAlgorithm:
    """Build DQN or SAC with a replay buffer that waits for its rewards.

    Args:
        algorithm: The settings.
        venv: A `PhotographedVecEnv`, or a wrapper around one.
        seed: Seeds the networks, the exploration and the environment.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        for_inference: Keep the replay buffer to one row: nothing will be learned.

    Returns:
        The algorithm, ready for ``learn(callback=LabelRewards(...))``.
    """
    check_action_space(algorithm, venv.action_space)
    common: dict[str, Any] = {
        "policy": "MlpPolicy",
        "env": venv,
        "learning_rate": algorithm.learning_rate,
        "learning_starts": algorithm.learning_starts,
        "buffer_size": 1 if for_inference else algorithm.buffer_size,
        "batch_size": algorithm.batch_size,
        "gamma": algorithm.gamma,
        "tau": algorithm.tau,
        "train_freq": algorithm.train_freq,
        "gradient_steps": algorithm.gradient_steps,
        "replay_buffer_class": LabelledReplayBuffer,
        "seed": seed,
        "device": device,
    }
    policy_kwargs: dict[str, Any] = {"net_arch": list(algorithm.net_arch)}
    if algorithm.scale_observations:
        policy_kwargs["features_extractor_class"] = ScaledObservations
    if isinstance(algorithm, DQNConfig):
        return DQN(
            **common,
            target_update_interval=algorithm.target_update_interval,
            exploration_fraction=algorithm.exploration_fraction,
            exploration_final_eps=algorithm.exploration_final_eps,
            policy_kwargs=policy_kwargs,
        )
    if algorithm.use_sde:
        policy_kwargs["log_std_init"] = algorithm.log_std_init
    return SAC(
        **common,
        ent_coef=_entropy_coefficient(algorithm),
        use_sde=algorithm.use_sde,
        sde_sample_freq=algorithm.sde_sample_freq,
        use_sde_at_warmup=algorithm.use_sde_at_warmup,
        policy_kwargs=policy_kwargs,
    )


class ScaledObservations(BaseFeaturesExtractor):
    """Maps every bounded number of an observation to [-1, 1] and leaves the others alone.

    The bounds are the observation space's, so there is nothing to estimate, to
    save or to resume. MountainCar's velocity, for one, lies within 0.07 and
    would hardly reach the network otherwise.

    Args:
        observation_space: Box of shape ``[k]``.

    Raises:
        InvalidInputError: The space is not a vector of numbers.
    """

    centre: torch.Tensor
    half_range: torch.Tensor

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
            raise InvalidInputError(f"scale_observations needs a Box of one dimension, got {observation_space!r}.")
        super().__init__(observation_space, observation_space.shape[0])
        low, high = observation_space.low.astype(np.float64), observation_space.high.astype(np.float64)
        # "Unbounded" is often written as the largest float.
        bounded = (np.abs(low) < _UNBOUNDED) & (np.abs(high) < _UNBOUNDED) & (high > low)
        centre = np.where(bounded, (low + high) / 2, 0.0)
        half = np.where(bounded, (high - low) / 2, 1.0)
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32))
        self.register_buffer("half_range", torch.as_tensor(half, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Scale observations ``[n k]``."""
        return (observations - self.centre) / self.half_range


def _entropy_coefficient(algorithm: SACConfig) -> str | float:
    return algorithm.ent_coef if algorithm.ent_coef.startswith("auto") else float(algorithm.ent_coef)
