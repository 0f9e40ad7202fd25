"""Intervals of rates and scores, interquartile means, and rank statistics beside their definitions by counting."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import pearson_distance
from vlm_rewards.evaluation.statistics import (
    auroc,
    interquartile_mean,
    probability_of_improvement,
    ranked,
    spearman,
    stratified_bootstrap_interval,
    wilson_interval,
)


def test_wilson_by_hand() -> None:
    # With z = 1.959964, z^2 = 3.841459: 100 of 100 gives low = 1 / (1 + z^2 / n) = 100 / 103.841459 = 0.963006.
    low, high = wilson_interval(100, 100)
    assert low == pytest.approx(100 / 103.841459, abs=1e-6)
    assert high == 1.0


@given(n=st.integers(1, 500), data=st.data(), z=st.sampled_from([(0.6826894921370859, 1.0), (0.9544997361036416, 2.0)]))
def test_wilson_solves_its_quadratic(n: int, data: st.DataObject, z: tuple[float, float]) -> None:
    # The ends are the rates p at which the observed rate lies z standard errors of p away.
    k, (confidence, deviations) = data.draw(st.integers(0, n)), z
    for p in wilson_interval(k, n, confidence):
        assert (k / n - p) ** 2 == pytest.approx(deviations**2 * p * (1 - p) / n, abs=1e-9)


@given(n=st.integers(1, 200), data=st.data())
def test_wilson_mirrors_failures_and_holds_the_rate(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_refuses_nonsense() -> None:
    for arguments, message in [
        ((1, 0), "trials must be an int of at least 1, got 0"),
        ((3, 2), r"successes must be in \[0, trials = 2\], got 3"),
        ((-1, 2), "successes must be an int of at least 0, got -1"),
        ((True, 2), "successes must be an int of at least 0, got True"),
        ((1, 2, 1.0), r"confidence must be in \(0, 1\), got 1.0"),
        ((1, 2, math.nan), "confidence must be in"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            wilson_interval(*arguments)
    assert wilson_interval(np.int64(1), np.int64(2)) == wilson_interval(1, 2)


FEW = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()), min_size=4, max_size=12)


def varied(*columns: tuple[float, ...]) -> bool:
    return all(len(set(column)) > 1 for column in columns)


@given(FEW)
def test_each_is_what_counting_says(rows: list[tuple[int, int, bool]]) -> None:
    xs, ys, labels = zip(*rows, strict=True)
    if not varied(xs, ys, labels):
        return
    x, y, label = np.array(xs, float), np.array(ys, float), np.array(labels)
    goal, others = x[label], x[~label]
    wins = sum((a > b) + 0.5 * (a == b) for a in goal for b in others)
    assert auroc(x, label) == pytest.approx(wins / (len(goal) * len(others)))
    ranks = [[sum(v < w for v in values) + 0.5 * sum(v == w for v in values) for w in values] for values in (x, y)]
    assert spearman(x, y) == pytest.approx(1 - 2 * pearson_distance(*ranks) ** 2)
    rewards = np.stack([x, y, x + y * 10])  # many at once as one by one
    for reference in (label, x):
        correlations, areas = ranked(rewards, reference)
        np.testing.assert_allclose(
            correlations, [spearman(row, reference.astype(float)) for row in rewards], atol=1e-12
        )
        expected = [auroc(row, reference) if reference is label else np.nan for row in rewards]
        np.testing.assert_allclose(areas, expected, atol=1e-12)


def test_a_perfect_and_an_opposite_order() -> None:
    rewards, labels = np.arange(6.0), np.arange(6) >= 4
    assert auroc(rewards, labels) == 1
    assert auroc(-rewards, labels) == 0
    assert spearman(rewards, rewards**3) == pytest.approx(1)
    assert spearman(rewards, -rewards) == pytest.approx(-1)


def test_what_has_no_ranks_is_refused() -> None:
    labels = np.array([True, False, True, False])
    for statistic in (auroc, spearman):
        with pytest.raises(InvalidInputError, match="must not be constant"):
            statistic(np.ones(4), labels)
    with pytest.raises(InvalidInputError, match="got every state of 4 as goal"):
        auroc(np.arange(4.0), np.ones(4, dtype=bool))


SCORES = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


def slow_interquartile_mean(scores: list[float]) -> float:
    cut = len(scores) // 4
    kept = sorted(scores)[cut : len(scores) - cut]
    return math.fsum(kept) / len(kept)


def test_interquartile_mean_by_hand() -> None:
    # Of eight, the lowest two and the highest two go: (1 + 2 + 3 + 6) / 4 = 3.
    assert interquartile_mean([6, -1000, 1, 3, 1000, 0, 2, 50]) == 3.0
    assert interquartile_mean([[6, -1000, 1, 3], [1000, 0, 2, 50]]) == 3.0  # tasks are pooled
    assert interquartile_mean([0.0, 0.0, 0.9]) == pytest.approx(0.3)  # of three it is the mean
    assert interquartile_mean([[0, 1, 1, 5], [2, 2, 2, 2]], axis=-1).tolist() == [1, 2]


@given(scores=SCORES, order=st.randoms())
def test_interquartile_mean_is_its_slow_twin_in_any_order(scores: list[float], order: random.Random) -> None:
    mean = interquartile_mean(scores)
    assert mean == pytest.approx(slow_interquartile_mean(scores), abs=1e-9)
    assert min(scores) - 1e-9 <= mean <= max(scores) + 1e-9
    shuffled = list(scores)
    order.shuffle(shuffled)
    assert interquartile_mean(shuffled) == pytest.approx(mean, abs=1e-9)


@given(scores=SCORES, scale=st.floats(-10, 10), shift=st.floats(-100, 100))
def test_interquartile_mean_moves_with_the_scores(scores: list[float], scale: float, shift: float) -> None:
    moved = interquartile_mean(scale * np.array(scores) + shift)
    assert moved == pytest.approx(scale * interquartile_mean(scores) + shift, abs=1e-7)
    assert interquartile_mean([scores[0]] * len(scores)) == pytest.approx(scores[0], abs=1e-12)


@pytest.mark.parametrize("statistic", [interquartile_mean, np.mean, np.median])
def test_the_interval_is_that_of_all_resamples_there_are(statistic) -> None:
    # 2 seeds of one task and 3 of another make 2^2 * 3^3 = 108 equally likely resamples.
    one, two = [0.0, 10.0], [1.0, 2.0, 4.0]
    every = [
        statistic(np.array([*first, *second]), axis=-1)
        for first in itertools.product(one, repeat=2)
        for second in itertools.product(two, repeat=3)
    ]
    low, high = stratified_bootstrap_interval([one, two], statistic, 0.8, resamples=50_000)
    below = [np.mean(np.array(every) < low - 1e-9), np.mean(np.array(every) <= low + 1e-9)]
    above = [np.mean(np.array(every) > high + 1e-9), np.mean(np.array(every) >= high - 1e-9)]
    for strict, loose in (below, above):
        assert strict - 0.01 <= 0.1 <= loose + 0.01


def test_seeds_are_never_drawn_for_another_task() -> None:
    # Within a task all seeds agree: pooled resampling would see a spread from 0 to 1, stratified resampling none.
    assert stratified_bootstrap_interval([[0.0] * 4, [1.0] * 4], np.mean, resamples=500) == (0.5, 0.5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_the_interval_moves_with_the_scores(seed: int, scale: float, shift: float) -> None:
    scores = np.random.default_rng(seed).normal(size=(2, 6))
    low, high = stratified_bootstrap_interval(list(scores), resamples=200)
    assert scores.min() <= low <= high <= scores.max()
    moved = stratified_bootstrap_interval(list(scale * scores + shift), resamples=200)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-9)


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 95 % intervals of 2 tasks with 10 seeds; percentile intervals of few values are a little too narrow.
    rng, covered, times = np.random.default_rng(0), 0, 300
    for _ in range(times):
        scores = rng.normal([[0.0], [2.0]], [[1.0], [0.5]], size=(2, 10))
        low, high = stratified_bootstrap_interval(list(scores), np.mean, resamples=400)
        covered += low <= 1.0 <= high
    assert 0.87 <= covered / times <= 0.98


def test_improvement_by_hand_and_by_mann_and_whitney() -> None:
    # Pairs: (1 > 0), (1 = 1), (3 > 0), (3 > 1): (1 + 0.5 + 1 + 1) / 4.
    assert probability_of_improvement([1, 3], [0, 1], resamples=50).value == 0.875
    rng = np.random.default_rng(1)
    one, two = rng.integers(0, 6, 9).astype(float), rng.integers(2, 8, 7).astype(float)
    estimate = probability_of_improvement(one, two, resamples=2_000)
    assert estimate.value == pytest.approx(stats.mannwhitneyu(one, two).statistic / (9 * 7))
    assert 0 <= estimate.low < estimate.value < estimate.high <= 1
    other = probability_of_improvement(two, one, resamples=2_000)
    assert (other.value, other.low) == pytest.approx((1 - estimate.value, 1 - estimate.high), abs=0.03)
    surely = probability_of_improvement([2, 3], [0, 1], resamples=50)
    assert (surely.value, surely.low, surely.high) == (1, 1, 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = [np.random.default_rng(0).normal(size=9)]
    again = [stratified_bootstrap_interval(scores, resamples=300, seed=seed) for seed in (3, 3, 4)]
    assert again[0] == again[1] != again[2]


def test_nonsense_is_refused() -> None:
    for scores, message in [([], "at least one number"), ([1.0, math.nan], "scores must be finite")]:
        with pytest.raises(InvalidInputError, match=message):
            interquartile_mean(scores)
    for arguments, message in [
        (([],), "at least one task, got none"),
        (([[1.0, 2.0], [1.0]],), r"scores\[1\] must have shape \[seeds\] with at least 2 seeds, got \(1,\)"),
        (([[1.0, math.inf]],), r"scores\[0\] must be finite"),
        (([[1.0, 2.0]], np.mean, 1.0), r"confidence must be in \(0, 1\), got 1.0"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            stratified_bootstrap_interval(*arguments)
    with pytest.raises(InvalidInputError, match="resamples must be an int of at least 2, got 1"):
        stratified_bootstrap_interval([[1.0, 2.0]], resamples=1)
    with pytest.raises(InvalidInputError, match="reference must have shape"):
        probability_of_improvement([1.0, 2.0], [1.0])
