"""Rank statistics beside their definitions by counting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import label_distance, pearson_distance
from vlm_rewards.evaluation.statistics import auroc, spearman

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


def test_a_perfect_and_an_opposite_order() -> None:
    rewards, labels = np.arange(6.0), np.arange(6) >= 4
    assert auroc(rewards, labels) == 1
    assert auroc(-rewards, labels) == 0
    assert spearman(rewards, rewards**3) == pytest.approx(1)
    assert spearman(rewards, -rewards) == pytest.approx(-1)


@pytest.mark.parametrize("statistic", [auroc, label_distance, spearman])
def test_constant_rewards_are_refused(statistic: Callable[..., float]) -> None:
    with pytest.raises(InvalidInputError, match="must not be constant"):
        statistic(np.ones(4), np.array([True, False, True, False]))


@pytest.mark.parametrize("statistic", [auroc, label_distance])
def test_labels_of_one_kind_are_refused(statistic: Callable[..., float]) -> None:
    with pytest.raises(InvalidInputError, match="got every state of 4 as goal"):
        statistic(np.arange(4.0), np.ones(4, dtype=bool))
