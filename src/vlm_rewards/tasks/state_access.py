"""Simulators put into states, to see what a reward says of them: any state, not only those that policies reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.tasks.rendering import FrameRenderer
from vlm_rewards.tasks.task import Task, make_task_env

_FREE, _BALL, _SLIDE = 0, 1, 2  # mjtJoint; 3 is a hinge
_TURN = {"qw": "", "qx": "", "qy": "", "qz": ""}
_SPIN = {"wx": "rad/s", "wy": "rad/s", "wz": "rad/s"}
_FREE_POSITIONS = {"x": "m", "y": "m", "z": "m", **_TURN}
_FREE_VELOCITIES = {"vx": "m/s", "vy": "m/s", "vz": "m/s", **_SPIN}


@dataclass(frozen=True)
class StateSpace:
    """The numbers that make up a simulator's state."""

    names: tuple[str, ...]
    """What each is called on the command line."""
    low: np.ndarray
    """float64 ``[k]``: least value; -inf where there is none."""
    high: np.ndarray
    """float64 ``[k]``: greatest value."""
    start: np.ndarray
    """float64 ``[k]``: a state that an episode starts in."""
    units: tuple[str, ...] = ()
    """Such as ``"rad"``; empty where nobody said."""

    def index(self, name: str) -> int:
        """Place of a dimension; one that does not exist is refused."""
        if name not in self.names:
            raise unknown_name("state dimension", name, self.names)
        return self.names.index(name)

    def unit(self, name: str) -> str:
        """Unit of a dimension, or an empty string."""
        return self.units[self.index(name)] if self.units else ""

    def bounded(self) -> np.ndarray:
        """Bool ``[k]``: which dimensions have both ends."""
        return np.isfinite(self.low) & np.isfinite(self.high)


class StateStudio(gym.Wrapper[Any, Any, Any, Any]):
    """Puts a task's simulator into given states, and renders and judges them.

    Works for simulators that have ``state`` and ``set_state(state)`` (those of
    this package; ``state_names``, ``state_units``, ``state_low`` and ``state_high`` are used if
    there), for Gymnasium's with MuJoCo (positions, then velocities), and for its
    classic ones, whose ``state`` can be assigned.

    Args:
        task: The task.
        size: Side of the frames in pixels.
        seed: Seeds the episode whose first state is ``start``.

    Raises:
        InvalidInputError: The simulator cannot be put into a state.
    """

    def __init__(self, task: Task, size: int, seed: int = 0) -> None:
        super().__init__(make_task_env(task, size))
        self._task = task
        self._renderer = FrameRenderer(self.env, size, task.cameras)
        self._seed = seed
        self.env.reset(seed=seed)
        self._inner: Any = self.env.unwrapped
        self._kind = _kind(self._inner)

    def state_space(self) -> StateSpace:
        """What a state consists of."""
        self.env.reset(seed=self._seed)
        start = _state(self._inner, self._kind)
        if self._kind == "mujoco":
            units = _mujoco_units(self._inner.model)
            return StateSpace(tuple(units), *_mujoco_bounds(self._inner.model), start, tuple(units.values()))
        low, high = self._bounds(start)
        names = getattr(self._inner, "state_names", tuple(f"state{index}" for index in range(start.size)))
        return StateSpace(tuple(names), low, high, start, tuple(getattr(self._inner, "state_units", ())))

    def show(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Render and judge states, float64 ``[n k]``.

        Returns:
            Frames, uint8 ``[n size size 3]``, and where the task has a criterion whether it holds, bool ``[n]``.
        """
        frames: list[np.ndarray] = []
        verdicts: list[bool] = []
        for state in np.asarray(states, dtype=np.float64):
            self._set(state)
            frames.append(self._renderer.render())
            if self._task.criterion is not None:
                verdicts.append(bool(self._task.criterion(self._inner)))
        return np.stack(frames), (np.array(verdicts) if self._task.criterion is not None else None)

    def _set(self, state: np.ndarray) -> None:
        if self._kind == "mujoco":
            positions = self._inner.model.nq
            self._inner.set_state(state[:positions], state[positions:])
        elif self._kind == "own":
            self._inner.set_state(state)
        else:
            self._inner.state = state.copy()

    def _bounds(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = (getattr(self._inner, f"state_{end}", None) for end in ("low", "high"))
        if low is not None and high is not None:
            return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        space = self._inner.observation_space
        if isinstance(space, gym.spaces.Box) and space.shape == start.shape:
            far = 1e6  # Gymnasium writes some missing bounds as the greatest float32
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            return np.where(low < -far, -np.inf, low), np.where(high > far, np.inf, high)
        return np.full(start.shape, -np.inf), np.full(start.shape, np.inf)


class StateMemory(gym.Wrapper[Any, Any, Any, Any]):
    """Remembers the state that each step of a task's episodes led to, for simulators that `StateStudio` works with."""

    def __init__(self, task: Task, size: int) -> None:
        super().__init__(make_task_env(task, size))
        self._states: list[np.ndarray | None] = []

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and remember where it led to."""
        result = super().step(action)
        self._states.append(_told(self.env.unwrapped))
        return result

    def take_states(self) -> np.ndarray | None:
        """Hand out the states since the last call, float64 ``[steps k]``; None where the simulator cannot tell them."""
        remembered, self._states = self._states, []
        told = [state for state in remembered if state is not None]
        whole = len(told) == len(remembered) > 0 and len({state.shape for state in told}) == 1
        return np.stack(told) if whole else None


def interpolate(one: Sequence[float] | np.ndarray, two: Sequence[float] | np.ndarray, points: int) -> np.ndarray:
    """States on the straight line from one to another, both included: ``[k]`` and ``[k]`` to float64 ``[points k]``.

    Raises:
        InvalidInputError: The states differ in length, a number is not finite, or there are fewer than 2 points.
    """
    check_count("points", points, least=2)
    first, second = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InvalidInputError(f"two states must be equally long, got {first.size} and {second.size} numbers.")
    if not np.isfinite([first, second]).all():
        raise InvalidInputError(f"states must be finite, got {first.tolist()} and {second.tolist()}.")
    return first + np.linspace(0.0, 1.0, points)[:, None] * (second - first)


def _kind(inner: Any) -> str:
    if hasattr(inner, "data") and hasattr(inner, "model") and hasattr(inner, "set_state"):
        return "mujoco"
    if hasattr(inner, "state") and hasattr(inner, "set_state"):
        return "own"
    state = getattr(inner, "state", None)
    if isinstance(state, np.ndarray | tuple | list) and np.ndim(state) == 1:
        return "assigned"
    raise InvalidInputError(
        f"{type(inner).__name__} cannot be put into a state: give it `state` and `set_state(state)`, or judge states "
        "that policies visit."
    )


def _state(inner: Any, kind: str) -> np.ndarray:
    if kind == "mujoco":
        return np.concatenate([inner.data.qpos, inner.data.qvel]).astype(np.float64)
    return np.array(inner.state, dtype=np.float64)


def _told(inner: Any) -> np.ndarray | None:
    """The state of a simulator, or None: nobody asked it to have one, and so what is none is no error."""
    try:
        state = _state(inner, _kind(inner))
    except (InvalidInputError, TypeError, ValueError):
        return None
    return state if state.ndim == 1 else None


def _mujoco_units(model: Any) -> dict[str, str]:
    """Names of the positions, then of the velocities, with their units."""
    positions: dict[str, str] = {}
    velocities: dict[str, str] = {}
    for index in range(model.njnt):
        joint = model.joint(index)
        name, kind = joint.name or f"joint{index}", int(joint.type[0])
        if kind == _FREE:
            positions |= {f"{name}.{part}": unit for part, unit in _FREE_POSITIONS.items()}
            velocities |= {f"{name}.{part}": unit for part, unit in _FREE_VELOCITIES.items()}
        elif kind == _BALL:
            positions |= {f"{name}.{part}": unit for part, unit in _TURN.items()}
            velocities |= {f"{name}.{part}": unit for part, unit in _SPIN.items()}
        else:
            positions[name] = "m" if kind == _SLIDE else "rad"
            velocities[f"{name}.velocity"] = positions[name] + "/s"
    return positions | velocities


def _mujoco_bounds(model: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(model.nq + model.nv, -math.inf), np.full(model.nq + model.nv, math.inf)
    for index in range(model.njnt):
        joint = model.joint(index)
        if model.jnt_limited[index] and int(joint.type[0]) not in (_FREE, _BALL):
            low[joint.qposadr[0]], high[joint.qposadr[0]] = model.jnt_range[index]
    return low, high
