"""A reward over a line of states: along a dimension, or between two states (the paper's figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.rewards.goal_baseline import check_alpha, goal_baseline_sweep
from vlm_rewards.tasks.state_access import StateSpace, interpolate
from vlm_rewards.tasks.task import Task

POINTS = 181
"""States on a line, unless told otherwise: two degrees apart around a whole turn."""

_BETWEEN = "share of the way"


@dataclass(frozen=True)
class StateLine:
    """States in a row."""

    states: np.ndarray
    """float64 ``[n k]``."""
    values: np.ndarray
    """float64 ``[n]``: the place of each on the axis, ascending."""
    label: str
    """What the axis shows."""
    unit: str
    """Such as ``"rad"``; may be empty."""
    fixed: dict[str, float]
    """The dimensions that are the same in all states."""


@dataclass(frozen=True)
class Landscape:
    """Rewards of one encoder along a line."""

    encoder: dict[str, Any]
    """What the encoder says of itself."""
    rewards: np.ndarray
    """float32 ``[a n]``: at each alpha, of each state."""
    goal: np.ndarray | None
    """Where the criterion holds, bool ``[n]``; None where the task has none."""
    frames: Frames
    """uint8 ``[n size size 3]``."""

    def maxima(self, values: np.ndarray) -> list[dict[str, Any]]:
        """The greatest reward at each alpha: its place, and whether the criterion holds there; JSON-able."""
        places = self.rewards.argmax(axis=1).tolist()
        return [
            {"value": round(float(values[place]), 5), "goal": None if self.goal is None else bool(self.goal[place])}
            for place in places
        ]


def line_along(
    space: StateSpace,
    dimension: str,
    *,
    low: float | None = None,
    high: float | None = None,
    at: Mapping[str, float] | None = None,
    points: int = POINTS,
) -> StateLine:
    """States that differ in one dimension.

    Args:
        space: What a state consists of.
        dimension: Name of the dimension.
        low: Where to begin; default: its least value.
        high: Where to end; default: its greatest value.
        at: Values of others by name; those not named are as at the start of an episode.
        points: How many states, at least 2.

    Raises:
        UnknownNameError: There is no such dimension.
        InvalidInputError: The dimension has no bounds and none were given, they are in the wrong order or beyond what
            the dimension can be, or it is also in ``at``.
    """
    index = space.index(dimension)
    given = dict(at or {})
    if dimension in given:
        raise InvalidInputError(f"at must not name {dimension!r}: that is what varies.")
    ends: list[float] = []
    for name, value, bound in (("low", low, space.low[index]), ("high", high, space.high[index])):
        if value is None and not np.isfinite(bound):
            raise InvalidInputError(f"{name} is needed: state dimension {dimension!r} has no bounds of its own.")
        ends.append(float(bound) if value is None else value)
    first, last = _state(space, {**given, dimension: ends[0]}), _state(space, {**given, dimension: ends[1]})
    if not ends[0] < ends[1]:
        raise InvalidInputError(f"low must be less than high, got {ends[0]:g} and {ends[1]:g}.")
    states = interpolate(first, last, points)
    fixed = {name: round(float(first[place]), 5) for place, name in enumerate(space.names) if place != index}
    return StateLine(states, states[:, index], dimension, space.unit(dimension), fixed)


def line_between(
    space: StateSpace, one: Mapping[str, float], two: Mapping[str, float], *, points: int = POINTS
) -> StateLine:
    """States on the straight way from one to another.

    Args:
        space: What a state consists of.
        one: Values of the first by name; those not named are as at the start of an episode.
        two: Of the last.
        points: How many states, at least 2.

    Raises:
        UnknownNameError: There is no such dimension.
        InvalidInputError: The states are the same, or a value is beyond its bounds.
    """
    first, last = _state(space, one), _state(space, two)
    if np.array_equal(first, last):
        raise InvalidInputError(f"the two states must differ, both are {first.round(5).tolist()}.")
    same = {
        name: round(float(value), 5)
        for name, value, other in zip(space.names, first, last, strict=True)
        if value == other
    }
    return StateLine(interpolate(first, last, points), np.linspace(0.0, 1.0, points), _BETWEEN, "", same)


def landscape(
    encoder: ImageTextEncoder,
    task: Task,
    line: StateLine,
    alphas: Sequence[float],
    *,
    goal: str,
    baseline: str,
    embed: Callable[[ImageTextEncoder, Frames], Embeddings],
) -> Landscape:
    """Render the states of a line and score them.

    Args:
        encoder: Embeds the frames.
        task: The task.
        line: The states.
        alphas: Strengths of the baseline, in [0, 1].
        goal: What a state should look like.
        baseline: What any state looks like.
        embed: Embeds frames, such as `EmbeddingCache.embed`.

    Raises:
        InvalidInputError: The simulator cannot be put into a state, an alpha is none, or all frames are the same.
    """
    strengths = np.array([check_alpha(alpha) for alpha in alphas])
    with open_studio(task, encoder.image_size) as studio:
        frames, verdicts = studio.show(line.states)
    if (frames == frames[0]).all():
        raise InvalidInputError(f"the frames of all states are the same: {line.label!r} cannot be seen.")
    goal_vector, baseline_vector = encoder.embed_texts([goal, baseline])
    swept = goal_baseline_sweep(embed(encoder, frames), goal_vector[None], baseline_vector[None], strengths)
    return Landscape(encoder.describe(), swept[0], verdicts, frames)


def _state(space: StateSpace, values: Mapping[str, float]) -> np.ndarray:
    state = space.start.copy()
    for name, value in values.items():
        index = space.index(name)
        if not space.low[index] <= value <= space.high[index]:  # NaN is refused too
            ends = f"[{space.low[index]:g}, {space.high[index]:g}]"
            raise InvalidInputError(f"state dimension {name!r} must be in {ends}, got {value:g}.")
        state[index] = value
    return state
