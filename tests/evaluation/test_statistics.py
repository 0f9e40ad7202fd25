"""Intervals of rates and means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.statistics import mean_interval, wilson_interval


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
        ((1, 0), "trials must be at least 1, got 0"),
        ((3, 2), r"successes must be in \[0, trials = 2\], got 3"),
        ((-1, 2), "successes must be in"),
        ((True, 2), "successes must be an integer, got True"),
        ((1, 2, 1.0), r"confidence must be in \(0, 1\), got 1.0"),
        ((1, 2, math.nan), "confidence must be in"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            wilson_interval(*arguments)
    assert wilson_interval(np.int64(1), np.int64(2)) == wilson_interval(1, 2)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_mean_interval_holds_the_mean_and_moves_with_the_values(seed: int, scale: float, shift: float) -> None:
    values = np.random.default_rng(seed).normal(size=30)
    low, high = mean_interval(values, resamples=500)
    assert low < values.mean() < high
    moved = mean_interval(scale * values + shift, resamples=500)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6)


def test_mean_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    error = values.std() / math.sqrt(values.size)
    assert mean_interval(values) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=error / 5
    )
    assert mean_interval(values, resamples=200, seed=3) == mean_interval(values, resamples=200, seed=3)


@pytest.mark.parametrize("value", [0.0, 200.0, 0.1])
def test_values_without_spread_give_that_value(value: float) -> None:
    assert mean_interval(np.full(100, value)) == (value, value)


def test_two_values_are_enough() -> None:
    low, high = mean_interval([0.0, 1.0])
    assert 0.0 <= low < high <= 1.0


def test_mean_interval_refuses_nonsense() -> None:
    for values, message in [([1.0], r"n >= 2, got \(1,\)"), ([[1.0, 2.0]], "n >= 2"), ([1.0, math.inf], "finite")]:
        with pytest.raises(InvalidInputError, match=message):
            mean_interval(values)
