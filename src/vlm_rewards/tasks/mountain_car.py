"""MountainCarContinuous with a goal that keeps the car: Gymnasium's physics, our two frames.

The two frames of MountainCarContinuous: Gymnasium's own look, and a mountain landscape.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.canvas import (
    Shape,
    Sprite,
    View,
    check_size,
    disc,
    landscape,
    paint,
    rectangle,
    supersampling,
)

GOAL_POSITION = 0.45
"""Where the flag stands."""

_STRETCH = 1.2
_BLACK, _GREY, _WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)
_FLAG_OLIVE, _FLAG_YELLOW = (204, 204, 0), (255, 214, 0)
_RED, _DARK_RED, _GLASS = (214, 28, 34), (140, 12, 20), (176, 220, 240)
_TYRE, _HUB, _LAMP, _WOOD = (24, 24, 26), (196, 198, 204), (255, 244, 190), (58, 40, 26)

# Gymnasium draws 333 pixels a unit: a car of 40 x 20 on wheels of 8, a flag of 25 x 10 on a pole of 50.
_ORIGINAL_PIXEL = 1.8 / 600
_CLEARANCE = 10 * _ORIGINAL_PIXEL
_HALF_WHEELBASE = 0.11


def road_height(x: float) -> float:
    """Height of the road at a position, as Gymnasium draws it."""
    return 0.55 + 0.45 * math.sin(3 * x)


def _stretched_road(x: np.ndarray) -> np.ndarray:
    return (0.55 + 0.45 * np.sin(3 * x)) * _STRETCH


def draw_mountain_car(position: SupportsFloat, size: int, *, textured: bool) -> Frame:
    """Draw the car in the valley, in a landscape or as Gymnasium's line drawing: uint8 ``[size size 3]``.

    Raises:
        InvalidInputError: The position is not finite, or the size is below 32 pixels.
    """
    place = float(position)
    if not math.isfinite(place):
        raise InvalidInputError(f"position of the frame must be finite, got {place!r}.")
    return (_draw_textured if textured else _draw_original)(place, check_size(size))


def _draw_original(position: float, size: int) -> Frame:
    view, background, car, wheels, flag = _original_parts(size)
    frame = background.copy()
    x, y = view.pixel(position, road_height(position) + _CLEARANCE)
    # Gymnasium turns the car by cos(3 x) radians, which is close to the slope's angle.
    angle = math.cos(3 * position)
    car.stamp(frame, x, y, angle)
    wheels.stamp(frame, x, y, angle)
    flag.stamp(frame, *view.pixel(GOAL_POSITION, road_height(GOAL_POSITION)))
    return frame


@lru_cache(maxsize=8)
def _original_parts(size: int) -> tuple[View, Frame, Sprite, Sprite, Sprite]:
    """View, background, car, wheels and flag for one frame size."""
    # A little more than -1.2 to 0.6, so that the whole car is seen at both ends; one scale for both axes.
    view = View(-1.3, -0.38, 2.0, size)
    samples, p = supersampling(size), _ORIGINAL_PIXEL
    car = Sprite([rectangle(-20 * p, 0, 20 * p, 20 * p, _BLACK)], view.scale, samples)
    wheels = Sprite([disc((x * p, 0.0), 8 * p, _GREY) for x in (10, -10)], view.scale, samples)
    cloth = Shape([(0.0, 50 * p), (0.0, 40 * p), (25 * p, 45 * p)], _FLAG_OLIVE)
    half_line = max(1.5 * p, 0.7 / view.scale) / 2
    flag = Sprite([rectangle(-half_line, 0, half_line, 50 * p, _BLACK), cloth], view.scale, samples)
    return view, _curve(view), car, wheels, flag


def _curve(view: View) -> Frame:
    """White, with the road as a thin line."""
    fine = Image.new("RGB", (view.size * 4, view.size * 4), _WHITE)
    xs = np.linspace(view.left, view.left + view.extent, 200)
    half_line = max(2 * _ORIGINAL_PIXEL, 0.9 / view.scale) / 2
    slope = 3 * 0.45 * np.cos(3 * xs)
    normal = half_line / np.hypot(slope, 1)
    heights = 0.55 + 0.45 * np.sin(3 * xs)
    upper = np.stack([xs - normal * slope, heights + normal], axis=1).tolist()
    lower = np.stack([xs + normal * slope, heights - normal], axis=1).tolist()
    x, y = view.pixel(0.0, 0.0)
    paint(fine, [Shape([(x, y) for x, y in upper + lower[::-1]], _BLACK)], (x * 4, y * 4), view.scale * 4)
    return np.array(fine.reduce(4))


def _draw_textured(position: float, size: int) -> Frame:
    view, background, car = _textured_parts(size)
    frame = background.copy()
    x, y, angle = _on_road(position)
    car.stamp(frame, *view.pixel(x, y), angle)
    return frame


def _on_road(position: float) -> tuple[float, float, float]:
    """Place and angle of a car whose two wheels touch the stretched road."""
    half = _HALF_WHEELBASE / math.hypot(1, _STRETCH * 1.35 * math.cos(3 * position))
    rear, front = (_STRETCH * road_height(position + side) for side in (-half, half))
    return position, (rear + front) / 2, math.atan2(front - rear, 2 * half)


@lru_cache(maxsize=8)
def _textured_parts(size: int) -> tuple[View, Frame, Sprite]:
    """View, landscape with the flag, and car for one frame size."""
    view = View(-1.36, -0.22, 2.3, size)
    samples = supersampling(size)
    background = landscape(view, _stretched_road)
    flag = Sprite(_flag(), view.scale, samples)
    flag.stamp(background, *view.pixel(GOAL_POSITION, _STRETCH * road_height(GOAL_POSITION)))
    return view, background, Sprite(_car(), view.scale, samples)


def _flag() -> list[Shape]:
    """A yellow flag in the wind, on a pole."""
    wave = [(x, 0.016 * math.sin(2 * math.pi * x / 0.26)) for x in np.linspace(0, 0.27, 12).tolist()]
    cloth = [(x, 0.46 + dy) for x, dy in wave] + [(x, 0.29 + dy) for x, dy in wave[::-1]]
    return [rectangle(-0.011, -0.02, 0.011, 0.49, _WOOD), Shape(cloth, _FLAG_YELLOW)]


def _car() -> list[Shape]:
    """A red car from the side, facing right; the origin lies on the road between the wheels."""
    body = [
        (-0.19, 0.04),
        (-0.196, 0.098),
        (-0.172, 0.121),
        (0.103, 0.121),
        (0.172, 0.103),
        (0.196, 0.081),
        (0.196, 0.04),
    ]
    cabin = [(-0.144, 0.115), (-0.109, 0.19), (0.034, 0.19), (0.098, 0.115)]
    rear_window = [(-0.118, 0.124), (-0.094, 0.175), (-0.04, 0.175), (-0.04, 0.124)]
    front_window = [(-0.023, 0.124), (-0.023, 0.175), (0.026, 0.175), (0.071, 0.124)]
    shapes = [Shape(cabin, _RED), Shape(body, _RED), rectangle(-0.193, 0.04, 0.196, 0.057, _DARK_RED)]
    shapes += [Shape(rear_window, _GLASS), Shape(front_window, _GLASS)]
    shapes += [rectangle(0.178, 0.078, 0.198, 0.097, _LAMP)]
    for x in (-_HALF_WHEELBASE, _HALF_WHEELBASE):
        shapes += [disc((x, 0.046), 0.048, _TYRE), disc((x, 0.046), 0.022, _HUB)]
    return shapes


class MountainCarSimulator(gym.Env[np.ndarray, Any]):
    """Gymnasium's MountainCarContinuous-v0 with an absorbing goal.

    It never terminates: an end would tell the learner what the task is. Once
    the car has reached the flag (position >= 0.45) it stays where it is with
    velocity 0, whatever the action.

    Observations are float32 ``[2]``: position (-1.2 to 0.6) and velocity
    (-0.07 to 0.07 a step). Actions are float32 ``[1]`` in [-1, 1], the force.
    The reward is the original's: -0.1 times the action squared a step, and 100
    on the step that reaches the goal. After it, where the original's episode
    has ended, the reward is 0, so that the return equals the original's.

    Args:
        image_size: Side of the frames in pixels, at least 32.
        textured: Whether the frame is a landscape with a red car, or Gymnasium's line drawing.

    Raises:
        InvalidInputError: ``image_size`` is not an int of at least 32.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}
    state_names = ("position", "velocity")
    state_low = (-1.2, -0.07)
    state_high = (0.6, 0.07)

    def __init__(self, image_size: int = 96, *, textured: bool = False) -> None:
        self.image_size = check_size(image_size)
        self.textured = textured
        self.render_mode = "rgb_array"
        self._physics = Continuous_MountainCarEnv()
        self.observation_space = self._physics.observation_space
        self.action_space = self._physics.action_space

    @property
    def state(self) -> np.ndarray:
        """Position and velocity, float64 ``[2]``, a copy."""
        present = getattr(self._physics, "state", None)  # Gymnasium sets it at the first reset
        if present is None:
            raise gym.error.ResetNeeded("MountainCarSimulator has no state yet: call reset() first.")
        return np.array(present, dtype=np.float64)

    def set_state(self, state: Any) -> None:
        """Go on from another state: position (-1.2 to 0.6) and velocity (-0.07 to 0.07)."""
        values = np.asarray(state, dtype=np.float64)
        # Compared in float32, in which Gymnasium's own states lie on the bounds.
        if values.shape != (2,) or not self.observation_space.contains(values.astype(np.float32)):
            raise InvalidInputError(
                "state of MountainCar must be a position within [-1.2, 0.6] and a velocity within [-0.07, 0.07], "
                f"got {state!r}."
            )
        rounded = values.astype(np.float32)
        # After its first step Gymnasium computes in float32: a state taken from there has to go on in float32, or a
        # restored simulator would differ from the one it was taken from in the last bits.
        self._physics.state = rounded if (rounded == values).all() else values

    @property
    def at_goal(self) -> bool:
        """Whether the car has reached the flag: position >= 0.45, compared in Gymnasium's float32."""
        return bool(np.float32(self.state[0]) >= np.float32(GOAL_POSITION))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start again at rest, the position uniform within [-0.6, -0.4], as in Gymnasium and with its options."""
        super().reset(seed=seed)
        self._physics.np_random = self.np_random
        self._physics.reset(options=options)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push the car for one step."""
        force = np.asarray(action, dtype=np.float32)
        if force.shape != (1,) or not np.isfinite(force).all():
            raise InvalidInputError(f"action of MountainCar must be an array of one finite number, got {action!r}.")
        if self.at_goal:
            position, _ = self.state
            self.set_state((position, 0.0))
            return self._observation(), 0.0, False, False, {}
        _, reward, _, _, _ = self._physics.step(force)
        if self.at_goal:
            self._physics.state[1] = 0.0
        return self._observation(), float(reward), False, False, {}

    def render(self) -> Frame:
        """Frame of the present state, uint8 ``[image_size image_size 3]``."""
        return draw_mountain_car(self.state[0], self.image_size, textured=self.textured)

    def _observation(self) -> np.ndarray:
        return self.state.astype(np.float32)


def mountain_car_at_goal(env: gym.Env[Any, Any]) -> bool:
    """Criterion of the tasks: see `MountainCarSimulator.at_goal`."""
    return env.unwrapped.at_goal  # pyright: ignore[reportAttributeAccessIssue]


def mountain_car_rule(observation: Any) -> np.ndarray:
    """Full force in the direction of travel."""
    return np.array([1.0 if observation[1] >= 0 else -1.0], dtype=np.float32)
