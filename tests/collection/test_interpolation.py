"""Rewards of states without a frame lie on the line between those before and after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.collection.episodes import Interpolation

GAP = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_by_hand() -> None:
    interpolation = Interpolation(1)
    np.testing.assert_array_equal(interpolation.fill(column(0, GAP, GAP, 6, GAP)), column(0, 2, 4, 6, 6))
    # From the 6 two steps before to the 3: the reward that was held is not looked back upon.
    np.testing.assert_array_equal(interpolation.fill(column(GAP, 3)), column(4, 3))
    np.testing.assert_array_equal(interpolation.fill(column(GAP)), column(3))
    np.testing.assert_array_equal(interpolation.fill(column(GAP)), column(3))
    np.testing.assert_array_equal(interpolation.fill(column(7, 1)), column(7, 1))


def test_each_simulator_and_column_has_its_own_line() -> None:
    rewards = np.full((3, 2, 2), GAP, dtype=np.float32)
    rewards[[0, 2], 0] = [[0, 10], [4, 30]]
    rewards[0, 1], rewards[1, 1] = [5, 5], [6, 8]
    filled = Interpolation(2).fill(rewards)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[:, 0], [[0, 10], [2, 20], [4, 30]])
    np.testing.assert_array_equal(filled[:, 1], [[5, 5], [6, 8], [6, 8]])
    assert np.isnan(rewards).any(), "the argument must stay as it was"


@given(st.data(), st.integers(1, 5))
def test_what_lies_on_lines_is_found_again(data: st.DataObject, every: int) -> None:
    """As `RenderedVecEnv` renders: first, every n-th and last state of an episode, cut where a frame is."""
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    truth, seen = [], []
    for number, length in enumerate(lengths):
        for step in range(1, length + 1):
            truth.append(100 * (number % 2) + number * step)
            seen.append(step in (1, length) or step % every == 0)
    cuts = data.draw(st.sets(st.sampled_from(np.flatnonzero(seen).tolist())))
    scored = np.where(seen, np.array(truth, dtype=np.float32), GAP).astype(np.float32)[:, None]
    interpolation = Interpolation(1)
    filled = [interpolation.fill(part) for part in np.split(scored, sorted(cut + 1 for cut in cuts)) if len(part)]
    np.testing.assert_allclose(np.concatenate(filled)[:, 0], truth, rtol=1e-6)


@pytest.mark.parametrize("columns", [(), (2,)])
def test_a_state_that_was_put_back_goes_on(columns: tuple[int, ...], rng: np.random.Generator) -> None:
    rewards = rng.normal(size=(20, 3, *columns)).astype(np.float32)
    rewards[1:][rng.random((19, 3)) < 0.6] = GAP
    whole, cut = Interpolation(3), Interpolation(3)
    whole.fill(rewards[:11])
    resumed = Interpolation(3)
    cut.fill(rewards[:11])
    resumed.load_state_dict(cut.state_dict())
    np.testing.assert_array_equal(resumed.fill(rewards[11:]), whole.fill(rewards[11:]))
