"""Potential-based shaping: guidance that cannot change what is optimal."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, share_embeddings


def shaped(
    base: ArrayLike, potential: ArrayLike, next_potential: ArrayLike, terminated: ArrayLike, gamma: float
) -> NDArray[np.float32]:
    """Add ``gamma * Phi(s') - Phi(s)`` to a reward (Ng, Harada and Russell 1999, theorem 1).

    The potential of a terminated (absorbing) state is 0, or the way an episode
    ends would be paid for. A truncated episode has not ended for the learner,
    which bootstraps from its last state: that state keeps its potential.

    Args:
        base: Rewards of the transitions, ``[...]``.
        potential: ``Phi`` of the states before, ``[...]``.
        next_potential: ``Phi`` of the states after, ``[...]``.
        terminated: bool ``[...]``; not where an episode was truncated.
        gamma: The learner's own discount, in [0, 1]; with another one the guarantee is lost.

    Returns:
        float32 ``[...]``.
    """
    after = np.where(np.asarray(terminated, dtype=bool), 0.0, np.asarray(next_potential, dtype=np.float64))
    total = np.asarray(base, dtype=np.float64) + gamma * after - np.asarray(potential, dtype=np.float64)
    return np.asarray(total, dtype=np.float32)


class PotentialShaping:
    """A VLM reward as a potential: the learner is paid ``base + gamma * Phi(s') - Phi(s)``.

    *Where it comes from:* Ng, Harada and Russell 1999, *Policy Invariance Under
    Reward Transformations*: whatever ``Phi`` is, the optimal policies are those
    of the base reward.

    *When to use it:* where the environment has a reward that is right but
    sparse. The sentence then says where to look, and cannot be exploited: a
    wrong one costs time, not correctness. Alone it means nothing, as all
    policies would be equally good; therefore it needs a base.

    Args:
        potential: ``Phi``, any reward form.
        gamma: The learner's discount, in [0, 1].
        base: ``"environment"`` for the environment's own reward, the one and explicit way for it to reach a learner; or
            another reward form.

    Raises:
        InvalidInputError: gamma or base is not usable.
    """

    def __init__(
        self,
        potential: EmbeddingReward,
        *,
        gamma: float,
        base: Literal["environment"] | EmbeddingReward = "environment",
    ) -> None:
        if isinstance(gamma, bool) or not 0.0 <= gamma <= 1.0:
            raise InvalidInputError(f"gamma must be a number from 0 to 1, got {gamma!r}.")
        if isinstance(base, str) and base != "environment":
            raise InvalidInputError(f"base must be 'environment' or a reward, got {base!r}.")
        if isinstance(potential, PotentialShaping) or isinstance(base, PotentialShaping):
            raise InvalidInputError("potential and base must be rewards of a state, not shapings of transitions.")
        self.potential, self.gamma, self.base = potential, float(gamma), base

    @property
    def encoder(self) -> ImageTextEncoder:
        """Embeds the frames."""
        return self.potential.encoder

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that the potential wants."""
        return self.potential.frame_size

    def columns(self, frames: ArrayLike) -> NDArray[np.float32]:
        """What a state contributes.

        Args:
            frames: uint8 ``[n h w 3]``, RGB.

        Returns:
            float32 ``[n 2]``: the base reward (0 where it is the environment's) and the potential.
        """
        embeddings = self.potential.embed(frames)
        potential = self.potential.score(embeddings)
        if isinstance(self.base, str):
            return np.stack([np.zeros_like(potential), potential], axis=1)
        shared = share_embeddings(self.base, self.potential)
        base = self.base.score(embeddings) if shared else self.base(frames)
        return np.stack([base, potential], axis=1)

    def __call__(self, frames: ArrayLike) -> Rewards:
        """How good states are by the sentence: the base reward if it is one of frames, else the potential."""
        return self.potential(frames) if isinstance(self.base, str) else self.base(frames)

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        base = self.base if isinstance(self.base, str) else self.base.describe()
        facts = {"formula": "PotentialShaping", "gamma": self.gamma, "base": base}
        return {**facts, "potential": self.potential.describe(), "encoder": self.encoder.describe()}
