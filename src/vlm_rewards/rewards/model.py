"""Rewards made of an encoder and prompts: the paper's, a difference of similarities, a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward, Prompts, check_prompts, embed_prompt
from vlm_rewards.rewards.goal_baseline import check_alpha, check_direction, goal_baseline_reward, goal_reward
from vlm_rewards.rewards.registry import RewardInputs, register_reward


class VLMReward(FormulaReward):
    """Scores frames by how well they fit a sentence (eq. 2, or eq. 3 with a baseline).

    The sentences are embedded once, when the reward is made. The reward can be
    pickled if its encoder can. Several wordings of a prompt count as one prompt:
    the mean of their embeddings, normalised again.

    Args:
        encoder: Embeds frames and sentences; see `load_encoder`.
        goal: What the frame should show.
        baseline: What any frame shows; None for the plain similarity (eq. 2).
        alpha: Strength of the baseline in [0, 1]; without a baseline it counts as 0.

    Attributes:
        goal: The goal prompt, or its wordings.
        baseline: The baseline prompt, or its wordings; None for eq. 2.
        alpha: Strength of the baseline in [0, 1]; 0 without one.
        goal_embedding: Unit embedding of the goal, float32 ``[d]``.
        baseline_embedding: Unit embedding of the baseline, float32 ``[d]``; None for eq. 2.

    Raises:
        InvalidInputError: A prompt is empty, alpha is outside [0, 1], or goal and baseline say the same.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        *,
        goal: Prompts,
        baseline: Prompts | None = None,
        alpha: SupportsFloat = 0.5,
    ) -> None:
        super().__init__(encoder)
        strength = check_alpha(alpha)
        goal_prompts = check_prompts(goal, "goal")
        baseline_prompts = None if baseline is None else check_prompts(baseline, "baseline")
        if baseline_prompts is not None and set(baseline_prompts) == set(goal_prompts):
            raise InvalidInputError(
                f"goal and baseline must differ, both are {goal!r}. Pass baseline=None for plain similarity (eq. 2)."
            )
        self.goal = goal if isinstance(goal, str) else goal_prompts
        self.baseline = baseline if isinstance(baseline, str) else baseline_prompts
        self.alpha = 0.0 if baseline_prompts is None else strength
        self.goal_embedding = embed_prompt(encoder, goal_prompts)
        self.baseline_embedding = None if baseline_prompts is None else embed_prompt(encoder, baseline_prompts)
        if self.baseline_embedding is not None:
            check_direction(self.goal_embedding.astype(np.float64) - self.baseline_embedding)

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float32]:
        if self.baseline_embedding is None:
            return goal_reward(embeddings, self.goal_embedding)
        return goal_baseline_reward(embeddings, self.goal_embedding, self.baseline_embedding, self.alpha)

    def _facts(self) -> dict[str, Any]:
        return {
            "formula": "goal (eq. 2)" if self.baseline is None else "goal-baseline (eq. 3)",
            "goal": self.goal if isinstance(self.goal, str) else list(self.goal),
            "baseline": list(self.baseline) if isinstance(self.baseline, tuple) else self.baseline,
            "alpha": self.alpha,
        }

    def __repr__(self) -> str:
        prompts = f"goal={self.goal!r}, baseline={self.baseline!r}"
        return f"VLMReward({self.encoder.name!r}, {prompts}, alpha={self.alpha!r})"


@register_reward("goal-baseline")
def _build(inputs: RewardInputs) -> EmbeddingReward:
    return VLMReward(inputs.encoder, goal=inputs.goal, baseline=inputs.baseline, alpha=inputs.alpha)


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
        return {"goal": list(self._goal), "baseline": list(self._baseline), "range": [-2.0, 2.0]}


@register_reward("contrast")
def _build_contrast(inputs: RewardInputs) -> EmbeddingReward:
    return ContrastReward(inputs.encoder, goal=inputs.goal, baseline=inputs.baseline)


CLIP_TEMPERATURE = 0.01
"""What CLIP was trained to: its logit scale is clipped at 100 (Radford et al. 2021, section 2.5)."""


class SoftmaxReward(FormulaReward):
    """Probability of the goal among several sentences, ``exp(x.g/T) / sum_i exp(x.p_i/T)``.

    *Where it comes from:* CLIP's zero-shot classification (Radford et al. 2021,
    section 3.1), with the sentences as classes.

    *When to use it:* where the states that are *not* the goal can be named. The
    reward saturates: with CLIP's own temperature it is close to 0 or 1 almost
    everywhere, which suits a success detector. For learning, a higher
    temperature (0.05 to 0.2) leaves a slope to climb.

    Args:
        encoder: Embeds frames and sentences.
        goal: What the frame should show, or several wordings of it.
        others: Sentences that compete with it, at least one; their order does not matter.
        temperature: Positive; the smaller, the sharper. Towards infinity all sentences become equally likely.

    Raises:
        InvalidInputError: A prompt is not usable, one of the others is the goal, or the temperature is not positive.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        *,
        goal: Prompts,
        others: Sequence[str],
        temperature: float = CLIP_TEMPERATURE,
    ) -> None:
        super().__init__(encoder)
        if isinstance(temperature, bool) or not (math.isfinite(temperature) and temperature > 0):
            raise InvalidInputError(f"temperature must be a positive number, got {temperature!r}.")
        self._goal, self._others = check_prompts(goal, "goal"), check_prompts(others, "others")
        if set(self._goal) & set(self._others):
            raise InvalidInputError(f"others must not hold the goal itself, got {list(self._others)!r}.")
        self._temperature = float(temperature)
        classes = [embed_prompt(encoder, self._goal), *(embed_prompt(encoder, [other]) for other in self._others)]
        self._classes = np.stack(classes).astype(np.float64)

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = embeddings @ self._classes.T / self._temperature
        # How much each class is ahead of the goal; the largest is taken out, so that nothing overflows.
        ahead = logits - logits[:, :1]
        highest = ahead.max(axis=1, keepdims=True)
        return np.exp(-highest[:, 0]) / np.exp(ahead - highest).sum(axis=1)

    def _facts(self) -> dict[str, Any]:
        facts = {"goal": list(self._goal), "others": list(self._others), "temperature": self._temperature}
        return {**facts, "range": [0.0, 1.0]}


@register_reward("softmax", takes=("others", "temperature"))
def _build_softmax(inputs: RewardInputs) -> EmbeddingReward:
    temperature = CLIP_TEMPERATURE if inputs.temperature is None else inputs.temperature
    others = inputs.others or (inputs.baseline,)
    return SoftmaxReward(inputs.encoder, goal=inputs.goal, others=others, temperature=temperature)
