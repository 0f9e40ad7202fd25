"""Captions of MountainCar: how high the car is, on which slope, how near the flag, and the picture's look."""

from __future__ import annotations

import math

import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.tasks.captions import Axis, Wording, above, accept, below, between, phrases, pick, say, side_of, within
from vlm_rewards.tasks.mountain_car import GOAL_POSITION, draw_mountain_car

LEFT_END, RIGHT_END = -1.2, 0.6
"""The range of the car's position."""

VALLEY, SUMMIT = -math.pi / 6, math.pi / 6
"""Where the road ``0.55 + 0.45 sin(3 x)`` is lowest and highest."""

_ARRIVAL = (GOAL_POSITION + SUMMIT) / 2
"""Truest place of "at the peak" and "next to the flag": between the flag and the highest point."""

VALLEY_WORDINGS = (
    Wording(
        within(VALLEY, 0.09, 0.3),
        "at the bottom of the valley | down in the valley | at the lowest point of the road | in the dip between "
        "the slopes | at the foot of the mountain | at the bottom | at the bottom of the hill | in the valley | "
        "deep down in the valley",
        2.5,
    ),
    Wording(
        within(VALLEY, 0.3, 0.5),
        "low down | near the bottom of the valley | close to the valley floor | far below the peak",
    ),
    Wording(
        below((-0.7, 0.1)),
        "far from the peak | a long way from the summit | far away from the top of the mountain | far from the top",
    ),
)
"""What is said of the car near the valley's floor, by position."""

SLOPE_WORDINGS = (
    Wording(
        between((0.04, 0.2), (0.35, 0.5)),
        "on the lower part of the {side} slope | just above the valley, on the {side} | a little way up the {side} "
        "slope | at the start of the {side} slope",
    ),
    Wording(
        between((0.28, 0.42), (0.58, 0.72)),
        "halfway up the {side} slope | in the middle of the {side} slope | half way up the hill on the {side} | on "
        "the steep part of the {side} slope | halfway up the {side} side of the mountain",
        1.5,
    ),
    Wording(between((0.15, 0.3), (0.8, 0.95)), "on the {side} slope | on the {side} hillside | on a slope", 0.8),
)
"""What is said of the car between valley and summit, by its height above the valley (0 to 1)."""

LEFT_WORDINGS = (
    Wording(above((0.02, 0.3)), "on the left side of the valley | on the left | on the slope without a flag"),
    Wording(between((0.5, 0.62), (2, 2)), "high up on the left slope | far up the left hillside | high on the left"),
    Wording(
        between((0.6, 0.72), (2, 2)),
        "at the left edge of the picture | at the far left | at the left end of the road | "
        "at the left side of the picture",
        2.0,
    ),
)
"""What is said of the car high on the left, by its height above the valley (at most 0.72 there)."""

RIGHT_WORDINGS = (
    Wording(
        above((0.05, 0.75)),
        "up towards the peak | on the way up to the peak | up on the mountain | above the valley, on the side where "
        "the peak is | up towards the summit | on the right, above the valley",
        1.3,
    ),
    Wording(
        above((0.45, 0.97)),
        "near the peak | close to the peak | near the summit | not far from the top of the mountain",
        1.3,
    ),
    Wording(
        between((0.55, 0.72), (0.88, 0.97)),
        "high up on the right slope | near the top of the right slope | not far below the peak | on the upper part "
        "of the right slope | well above the valley, on the right",
        1.5,
    ),
    Wording(
        between((0.75, 0.88), (0.96, 0.999)),
        "just below the peak | just short of the summit | almost at the top | nearly at the peak | close to the top",
        1.5,
    ),
)
"""What is said of the car high on the right, by its height above the valley."""

PEAK_WORDINGS = (
    Wording(
        within(_ARRIVAL, 0.055, 0.16),
        "at the peak | at the summit | on the summit | at the peak of the mountain | at the peak of the hill | on "
        "the peak of the mountain | at the top of the mountain | on top of the mountain | on the mountain peak | at "
        "the very top | at the highest point | on the crest of the hill | on top of the hill | on the mountain top",
        4.0,
    ),
    Wording(
        between((0.53, 0.58), (0.7, 0.7)),
        "just past the peak | at the right edge of the picture | beyond the top | over the top, on the far side",
        1.5,
    ),
)
"""What is said of the car on the summit, by position."""

FLAG_WORDINGS = (
    Wording(
        within(0, 0.05, 0.14),
        "next to the {flag} | beside the {flag} | right by the {flag} | at the {flag} | touching the {flag} | under "
        "the {flag} | right next to the {flag} | that has reached the {flag} | alongside the {flag} | next to a "
        "{flag}",
        4.0,
    ),
    Wording(
        below((0.12, 0.6)),
        "near the {flag} | close to the {flag} | not far from the {flag} | in the neighbourhood of the {flag}",
        1.5,
    ),
    Wording(
        below((0.35, 1.0)), "on the side of the {flag} | on the same slope as the {flag} | up towards the {flag}", 1.3
    ),
    Wording(between((0.09, 0.15), (0.25, 0.45)), "just below the {flag} | a short way below the {flag}"),
    Wording(
        between((0.25, 0.4), (0.9, 1.2)),
        "some way from the {flag} | below the {flag} | lower than the {flag} | at some distance from the {flag}",
    ),
    Wording(above((0.6, 0.95)), "far from the {flag} | a long way from the {flag} | far below the {flag}", 2.0),
    Wording(above((1.2, 1.55)), "very far from the {flag} | on the side opposite the {flag}", 2.0),
)
"""What is said of the flag, by the car's distance from its place at the flag."""

_FLAGS = phrases("flag | yellow flag | yellow flag | flagpole | goal | goal flag")
_PREFIXES = ("", "", "", "", "", "a picture of ", "an image of ")
_CARS = phrases("a car | the car | car | a small car | a vehicle | a car | a car")

_TEXTURED_CARS = phrases("a red car | the red car | a little red car")
_TEXTURED_LOOK = phrases(
    "under a blue sky | in a mountain landscape | on a cloudy day | with snow on the hills | with clouds above "
    "| in the snowy mountains | in a colourful scene"
)
_TEXTURED_GENERIC = phrases(
    "a red car in a mountain landscape | a mountain road with a red car under a blue sky | snowy mountains, a "
    "car and a yellow flag | a car driving on a mountain road | a car somewhere on the mountain | a mountain "
    "scene with a car | a valley between snowy peaks, with a flag on the right | rocks, snow, blue sky and a "
    "red car"
)
_ORIGINAL_CARS = phrases("a black car | the little black car | a simple car")
_ORIGINAL_LOOK = phrases(
    "in a line drawing | on a thin black line | on a white background | in a simple drawing | on a plain curve "
    "| in a sketch"
)
_ORIGINAL_GENERIC = phrases(
    "a line drawing of a car on a hill | a black curve on white with a small car | a car driving on a mountain "
    "drawn as a line | a car somewhere on the mountain | a sketch of a mountain with a car | a small black car "
    "and a flag on a curved line | a white picture with a curved line and a flag on the right | a simple drawing "
    "of a car in a valley landscape"
)


class MountainCarCaptioner:
    """States (``[position]``), frames and captions of MountainCar in one of its two looks."""

    def __init__(self, *, textured: bool) -> None:
        self._textured = textured
        self._cars = _CARS + (_TEXTURED_CARS if textured else _ORIGINAL_CARS)
        self._looks = _TEXTURED_LOOK if textured else _ORIGINAL_LOOK
        self._generic = _TEXTURED_GENERIC if textured else _ORIGINAL_GENERIC

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a state, float64 ``[1]``: any position, denser on the way to the flag."""
        kind = rng.random()
        if kind < 0.6:
            position = rng.uniform(LEFT_END, RIGHT_END)
        elif kind < 0.9:
            position = rng.uniform(0.1, RIGHT_END)
        else:
            position = rng.normal(VALLEY, 0.15)
        return np.array([np.clip(position, LEFT_END, RIGHT_END)])

    def draw(self, state: np.ndarray, size: int) -> Frame:
        """Frame of the state, uint8 ``[size size 3]``."""
        return draw_mountain_car(float(state[0]), size, textured=self._textured)

    def caption(self, state: np.ndarray, rng: np.random.Generator) -> str:
        """One true sentence about the state; never held out (`is_held_out`)."""
        return accept(lambda: self._sentence(float(state[0]), rng))

    def axis(self) -> Axis:
        """The car's position."""
        positions = np.round(np.linspace(LEFT_END, RIGHT_END, 91), 4)
        marks = (-1.2, -1.0, -0.75, -0.5, -0.25, 0.0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
        return Axis(
            "car position", "from -1.2 (left end) to 0.6; the flag at 0.45", positions, positions[:, None, None], marks
        )

    def _sentence(self, position: float, rng: np.random.Generator) -> str | None:
        kind = rng.random()
        if kind < 0.08:
            return pick(_PREFIXES[:4], rng) + pick(self._generic, rng)
        subject = pick(_PREFIXES, rng) + pick(self._cars, rng)
        look = f" {pick(self._looks, rng)}" if rng.random() < 0.15 else ""
        place, flag = _place(position, rng), _flag(position, rng)
        if place is None or flag is None:
            return None
        if kind < 0.4:
            return f"{subject} {place}{look}"
        if kind < 0.62:
            return f"{subject} {flag}{look}"
        return f"{subject} {place}{pick((', ', ' and ', ', '), rng)}{flag}{look}"


def _place(position: float, rng: np.random.Generator) -> str | None:
    """Where the car is on the road, or None where the drawn limits leave a gap."""
    side = side_of(position - VALLEY)
    height = (1 + math.sin(3 * position)) / 2
    by_position = (*VALLEY_WORDINGS, *PEAK_WORDINGS)
    by_height = (*SLOPE_WORDINGS, *(RIGHT_WORDINGS if side == "right" else LEFT_WORDINGS))
    phrase = say([*((w, position) for w in by_position), *((w, height) for w in by_height)], rng)
    return phrase and phrase.format(side=side)


def _flag(position: float, rng: np.random.Generator) -> str | None:
    phrase = say([(w, abs(position - _ARRIVAL)) for w in FLAG_WORDINGS], rng)
    return phrase and phrase.format(flag=pick(_FLAGS, rng))
