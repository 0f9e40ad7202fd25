"""CartPole without an end: Gymnasium's physics, our frame.

The frame of CartPole, after Gymnasium's, square.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.canvas import Sprite, View, check_size, disc, paint, rectangle, supersampling

TRACK_LIMIT = 2.4
"""Largest distance of the cart from the middle of the track, in metres."""

# Gymnasium draws 125 pixels a metre: a cart of 50 x 30, a pole of 125 x 10, the axle 7.5 above the track.
_CART_WIDTH, _CART_HEIGHT = 0.40, 0.24
_AXLE_HEIGHT = 0.06
_POLE_END = 0.96
# A little thicker than Gymnasium's 0.08, so that the pole is two pixels wide in a frame of 96.
_POLE_WIDTH = 0.12
_TRACK_WIDTH = 0.02  # but at least a pixel
_BLACK, _POLE_COLOUR, _AXLE_COLOUR = (0, 0, 0), (202, 152, 101), (129, 132, 203)

# As narrow as the cart at either stop allows. The track lies, as in Gymnasium, at a quarter of the height,
# which leaves room for a pole that hangs down.
_EXTENT = 2 * TRACK_LIMIT + _CART_WIDTH + 0.04


def draw_cartpole(position_m: SupportsFloat, angle_rad: SupportsFloat, size: int) -> Frame:
    """Draw the cart and the pole after Gymnasium's frame, square: uint8 ``[size size 3]``, the whole cart at both ends.

    Raises:
        InvalidInputError: The state is not finite, or the size is below 32 pixels.
    """
    position, angle = float(position_m), float(angle_rad)
    if not (math.isfinite(position) and math.isfinite(angle)):
        raise InvalidInputError(f"position and angle of the frame must be finite, got {position!r} and {angle!r}.")
    view, background, cart, pole, axle = _parts(check_size(size))
    frame = background.copy()
    cart.stamp(frame, *view.pixel(position, 0.0))
    x, y = view.pixel(position, _AXLE_HEIGHT)
    pole.stamp(frame, x, y, -angle)
    axle.stamp(frame, x, y)
    return frame


@lru_cache(maxsize=8)
def _parts(size: int) -> tuple[View, Frame, Sprite, Sprite, Sprite]:
    """View, background, cart, pole and axle for one frame size."""
    view = View(-_EXTENT / 2, -_EXTENT / 4, _EXTENT, size)
    samples = supersampling(size)
    half_width, half_height, half_pole = _CART_WIDTH / 2, _CART_HEIGHT / 2, _POLE_WIDTH / 2
    cart = Sprite([rectangle(-half_width, -half_height, half_width, half_height, _BLACK)], view.scale, samples)
    pole = Sprite([rectangle(-half_pole, -half_pole, half_pole, _POLE_END, _POLE_COLOUR)], view.scale, samples)
    axle = Sprite([disc((0.0, 0.0), half_pole, _AXLE_COLOUR)], view.scale, samples)
    return view, _background(view), cart, pole, axle


def _background(view: View) -> Frame:
    """White, with the track."""
    fine = Image.new("RGB", (view.size * 8, view.size * 8), (255, 255, 255))
    half_track = max(_TRACK_WIDTH, 1 / view.scale) / 2
    track = rectangle(view.left, -half_track, view.left + view.extent, half_track, _BLACK)
    x, y = view.pixel(0.0, 0.0)
    paint(fine, [track], (x * 8, y * 8), view.scale * 8)
    return np.array(fine.reduce(8))


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
        image_size: Side of the frames in pixels, at least 32.

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
        """Go on from another state: four finite numbers as in `state`, the position within +-2.4 m, any angle."""
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
        """Push the cart for 0.02 s."""
        if not self.action_space.contains(action):
            raise InvalidInputError(f"action of CartPole must be 0 or 1, got {action!r}.")
        _ = self.state  # refuses a step before the first reset
        self._physics.steps_beyond_terminated = None  # for Gymnasium every step beyond the limits is the first
        self._physics.step(action)
        self._physics.state = _confined(self.state)
        return self._observation(), float(self.balanced), False, False, {}

    def render(self) -> Frame:
        """Frame of the present state, uint8 ``[image_size image_size 3]``."""
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
