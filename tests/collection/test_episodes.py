"""Late rewards are added up to the episodes that they belong to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.collection.episodes import EpisodeLedger, EpisodeSummary


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
