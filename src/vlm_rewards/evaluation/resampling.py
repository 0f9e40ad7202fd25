"""Bootstrap intervals of many correlations at once: the resamples are drawn a single time, as counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.ranking import Estimate
from vlm_rewards.evaluation.statistics import check_confidence

_BLOCK_BYTES = 64 * 2**20  # of counts at a time
_KEPT_BYTES = 256 * 2**20  # of all counts together: beyond, they are drawn again for each call
_SMALLEST_VARIANCE = 1e-12  # of values whose range is 1: what is less is rounding


class PearsonBootstrap:
    """Pearson distances of rewards to one reference, each with a percentile interval.

    Independent states are drawn one by one, goal states and others apart, as
    many as there are (as `bootstrapped` does). States of an episode resemble
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
        self._reference = _of_range_one(_varied(reference)[None])[0]
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
        """Pearson distance of each reward to the reference.

        Args:
            rewards: ``[m n]``, no row constant.

        Returns:
            One estimate a row.

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

    def _sums(self, rows: NDArray[np.float64]) -> _Sums:
        reference = self._reference[None]
        parts = (rows, rows * rows, rows * reference, reference, reference**2, np.ones_like(reference))
        if not self.clustered:
            return _Sums(*(part.T for part in parts))
        order = np.argsort(self._group, kind="stable")
        starts = np.searchsorted(self._group[order], np.arange(self._units))
        return _Sums(*(np.add.reduceat(part[:, order], starts, axis=1).T for part in parts))

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


def _varied(reference: NDArray[np.generic]) -> NDArray[np.float64]:
    values = np.asarray(reference, dtype=np.float64)
    if np.ptp(values) > _SMALLEST_VARIANCE * np.abs(values).max():
        return values
    if reference.dtype == np.bool_:
        every = "every state" if values.all() else "no state"
        raise InvalidInputError(f"labels must have goal states and others, got {every} of {values.size} as goal.")
    raise InvalidInputError(
        f"the true reward must not be constant: it is {values[0]:.6g} in all of {values.size} states, and a distance "
        "to a reward that prefers nothing is undefined."
    )


def _of_range_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards ``[m n]``, none constant, each with mean 0 and range 1: a correlation does not notice."""
    return (rows - rows.mean(axis=1, keepdims=True)) / np.ptp(rows, axis=1, keepdims=True)


@dataclass(frozen=True)
class _Sums:
    """Of each episode, or state: ``[units m]``, or ``[units 1]`` for what all rewards share."""

    reward: NDArray[np.float64]
    square: NDArray[np.float64]
    product: NDArray[np.float64]
    reference: NDArray[np.float64]
    reference_square: NDArray[np.float64]
    states: NDArray[np.float64]


def _distances(counts: NDArray[np.float64], sums: _Sums) -> NDArray[np.float64]:
    """Pearson distances of resamples, ``[b m]``; NaN where one holds a single kind of state."""
    total = counts @ sums.states
    mean, square, product = (counts @ part / total for part in (sums.reward, sums.square, sums.product))
    mean_reference = counts @ sums.reference / total
    variance = counts @ sums.reference_square / total - mean_reference**2
    own_variance = square - mean**2
    varied = np.minimum(own_variance, variance) > _SMALLEST_VARIANCE
    spread = np.where(varied, own_variance * variance, np.nan)
    correlation = (product - mean * mean_reference) / np.sqrt(spread)
    return np.sqrt((1.0 - np.clip(correlation, -1.0, 1.0)) / 2.0)
