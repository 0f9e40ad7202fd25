"""Frames of the goal, or a video of how it is done, instead of a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Embedding, check_frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import read_frames
from vlm_rewards.rewards.base import (
    EmbeddingReward,
    FormulaReward,
    Prompts,
    check_encoder,
    check_prompts,
    embed_prompt,
)
from vlm_rewards.rewards.goal_baseline import check_alpha, goal_baseline_reward, mean_prompt, unit_rows
from vlm_rewards.rewards.registry import RewardInputs, register_reward


class GoalPictureReward(FormulaReward):
    """Similarity to frames of the goal: eq. 2 or 3 with a frame where the sentence was.

    *Where it comes from:* goal images as task specification in the embedding
    space of CLIP, Cui et al. 2022, *Can Foundation Models Perform Zero-Shot Task
    Specification For Robot Manipulation?*

    *When to use it:* where one state that fulfils the task can be rendered,
    as in a simulator it often can, and where words are too coarse. Frames are
    more alike among themselves than to any sentence, so the reward's range is
    narrow: standardise it. It also rewards everything else that the goal
    frame shows, such as the place in the room; several frames that have
    only the goal in common, with ``rule="mean"``, help against that.

    Args:
        encoder: Embeds frames and sentences.
        pictures: uint8 ``[k h w 3]`` with ``k >= 1``, RGB.
        rule: ``"mean"`` compares with the mean embedding, normalised again; ``"max"`` with the nearest frame.
        baseline: What any frame shows, for eq. 3; None is eq. 2. Only with ``"mean"``.
        alpha: Strength of the baseline, in [0, 1].

    Raises:
        InvalidInputError: The frames, a prompt or alpha are not usable.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        *,
        pictures: ArrayLike,
        rule: Literal["mean", "max"] = "mean",
        baseline: Prompts | None = None,
        alpha: float = 0.5,
    ) -> None:
        if rule not in ("mean", "max"):
            raise InvalidInputError(f"rule must be 'mean' or 'max', got {rule!r}.")
        if rule == "max" and baseline is not None:
            raise InvalidInputError("baseline needs rule='mean': eq. 3 has one goal.")
        check_encoder(encoder)
        strength, prompts = check_alpha(alpha), None if baseline is None else check_prompts(baseline, "baseline")
        self._begin(encoder, encoder.embed_images(check_frames(pictures)), rule)
        if prompts is not None:
            self._alpha, self._baseline = strength, prompts
            self._baseline_embedding = embed_prompt(encoder, self._baseline)
            goal_baseline_reward(self._goals, self._goals[0], self._baseline_embedding, self._alpha)  # refuses now

    @classmethod
    def from_embedded(cls, encoder: ImageTextEncoder, embedded: NDArray[np.float32]) -> GoalPictureReward:
        """Make the reward of frames that are embedded already, float32 ``[k d]``, by their mean: files may differ."""
        reward = cls.__new__(cls)
        reward._begin(encoder, embedded, "mean")
        return reward

    def _begin(self, encoder: ImageTextEncoder, embedded: NDArray[np.float32], rule: str) -> None:
        FormulaReward.__init__(self, encoder)
        self._rule, self._alpha, self._count = rule, 0.0, len(embedded)
        self._goals = unit_rows(mean_prompt(embedded)[None] if rule == "mean" else embedded, "pictures")
        self._baseline: tuple[str, ...] | None = None
        self._baseline_embedding: Embedding | None = None

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._baseline_embedding is None:
            return (embeddings @ self._goals.T).max(axis=1)
        rewards = goal_baseline_reward(embeddings, self._goals[0], self._baseline_embedding, self._alpha)
        return rewards.astype(np.float64)

    def _facts(self) -> dict[str, Any]:
        baseline = None if self._baseline is None else list(self._baseline)
        facts = {"pictures": self._count, "rule": self._rule, "baseline": baseline, "alpha": self._alpha}
        return {**facts, "range": [-1.0, 1.0]}


def embed_files(encoder: ImageTextEncoder, paths: tuple[str, ...]) -> NDArray[np.float32]:
    """Embed image files of any sizes, each by itself, or the frames of animations and videos: float32 ``[n d]``."""
    check_files(paths)
    rows = [encoder.embed_images(frame.pixels[None]) for path in paths for frame in read_frames(Path(path))]
    return np.concatenate(rows)


def check_files(paths: Iterable[str]) -> None:
    """Check that files are there, and that a first frame can be read from each."""
    for path in paths:
        if not Path(path).is_file():
            raise InvalidInputError(f"frames must be files that exist, there is no {path!r}.")
        next(read_frames(Path(path)))


@register_reward("goal-pictures", needs=("goal_pictures",))
def _build(inputs: RewardInputs) -> EmbeddingReward:
    return GoalPictureReward.from_embedded(inputs.encoder, embed_files(inputs.encoder, inputs.goal_pictures))


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
def _build_demonstration(inputs: RewardInputs) -> EmbeddingReward:
    return DemonstrationReward.from_embedded(inputs.encoder, embed_files(inputs.encoder, (str(inputs.demonstration),)))
