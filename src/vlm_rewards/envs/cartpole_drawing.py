"""The picture of CartPole, after Gymnasium's, square."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import SupportsFloat

import numpy as np
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.canvas import Sprite, View, check_size, disc, paint, rectangle, supersampling
from vlm_rewards.errors import InvalidInputError

TRACK_LIMIT = 2.4
"""Largest distance of the cart from the middle of the track, in metres."""

# Gymnasium draws 125 pixels a metre: a cart of 50 x 30, a pole of 125 x 10, the axle 7.5 above the track.
_CART_WIDTH, _CART_HEIGHT = 0.40, 0.24
_AXLE_HEIGHT = 0.06
_POLE_END = 0.96
# A little thicker than Gymnasium's 0.08, so that the pole is two pixels wide in a picture of 96.
_POLE_WIDTH = 0.12
_TRACK_WIDTH = 0.02  # but at least a pixel
_BLACK, _POLE_COLOUR, _AXLE_COLOUR = (0, 0, 0), (202, 152, 101), (129, 132, 203)

# As narrow as the cart at either stop allows. The track lies, as in Gymnasium, at a quarter of the height,
# which leaves room for a pole that hangs down.
_EXTENT = 2 * TRACK_LIMIT + _CART_WIDTH + 0.04


def draw_cartpole(position_m: SupportsFloat, angle_rad: SupportsFloat, size: int) -> Frame:
    """Draw the cart and the pole after Gymnasium's picture, square.

    Args:
        position_m: Position of the cart in metres; the picture shows -2.4 to 2.4 and the whole cart at both ends.
        angle_rad: Angle of the pole from the vertical in radians, positive to the right.
        size: Side of the picture in pixels, at least 32.

    Returns:
        The picture, uint8 ``[size size 3]``.

    Raises:
        InvalidInputError: The state is not finite, or the size is too small.
    """
    position, angle = float(position_m), float(angle_rad)
    if not (math.isfinite(position) and math.isfinite(angle)):
        raise InvalidInputError(f"position and angle of the picture must be finite, got {position!r} and {angle!r}.")
    view, background, cart, pole, axle = _parts(check_size(size))
    frame = background.copy()
    cart.stamp(frame, *view.pixel(position, 0.0))
    x, y = view.pixel(position, _AXLE_HEIGHT)
    pole.stamp(frame, x, y, -angle)
    axle.stamp(frame, x, y)
    return frame


@lru_cache(maxsize=8)
def _parts(size: int) -> tuple[View, Frame, Sprite, Sprite, Sprite]:
    """View, background, cart, pole and axle for one picture size."""
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
