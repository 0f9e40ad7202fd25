"""The mountain landscape of the textured MountainCar, made of noise with a fixed seed.

Painted once, at one resolution, and resized to the picture that is asked for,
so that the landscape is the same at every size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from vlm_rewards.envs.canvas import View
from vlm_rewards.envs.painting import flat, mix, smoothstep, to_picture

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
    """The mountain under the road, with sky, clouds and hills behind it.

    Args:
        view: Window of the world to paint; its size is the picture's.
        road: Height of the road at the given x, in world units, vectorised.

    Returns:
        The picture, uint8 ``[size size 3]``.
    """
    master = _master(view.left, view.bottom, view.extent, road)
    return np.array(master.resize((view.size, view.size), Image.Resampling.BOX))


@lru_cache(maxsize=2)
def _master(left: float, bottom: float, extent: float, road: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    rng = np.random.default_rng(_SEED)
    unit = ((np.arange(MASTER_SIZE) + 0.5) / MASTER_SIZE).astype(np.float32)
    x = left + extent * unit[None, :]
    y = bottom + extent * (1 - unit[:, None])
    picture = _sky(unit, rng)
    picture = _hills(picture, unit, rng)
    picture = _mountain(picture, x, y, road(x), extent / MASTER_SIZE, rng)
    return Image.fromarray(to_picture(picture))


def _sky(unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blue from dark to light going down, with drifting clouds."""
    picture = mix(flat(_TOP_SKY), flat(_LOW_SKY), smoothstep(0.0, 0.62, unit)[:, None])
    picture = np.broadcast_to(picture, (MASTER_SIZE, MASTER_SIZE, 3))
    noise = _noise(rng, (4, 9), octaves=5)
    band = smoothstep(0.0, 0.08, unit) * (1 - smoothstep(0.26, 0.42, unit))
    return mix(picture, flat(_CLOUD), 0.92 * smoothstep(0.54, 0.72, noise) * band[:, None])


def _hills(picture: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two ranges of hills in the haze."""
    for colour, height, spread in ((_FAR_HILLS, 0.52, 0.16), (_NEAR_HILLS, 0.40, 0.14)):
        ridge = height + spread * (_noise(rng, (6, 1), octaves=5)[0] - 0.5) * 2
        shade = 1 + 0.14 * (_noise(rng, (24, 24), octaves=3) - 0.5)
        inside = smoothstep(0.0, 0.002, ridge[None, :] - (1 - unit[:, None]))
        picture = mix(picture, flat(colour) * shade[..., None], inside)
    return picture


def _mountain(
    picture: np.ndarray, x: np.ndarray, y: np.ndarray, road: np.ndarray, pixel: float, rng: np.random.Generator
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
    return mix(picture, ground, smoothstep(-pixel, pixel, depth))


def _noise(rng: np.random.Generator, cells: tuple[int, int], octaves: int) -> np.ndarray:
    """Fractal value noise in about [0, 1], ``[MASTER_SIZE MASTER_SIZE]``; cells are counted across and down."""
    total, weight = np.zeros((MASTER_SIZE, MASTER_SIZE), dtype=np.float32), 0.0
    for octave in range(octaves):
        grid = rng.random((cells[1] * 2**octave + 1, cells[0] * 2**octave + 1)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((MASTER_SIZE, MASTER_SIZE), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * 0.5**octave
        weight += 0.5**octave
    return (total / weight - 0.5) * 1.3 + 0.5
