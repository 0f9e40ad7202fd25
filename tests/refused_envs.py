"""Environments that cannot be learned in. No torch here: simulator processes import this module."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.testing.counting import CountingEnv


class Grey(CountingEnv):
    """Its frames have no colours."""

    def render(self) -> Any:
        return np.zeros((32, 32), dtype=np.uint8)


class Many(CountingEnv):
    """Acts in a space that no algorithm here acts in."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.MultiBinary(3)  # type: ignore[assignment]


class Worded(CountingEnv):
    """Observes words."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Text(5)  # type: ignore[assignment]
