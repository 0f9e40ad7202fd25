"""What parent and workers send each other.

They have a module of their own because the worker's is ``__main__`` in its
process, and what is pickled there could not be found here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs to know before it starts; sent over its connection."""

    factories: bytes
    """Pickled list of callables without arguments, one a simulator."""
    first: int
    """Index of this worker's first simulator among all."""
    ring: tuple[int, int, int, int, bool]
    """Slots, simulators, picture side, cameras, and whether states after resets are photographed."""


@dataclass(frozen=True)
class RefusedSetup:
    """What a worker says when its simulators are not usable, before anything has been done with them."""

    message: str
    """Of the InvalidInputError."""


@dataclass(frozen=True)
class MissingAttribute:
    """What a worker says when it is asked for an attribute that its simulator does not have."""

    message: str
    """Of the AttributeError."""


@dataclass(frozen=True)
class StepReply:
    """What a worker says after a step of its ``k`` simulators."""

    observations: np.ndarray
    """``[k ...]``; of the next episode where one has ended."""
    dones: np.ndarray
    """bool ``[k]``"""
    infos: list[dict[str, Any]]
