"""The short forms of the EPIC distance beside the long one, which is beside a brute-force twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slow_twins import canonical_reward, epic_distance
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import label_distance, pearson_distance

STATES, ACTIONS, GAMMA = 5, 3, 0.9
NUMBERS = st.floats(-100, 100, allow_nan=False, width=32)
TABLES = hnp.arrays(np.float64, (STATES, ACTIONS, STATES), elements=NUMBERS)
POTENTIALS = hnp.arrays(np.float64, STATES, elements=NUMBERS)
ALL = [array.ravel() for array in np.meshgrid(range(STATES), range(ACTIONS), range(STATES), indexing="ij")]
"""Every transition: the coverage distribution is uniform."""
PAIRS = [array.ravel() for array in np.meshgrid(range(STATES), range(ACTIONS), indexing="ij")]
"""Every state with every action, so that means over samples are the expectations themselves."""
SAMPLES: dict[str, Any] = {"sampled_states": PAIRS[0], "sampled_actions": PAIRS[1], "gamma": GAMMA}


def reward_of(table: np.ndarray) -> Callable[[Any, Any, Any], np.ndarray]:
    return lambda states, actions, next_states: table[states, actions, next_states]


def shaped(table: np.ndarray, potential: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return scale * table + GAMMA * potential[None, None, :] - potential[:, None, None]


def distance(one: np.ndarray, two: np.ndarray) -> float:
    return epic_distance(reward_of(one), reward_of(two), ALL, **SAMPLES)


def twin(one: np.ndarray, two: np.ndarray) -> float:
    """Definitions 4.1 and 4.2 with loops and sums, and the Pearson correlation from its definition."""

    def mean_leaving(table: np.ndarray, state: int) -> float:
        total = sum(table[state, action, after] for action in range(ACTIONS) for after in range(STATES))
        return total / (ACTIONS * STATES)

    def canonical(table: np.ndarray) -> list[float]:
        everywhere = sum(mean_leaving(table, state) for state in range(STATES)) / STATES
        return [
            table[s, a, t] + GAMMA * mean_leaving(table, t) - mean_leaving(table, s) - GAMMA * everywhere
            for s in range(STATES)
            for a in range(ACTIONS)
            for t in range(STATES)
        ]

    xs, ys = canonical(one), canonical(two)
    x_mean, y_mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    covariance = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    variances = [math.fsum((v - mean) ** 2 for v in values) for values, mean in ((xs, x_mean), (ys, y_mean))]
    correlation = covariance / math.sqrt(variances[0] * variances[1])
    return math.sqrt(max(0.0, 1 - correlation) / 2)  # rounding may leave a little more than 1


def spread(table: np.ndarray) -> bool:
    """Whether there is something besides shaping, well above rounding."""
    return bool(canonical_reward(reward_of(table), ALL, **SAMPLES).std() > 1e-3)


@pytest.fixture
def tables(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(2, STATES, ACTIONS, STATES))


@given(TABLES, TABLES)
def test_it_is_that_of_the_brute_force_twin(one: np.ndarray, two: np.ndarray) -> None:
    if spread(one) and spread(two):
        # The square root makes 1e-8 of rounding in the correlation 1e-4 where rewards are nearly the same.
        assert distance(one, two) ** 2 == pytest.approx(twin(one, two) ** 2, abs=1e-9)


@given(TABLES, POTENTIALS, st.floats(0.01, 100))
def test_shaping_and_positive_scale_do_not_count(table: np.ndarray, potential: np.ndarray, scale: float) -> None:
    if spread(table):
        assert distance(table, shaped(table, potential, scale)) ** 2 < 1e-8
        assert distance(table, -shaped(table, potential, scale)) ** 2 == pytest.approx(1, abs=1e-8)


@given(POTENTIALS, POTENTIALS)
def test_for_rewards_of_the_reached_state_it_is_the_pearson_distance(one: np.ndarray, two: np.ndarray) -> None:
    if one.std() > 1e-3 and two.std() > 1e-3:
        of_state = [np.broadcast_to(values, (STATES, ACTIONS, STATES)) for values in (one, two)]
        assert distance(*of_state) ** 2 == pytest.approx(pearson_distance(one, two) ** 2, abs=1e-9)


@given(hnp.arrays(np.float64, 30, elements=NUMBERS), hnp.arrays(np.bool_, 30))
def test_lemma_1_is_the_pearson_distance(rewards: np.ndarray, labels: np.ndarray) -> None:
    if rewards.std() > 1e-3 and 0 < labels.sum() < 30:
        assert label_distance(rewards, labels) ** 2 == pytest.approx(pearson_distance(rewards, labels) ** 2, abs=1e-9)


def test_known_values(tables: np.ndarray, rng: np.random.Generator) -> None:
    assert distance(tables[0], tables[0]) == pytest.approx(0, abs=1e-7)
    assert distance(tables[0], -tables[0]) == pytest.approx(1)
    assert pearson_distance([1, 2, 3, 4], [1, -1, -1, 1]) == pytest.approx(math.sqrt(0.5))
    assert label_distance([0.0, 0.0, 1.0, 1.0], [False, False, True, True]) == pytest.approx(0, abs=1e-7)
    unrelated = rng.normal(size=(2, 100_000))
    assert pearson_distance(*unrelated) == pytest.approx(math.sqrt(0.5), abs=0.005)


def test_extreme_sizes_do_not_matter(rng: np.random.Generator) -> None:
    one, two = rng.normal(size=(2, 50))
    expected = pearson_distance(one, two)
    for scale in (1e-200, 1e200):
        assert pearson_distance(scale * one, two) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pearson_distance([1, 1, 1], [1, 2, 3]), "one must not be constant: 3 values are all near 1"),
        (lambda: pearson_distance([1, 2, 3], [0.1, 0.1, 0.1]), "two must not be constant"),
        (lambda: pearson_distance([1, 2], [1, 2, 3]), "must have the same length, got 2 and 3"),
        (lambda: pearson_distance([1], [2]), "n >= 2"),
        (lambda: pearson_distance([1, math.nan], [1, 2]), "one must be finite"),
        (lambda: pearson_distance([[1, 2]], [[1, 2]]), r"of shape \[n\]"),
        (lambda: label_distance([1, 2], [True, True]), "got every state of 2 as goal"),
        (lambda: label_distance([1, 2], [0, 0]), "got no state of 2 as goal"),
        (lambda: label_distance([1, 2], [0, 2]), "labels must be booleans, or 0 and 1"),
        (lambda: label_distance([3, 3], [0, 1]), "rewards must not be constant"),
        (lambda: label_distance([1, 2, 3], [0, 1]), "must have the same length, got 3 and 2"),
    ],
)
def test_refusals(call: Callable[[], float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()
