"""Rows wait for their rewards, find them by ticket, and lose their claim when they are overwritten."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.collection.replay_buffer import LabelledReplayBuffer
from vlm_rewards.errors import InvalidInputError, UnlabelledSampleError

BOX = gym.spaces.Box(-1, 1, (1,))


def make(size: int, n_envs: int = 1, **options: Any) -> LabelledReplayBuffer:
    return LabelledReplayBuffer(size, BOX, gym.spaces.Discrete(3), device="cpu", n_envs=n_envs, **options)


def add(buffer: LabelledReplayBuffer, step: int, *, done: bool = False, truncated: bool = False) -> None:
    n = buffer.n_envs
    infos = [{"frame_ticket": step * n + index, "TimeLimit.truncated": truncated} for index in range(n)]
    rows = np.full((n, 1), step / 100, dtype=np.float32)
    buffer.add(rows, rows + 0.01, np.zeros(n, dtype=int), np.full(n, 99.0), np.full(n, done), infos)


def test_rewards_find_their_rows() -> None:
    buffer = make(6, n_envs=2)
    for step in range(3):
        add(buffer, step)
    assert buffer.pending_count == 6
    assert buffer.newest_ticket == 5
    assert not buffer.rewards.any(), "what comes with the transition is not its reward"
    assert buffer.fill(np.array([4, 1, 0]), np.array([0.4, 0.1, 0.5])) == 3
    np.testing.assert_allclose(buffer.rewards, [[0.5, 0.1], [0, 0], [0.4, 0]])
    np.testing.assert_array_equal(buffer.pending, [[False, False], [True, True], [False, True]])
    assert buffer.fill(np.array([2, 3, 5]), np.array([0.2, 0.3, 0.6])) == 3
    assert buffer.pending_count == 0
    np.testing.assert_allclose(np.unique(buffer.sample(50).rewards), np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))


def test_sampling_before_the_last_reward_is_refused() -> None:
    buffer = make(4)
    add(buffer, 0)
    add(buffer, 1)
    buffer.fill(np.array([0]), np.array([1.0]))
    with pytest.raises(UnlabelledSampleError, match=r"1 transitions have no reward yet. Pass callback=LabelRewards"):
        buffer.sample(1)
    buffer.fill(np.array([1]), np.array([1.0]))
    assert buffer.sample(1).rewards.item() == 1.0


def test_a_time_limit_is_no_termination() -> None:
    buffer = make(2)
    add(buffer, 0, done=True, truncated=True)
    add(buffer, 1, done=True)
    buffer.fill(np.array([0, 1]), np.array([0.0, 1.0]))
    sample = buffer.sample(50)
    assert set(zip(sample.rewards.flatten().tolist(), sample.dones.flatten().tolist(), strict=True)) == {
        (0.0, 0.0),
        (1.0, 1.0),
    }


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_envs=st.integers(1, 3), rows=st.integers(1, 6))
def test_is_what_an_obvious_twin_does(data: st.DataObject, n_envs: int, rows: int) -> None:
    buffer = make(rows * n_envs, n_envs)
    twin: dict[tuple[int, int], tuple[int, float | None]] = {}  # place -> its ticket and reward
    undelivered: list[int] = []
    for step in range(data.draw(st.integers(1, 20))):
        add(buffer, step)
        for column in range(n_envs):
            twin[step % rows, column] = (step * n_envs + column, None)
            undelivered.append(step * n_envs + column)
        count = data.draw(st.integers(0, len(undelivered)))
        tickets = data.draw(st.permutations(undelivered))[:count]
        filled = buffer.fill(np.array(tickets, dtype=int), np.array(tickets, dtype=float))
        hits = [place for place, (ticket, _) in twin.items() if ticket in tickets]
        assert filled == len(hits)
        for place in hits:
            twin[place] = (twin[place][0], float(twin[place][0]))
        undelivered = [ticket for ticket in undelivered if ticket not in tickets]
        assert buffer.pending_count == sum(reward is None for _, reward in twin.values())
        assert buffer.pending_count == int(buffer.pending.sum())
        for place, (ticket, reward) in twin.items():
            assert buffer.tickets[place] == ticket
            assert buffer.pending[place] == (reward is None)
            assert buffer.rewards[place] == (0 if reward is None else reward)


@pytest.mark.parametrize(
    ("tickets", "rewards", "message"),
    [
        ([0, 1], [1.0], r"vectors of one length, got \(2,\), \(1,\)"),
        ([[0]], [[1.0]], r"vectors of one length, got \(1, 1\), \(1, 1\)"),
        ([0], [np.nan], "rewards must be finite"),
        ([3], [1.0], r"ticket 3 has not been added \(newest: 0\)"),
    ],
)
def test_refuses_deliveries_that_make_no_sense(tickets: Any, rewards: Any, message: str) -> None:
    buffer = make(2)
    add(buffer, 0)
    with pytest.raises(InvalidInputError, match=message):
        buffer.fill(np.array(tickets), np.array(rewards))
    assert buffer.pending_count == 1


def test_a_second_delivery_changes_nothing() -> None:
    buffer = make(2)
    add(buffer, 0)
    assert buffer.fill(np.array([0]), np.array([1.0])) == 1
    assert buffer.fill(np.array([0]), np.array([2.0])) == 0
    assert buffer.fill(np.array([], dtype=int), np.array([])) == 0
    assert buffer.rewards[0, 0] == 1.0


def test_refuses_infos_without_tickets() -> None:
    buffer = make(2)
    row = np.zeros((1, 1), dtype=np.float32)
    with pytest.raises(InvalidInputError, match="infos with 'frame_ticket': use it with RenderedVecEnv"):
        buffer.add(row, row, np.zeros(1, dtype=int), np.zeros(1), np.zeros(1, dtype=bool), [{}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimize_memory_usage": True}, "optimize_memory_usage must be False: it keeps no separate next observation"),
        ({"handle_timeout_termination": False}, "handle_timeout_termination must be True: .* count as terminations"),
    ],
)
def test_refuses_options_that_store_wrong_transitions(options: dict[str, bool], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(2, **options)
