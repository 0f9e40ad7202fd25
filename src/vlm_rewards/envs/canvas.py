"""Antialiased drawing with Pillow and numpy: shapes, and sprites placed to a fraction of a pixel.

What moves is drawn once as a `Sprite`, finer than the picture, and then stamped
at any place and angle: resampling makes every small movement change the pixels,
which drawing polygons at whole pixels would not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError

Colour: TypeAlias = tuple[int, int, int]
Number: TypeAlias = float | int
Point: TypeAlias = tuple[Number, Number]

MINIMUM_SIZE = 32
_RASTER = 4  # a sprite is rasterised this much finer than it is stored
_PADDING = 2  # transparent border of a sprite, so that resampling fades out inside it


def check_size(size: Any, field: str = "image size") -> int:
    """Refuse picture sizes that nothing can be recognised in.

    Args:
        size: Side of the square picture in pixels.
        field: What the message calls it.

    Returns:
        The size, as an int.

    Raises:
        InvalidInputError: Not a whole number of at least 32.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < MINIMUM_SIZE:
        raise InvalidInputError(f"{field} must be an int of at least {MINIMUM_SIZE} pixels, got {size!r}.")
    return int(size)


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or a disc if it has one point and a radius; in the units of the world, y upwards."""

    points: tuple[Point, ...]
    colour: Colour
    radius: Number = 0.0


def polygon(points: Sequence[Point], colour: Colour) -> Shape:
    """Filled polygon through the points (world units, y upwards)."""
    return Shape(tuple(points), colour)


def rectangle(left: Number, bottom: Number, right: Number, top: Number, colour: Colour) -> Shape:
    """Filled rectangle (world units, y upwards)."""
    return Shape(((left, bottom), (left, top), (right, top), (right, bottom)), colour)


def disc(centre: Point, radius: Number, colour: Colour) -> Shape:
    """Filled disc (world units, y upwards)."""
    return Shape((centre,), colour, radius)


@dataclass(frozen=True)
class View:
    """The square window of the world that a picture shows.

    ``left`` and ``bottom`` are world coordinates of the picture's corner,
    ``extent`` is the side of the window in world units, ``size`` in pixels.
    """

    left: Number
    bottom: Number
    extent: Number
    size: int

    @property
    def scale(self) -> float:
        """Pixels for each world unit."""
        return self.size / self.extent

    def pixel(self, x: Number, y: Number) -> Point:
        """Column and row (fractions allowed, the origin is the top left corner) of a world point."""
        return (x - self.left) * self.scale, self.size - (y - self.bottom) * self.scale


def supersampling(size: int) -> int:
    """Samples for each pixel and axis; large pictures need fewer."""
    return 4 if size <= 256 else 2


def paint(image: Image.Image, shapes: Sequence[Shape], origin: Point, scale: Number) -> None:
    """Paint shapes without antialiasing, later ones over earlier ones.

    Args:
        image: Painted in place.
        shapes: What to paint.
        origin: Column and row of the world point (0, 0).
        scale: Pixels for each world unit.
    """
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        points = [(origin[0] + x * scale, origin[1] - y * scale) for x, y in shape.points]
        fill = (*shape.colour, 255) if image.mode == "RGBA" else shape.colour
        if shape.radius > 0:
            (x, y), r = points[0], shape.radius * scale
            pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        else:
            pen.polygon(points, fill=fill)


class Sprite:
    """Shapes that are stamped on pictures at any place and angle.

    Args:
        shapes: What it looks like in world units, y upwards; (0, 0) is the point it is placed and turned by.
        scale: Pixels for each world unit in the pictures it is stamped on.
        samples: Samples for each pixel and axis.
    """

    def __init__(self, shapes: Sequence[Shape], scale: Number, samples: int) -> None:
        xs = [x + sign * shape.radius for shape in shapes for x, _ in shape.points for sign in (-1, 1)]
        ys = [y + sign * shape.radius for shape in shapes for _, y in shape.points for sign in (-1, 1)]
        self._samples = samples
        fine = scale * samples
        left, top = math.floor(min(xs) * fine) - _PADDING, math.floor(-max(ys) * fine) - _PADDING
        right, bottom = math.ceil(max(xs) * fine) + _PADDING, math.ceil(-min(ys) * fine) + _PADDING
        image = Image.new("RGBA", ((right - left) * _RASTER, (bottom - top) * _RASTER), (0, 0, 0, 0))
        paint(image, shapes, (-left * _RASTER, -top * _RASTER), fine * _RASTER)
        # Premultiplied alpha: what is mixed at the edge is then light, and no dark fringe appears.
        self._image = image.convert("RGBa").reduce(_RASTER)
        self._origin = (-left, -top)
        self._corners = [(x / samples, y / samples) for x in (left, right) for y in (top, bottom)]

    def stamp(self, frame: Frame, x: Number, y: Number, angle: Number = 0.0) -> None:
        """Stamp the sprite on a picture; what lies outside of it is cut off.

        Args:
            frame: uint8 ``[h w 3]``, changed in place.
            x: Column of the sprite's origin, fractions allowed.
            y: Row of the sprite's origin, fractions allowed.
            angle: Counter-clockwise, in radians.
        """
        cos, sin = math.cos(angle), math.sin(angle)
        columns = [x + u * cos + v * sin for u, v in self._corners]
        rows = [y - u * sin + v * cos for u, v in self._corners]
        left, right = max(math.floor(min(columns)), 0), min(math.ceil(max(columns)), frame.shape[1])
        top, bottom = max(math.floor(min(rows)), 0), min(math.ceil(max(rows)), frame.shape[0])
        if left >= right or top >= bottom:
            return
        patch = self._resample(right - left, bottom - top, left - x, top - y, cos, sin)
        below = frame[top:bottom, left:right]
        below[...] = patch[..., :3] + (below * (255 - patch[..., 3:]) + 127) // 255

    def _resample(self, width: int, height: int, x: Number, y: Number, cos: Number, sin: Number) -> np.ndarray:
        """The sprite, uint16 ``[height width 4]``, premultiplied; (x, y) is the patch's corner seen from the sprite."""
        samples = self._samples
        x, y = x * samples, y * samples
        matrix = (
            cos,
            -sin,
            x * cos - y * sin + self._origin[0],
            sin,
            cos,
            x * sin + y * cos + self._origin[1],
        )
        turned = self._image.transform(
            (width * samples, height * samples), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        return np.asarray(turned.reduce(samples), dtype=np.uint16)
