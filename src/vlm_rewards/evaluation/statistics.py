"""Intervals around what was measured."""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from vlm_rewards.errors import InvalidInputError


def wilson_interval(
    successes: SupportsIndex, trials: SupportsIndex, confidence: SupportsFloat = 0.95
) -> tuple[float, float]:
    """Wilson score interval of a success rate.

    It keeps within [0, 1] and does not shrink to nothing when every episode
    succeeds: 100 of 100 says that the rate is above 0.96, not that it is 1.

    Args:
        successes: How many episodes succeeded, 0 to ``trials``.
        trials: How many episodes there were, at least 1.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        The lower and the upper end.

    Raises:
        InvalidInputError: An argument breaks these rules.
    """
    n, k, level = _count(trials, "trials"), _count(successes, "successes"), check_confidence(confidence)
    if n < 1:
        raise InvalidInputError(f"trials must be at least 1, got {n}.")
    if not 0 <= k <= n:
        raise InvalidInputError(f"successes must be in [0, trials = {n}], got {k}.")
    from scipy import stats  # takes a second to import; nothing else here needs it

    interval = stats.binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(
    values: ArrayLike, confidence: SupportsFloat = 0.95, *, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval (BCa) of a mean.

    Where the values are all the same the interval is that value: resampling
    sees no spread. That says nothing about values that were never drawn.

    Args:
        values: ``[n]`` with ``n >= 2``, finite.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many times to resample.
        seed: Of the resampling; the same seed gives the same interval.

    Returns:
        The lower and the upper end.

    Raises:
        InvalidInputError: An argument breaks these rules.
    """
    sample, level = np.asarray(values, dtype=np.float64), check_confidence(confidence)
    if sample.ndim != 1 or sample.size < 2:
        raise InvalidInputError(f"values must have shape [n] with n >= 2, got {sample.shape}.")
    if not np.isfinite(sample).all():
        raise InvalidInputError("values must be finite, got NaN or infinity.")
    # Spread below the rounding of the mean: BCa's acceleration would be 0 / 0.
    if np.ptp(sample) <= 1e-12 * np.abs(sample).max():
        return float(sample[0]), float(sample[0])
    from scipy import stats

    result = stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        batch=max(1, 10_000_000 // sample.size),  # bounds the memory to 80 MB
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _count(value: SupportsIndex, field: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise InvalidInputError(f"{field} must be an integer, got {value!r}.")
    return value.__index__()


def check_confidence(value: SupportsFloat) -> float:
    """Return the coverage of an interval.

    Raises:
        InvalidInputError: It is not in (0, 1).
    """
    level = float(value)
    if not 0 < level < 1:
        raise InvalidInputError(f"confidence must be in (0, 1), got {level!r}.")
    return level
