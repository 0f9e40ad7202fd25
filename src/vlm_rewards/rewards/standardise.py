"""An affine map of the reward, fitted once and then frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Rewards
from vlm_rewards.errors import InvalidInputError

_SMALLEST_STD = 1e-7
"""Below this the spread of float32 rewards is rounding, and dividing by it would amplify noise."""


@dataclass
class Standardiser:
    """Maps rewards to ``(reward - mean) / std``, with mean and std fitted once.

    Raw CLIP similarities differ in the third decimal, which the usual learning
    rates and entropy coefficients are not made for.

    *When it leaves the optimal policy as it is:* an affine map of the reward
    with a positive scale turns the discounted return of an episode of ``T``
    steps into ``scale * return + shift * (1 + gamma + ... + gamma^(T-1))``.
    Where ``T`` does not depend on the policy, as in every task of this package,
    the second term is the same for all policies and their order is unchanged.

    *When it does not:* if the length of an episode depends on the policy
    (early termination), the shift pays or charges for every further step of
    life and can make another policy the best one. And in an objective with an
    entropy bonus (SAC) the scale changes the trade-off: dividing rewards by
    ``std`` is the same as multiplying the temperature by ``std``; with a
    temperature tuned to a target entropy, that target decides instead.
    """

    mean: float = 0.0
    """What is subtracted."""
    std: float = 1.0
    """What is divided by; positive."""
    fitted: bool = False
    """Whether mean and std are final."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise InvalidInputError(f"mean must be finite, got {self.mean!r}.")
        if not (math.isfinite(self.std) and self.std > 0):
            raise InvalidInputError(f"std must be finite and positive, got {self.std!r}.")

    def fit(self, rewards: ArrayLike) -> Standardiser:
        """Take mean and (population) standard deviation from rewards, once and for all.

        Args:
            rewards: ``[n]`` with ``n >= 2``, finite, not all the same.

        Returns:
            This object, now fitted.

        Raises:
            InvalidInputError: It is fitted already, or the rewards break these rules.
        """
        if self.fitted:
            raise InvalidInputError("the standardiser is fitted already and stays frozen; make a new one instead.")
        values = _finite_vector(rewards)
        if values.size < 2:
            raise InvalidInputError(f"rewards must hold at least 2 values to be standardised, got {values.size}.")
        std = float(values.std())
        if std < _SMALLEST_STD:
            raise InvalidInputError(
                f"rewards must not be constant: {values.size} values near {values.mean():.6g} have a standard "
                f"deviation of {std:.2g}. Do the frames change, and do the prompts tell them apart?"
            )
        self.mean, self.std, self.fitted = float(values.mean()), std, True
        return self

    def apply(self, rewards: ArrayLike) -> Rewards:
        """Standardise rewards.

        Args:
            rewards: ``[n]``, finite.

        Returns:
            float32 ``[n]``, ``(rewards - mean) / std``.

        Raises:
            InvalidInputError: It is not fitted yet, or the rewards break these rules.
        """
        if not self.fitted:
            raise InvalidInputError("the standardiser must be fitted before it is applied; call fit(rewards) first.")
        return ((_finite_vector(rewards) - self.mean) / self.std).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able state; `from_dict` restores it exactly."""
        return {"mean": self.mean, "std": self.std, "fitted": self.fitted}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Standardiser:
        """Restore a standardiser from `to_dict`.

        Raises:
            InvalidInputError: A key is missing or unknown, or a value breaks a rule.
        """
        expected = {"mean", "std", "fitted"}
        if set(state) != expected:
            raise InvalidInputError(f"standardiser state must have the keys {sorted(expected)}, got {sorted(state)}.")
        return cls(mean=float(state["mean"]), std=float(state["std"]), fitted=bool(state["fitted"]))


def _finite_vector(rewards: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(rewards)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InvalidInputError(f"rewards must be numbers of shape [n], got {values.dtype} {values.shape}.")
    if not np.isfinite(values).all():
        raise InvalidInputError("rewards must be finite, got NaN or infinity.")
    return values.astype(np.float64)
