"""Rewards made of other rewards: of several views of one state, and several added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards, check_frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.rewards.base import EmbeddingReward, FrameReward, check_embeds, score_columns


class CameraReward:
    """Another reward of every camera's frame, averaged or minimised; embeds if that one does (`EmbeddingReward`).

    *Where it comes from:* averaging is the usual ensemble; the minimum asks for
    every view to agree, against rewards that one view fakes (the occlusions
    that are behind reward hacking in single-camera setups).

    *When to use it:* ``"min"`` where one view hides what matters, as a raised
    arm behind the body, and an agent exploits it; ``"mean"`` where views are
    noisy. Every camera costs a drawing and an embedding.

    It goes around any other reward: give a `WeightedSum` to the cameras, not
    cameras to the sum.

    Args:
        reward: Scores one frame.
        cameras: Frames in a strip, at least 2.
        rule: ``"mean"`` or ``"min"``.

    Attributes:
        cameras: As given.
        frame_size: Side in pixels of each square frame, the reward's.
        encoder: The reward's, where it has one.

    Raises:
        InvalidInputError: The rule or the number is not usable, or the reward has cameras already.
    """

    encoder: ImageTextEncoder

    def __init__(self, reward: FrameReward, *, cameras: int, rule: Literal["mean", "min"] = "mean") -> None:
        if rule not in ("mean", "min"):
            raise InvalidInputError(f"camera_rule must be 'mean' or 'min', got {rule!r}.")
        if isinstance(reward, CameraReward):
            raise InvalidInputError("reward must score one frame, got a CameraReward: cameras cannot be nested.")
        self._reward, self._rule = reward, rule
        self.cameras, self.frame_size = check_count("cameras", cameras, least=2), reward.frame_size
        if isinstance(reward, EmbeddingReward):
            self.encoder = reward.encoder  # without it, this is no EmbeddingReward either

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed strips.

        Args:
            frames: uint8 ``[n cameras*s s 3]``: the square frames one below another.

        Returns:
            float32 ``[n cameras*d]``: the unit embeddings one after another.

        Raises:
            InvalidInputError: The frames are no such strips, or the reward embeds nothing.
        """
        single = self._single(frames)
        return check_embeds(self._reward).embed(single).reshape(len(single) // self.cameras, -1)

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score embedded strips.

        Args:
            embeddings: What `embed` gave, ``[n cameras*d]``.

        Returns:
            float32 ``[n]``.

        Raises:
            InvalidInputError: They are of another number of cameras, or the reward embeds nothing.
        """
        rows = np.asarray(embeddings)
        if rows.ndim != 2 or rows.shape[1] % self.cameras:
            raise InvalidInputError(f"embeddings must be [n {self.cameras}*d], got shape {rows.shape}.")
        return self._combined(check_embeds(self._reward).score(rows.reshape(len(rows) * self.cameras, -1)))

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score strips: uint8 ``[n cameras*s s 3]`` to float32 ``[n]``.

        Raises:
            InvalidInputError: The frames are no such strips.
        """
        return self._combined(self._reward(self._single(frames)))

    def _single(self, frames: ArrayLike) -> NDArray[np.uint8]:
        """Every camera's frame by itself, uint8 ``[n*cameras s s 3]``."""
        strips = check_frames(frames)
        count, height, width = strips.shape[:3]
        if height != self.cameras * width:
            raise InvalidInputError(
                f"frames must be strips of {self.cameras} square frames, [n {self.cameras}*s s 3], got {strips.shape}."
            )
        return strips.reshape(count * self.cameras, width, width, 3)

    def _combined(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores ``[n*cameras]`` to ``[n]``."""
        rows = scores.reshape(-1, self.cameras)
        combined = rows.min(axis=1) if self._rule == "min" else rows.astype(np.float64).mean(axis=1)
        return np.asarray(combined, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        inner = self._reward.describe()
        return {**inner, "cameras": self.cameras, "camera_rule": self._rule}


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
