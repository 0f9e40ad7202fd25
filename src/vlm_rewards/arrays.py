"""The arrays that flow through the pipeline, as jaxtyping aliases, and the check of frames from outside.

They are checked at run time under pytest only (jaxtyping's import hook with
beartype), and belong on functions *inside* the package. The public boundary
takes array-likes and checks them itself, so that its own messages are seen.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import ArrayLike

from vlm_rewards.errors import InvalidInputError

Frame: TypeAlias = UInt8[np.ndarray, "h w 3"]
"""One frame: RGB, 0 to 255."""

Frames: TypeAlias = UInt8[np.ndarray, "n h w 3"]
"""A batch of frames of one size: RGB, 0 to 255."""

Embeddings: TypeAlias = Float32[np.ndarray, "n d"]
"""Unit-norm embeddings, one a row."""

Embedding: TypeAlias = Float32[np.ndarray, " d"]
"""One unit-norm embedding."""

Rewards: TypeAlias = Float32[np.ndarray, " n"]
"""One scalar a state, in [-1, 1]."""

SweptRewards: TypeAlias = Float32[np.ndarray, "p a n"]
"""Rewards of ``n`` states for ``p`` prompts and ``a`` strengths of the baseline."""


def check_frames(frames: ArrayLike) -> Frames:
    """Return frames as an array.

    Raises:
        InvalidInputError: They are not uint8 ``[n h w 3]``.
    """
    try:
        array = np.asarray(frames)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"frames must be frames of one size, uint8 [n h w 3]: {error}") from error
    if array.dtype != np.uint8:
        raise InvalidInputError(f"frames must be uint8 (0 to 255), got dtype {array.dtype}.")
    if array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        hint = " Use frames[None] for one frame." if array.ndim == 3 and array.shape[2] == 3 else ""
        raise InvalidInputError(f"frames must have shape [n h w 3] with n, h, w >= 1, got {array.shape}.{hint}")
    return array
