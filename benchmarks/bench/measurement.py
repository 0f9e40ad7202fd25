"""Measured numbers: what, in which unit, how often, and beside what."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vlm_rewards.errors import check_count


@dataclass(frozen=True)
class Measurement:
    """One quantity, measured several times, and what it was measured beside.

    Attributes:
        name: What was measured, such as ``"collection and labelling"``.
        unit: Of the values, such as ``"frames/s"``.
        values: One a repeat.
        beside: What the values are compared with, such as ``"common way"``; None is nothing.
        others: The values of that, each measured right before or after its partner in ``values``.
        settings: What decides the values: sizes, counts, threads. JSON-able.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    beside: str | None = None
    others: tuple[float, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Of the values."""
        return statistics.median(self.values)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Each value over its partner; empty where there is none."""
        return tuple(value / other for value, other in zip(self.values, self.others, strict=bool(self.others)))

    def to_dict(self) -> dict[str, Any]:
        """All of it with medians, lowest and highest values. JSON-able."""
        result: dict[str, Any] = {"name": self.name, "unit": self.unit, **_summary(self.values)}
        if self.beside is not None:
            result["beside"] = {"name": self.beside, **_summary(self.others)}
            result["ratio"] = _summary(self.ratios)
        return {**result, "settings": self.settings}


def _summary(values: tuple[float, ...]) -> dict[str, Any]:
    return {
        "median": _rounded(statistics.median(values)),
        "lowest": _rounded(min(values)),
        "highest": _rounded(max(values)),
        "runs": [_rounded(value) for value in values],
    }


def _rounded(value: float) -> float:
    """Five digits: more than any of these numbers is good for."""
    return float(f"{value:.5g}")


def repeat(measure: Callable[[], float], repeats: int) -> tuple[float, ...]:
    """Measure once to warm up, and then ``repeats`` times."""
    check_count("repeats", repeats)
    measure()
    return tuple(measure() for _ in range(repeats))


def paired(
    ours: Callable[[], float], theirs: Callable[[], float], repeats: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure two things in turn, so that a machine that slows down for a while slows down both.

    Each is measured once to warm up. Who goes first changes from pair to pair.

    Args:
        ours: Measures the one.
        theirs: Measures the other.
        repeats: Pairs.

    Returns:
        The values of the one and of the other, pair by pair.
    """
    check_count("repeats", repeats)
    ours()
    theirs()
    pairs: list[tuple[float, float]] = []
    for number in range(repeats):
        if number % 2:
            second = theirs()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, theirs()))
    return tuple(one for one, _ in pairs), tuple(other for _, other in pairs)
