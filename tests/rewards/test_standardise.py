"""The affine map of the reward."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.standardise import Standardiser

REWARDS = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=50).filter(lambda v: np.std(v) > 1e-3)


def test_by_hand() -> None:
    # Mean of 0.1 and 0.3 is 0.2; both lie 0.1 from it, so the standard deviation is 0.1 and 0.5 maps to 3.
    standardiser = Standardiser().fit([0.1, 0.3])
    np.testing.assert_allclose(standardiser.apply([0.1, 0.2, 0.5]), [-1, 0, 3], atol=1e-6)


@given(values=REWARDS)
def test_fitted_rewards_have_mean_zero_and_deviation_one_and_keep_their_order(values: list[float]) -> None:
    mapped = Standardiser().fit(values).apply(values)
    assert mapped.dtype == np.float32
    assert np.mean(mapped, dtype=np.float64) == pytest.approx(0, abs=1e-4)
    assert np.std(mapped, dtype=np.float64) == pytest.approx(1, abs=1e-4)
    assert (np.diff(mapped[np.argsort(values, kind="stable")]) >= 0).all()


@given(values=REWARDS, scale=st.floats(0.1, 10), shift=st.floats(-1, 1))
def test_an_affine_map_before_it_changes_nothing(values: list[float], scale: float, shift: float) -> None:
    rewards = np.array(values)
    moved = scale * rewards + shift
    np.testing.assert_allclose(
        Standardiser().fit(moved).apply(moved), Standardiser().fit(rewards).apply(rewards), atol=1e-4
    )


def test_it_is_frozen_once_fitted() -> None:
    standardiser = Standardiser().fit([0.0, 1.0])
    with pytest.raises(InvalidInputError, match="fitted already"):
        standardiser.fit([0.0, 2.0])
    assert standardiser.apply([1.0])[0] == 1.0


def test_it_must_be_fitted_first() -> None:
    with pytest.raises(InvalidInputError, match="must be fitted before"):
        Standardiser().apply([0.5])


def test_state_survives_json_exactly() -> None:
    standardiser = Standardiser().fit(np.random.default_rng(0).normal(0.25, 0.003, 100))
    copy = Standardiser.from_dict(json.loads(json.dumps(standardiser.to_dict())))
    assert copy == standardiser
    np.testing.assert_array_equal(copy.apply([0.1, 0.9]), standardiser.apply([0.1, 0.9]))


def test_bad_rewards_and_states_are_refused() -> None:
    for rewards, message in [
        (np.full(9, 0.25, np.float32), "rewards must not be constant: 9 values near 0.25"),
        ([0.1], "at least 2 values"),
        ([0.1, np.nan], "rewards must be finite"),
        (np.eye(2), r"rewards must be numbers of shape \[n\], got float64 \(2, 2\)"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            Standardiser().fit(rewards)
    with pytest.raises(InvalidInputError, match=r"std must be finite and positive, got 0\.0"):
        Standardiser(std=0.0)
    with pytest.raises(InvalidInputError, match="mean must be finite, got nan"):
        Standardiser(mean=float("nan"))
    with pytest.raises(InvalidInputError, match=r"must have the keys \['fitted', 'mean', 'std'\], got \['mean'\]"):
        Standardiser.from_dict({"mean": 0.0})
