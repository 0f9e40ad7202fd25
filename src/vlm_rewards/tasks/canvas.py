"""The mountain landscape of the textured MountainCar, made of noise with a fixed seed.

Painted once, at one resolution, and resized to the frame that is asked for,
so that the landscape is the same at every size.

Antialiased drawing with Pillow and numpy: shapes, and sprites placed to a fraction of a pixel. Colours in floating
point: what frames that are painted pixel by pixel share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
    """Refuse sides of square frames, in pixels, that nothing can be recognised in; ``field`` is for the message.

    Raises:
        InvalidInputError: Not a whole number of at least 32.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < MINIMUM_SIZE:
        raise InvalidInputError(f"{field} must be an int of at least {MINIMUM_SIZE} pixels, got {size!r}.")
    return int(size)


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or a disc if it has one point and a radius; in the units of the world, y upwards."""

    points: Sequence[Point]
    colour: Colour
    radius: Number = 0.0


def rectangle(left: Number, bottom: Number, right: Number, top: Number, colour: Colour) -> Shape:
    """Filled rectangle (world units, y upwards)."""
    return Shape(((left, bottom), (left, top), (right, top), (right, bottom)), colour)


def disc(centre: Point, radius: Number, colour: Colour) -> Shape:
    """Filled disc (world units, y upwards)."""
    return Shape((centre,), colour, radius)


@dataclass(frozen=True)
class View:
    """The square window of the world that a frame shows.

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
    """Samples for each pixel and axis; large frames need fewer."""
    return 4 if size <= 256 else 2


def paint(image: Image.Image, shapes: Sequence[Shape], origin: Point, scale: Number) -> None:
    """Paint shapes without antialiasing, later ones over earlier ones; ``origin`` is the world's (0, 0) in pixels."""
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
    """Shapes that are stamped on frames at any place and angle.

    Args:
        shapes: What it looks like in world units, y upwards; (0, 0) is the point it is placed and turned by.
        scale: Pixels for each world unit in the frames it is stamped on.
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
        """Stamp the sprite on a frame in place; what lies outside of it is cut off.

        Its origin comes to column x and row y, fractions allowed; it is turned counter-clockwise by radians.
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
        left, top = x * cos - y * sin + self._origin[0], x * sin + y * cos + self._origin[1]
        matrix = (cos, -sin, left, sin, cos, top)
        turned = self._image.transform(
            (width * samples, height * samples), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        return np.asarray(turned.reduce(samples), dtype=np.uint16)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = ((value - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def flat(colour: tuple[int, int, int]) -> np.ndarray:
    """One colour, float32 ``[3]``, 0 to 255."""
    return np.array(colour, dtype=np.float32)


def mix(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blend colours ``[... 3]`` with weights ``[...]`` in [0, 1]."""
    return below + (above - below) * weight[..., None]


def to_picture(values: np.ndarray) -> np.ndarray:
    """Round colours from 0 to 255, ``[... 3]``, to uint8."""
    return np.round(values).clip(0, 255).astype(np.uint8)


MASTER_SIZE = 960
"""Side in pixels of the landscape before it is resized."""

_SEED = 1
_TOP_SKY, _LOW_SKY = (74, 144, 216), (208, 230, 245)
_FAR_HILLS, _NEAR_HILLS = (146, 172, 196), (98, 134, 116)
_DARK_ROCK, _LIGHT_ROCK = (78, 70, 66), (150, 138, 126)
_DARK_GRASS, _LIGHT_GRASS = (52, 98, 40), (104, 152, 62)
_SNOW, _CLOUD, _ROAD = (244, 247, 252), (255, 255, 255), (66, 62, 60)
_ROAD_DEPTH = 0.035


def landscape(view: View, road: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mountain under the road (height at each x), sky, clouds and hills behind it: uint8 ``[size size 3]``."""
    master = _master(view.left, view.bottom, view.extent, road)
    return np.array(master.resize((view.size, view.size), Image.Resampling.BOX))


@lru_cache(maxsize=2)
def _master(left: float, bottom: float, extent: float, road: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    rng = np.random.default_rng(_SEED)
    unit = ((np.arange(MASTER_SIZE) + 0.5) / MASTER_SIZE).astype(np.float32)
    x = left + extent * unit[None, :]
    y = bottom + extent * (1 - unit[:, None])
    frame = _sky(unit, rng)
    frame = _hills(frame, unit, rng)
    frame = _mountain(frame, x, y, road(x), extent / MASTER_SIZE, rng)
    return Image.fromarray(to_picture(frame))


def _sky(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blue from dark to light going down, with drifting clouds."""
    frame = mix(flat(_TOP_SKY), flat(_LOW_SKY), smoothstep(0.0, 0.62, unit)[:, None])
    frame = np.broadcast_to(frame, (MASTER_SIZE, MASTER_SIZE, 3))
    noise = _noise(rng, (4, 9), octaves=5)
    band = smoothstep(0.0, 0.08, unit) * (1 - smoothstep(0.26, 0.42, unit))
    return mix(frame, flat(_CLOUD), 0.92 * smoothstep(0.54, 0.72, noise) * band[:, None])


def _hills(frame: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two ranges of hills in the haze."""
    for colour, height, spread in ((_FAR_HILLS, 0.52, 0.16), (_NEAR_HILLS, 0.40, 0.14)):
        ridge = height + spread * (_noise(rng, (6, 1), octaves=5)[0] - 0.5) * 2
        shade = 1 + 0.14 * (_noise(rng, (24, 24), octaves=3) - 0.5)
        inside = smoothstep(0.0, 0.002, ridge[None, :] - (1 - unit[:, None]))
        frame = mix(frame, flat(colour) * shade[..., None], inside)
    return frame


def _mountain(
    frame: np.ndarray, x: np.ndarray, y: np.ndarray, road: np.ndarray, pixel: float, rng: np.random.Generator
) -> np.ndarray:
    """Rock with light from the left, grass in the valley, snow on top, and the road along the surface."""
    depth = road - y
    coarse, fine = _noise(rng, (7, 7), octaves=6), _noise(rng, (40, 40), octaves=4)
    light = np.gradient(coarse, axis=1) * MASTER_SIZE * 0.045 + 0.9 * (fine - 0.5) + 0.5
    strata = 0.12 * np.sin(90 * (y + 0.12 * coarse + 0.1 * x))
    ground = mix(flat(_DARK_ROCK), flat(_LIGHT_ROCK), (light + strata).clip(0, 1))
    grass = mix(flat(_DARK_GRASS), flat(_LIGHT_GRASS), (0.5 + 1.6 * (fine - 0.5)).clip(0, 1))
    low = road + 0.5 * (coarse - 0.5)
    ground = mix(ground, grass, (1 - smoothstep(0.45, 0.62, low)) * (1 - smoothstep(0.10, 0.22, depth + fine * 0.1)))
    snow = flat(_SNOW) * (0.86 + 0.14 * light.clip(0, 1))[..., None]
    ground = mix(ground, snow, smoothstep(0.0, 0.03, y - 0.84 + 0.34 * (coarse - 0.5) + 0.12 * (fine - 0.5)))
    ground = mix(ground, flat(_ROAD), 1 - smoothstep(_ROAD_DEPTH, _ROAD_DEPTH + pixel, depth))
    return mix(frame, ground, smoothstep(-pixel, pixel, depth))


def _noise(rng: np.random.Generator, cells: tuple[int, int], octaves: int) -> np.ndarray:
    """Fractal value noise in about [0, 1], ``[MASTER_SIZE MASTER_SIZE]``; cells are counted across and down."""
    total, weight = np.zeros((MASTER_SIZE, MASTER_SIZE), dtype=np.float32), 0.0
    for octave in range(octaves):
        grid = rng.random((cells[1] * 2**octave + 1, cells[0] * 2**octave + 1)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((MASTER_SIZE, MASTER_SIZE), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * 0.5**octave
        weight += 0.5**octave
    return (total / weight - 0.5) * 1.3 + 0.5
