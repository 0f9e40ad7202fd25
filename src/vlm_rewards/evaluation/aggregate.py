"""Scores of several seeds as one number with an interval (Agarwal et al. 2021, arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.ranking import Estimate
from vlm_rewards.evaluation.statistics import check_confidence

Statistic = Callable[..., Any]
"""Called as ``statistic(values, axis=-1)``, as `numpy.mean` and `interquartile_mean` may be."""

_BATCH_VALUES = 4_000_000  # resampled at a time: bounds the memory to some 100 MB


def interquartile_mean(scores: ArrayLike, axis: int | None = None) -> Any:
    """Mean of the middle half: the lowest and the highest quarter are left out, rounded down.

    It is less swayed by one lucky or unlucky seed than the mean, and varies
    less than the median. Of fewer than four values it is their mean.

    Args:
        scores: Finite numbers, of seeds, or of tasks and seeds, which are pooled.
        axis: Along which; None pools all.

    Returns:
        A float, or float64 without the axis.

    Raises:
        InvalidInputError: There is no score, or one is not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise InvalidInputError(f"scores must hold at least one number, got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise InvalidInputError("scores must be finite, got NaN or infinity.")
    from scipy import stats  # takes a second to import; nothing else here needs it

    mean = stats.trim_mean(values.ravel() if axis is None else values, 0.25, axis=-1 if axis is None else axis)
    return float(mean) if np.ndim(mean) == 0 else mean


def stratified_bootstrap_interval(
    scores: Sequence[ArrayLike],
    statistic: Statistic = interquartile_mean,
    confidence: SupportsFloat = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic over tasks and seeds: seeds are drawn anew within each task.

    The tasks are fixed: the interval says how the number would vary with other
    seeds, and nothing of other tasks.

    Args:
        scores: One row a task, ``[tasks][seeds]``; at least two seeds each, which may differ in number.
        statistic: Of all scores pooled.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many times to resample, at least 2.
        seed: Of the resampling; the same seed gives the same interval.

    Returns:
        The lower and the upper end.

    Raises:
        InvalidInputError: An argument breaks these rules.
    """
    rows = [_row(f"scores[{task}]", row) for task, row in enumerate(scores)]
    if not rows:
        raise InvalidInputError("scores must hold at least one task, got none.")

    def pooled(*resampled: NDArray[np.float64], axis: int = -1) -> Any:
        return statistic(np.concatenate(resampled, axis=axis), axis=axis)

    return _percentiles(rows, pooled, confidence, resamples, seed, sum(row.size for row in rows))


def probability_of_improvement(
    scores: ArrayLike,
    reference: ArrayLike,
    confidence: SupportsFloat = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Probability that a run scores higher than one of a reference, ties counting half.

    It is Mann and Whitney's U over the number of pairs. It says how often, not by how much.

    Args:
        scores: ``[n]``, of ``n >= 2`` seeds.
        reference: ``[m]``, of ``m >= 2`` seeds.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many times to resample both, at least 2.
        seed: Of the resampling.

    Returns:
        In [0, 1], 0.5 where neither is better, with a bootstrap interval.

    Raises:
        InvalidInputError: An argument breaks these rules.
    """
    ours, theirs = _row("scores", scores), _row("reference", reference)

    def share(one: NDArray[np.float64], other: NDArray[np.float64], axis: int = -1) -> Any:
        difference = np.sign(one[..., :, None] - other[..., None, :])
        return (1.0 + difference.mean(axis=(-2, -1))) / 2.0

    low, high = _percentiles([ours, theirs], share, confidence, resamples, seed, ours.size * theirs.size)
    return Estimate(float(share(ours, theirs)), low, high)


def _percentiles(
    rows: Sequence[NDArray[np.float64]],
    statistic: Statistic,
    confidence: SupportsFloat,
    resamples: int,
    seed: int,
    values: int,
) -> tuple[float, float]:
    level, times = check_confidence(confidence), check_count("resamples", resamples, least=2)
    from scipy import stats

    result = stats.bootstrap(
        tuple(rows),  # samples of their own, each drawn from by itself: that is the stratification
        statistic,
        confidence_level=level,
        n_resamples=times,
        batch=max(1, _BATCH_VALUES // values),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _row(field: str, scores: ArrayLike) -> NDArray[np.float64]:
    row = np.asarray(scores, dtype=np.float64)
    if row.ndim != 1 or row.size < 2:
        raise InvalidInputError(f"{field} must have shape [seeds] with at least 2 seeds, got {row.shape}.")
    if not np.isfinite(row).all():
        raise InvalidInputError(f"{field} must be finite, got NaN or infinity.")
    return row
