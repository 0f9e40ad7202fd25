"""The arrays that flow through the pipeline, as jaxtyping aliases.

They are checked at run time under pytest only (jaxtyping's import hook with
beartype), and belong on functions *inside* the package. The public boundary
takes array-likes and checks them itself, so that its own messages are seen.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32, UInt8

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

RealVector: TypeAlias = Float[np.ndarray, " n"]
"""Scalars of any floating dtype."""

SweptRewards: TypeAlias = Float32[np.ndarray, "p a n"]
"""Rewards of ``n`` states for ``p`` prompts and ``a`` strengths of the baseline."""
