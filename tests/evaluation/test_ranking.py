"""Rank statistics beside their definitions by counting, and bootstrap intervals that cover what they should."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from typecheck import unchecked
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import label_distance, pearson_distance
from vlm_rewards.evaluation.statistics import auroc, average_precision, bootstrapped, kendall, spearman

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
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in itertools.combinations(range(len(x)), 2)]
    untied = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    assert kendall(x, y) == pytest.approx(sum(a * b for a, b in signs) / untied)
    ranks = [[sum(v < w for v in values) + 0.5 * sum(v == w for v in values) for w in values] for values in (x, y)]
    assert spearman(x, y) == pytest.approx(1 - 2 * pearson_distance(*ranks) ** 2)
    # Average precision: precision at each threshold, weighted by the recall that it adds.
    total, before = 0.0, 0
    for threshold in sorted(set(x), reverse=True):
        found = int(label[x >= threshold].sum())
        total += (found - before) / label.sum() * found / int((x >= threshold).sum())
        before = found
    assert average_precision(x, label) == pytest.approx(total)


def test_a_perfect_and_an_opposite_order() -> None:
    rewards, labels = np.arange(6.0), np.arange(6) >= 4
    assert auroc(rewards, labels) == average_precision(rewards, labels) == 1
    assert auroc(-rewards, labels) == 0
    for correlation in (spearman, kendall):
        assert correlation(rewards, rewards**3) == pytest.approx(1)
        assert correlation(rewards, -rewards) == pytest.approx(-1)


@pytest.mark.parametrize("statistic", [auroc, average_precision, label_distance, spearman, kendall])
def test_constant_rewards_are_refused(statistic: Callable[..., float]) -> None:
    with pytest.raises(InvalidInputError, match="must not be constant"):
        statistic(np.ones(4), np.array([True, False, True, False]))


@pytest.mark.parametrize("statistic", [auroc, average_precision, label_distance])
def test_labels_of_one_kind_are_refused(statistic: Callable[..., float]) -> None:
    with pytest.raises(InvalidInputError, match="got every state of 4 as goal"):
        statistic(np.arange(4.0), np.ones(4, dtype=bool))


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # Two normal distributions one deviation apart: AUROC is Phi(1 / sqrt 2).
    truth = 0.5 * (1 + math.erf(0.5))
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(50):
        labels = np.arange(120) < 60
        rewards = rng.normal(size=120) + labels
        with unchecked():
            found = bootstrapped(auroc, rewards, labels, confidence=0.9, resamples=200, seed=seed)
        assert found.low < found.value < found.high
        covered += found.low <= truth <= found.high
    assert 40 <= covered <= 48


def test_intervals_repeat_themselves_and_narrow_with_more_states(rng: np.random.Generator) -> None:
    def width(count: int) -> float:
        one = rng.normal(size=count)
        two = one + rng.normal(size=count)
        found = bootstrapped(pearson_distance, one, two, resamples=300, seed=1)
        assert found == bootstrapped(pearson_distance, one, two, resamples=300, seed=1)
        return found.high - found.low

    assert width(4_000) < 0.5 * width(400)


def test_bad_settings_are_refused() -> None:
    rewards, labels = np.array([0.0, 0.0, 0.0, 1.0]), np.array([True, True, False, False])
    with pytest.raises(InvalidInputError, match="confidence must be in"):
        bootstrapped(auroc, rewards, labels, confidence=1.0)
    with pytest.raises(InvalidInputError, match="resamples must be an int of at least 2, got 1"):
        bootstrapped(auroc, rewards, labels, resamples=1)
    with pytest.raises(InvalidInputError, match=r"undefined on \d+ of 50 resamples of 4 states"):
        bootstrapped(pearson_distance, np.array([0.0, 0, 0, 1]), np.array([1.0, 0, 0, 0]), resamples=50)
