"""Intervals of rates and means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.statistics import wilson_interval


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
