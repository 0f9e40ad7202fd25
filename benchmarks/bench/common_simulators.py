"""The simulators of the common way: Gymnasium's, drawn as Gymnasium draws them, that go on whatever happens."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from vlm_rewards.tasks.rendering import configure_headless


class EndlessCartPole(CartPoleEnv):
    """Gymnasium's CartPole as Gymnasium draws it (pygame, 600 x 400), without its termination."""

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One step; the pole may fall, the cart stops at the end of the track."""
        self.steps_beyond_terminated = None
        observation, reward, _, truncated, info = super().step(action)
        position, velocity, angle, angular = np.array(self.state, dtype=np.float64)
        self.state = np.array([np.clip(position, -2.4, 2.4), velocity, angle, angular])
        return observation, reward, False, truncated, info


def build_cartpole(horizon: int = 200) -> gym.Env[Any, Any]:
    """One CartPole.

    Args:
        horizon: Steps of an episode.
    """
    return gym.wrappers.TimeLimit(EndlessCartPole(render_mode="rgb_array"), horizon)


def build_humanoid(horizon: int = 100, *, compact: bool = False) -> gym.Env[Any, Any]:
    """One Humanoid-v5 as ``gymnasium.make`` draws it: 480 x 480, with shadows, reflections and smoothing.

    Args:
        horizon: Steps of an episode.
        compact: Leave out of the observation what our ``compact`` leaves out; otherwise all 348 numbers.
    """
    configure_headless()
    left_out = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
    return gym.make(
        "Humanoid-v5",
        render_mode="rgb_array",
        max_episode_steps=horizon,
        terminate_when_unhealthy=False,
        **{f"include_{name}_in_observation": not compact for name in left_out},
    )
