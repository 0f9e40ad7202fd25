"""MountainCarContinuous with a goal that keeps the car: Gymnasium's physics, our two pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.canvas import check_size
from vlm_rewards.envs.mountain_car_drawing import GOAL_POSITION, draw_mountain_car
from vlm_rewards.errors import InvalidInputError

__all__ = [
    "GOAL_POSITION",
    "MountainCarSimulator",
    "draw_mountain_car",
    "mountain_car_at_goal",
    "mountain_car_rule",
]


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
        image_size: Side of the pictures in pixels, at least 32.
        textured: Whether the picture is a landscape with a red car, or Gymnasium's line drawing.

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
        self._started = False
        self.observation_space = self._physics.observation_space
        self.action_space = self._physics.action_space

    @property
    def state(self) -> np.ndarray:
        """Position and velocity, float64 ``[2]``, a copy."""
        if not self._started:
            raise gym.error.ResetNeeded("MountainCarSimulator has no state yet: call reset() first.")
        return np.array(self._physics.state, dtype=np.float64)

    def set_state(self, state: Any) -> None:
        """Go on from another state.

        Args:
            state: Position (-1.2 to 0.6) and velocity (-0.07 to 0.07).

        Raises:
            InvalidInputError: Something else.
        """
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
        self._started = True

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
        self._started = True
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push the car for one step.

        Raises:
            InvalidInputError: The action is not one finite number in an array.
        """
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
        """Picture of the present state, uint8 ``[image_size image_size 3]``."""
        return draw_mountain_car(self.state[0], self.image_size, textured=self.textured)

    def _observation(self) -> np.ndarray:
        return self.state.astype(np.float32)


def mountain_car_at_goal(env: gym.Env[Any, Any]) -> bool:
    """Criterion of the tasks: see `MountainCarSimulator.at_goal`."""
    return env.unwrapped.at_goal  # pyright: ignore[reportAttributeAccessIssue]


def mountain_car_rule(observation: Any) -> np.ndarray:
    """Full force in the direction of travel."""
    return np.array([1.0 if observation[1] >= 0 else -1.0], dtype=np.float32)
