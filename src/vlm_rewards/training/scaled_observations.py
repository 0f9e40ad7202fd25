"""Observations scaled by their bounds.

Nothing of this package is imported here: an exported policy carries this module with it (`export`).
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

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
