"""CartPole without an end: Gymnasium's physics, our picture."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.canvas import check_size
from vlm_rewards.envs.cartpole_drawing import TRACK_LIMIT, draw_cartpole
from vlm_rewards.errors import InvalidInputError

__all__ = ["ANGLE_LIMIT", "TRACK_LIMIT", "CartPoleSimulator", "cartpole_balanced", "cartpole_rule", "draw_cartpole"]

ANGLE_LIMIT = math.radians(12)
"""Largest angle of a balanced pole, in radians."""


class CartPoleSimulator(gym.Env[np.ndarray, Any]):
    """Gymnasium's CartPole-v1 that goes on whatever happens.

    It never terminates: an end would tell the learner what the task is. The
    pole may fall and swing all the way round, its angle is wrapped to
    (-pi, pi]. The cart stops at +-2.4 m: its position is clamped, its outward
    velocity becomes zero; the impact is not passed on to the pole.

    Observations are float32 ``[4]``: position (m), velocity (m/s), angle (rad,
    positive to the right) and angular velocity (rad/s). Actions are 0 (push to
    the left) and 1 (to the right). The reward is the original's without its
    termination: 1.0 for every step that ends with the pole within 12 degrees
    and the cart short of the stops, 0.0 for every other.

    Args:
        image_size: Side of the pictures in pixels, at least 32.

    Raises:
        InvalidInputError: ``image_size`` is not an int of at least 32.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 50}
    state_names = ("cart_position", "cart_velocity", "pole_angle", "pole_velocity")
    state_units = ("m", "m/s", "rad", "rad/s")
    state_low = (-TRACK_LIMIT, -math.inf, -math.pi, -math.inf)
    state_high = (TRACK_LIMIT, math.inf, math.pi, math.inf)

    def __init__(self, image_size: int = 96) -> None:
        self.image_size = check_size(image_size)
        self.render_mode = "rgb_array"
        self._physics = CartPoleEnv()
        high = np.array([TRACK_LIMIT, np.inf, math.pi, np.inf], dtype=np.float32)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(2)

    @property
    def state(self) -> np.ndarray:
        """Position (m), velocity (m/s), angle (rad) and angular velocity (rad/s), float64 ``[4]``, a copy."""
        if self._physics.state is None:
            raise gym.error.ResetNeeded("CartPoleSimulator has no state yet: call reset() first.")
        return np.array(self._physics.state, dtype=np.float64)

    def set_state(self, state: Any) -> None:
        """Go on from another state.

        Args:
            state: Four finite numbers as in `state`; the position within +-2.4 m, any angle.

        Raises:
            InvalidInputError: Something else.
        """
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (4,) or not np.isfinite(values).all() or abs(values[0]) > TRACK_LIMIT:
            raise InvalidInputError(
                f"state of CartPole must be 4 finite numbers with a position within +-{TRACK_LIMIT} m, got {state!r}."
            )
        self._physics.state = _confined(values)

    @property
    def balanced(self) -> bool:
        """Whether the pole is within 12 degrees and the cart is short of the stops, at which it has left the track."""
        position, _, angle, _ = self.state
        return bool(abs(angle) <= ANGLE_LIMIT and abs(position) < TRACK_LIMIT)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start again, each of the four numbers uniform within +-0.05, as in Gymnasium and with its options."""
        super().reset(seed=seed)
        self._physics.np_random = self.np_random
        self._physics.reset(options=options)
        self._physics.state = _confined(self.state)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push the cart for 0.02 s.

        Raises:
            InvalidInputError: The action is neither 0 nor 1.
        """
        if not self.action_space.contains(action):
            raise InvalidInputError(f"action of CartPole must be 0 or 1, got {action!r}.")
        _ = self.state  # refuses a step before the first reset
        self._physics.steps_beyond_terminated = None  # for Gymnasium every step beyond the limits is the first
        self._physics.step(action)
        self._physics.state = _confined(self.state)
        return self._observation(), float(self.balanced), False, False, {}

    def render(self) -> Frame:
        """Picture of the present state, uint8 ``[image_size image_size 3]``."""
        position, _, angle, _ = self.state
        return draw_cartpole(position, angle, self.image_size)

    def _observation(self) -> np.ndarray:
        return self.state.astype(np.float32)


def cartpole_balanced(env: gym.Env[Any, Any]) -> bool:
    """Criterion of the task: see `CartPoleSimulator.balanced`."""
    return env.unwrapped.balanced  # pyright: ignore[reportAttributeAccessIssue]


def cartpole_rule(observation: Any) -> int:
    """Push towards where the pole falls, a little against the cart's drift."""
    return int(np.dot(observation, (0.1, 0.2, 1.0, 0.3)) > 0)


def _confined(state: np.ndarray) -> np.ndarray:
    """The state with the angle wrapped to (-pi, pi] and the cart stopped at the end of the track."""
    position, velocity, angle, angular_velocity = state.tolist()
    if abs(position) >= TRACK_LIMIT:
        side = math.copysign(1.0, position)
        position = side * TRACK_LIMIT
        velocity = side * min(side * velocity, 0.0)
    if not -math.pi < angle <= math.pi:
        angle = math.pi - (math.pi - angle) % (2 * math.pi)
        angle = math.pi if angle <= -math.pi else angle  # rounding
    return np.array([position, velocity, angle, angular_velocity])
