"""Colours in floating point: what pictures that are painted pixel by pixel share."""

from __future__ import annotations

import numpy as np


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
