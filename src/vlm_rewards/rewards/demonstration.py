"""A video of how it is done instead of a sentence."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward
from vlm_rewards.rewards.goal_baseline import unit_rows
from vlm_rewards.rewards.goal_pictures import embed_files
from vlm_rewards.rewards.registry import RewardInputs, register_reward

_CHUNK = 64


class DemonstrationReward(FormulaReward):
    """How far along a demonstration the rendered state is, or how like it is to any moment of it.

    With ``rule="progress"`` the nearest frame ``i`` of ``k`` is looked up, and
    the reward is ``x . f_i * i / (k - 1)``: likeness times the share of the
    demonstration that lies behind, so the end pays most. With ``rule="nearest"``
    it is ``max_i x . f_i``.

    *Where it comes from:* RoboCLIP (Sontakke et al. 2023) scores a whole
    rollout against one demonstration in the embedding space of a video model.
    This is its counterpart for single frames, which CLIP embeds: a reward for
    every state instead of one for an episode.

    *When to use it:* where one good episode can be filmed. ``"progress"`` suits
    tasks that are passed through in an order; do not use it where the same view
    comes twice. ``"nearest"`` suits gaits and other cycles, and is content with
    any moment, the first included.

    Args:
        encoder: Embeds frames.
        frames: The demonstration, uint8 ``[k h w 3]`` with ``k >= 2``, in order, RGB.
        rule: ``"progress"`` or ``"nearest"``.

    Raises:
        InvalidInputError: The frames or the rule are not usable.
    """

    def __init__(
        self, encoder: ImageTextEncoder, *, frames: ArrayLike, rule: Literal["progress", "nearest"] = "progress"
    ) -> None:
        pictures = check_frames(frames)
        rows = [encoder.embed_images(pictures[start : start + _CHUNK]) for start in range(0, len(pictures), _CHUNK)]
        self._begin(encoder, np.concatenate(rows), rule)

    @classmethod
    def from_embedded(
        cls, encoder: ImageTextEncoder, embedded: ArrayLike, *, rule: Literal["progress", "nearest"] = "progress"
    ) -> DemonstrationReward:
        """Make the reward of frames that have been embedded already, float32 ``[k d]``; long videos need no memory."""
        reward = cls.__new__(cls)
        reward._begin(encoder, embedded, rule)
        return reward

    def _begin(self, encoder: ImageTextEncoder, embedded: ArrayLike, rule: str) -> None:
        FormulaReward.__init__(self, encoder)
        if rule not in ("progress", "nearest"):
            raise InvalidInputError(f"rule must be 'progress' or 'nearest', got {rule!r}.")
        self._rule = rule
        self._moments = unit_rows(embedded, "frames")
        if len(self._moments) < 2:
            raise InvalidInputError(f"a demonstration must have at least 2 frames, got {len(self._moments)}.")

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        similarities = embeddings @ self._moments.T
        nearest = similarities.argmax(axis=1)
        likeness = similarities[np.arange(len(embeddings)), nearest]
        return likeness if self._rule == "nearest" else likeness * nearest / (len(self._moments) - 1)

    def _facts(self) -> dict[str, Any]:
        return {"frames": len(self._moments), "rule": self._rule, "range": [-1.0, 1.0]}


@register_reward("demonstration", needs=("demonstration",))
def _build(inputs: RewardInputs) -> EmbeddingReward:
    return DemonstrationReward.from_embedded(inputs.encoder, embed_files(inputs.encoder, (str(inputs.demonstration),)))
