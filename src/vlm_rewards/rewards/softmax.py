"""The goal among other sentences, as a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward, Prompts, check_prompts, embed_prompt
from vlm_rewards.rewards.registry import RewardInputs, register_reward

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
        return {
            "goal": list(self._goal),
            "others": list(self._others),
            "temperature": self._temperature,
            "range": [0.0, 1.0],
        }


@register_reward("softmax", takes=("others", "temperature"))
def _build(inputs: RewardInputs) -> EmbeddingReward:
    temperature = CLIP_TEMPERATURE if inputs.temperature is None else inputs.temperature
    others = inputs.others or (inputs.baseline,)
    return SoftmaxReward(inputs.encoder, goal=inputs.goal, others=others, temperature=temperature)
