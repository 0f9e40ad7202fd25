"""Several rewards added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FrameReward, check_embeds, score_columns
from vlm_rewards.rewards.cameras import CameraReward


class WeightedSum:
    """A weighted sum of rewards; over one encoder each frame is embedded once, and the sum is an `EmbeddingReward`.

    *Where it comes from:* linear scalarisation, as old as multi-objective
    reinforcement learning.

    *When to use it:* for a task of several prompts ("standing" and "arms
    raised"), or against a side effect (a negative weight). Rewards of different
    formulas have different spreads: look at them before choosing weights. A
    weighted sum reaches only the convex part of what is possible.

    Args:
        rewards: At least one, all of frames of one size.
        weights: A finite number each; default: equal, adding up to 1.

    Attributes:
        frame_size: Side in pixels of the square frames, the rewards'.
        encoder: That of all rewards, where they share one.

    Raises:
        InvalidInputError: The numbers differ, a weight is not finite, the frame sizes differ, or one has several
            cameras (give the sum to `CameraReward` instead).
    """

    encoder: ImageTextEncoder

    def __init__(self, rewards: Sequence[FrameReward], weights: Sequence[float] | None = None) -> None:
        self._rewards = tuple(rewards)
        if not self._rewards:
            raise InvalidInputError("rewards must hold at least one reward.")
        given = [1 / len(self._rewards)] * len(self._rewards) if weights is None else list(weights)
        if len(given) != len(self._rewards) or not all(math.isfinite(weight) for weight in given):
            raise InvalidInputError(f"weights must be {len(self._rewards)} finite numbers, got {given!r}.")
        sizes = sorted({reward.frame_size for reward in self._rewards})
        if len(sizes) > 1:
            raise InvalidInputError(f"rewards of a sum must want frames of one size, got {sizes}.")
        if any(isinstance(reward, CameraReward) for reward in self._rewards):
            raise InvalidInputError("rewards of a sum must score one frame: put CameraReward around the sum.")
        self._weights, self.frame_size = np.array(given, dtype=np.float64), sizes[0]
        encoders = [one.encoder if isinstance(one, EmbeddingReward) else None for one in self._rewards]
        if encoders[0] is not None and all(one is encoders[0] for one in encoders):
            self.encoder = encoders[0]  # without it, this is no EmbeddingReward

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed frames, once for all: uint8 ``[n h w 3]`` to float32 ``[n d]``."""
        return check_embeds(self._rewards[0]).embed(frames)

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score unit embeddings ``[n d]``: float32 ``[n]``."""
        return self._added([check_embeds(reward).score(embeddings) for reward in self._rewards])

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score frames: uint8 ``[n h w 3]`` to float32 ``[n]``."""
        return self._added(list(score_columns(self._rewards, frames).T))

    def _added(self, scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.asarray(self._weights @ np.stack(scores).astype(np.float64), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        facts = {"formula": "WeightedSum", "weights": self._weights.tolist()}
        parts = [one.describe() for one in self._rewards]
        if not hasattr(self, "encoder"):
            return {**facts, "parts": parts}
        for part in parts:
            part.pop("encoder", None)
        return {**facts, "parts": parts, "encoder": self.encoder.describe()}
