"""Seeds for everything random, derived from one seed without overlap."""

from __future__ import annotations

import zlib

import numpy as np

from vlm_rewards.errors import InvalidInputError


def check_seed(seed: object) -> int:
    """Check that a seed is an int in ``[0, 2**32)`` and return it.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise InvalidInputError(f"seed must be an int from 0 to {2**32 - 1}, got {seed!r}.")
    return int(seed)


def derive_seed(seed: int, purpose: str) -> int:
    """Derive the seed for one purpose, such as ``"train"`` or ``"evaluate"``.

    Args:
        seed: The run's seed, in ``[0, 2**32)``.
        purpose: A name; different names give unrelated streams.

    Returns:
        An int in ``[0, 2**32)``.
    """
    sequence = np.random.SeedSequence([check_seed(seed), zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1)[0])


def episode_seed(seed: int, simulator: int, episode: int) -> int:
    """Seed of one episode of one simulator, in ``[0, 2**32)``."""
    return int(np.random.SeedSequence([seed, simulator, episode]).generate_state(1)[0])
