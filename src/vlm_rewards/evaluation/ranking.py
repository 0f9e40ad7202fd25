"""How well a reward orders states, with intervals: rank correlations, AUROC, average precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.epic import check_labelled, check_rewards
from vlm_rewards.evaluation.statistics import check_confidence


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


def kendall(one: ArrayLike, two: ArrayLike) -> float:
    """Kendall's tau-b, which takes ties into account, of two rewards on the same states, in [-1, 1].

    Args:
        one: ``[n]`` with ``n >= 2``, finite, not constant.
        two: The same.

    Raises:
        InvalidInputError: They are something else.
    """
    from scipy import stats

    result: Any = stats.kendalltau(*check_rewards(one, two))
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


def average_precision(rewards: ArrayLike, labels: ArrayLike) -> float:
    """Mean precision over the ranks of the goal states; chance is their share.

    Args:
        rewards: ``[n]``, finite, not constant.
        labels: Whether each state fulfils the task, bool ``[n]``, both values present.

    Returns:
        In (0, 1].

    Raises:
        InvalidInputError: They are something else.
    """
    from sklearn.metrics import average_precision_score

    values, mask = check_labelled(rewards, labels)
    return float(average_precision_score(mask, values))


def ranked(rewards: NDArray[np.floating], reference: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spearman's correlation and, for labels, the AUROC of many rewards at once, each ranked a single time.

    Args:
        rewards: ``[m n]``, finite, no row constant.
        reference: Other rewards, or bool labels of both kinds, ``[n]``.

    Returns:
        `spearman` and `auroc` of each row, float64 ``[m]``; NaN in place of the latter where there are no labels.
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


def bootstrapped(
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    one: ArrayLike,
    two: ArrayLike,
    *,
    confidence: SupportsFloat = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over states (Efron 1979): both values of a state are drawn together.

    With binary labels, goal states and others are drawn apart, as many as there
    are: the class balance is the sampler's doing, not the reward's.

    Args:
        statistic: Such as `pearson_distance`, `label_distance` or `auroc`.
        one: Rewards, ``[n]``.
        two: Other rewards, or bool labels, ``[n]``.
        confidence: Coverage of the interval, in (0, 1).
        resamples: How many times to draw.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        The statistic with its interval.

    Raises:
        InvalidInputError: An argument is out of range, or the statistic is undefined on the sample.
    """
    level = check_confidence(confidence)
    check_count("resamples", resamples, least=2)
    first, second = np.asarray(one), np.asarray(two)
    value = float(statistic(first, second))
    groups = [np.arange(len(second))]
    if second.dtype == np.bool_:
        groups = [np.flatnonzero(second), np.flatnonzero(~second)]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        try:
            values.append(float(statistic(first[drawn], second[drawn])))
        except InvalidInputError:  # few states, all drawn alike
            continue
    if len(values) < resamples / 2:
        raise InvalidInputError(
            f"the statistic is undefined on {resamples - len(values)} of {resamples} resamples of {len(first)} states: "
            "there are too few different ones for an interval."
        )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
