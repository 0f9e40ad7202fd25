"""Several views of one state."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.rewards.base import EmbeddingReward, check_frames


class CameraReward:
    """Another reward of every camera's frame, averaged or minimised.

    *Where it comes from:* averaging is the usual ensemble; the minimum asks for
    every view to agree, against rewards that one view fakes (the occlusions
    that are behind reward hacking in single-camera setups).

    *When to use it:* ``"min"`` where one view hides what matters, as a raised
    arm behind the body, and an agent exploits it; ``"mean"`` where views are
    noisy. Every camera costs a drawing and an embedding.

    It goes around any other form: give a `WeightedSum` to the cameras, not
    cameras to the sum.

    Args:
        reward: Scores one frame.
        cameras: Frames in a strip, at least 2.
        rule: ``"mean"`` or ``"min"``.

    Raises:
        InvalidInputError: The rule or the number is not usable, or the reward has cameras already.
    """

    def __init__(self, reward: EmbeddingReward, *, cameras: int, rule: Literal["mean", "min"] = "mean") -> None:
        if rule not in ("mean", "min"):
            raise InvalidInputError(f"camera_rule must be 'mean' or 'min', got {rule!r}.")
        if isinstance(reward, CameraReward):
            raise InvalidInputError("reward must score one frame, got a CameraReward: cameras cannot be nested.")
        self._reward, self._rule = reward, rule
        self.cameras = check_count("cameras", cameras, least=2)

    @property
    def encoder(self) -> ImageTextEncoder:
        """Embeds the frames."""
        return self._reward.encoder

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that the encoder takes natively."""
        return self.encoder.image_size

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed strips.

        Args:
            frames: uint8 ``[n cameras*s s 3]``: the square frames one below another.

        Returns:
            float32 ``[n cameras*d]``: the unit embeddings one after another.

        Raises:
            InvalidInputError: The frames are no such strips.
        """
        strips = check_frames(frames)
        count, height, width = strips.shape[:3]
        if height != self.cameras * width:
            raise InvalidInputError(
                f"frames must be strips of {self.cameras} square frames, [n {self.cameras}*s s 3], got {strips.shape}."
            )
        return self._reward.embed(strips.reshape(count * self.cameras, width, width, 3)).reshape(count, -1)

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score embedded strips.

        Args:
            embeddings: What `embed` gave, ``[n cameras*d]``.

        Returns:
            float32 ``[n]``.

        Raises:
            InvalidInputError: They are of another number of cameras.
        """
        rows = np.asarray(embeddings)
        if rows.ndim != 2 or rows.shape[1] % self.cameras:
            raise InvalidInputError(f"embeddings must be [n {self.cameras}*d], got shape {rows.shape}.")
        single = self._reward.score(rows.reshape(len(rows) * self.cameras, -1)).reshape(-1, self.cameras)
        combined = single.min(axis=1) if self._rule == "min" else single.astype(np.float64).mean(axis=1)
        return np.asarray(combined, dtype=np.float32)

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score strips: uint8 ``[n cameras*s s 3]`` to float32 ``[n]``."""
        return self.score(self.embed(frames))

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        inner = self._reward.describe()
        return {**inner, "cameras": self.cameras, "camera_rule": self._rule}
