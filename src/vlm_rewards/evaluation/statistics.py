"""Intervals around what was measured: ranks and correlations over states, scores over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.epic import check_labelled, check_labels, check_rewards, check_varied


def wilson_interval(
    successes: SupportsIndex, trials: SupportsIndex, confidence: SupportsFloat = 0.95
) -> tuple[float, float]:
    """Wilson score interval of a success rate.

    It keeps within [0, 1] and does not shrink to nothing when every episode
    succeeds: 100 of 100 says that the rate is above 0.96, not that it is 1.

    Returns:
        The lower and the upper end.
    """
    n, k = check_count("trials", trials), check_count("successes", successes, least=0)
    level = check_confidence(confidence)
    if k > n:
        raise InvalidInputError(f"successes must be in [0, trials = {n}], got {k}.")
    from scipy import stats  # takes a second to import; nothing else here needs it

    interval = stats.binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def check_confidence(value: SupportsFloat) -> float:
    """Return the coverage of an interval, in (0, 1)."""
    level = float(value)
    if not 0 < level < 1:
        raise InvalidInputError(f"confidence must be in (0, 1), got {level!r}.")
    return level


_BLOCK_BYTES = 64 * 2**20  # of counts at a time
_KEPT_BYTES = 256 * 2**20  # of all counts together: beyond, they are drawn again for each call
_SMALLEST_VARIANCE = 1e-12  # of values whose range is 1: what is less is rounding


class PearsonBootstrap:
    """Pearson distances of rewards to one reference, each with a percentile interval.

    Independent states are drawn one by one, goal states and others apart, as
    many as there are. States of an episode resemble
    each other: they are drawn together with their whole episode, or the
    interval would be too narrow.

    Args:
        reference: Labels (bool) or other rewards of the states, ``[n]``, not constant.
        groups: States with the same number were visited by one episode, ``[n]``.
        resamples: How many times to draw.
        seed: Of the draws.
        confidence: Coverage of the intervals, in (0, 1).

    Attributes:
        clustered: Whether episodes are drawn, not states.

    Raises:
        InvalidInputError: A setting is out of range, all states are of one kind, or all come from one episode.
    """

    def __init__(
        self,
        reference: NDArray[np.generic],
        groups: NDArray[np.integer],
        *,
        resamples: int = 1_000,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> None:
        if reference.dtype == np.bool_:
            values = check_labels(reference).astype(np.float64)
        else:
            values = check_varied(np.asarray(reference, dtype=np.float64), "the true reward")
        self._reference = _of_range_one(values[None])[0]
        self._resamples = check_count("resamples", resamples, least=2)
        self._level = check_confidence(confidence)
        self._seed = seed
        self._kept: list[NDArray[np.float64]] | None = None
        kinds, self._group = np.unique(groups, return_inverse=True)
        self.clustered = len(kinds) < len(groups)
        if len(kinds) < 2:
            raise InvalidInputError(f"an interval needs states of at least 2 episodes, got {len(groups)} of one.")
        if self.clustered:
            self._strata = [np.arange(len(kinds))]
        elif reference.dtype == np.bool_:
            self._strata = [np.flatnonzero(reference), np.flatnonzero(reference == 0)]
        else:
            self._strata = [np.arange(len(groups))]

    def distances(self, rewards: NDArray[np.floating]) -> Sequence[Estimate]:
        """Pearson distance of each reward, ``[m n]``, no row constant, to the reference.

        Raises:
            InvalidInputError: Fewer than half of the resamples have two kinds of states.
        """
        rows = np.asarray(rewards, dtype=np.float64)
        sums = self._sums(_of_range_one(rows))
        value = _distances(np.ones((1, self._units)), sums)[0]
        drawn = np.concatenate([_distances(counts, sums) for counts in self._counts()])
        usable = np.isfinite(drawn).all(axis=1)
        if usable.sum() < self._resamples / 2:
            raise InvalidInputError(
                f"an interval needs goal states and others in most resamples, {int((~usable).sum())} of "
                f"{self._resamples} have one kind alone: take more states, or of more episodes."
            )
        low, high = np.quantile(drawn[usable], [(1 - self._level) / 2, (1 + self._level) / 2], axis=0)
        return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(value, low, high, strict=True)]

    @property
    def _units(self) -> int:
        """How many things are drawn from: episodes, or states."""
        return int(self._group.max()) + 1 if self.clustered else len(self._group)

    def _sums(self, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Of each episode, or state, ``[units m]``: rewards, squares, products; ``[units 1]`` of what these share."""
        reference = self._reference[None]
        parts = (rows, rows * rows, rows * reference, reference, reference**2, np.ones_like(reference))
        if not self.clustered:
            return [part.T for part in parts]
        order = np.argsort(self._group, kind="stable")
        starts = np.searchsorted(self._group[order], np.arange(self._units))
        return [np.add.reduceat(part[:, order], starts, axis=1).T for part in parts]

    def _counts(self) -> Iterable[NDArray[np.float64]]:
        """How often each episode, or state, is in each resample, float64 ``[b units]``, a block at a time."""
        if self._kept is None and 8 * self._resamples * self._units <= _KEPT_BYTES:
            self._kept = list(self._draw())
        return self._draw() if self._kept is None else self._kept

    def _draw(self) -> Iterator[NDArray[np.float64]]:
        rng = np.random.default_rng(self._seed)
        block = max(1, _BLOCK_BYTES // (8 * self._units))
        for start in range(0, self._resamples, block):
            counts = np.zeros((min(block, self._resamples - start), self._units))
            for row in counts:
                for stratum in self._strata:
                    picked = stratum[rng.integers(0, len(stratum), len(stratum))]
                    row += np.bincount(picked, minlength=self._units)
            yield counts


def _of_range_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards ``[m n]``, none constant, each with mean 0 and range 1: a correlation does not notice."""
    return (rows - rows.mean(axis=1, keepdims=True)) / np.ptp(rows, axis=1, keepdims=True)


def _distances(counts: NDArray[np.float64], sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Pearson distances of resamples, ``[b m]``; NaN where one holds a single kind of state."""
    *parts, states = sums
    total = counts @ states
    mean, square, product, mean_reference, reference_square = (counts @ part / total for part in parts)
    variance = reference_square - mean_reference**2
    own_variance = square - mean**2
    varied = np.minimum(own_variance, variance) > _SMALLEST_VARIANCE
    spread = np.where(varied, own_variance * variance, np.nan)
    correlation = (product - mean * mean_reference) / np.sqrt(spread)
    return np.sqrt((1.0 - np.clip(correlation, -1.0, 1.0)) / 2.0)


@dataclass(frozen=True)
class Estimate:
    """A number measured on a sample of states, and how far it may be off."""

    value: float
    """On the sample itself."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""


def spearman(one: ArrayLike, two: ArrayLike) -> float:
    """Spearman's rank correlation of two rewards on the same states, in [-1, 1].

    Args:
        one: ``[n]`` with ``n >= 2``, finite, not constant.
        two: The same.

    Raises:
        InvalidInputError: They are something else.
    """
    from scipy import stats

    result: Any = stats.spearmanr(*check_rewards(one, two))
    return float(result.statistic)


def auroc(rewards: ArrayLike, labels: ArrayLike) -> float:
    """Probability that a goal state has a higher reward than another state, ties counting half.

    Args:
        rewards: ``[n]``, finite, not constant.
        labels: Whether each state fulfils the task, bool ``[n]``, both values present.

    Returns:
        In [0, 1]; 0.5 is chance.

    Raises:
        InvalidInputError: They are something else.
    """
    from sklearn.metrics import roc_auc_score

    values, mask = check_labelled(rewards, labels)
    return float(roc_auc_score(mask, values))


def ranked(rewards: NDArray[np.floating], reference: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`spearman` and, for labels, `auroc` of many rewards at once, float64 ``[m]`` each, ranked a single time.

    Rewards are ``[m n]``, finite, no row constant; the reference, ``[n]``, is bool labels of both kinds, or other
    rewards, for which the AUROC is NaN.
    """
    from scipy import stats

    ranks = stats.rankdata(rewards, axis=1)
    others = stats.rankdata(reference)
    centred, against = ranks - ranks.mean(axis=1, keepdims=True), others - others.mean()
    correlation = centred @ against / np.sqrt((centred**2).sum(axis=1) * (against @ against))
    if reference.dtype != np.bool_:
        return correlation, np.full(len(ranks), np.nan)
    goals, rest = int(reference.sum()), int((~reference).sum())
    # Mann and Whitney's U over the number of pairs.
    return correlation, (ranks[:, reference].sum(axis=1) - goals * (goals + 1) / 2) / (goals * rest)


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
