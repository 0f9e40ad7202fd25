"""Late rewards are added up to the episodes that they belong to, and lie on the line between those beside them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.collection.episodes import EpisodeLedger, EpisodeSummary, Interpolation


def test_two_simulators_by_hand() -> None:
    ledger = EpisodeLedger(2)
    ledger.observe(np.array([False, False]), [{"true_reward": 1.0}, {"true_reward": 10.0}])
    ledger.observe(np.array([True, False]), [{"true_reward": 2.0, "is_success": True}, {"true_reward": 20.0}])
    ledger.observe(np.array([True, True]), [{"true_reward": 3.0, "is_success": False}, {"true_reward": 30.0}])
    # Simulator 0: 0.1 + 0.2 ends at step 5, then 0.3 alone; simulator 1: 1 + 2 + 3, without a criterion.
    assert ledger.label(4, np.array([[0.1, 1.0]])) == []
    finished = ledger.label(5, np.array([[0.2, 2.0], [0.25, 3.0]]))
    assert finished == [
        EpisodeSummary(0, end_step=5, length=2, vlm_return=0.1 + 0.2, true_return=3.0, success=True),
        EpisodeSummary(0, end_step=6, length=1, vlm_return=0.25, true_return=3.0, success=False),
        EpisodeSummary(1, end_step=6, length=3, vlm_return=6.0, true_return=60.0, success=None),
    ]


@pytest.mark.parametrize(
    ("held", "last_half"),
    [
        ("11111", True),
        ("00111", True),
        ("11011", False),
        ("00011", False),
        ("11110", False),
        ("0011", True),
        ("1", True),
    ],
)
def test_the_last_half_of_an_episode(held: str, last_half: bool) -> None:
    ledger = EpisodeLedger(1)
    for episode in range(2):  # the second one counts anew
        for step, mark in enumerate(held):
            ledger.observe(np.array([step + 1 == len(held)]), [{"true_reward": 0.0, "criterion": mark == "1"}])
        (summary,) = ledger.label(episode * len(held), np.zeros((len(held), 1)))
        assert summary.last_half is last_half
        assert summary.criterion == held.count("1") / len(held)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_how_the_rewards_are_delivered_changes_nothing(seed: int, portions: list[int]) -> None:
    rng = np.random.default_rng(seed)
    steps = sum(portions)
    rewards, dones = rng.random((steps, 3)).astype(np.float32), rng.random((steps, 3)) < 0.3
    whole, parts = EpisodeLedger(3), EpisodeLedger(3)
    for ledger in (whole, parts):
        for row in dones:
            ledger.observe(row, [{"true_reward": 1.0}] * 3)
    bounds = np.cumsum([0, *portions])
    delivered = [parts.label(int(low), rewards[low:high]) for low, high in itertools.pairwise(bounds)]
    expected = whole.label(0, rewards)
    assert [episode for portion in delivered for episode in portion] == expected
    assert len(expected) == dones.sum()
    for episode in expected:
        steps_of = slice(episode.end_step - episode.length + 1, episode.end_step + 1)
        assert episode.vlm_return == sum(rewards[steps_of, episode.simulator].tolist())
        assert dones[steps_of, episode.simulator].sum() == 1


GAP = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_interpolation_by_hand() -> None:
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
def test_an_interpolation_that_was_put_back_goes_on(columns: tuple[int, ...], rng: np.random.Generator) -> None:
    rewards = rng.normal(size=(20, 3, *columns)).astype(np.float32)
    rewards[1:][rng.random((19, 3)) < 0.6] = GAP
    whole, cut = Interpolation(3), Interpolation(3)
    whole.fill(rewards[:11])
    resumed = Interpolation(3)
    cut.fill(rewards[:11])
    resumed.load_state_dict(cut.state_dict())
    np.testing.assert_array_equal(resumed.fill(rewards[11:]), whole.fill(rewards[11:]))
