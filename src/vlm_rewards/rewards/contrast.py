"""Goal against baseline, as a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward, Prompts, check_prompts, embed_prompt, jsonable
from vlm_rewards.rewards.goal_baseline import check_direction
from vlm_rewards.rewards.registry import RewardInputs, register_reward


class ContrastReward(FormulaReward):
    """Similarity to the goal minus similarity to the baseline, ``x . g - x . b``.

    *Where it comes from:* the difference of two CLIP similarities, along the
    direction from one sentence to another: text directions as in StyleCLIP
    (Patashnik et al. 2021), as a reward as in Cui et al. 2022, *Can Foundation
    Models Perform Zero-Shot Task Specification For Robot Manipulation?*

    *When to use it:* where the opposite of the goal can be said ("a closed
    drawer" and "an open drawer"). Unlike eq. 3 it is linear in the frame and
    keeps growing beyond the goal sentence; it ranks states like eq. 3 with
    ``alpha = 1`` does on the baseline's side of the goal.

    Args:
        encoder: Embeds frames and sentences.
        goal: What the frame should show, or several wordings of it.
        baseline: What it should not show, or several wordings of it.

    Raises:
        InvalidInputError: A prompt is not usable, or both say the same.
    """

    def __init__(self, encoder: ImageTextEncoder, *, goal: Prompts, baseline: Prompts) -> None:
        super().__init__(encoder)
        self._goal, self._baseline = check_prompts(goal, "goal"), check_prompts(baseline, "baseline")
        if set(self._goal) == set(self._baseline):
            raise InvalidInputError(f"goal and baseline must differ, both are {goal!r}.")
        goal_embedding = embed_prompt(encoder, self._goal).astype(np.float64)
        self._direction = goal_embedding - embed_prompt(encoder, self._baseline)
        check_direction(self._direction)

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        return embeddings @ self._direction

    def _facts(self) -> dict[str, Any]:
        return {"goal": jsonable(self._goal), "baseline": jsonable(self._baseline), "range": [-2.0, 2.0]}


@register_reward("contrast")
def _build(inputs: RewardInputs) -> EmbeddingReward:
    return ContrastReward(inputs.encoder, goal=inputs.goal, baseline=inputs.baseline)
