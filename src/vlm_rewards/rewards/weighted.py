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
from vlm_rewards.rewards.base import EmbeddingReward
from vlm_rewards.rewards.cameras import CameraReward


class WeightedSum:
    """A weighted sum of rewards over one encoder; each frame is embedded once.

    *Where it comes from:* linear scalarisation, as old as multi-objective
    reinforcement learning.

    *When to use it:* for a task of several sentences ("standing" and "arms
    raised"), or against a side effect (a negative weight). Rewards of different
    formulas have different spreads: look at them before choosing weights. A
    weighted sum reaches only the convex part of what is possible.

    Args:
        rewards: At least one, all with the same encoder.
        weights: A finite number each; default: equal, adding up to 1.

    Raises:
        InvalidInputError: The numbers differ, a weight is not finite, the encoders differ, or one has several cameras
            (give the sum to `CameraReward` instead).
    """

    def __init__(self, rewards: Sequence[EmbeddingReward], weights: Sequence[float] | None = None) -> None:
        self._rewards = tuple(rewards)
        if not self._rewards:
            raise InvalidInputError("rewards must hold at least one reward.")
        given = [1 / len(self._rewards)] * len(self._rewards) if weights is None else list(weights)
        if len(given) != len(self._rewards) or not all(math.isfinite(weight) for weight in given):
            raise InvalidInputError(f"weights must be {len(self._rewards)} finite numbers, got {given!r}.")
        if any(reward.encoder is not self._rewards[0].encoder for reward in self._rewards):
            names = [reward.encoder.name for reward in self._rewards]
            raise InvalidInputError(f"rewards of a sum must share one encoder object, got {names}.")
        if any(isinstance(reward, CameraReward) for reward in self._rewards):
            raise InvalidInputError("rewards of a sum must score one frame: put CameraReward around the sum.")
        self._weights = np.array(given, dtype=np.float64)

    @property
    def encoder(self) -> ImageTextEncoder:
        """Embeds the frames."""
        return self._rewards[0].encoder

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that the encoder takes natively."""
        return self.encoder.image_size

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed frames, once for all: uint8 ``[n h w 3]`` to float32 ``[n d]``."""
        return self._rewards[0].embed(frames)

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score unit embeddings ``[n d]``: float32 ``[n]``."""
        parts = np.stack([reward.score(embeddings) for reward in self._rewards])
        return np.asarray(self._weights @ parts.astype(np.float64), dtype=np.float32)

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score frames: uint8 ``[n h w 3]`` to float32 ``[n]``."""
        return self.score(self.embed(frames))

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        parts = [{key: value for key, value in one.describe().items() if key != "encoder"} for one in self._rewards]
        return {
            "formula": "WeightedSum",
            "weights": self._weights.tolist(),
            "parts": parts,
            "encoder": self.encoder.describe(),
        }
