"""Whether transitions fit into memory: pages are handed out when they are first written, hours into a run."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import psutil

from vlm_rewards.errors import InvalidInputError


def check_memory(field: str, rows: int, bytes_each: int) -> None:
    """Refuse more transitions than there is memory for.

    Args:
        field: The setting that asks for so many, as the message names it.
        rows: Transitions.
        bytes_each: Bytes of one.

    Raises:
        InvalidInputError: They do not fit; the message says how many do.
    """
    available = psutil.virtual_memory().available
    if rows * bytes_each > available:
        raise InvalidInputError(
            f"{field} asks for {rows:,} transitions of {bytes_each:,} bytes, {rows * bytes_each / 2**20:,.0f} MiB; "
            f"{available / 2**20:,.0f} MiB of memory are available: at most {available // bytes_each:,} transitions "
            "fit."
        )


def bytes_of(space: gym.Space[Any]) -> int:
    """Bytes of an observation or an action of a Box or Discrete space, as Stable-Baselines3 stores them."""
    return int(np.prod(space.shape or (1,), dtype=np.int64)) * np.dtype(space.dtype).itemsize
