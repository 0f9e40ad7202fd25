"""Captions of CartPole: the pole's angle, where it is relative to the cart, and the cart's place."""

from __future__ import annotations

import math

import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.tasks.captions import (
    Axis,
    Wording,
    above,
    accept,
    below,
    between,
    phrases,
    pick,
    say_of,
    side_of,
    within,
)
from vlm_rewards.tasks.cartpole import TRACK_LIMIT, draw_cartpole

# All of these follow a noun ("a pole ...") as well as a verb ("the pole is ..."). Degrees from upright, without sign.
POLE_WORDINGS = (
    Wording(
        within(0, 3, 9),
        "perfectly vertical | exactly upright | perfectly balanced | dead straight up | precisely vertical",
        2.5,
    ),
    Wording(
        within(0, 8, 30),
        "upright | vertical | standing upright | standing vertically | balanced vertically | held upright | "
        "balanced upright | standing straight up | pointing straight up | set up vertically | balanced on its end | "
        "standing on end | standing tall | straight up | balanced | pointing at the sky",
        4.0,
    ),
    Wording(
        between((2, 8), (12, 40)),
        "almost upright | nearly vertical | close to upright | not quite vertical | almost balanced",
    ),
    Wording(
        between((2, 7), (12, 32)),
        "leaning slightly to the {side} | leaning a little to the {side} | tilted slightly to the {side} | tipped a "
        "bit to the {side} | slightly off balance, to the {side} | slightly tilted | leaning a little",
        2.0,
    ),
    Wording(
        between((10, 22), (45, 72)),
        "leaning to the {side} | tilted to the {side} | slanting to the {side} | leaning over to the {side} | "
        "tipping to the {side} | tilted | at an angle | off balance",
        2.0,
    ),
    Wording(
        between((35, 55), (72, 88)),
        "leaning far to the {side} | tilted steeply to the {side} | leaning heavily to the {side} | about to fall "
        "to the {side} | toppling over | strongly tilted",
        2.0,
    ),
    Wording(
        between((65, 80), (100, 115)),
        "horizontal | level | lying flat | sticking out sideways | parallel to the track | pointing to the {side} | "
        "lying horizontally to the {side} | sideways",
        2.0,
    ),
    Wording(
        between((95, 112), (145, 172)),
        "slanting downwards to the {side} | drooping to the {side} | hanging down to the {side} | fallen to the "
        "{side} | pointing down to the {side}",
        2.0,
    ),
    Wording(
        within(180, 14, 40),
        "hanging straight down | upside down | pointing straight down | hanging | dangling | hanging at rest | "
        "hanging vertically downwards | turned upside down",
        3.0,
    ),
    Wording(below((50, 85)), "pointing upwards | pointing up | raised | in the air", 0.6),
    Wording(above((95, 130)), "pointing downwards | pointing down | fallen | fallen down | toppled", 0.8),
    Wording(above((30, 60)), "not balanced | fallen over | far from upright | out of balance", 0.5),
)
"""What is said of the pole's angle."""

RELATION_WORDINGS = (
    Wording(within(0, 20, 60), "on top of the cart | on top of its cart | on the top of a cart | atop the cart", 3.0),
    Wording(below((35, 80)), "above the cart | over the cart | higher than the cart", 1.5),
    Wording(between((65, 80), (100, 115)), "beside the cart | at the side of the cart | next to the cart", 1.5),
    Wording(
        above((105, 150)),
        "below the cart | beneath the cart | under the cart | lower than the cart | underneath the cart",
        2.0,
    ),
    Wording(above((-1, 0)), "on a cart | on the cart | attached to the cart | joined to the cart", 0.5),
)
"""What is said of where the pole is, by its angle."""

CART_WORDINGS = (
    Wording(within(0, 0.3, 0.8), "in the middle of the track | at the centre | in the middle | in the centre"),
    Wording(
        between((0.1, 0.4), (0.8, 1.4)),
        "slightly {side} of the centre | a little to the {side} | just {side} of the middle",
    ),
    Wording(above((0.3, 0.9)), "on the {side} | {side} of the centre | on the {side} side | in the {side} half"),
    Wording(above((1.3, 1.9)), "far to the {side} | far {side} | well to the {side} of the middle"),
    Wording(
        above((1.9, 2.3)),
        "at the {side} edge | at the {side} end of the track | at the edge of the picture on the {side}",
        2.0,
    ),
)
"""What is said of the cart's distance from the middle, in metres."""

_PREFIXES = ("", "", "", "", "a picture of ", "a drawing of ", "an image of ", "a side view of ")
_POLES = phrases("a pole | the pole | pole | a pole | the pole | a stick | the rod | a thin pole | a brown pole")
_CARTS = phrases("a cart | the cart | cart | the cart | a black cart | a small cart")
_GENERIC = phrases(
    "a pole hinged to a cart | a cart that carries a pole | a cart with a pole joined to it | a brown pole on a "
    "black cart | a black cart and a brown pole | a cart on a track with a pole | a pole and a cart on a line | "
    "the cart pole balancing game | a drawing of a cart and a pole | a pole attached to a cart, seen from the "
    "side | an inverted pendulum on a cart"
)


class CartPoleCaptioner:
    """States, frames and captions of CartPole: ``[position in metres, angle in radians]``."""

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a state, float64 ``[2]``: any angle, but dense around upright, where the reward must be finest."""
        kind = rng.random()
        if kind < 0.45:
            degrees = rng.uniform(-180, 180)
        elif kind < 0.75:
            degrees = rng.normal(0, 18)
        elif kind < 0.92:
            degrees = rng.uniform(-10, 10)
        else:
            degrees = rng.normal(180, 15)
        angle = math.remainder(math.radians(degrees), 2 * math.pi)
        position = rng.uniform(-TRACK_LIMIT, TRACK_LIMIT) if rng.random() < 0.75 else rng.normal(0, 0.5)
        return np.array([np.clip(position, -TRACK_LIMIT, TRACK_LIMIT), angle])

    def draw(self, state: np.ndarray, size: int) -> Frame:
        """Frame of the state, uint8 ``[size size 3]``."""
        return draw_cartpole(float(state[0]), float(state[1]), size)

    def caption(self, state: np.ndarray, rng: np.random.Generator) -> str:
        """One true sentence about the state; never held out (`is_held_out`)."""
        return accept(lambda: self._sentence(float(state[0]), math.degrees(float(state[1])), rng))

    def axis(self) -> Axis:
        """The pole's angle, at nine places of the cart."""
        degrees = np.arange(-180.0, 181.0, 2.0)
        places = np.linspace(-TRACK_LIMIT, TRACK_LIMIT, 9)
        angle, place = np.meshgrid(np.radians(degrees), places, indexing="ij")
        marks = (-180.0, -120.0, -90.0, -60.0, -30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0)
        return Axis("pole angle", "degrees from upright", degrees, np.stack([place, angle], axis=-1), marks)

    def _sentence(self, position: float, degrees: float, rng: np.random.Generator) -> str | None:
        if rng.random() < 0.06:
            return pick(_PREFIXES[:5], rng) + pick(_GENERIC, rng)
        if rng.random() < place_share(position):
            return _with_place(position, degrees, rng)
        if rng.random() < 0.12:
            relation = say_of(abs(degrees), RELATION_WORDINGS, rng)
            return relation and f"{pick(_POLES, rng)} {pick(('', 'is '), rng)}{relation}"
        return _without_place(degrees, rng)


def place_share(position: float) -> float:
    """Share of captions that say where the cart is: people mention a place the more, the more unusual it is."""
    return 0.1 + 0.7 * min(1.0, max(0.0, (abs(position) - 0.4) / (TRACK_LIMIT - 0.4)))


def _without_place(degrees: float, rng: np.random.Generator) -> str | None:
    """A sentence about the pole's angle alone, or with what it is to the cart."""
    pole = _pole(degrees, rng)
    relation = say_of(abs(degrees), RELATION_WORDINGS, rng)
    if pole is None or relation is None:
        return None
    subject = f"{pick(_PREFIXES, rng)}{pick(_POLES, rng)} {pick(('', 'is '), rng)}{pole}"
    return subject if rng.random() < 0.45 else f"{subject} {relation}"


def _with_place(position: float, degrees: float, rng: np.random.Generator) -> str | None:
    """A sentence about where the cart is, mostly with something about the pole."""
    place = say_of(abs(position), CART_WORDINGS, rng, side_of(position))
    pole = _pole(degrees, rng)
    relation = say_of(abs(degrees), RELATION_WORDINGS, rng)
    if place is None or pole is None or relation is None:
        return None
    kind = rng.random()
    if kind < 0.25:
        return f"{pick(_PREFIXES, rng)}{pick(_CARTS, rng)} {pick(('', 'is '), rng)}{place}"
    if kind < 0.6:
        return f"{pick(_POLES, rng)} {pick(('', 'is '), rng)}{pole} {relation}, and the cart is {place}"
    if kind < 0.8:
        return f"{pick(_CARTS, rng)} {place} with {pick(phrases('its | the | a'), rng)} pole {pole}"
    return f"{pick(_CARTS, rng)} {place}, {pick(_POLES, rng)} {pole}"


def _pole(degrees: float, rng: np.random.Generator) -> str | None:
    if rng.random() < 0.08:
        return _degrees(degrees, rng)
    return say_of(abs(degrees), POLE_WORDINGS, rng, side_of(degrees))


def _degrees(degrees: float, rng: np.random.Generator) -> str:
    """The angle in figures, to the nearest five degrees."""
    rounded = 5 * round(abs(degrees) / 5)
    if rounded in (0, 180):
        return f"{rounded} degrees from vertical"
    verb = pick(phrases("tilted | leaning | turned"), rng)
    return f"{verb} {rounded} degrees to the {side_of(degrees)}"
