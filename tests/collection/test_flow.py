"""Frames on their way, counted before any is taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.collection.episodes import FrameCount

COUNT = st.integers(1, 40)


def test_by_hand() -> None:
    # 7 vector steps of 5 frames in chunks of 3, 3 and 1 vector steps: 15, 15 and 5 frames; at most 4 at once
    # makes 4 + 4 + 2 batches. All twice.
    flow = FrameCount(simulators=5, slots=9, chunk_steps=3, vector_steps=7, times=2)
    assert (flow.states, flow.chunks, flow.passes(4)) == (70, 6, 20)
    assert flow.passes(4, cameras=2) == 2 * (8 + 8 + 3)


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_as_one_counts_step_by_step(simulators: int, chunk: int, steps: int, times: int, batch: int) -> None:
    pictures, chunks, batches = 0, 0, 0
    for _ in range(times):
        waiting = 0
        for step in range(1, steps + 1):
            waiting += simulators
            if step % chunk == 0 or step == steps:
                pictures, chunks = pictures + waiting, chunks + 1
                while waiting > 0:
                    waiting, batches = waiting - batch, batches + 1
                waiting = 0
    flow = FrameCount(simulators, chunk + 1, chunk, steps, times)
    assert (flow.states, flow.chunks, flow.passes(batch)) == (pictures, chunks, batches)


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_states_that_are_rendered_as_one_counts_them(
    simulators: int, steps: int, times: int, every: int, horizon: int
) -> None:
    of_an_episode = [step % horizon + 1 for step in range(steps * times)]
    counted = sum(step in (1, horizon) or step % every == 0 for step in of_an_episode)
    flow = FrameCount(simulators, 9, 8, steps, times, every, horizon)
    assert flow.states == simulators * counted


def test_batches_of_what_is_rendered_by_hand() -> None:
    # Chunks of 4, 4 and 1 steps have 2, 2 and 1 steps with frames: 10, 10 and 5 of them, at most 4 at once.
    assert FrameCount(5, 9, 4, 9, every=2, horizon=100).passes(4) == 3 + 3 + 2
