"""An encoder and its prompts: frames in, rewards out."""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.arrays import Embedding
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward, Prompts, check_prompts, embed_prompt, jsonable
from vlm_rewards.rewards.goal_baseline import check_alpha, check_direction, goal_baseline_reward, goal_reward
from vlm_rewards.rewards.registry import RewardInputs, register_reward


class VLMReward(FormulaReward):
    """Scores frames by how well they fit a sentence (eq. 2, or eq. 3 with a baseline).

    The sentences are embedded once, when the reward is made. The reward can be
    pickled if its encoder can. Several wordings of a prompt count as one prompt:
    the mean of their embeddings, normalised again.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        *,
        goal: Prompts,
        baseline: Prompts | None = None,
        alpha: SupportsFloat = 0.5,
    ) -> None:
        """Embed the prompts.

        Args:
            encoder: Embeds frames and sentences; see `load_encoder`.
            goal: What the frame should show.
            baseline: What any frame shows; None for the plain similarity (eq. 2).
            alpha: Strength of the baseline in [0, 1]; without a baseline it counts as 0.

        Raises:
            InvalidInputError: A prompt is empty, alpha is outside [0, 1], or goal and baseline say the same.
        """
        super().__init__(encoder)
        strength = check_alpha(alpha)
        goal_prompts = check_prompts(goal, "goal")
        baseline_prompts = None if baseline is None else check_prompts(baseline, "baseline")
        if baseline_prompts is not None and set(baseline_prompts) == set(goal_prompts):
            raise InvalidInputError(
                f"goal and baseline must differ, both are {goal!r}. Pass baseline=None for plain similarity (eq. 2)."
            )
        self._goal = goal if isinstance(goal, str) else goal_prompts
        self._baseline = baseline if isinstance(baseline, str) else baseline_prompts
        self._alpha = 0.0 if baseline_prompts is None else strength
        self._goal_embedding = embed_prompt(encoder, goal_prompts)
        self._baseline_embedding = None if baseline_prompts is None else embed_prompt(encoder, baseline_prompts)
        if self._baseline_embedding is not None:
            check_direction(self._goal_embedding.astype(np.float64) - self._baseline_embedding)

    @property
    def goal(self) -> str | tuple[str, ...]:
        """The goal prompt, or its wordings."""
        return self._goal

    @property
    def baseline(self) -> str | tuple[str, ...] | None:
        """The baseline prompt, or its wordings; None for eq. 2."""
        return self._baseline

    @property
    def alpha(self) -> float:
        """Strength of the baseline in [0, 1]; 0 without one."""
        return self._alpha

    @property
    def goal_embedding(self) -> Embedding:
        """Unit embedding of the goal, float32 ``[d]``."""
        return self._goal_embedding

    @property
    def baseline_embedding(self) -> Embedding | None:
        """Unit embedding of the baseline, float32 ``[d]``; None for eq. 2."""
        return self._baseline_embedding

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float32]:
        if self._baseline_embedding is None:
            return goal_reward(embeddings, self._goal_embedding)
        return goal_baseline_reward(embeddings, self._goal_embedding, self._baseline_embedding, self._alpha)

    def _facts(self) -> dict[str, Any]:
        return {
            "formula": "goal (eq. 2)" if self._baseline is None else "goal-baseline (eq. 3)",
            "goal": jsonable(self._goal),
            "baseline": jsonable(self._baseline),
            "alpha": self._alpha,
        }

    def __repr__(self) -> str:
        prompts = f"goal={self._goal!r}, baseline={self._baseline!r}"
        return f"VLMReward({self._encoder.name!r}, {prompts}, alpha={self._alpha!r})"


@register_reward("goal-baseline")
def _build(inputs: RewardInputs) -> EmbeddingReward:
    return VLMReward(inputs.encoder, goal=inputs.goal, baseline=inputs.baseline, alpha=inputs.alpha)
