"""A reward over a line of states: along a dimension, or between two states (the paper's figure 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rewards.arrays import Frames
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.judging import Embed, FrameScorer, Judgeable, PromptSweep, each_named
from vlm_rewards.evaluation.states import open_studio
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
    names: tuple[str, ...]
    """All dimensions."""


@dataclass(frozen=True)
class Landscape:
    """Rewards along a line."""

    line: StateLine
    """The states."""
    encoders: tuple[dict[str, Any], ...]
    """Of each reward, or sweep: what its encoder says of itself; ``form`` is what a reward is called."""
    alphas: tuple[float, ...]
    """Strengths of the sweeps; none without one."""
    rewards: tuple[np.ndarray, ...]
    """Of each of ``encoders``, of each state: float32 ``[1 n]``, of a sweep ``[a n]``, at each alpha."""
    goal: np.ndarray | None
    """Where the criterion holds, bool ``[n]``; None where the task has none."""
    frames: Frames
    """uint8 ``[n size size 3]``."""

    def maxima(self) -> list[list[dict[str, Any]]]:
        """The greatest reward of each curve: its place, and whether the criterion holds there; JSON-able."""

        def told(place: int) -> dict[str, Any]:
            goal = None if self.goal is None else bool(self.goal[place])
            return {"value": round(float(self.line.values[place]), 5), "goal": goal}

        return [[told(place) for place in rewards.argmax(axis=1).tolist()] for rewards in self.rewards]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for a record; figures are drawn from it."""
        line = self.line
        return {
            "dimension": line.label,
            "unit": line.unit,
            "fixed": line.fixed,
            "ends": [dict(zip(line.names, line.states[end].round(5).tolist(), strict=True)) for end in (0, -1)],
            "alphas": list(self.alphas),
            "values": line.values.round(5).tolist(),
            "goal_states": None if self.goal is None else self.goal.tolist(),
            "encoders": list(self.encoders),
            "maxima": self.maxima(),
            "rewards": [rewards.astype(float).round(5).tolist() for rewards in self.rewards],
        }


def line_along(
    space: StateSpace,
    dimension: str,
    *,
    low: float | None = None,
    high: float | None = None,
    at: Mapping[str, float] | None = None,
    points: int = POINTS,
) -> StateLine:
    """States that differ in one dimension, from ``low`` to ``high``, or to its own least and greatest value.

    Others have the values of ``at``, or are as at the start of an episode.
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
    return StateLine(states, states[:, index], dimension, space.unit(dimension), fixed, tuple(space.names))


def line_between(
    space: StateSpace, one: Mapping[str, float], two: Mapping[str, float], *, points: int = POINTS
) -> StateLine:
    """States on the straight way from one to another; values that are not named are as at the start of an episode."""
    first, last = _state(space, one), _state(space, two)
    if np.array_equal(first, last):
        raise InvalidInputError(f"the two states must differ, both are {first.round(5).tolist()}.")
    same = {
        name: round(float(value), 5)
        for name, value, other in zip(space.names, first, last, strict=True)
        if value == other
    }
    states = interpolate(first, last, points)
    return StateLine(states, np.linspace(0.0, 1.0, points), _BETWEEN, "", same, tuple(space.names))


def read_values(field: str, given: Sequence[str]) -> dict[str, float]:
    """Read values of dimensions, ``NAME=VALUE`` each; ``field`` is what they are for, as the message names it."""
    values: dict[str, float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            equals, number = "", 0.0
        if not name or not equals:
            raise InvalidInputError(f"{field} must be NAME=VALUE with a number, got {text!r}.")
        if name in values:
            raise InvalidInputError(f"{field} must name {name!r} once, got {' '.join(given)}.")
        values[name] = number
    return values


def landscape(
    rewards: Judgeable | Iterable[Judgeable | tuple[str, Judgeable]] | Mapping[str, Judgeable],
    task: Task,
    line: StateLine,
    *,
    embed: Embed | None = None,
) -> Landscape:
    """Render the states of a line and score them.

    Args:
        rewards: Any reward or several, as `judge` takes them; a `PromptSweep` of one pair of prompts is scored at each
            of its alphas.
        task: The task.
        line: The states.
        embed: Embeds frames; default: through the cache (`EmbeddingCache`).

    Raises:
        InvalidInputError: There is no reward, the simulator cannot be put into a state, or all frames are the same.
    """
    drawn: dict[int, tuple[Frames, np.ndarray | None]] = {}

    def frames_at(size: int) -> Frames:
        if size not in drawn:
            with open_studio(task, size) as studio:
                frames, verdicts = studio.show(line.states)
            if (frames == frames[0]).all():
                raise InvalidInputError(f"the frames of all states are the same: {line.label!r} cannot be seen.")
            drawn[size] = frames, verdicts
        return drawn[size][0]

    score = FrameScorer(frames_at, embed)
    scored: list[np.ndarray] = []
    facts: list[dict[str, Any]] = []
    alphas: tuple[float, ...] = ()
    for name, reward in each_named(rewards):
        values, place = score(reward)
        about = {} if place is None else score.encoders[place]
        if isinstance(reward, PromptSweep):
            if len(reward.prompts) != 1 or reward.alphas != (alphas or reward.alphas):
                raise InvalidInputError("a landscape's sweeps must have one pair of prompts and the same alphas.")
            scored.append(values[0])
            alphas = tuple(reward.alphas)
        else:
            scored.append(values[None])
            form = name or getattr(reward, "__name__", type(reward).__name__)
            about = {**about, "name": about.get("name", form), "form": form}
        facts.append(about)
        del reward  # an encoder goes before the next is made
    if not scored:
        raise InvalidInputError("rewards must be at least one, got none.")
    frames, verdicts = next(iter(drawn.values()))
    return Landscape(line, tuple(facts), alphas, tuple(scored), verdicts, frames)


def dimensions(space: StateSpace) -> list[dict[str, Any]]:
    """What a state consists of, JSON-able; what has no bound has None."""
    ends = [[float(end) if np.isfinite(end) else None for end in bounds] for bounds in (space.low, space.high)]
    rows = zip(space.names, *ends, space.start.tolist(), strict=True)
    return [
        {"dimension": name, "unit": space.unit(name), "low": low, "high": high, "start": start}
        for name, low, high, start in rows
    ]


def _state(space: StateSpace, values: Mapping[str, float]) -> np.ndarray:
    state = space.start.copy()
    for name, value in values.items():
        index = space.index(name)
        if not space.low[index] <= value <= space.high[index]:  # NaN is refused too
            ends = f"[{space.low[index]:g}, {space.high[index]:g}]"
            raise InvalidInputError(f"state dimension {name!r} must be in {ends}, got {value:g}.")
        state[index] = value
    return state
