"""The background thread: right results in the right order, whatever the timing, and never a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vlm_rewards.collection.labeller import Labeller
from vlm_rewards.collection.ring import FrameRing, StepGate
from vlm_rewards.errors import InvalidInputError, LabellerError
from vlm_rewards.testing.counting import DelayedReward

SIMULATORS = 3
SLOTS = 5
Score = Callable[[np.ndarray], np.ndarray]


def mean_reward(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2, 3)).astype(np.float32) / 255


class Rig:
    """A ring, a gate, and what the simulators would do."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.pictures = rng.integers(0, 256, (100, SIMULATORS, 4, 4, 3), dtype=np.uint8)
        self.ring = FrameRing(SLOTS, SIMULATORS, 4)
        self.gate = StepGate(SLOTS)
        self.step = 0
        self.labellers: list[Labeller] = []

    def labeller(self, reward: Score, chunk_steps: int = 2) -> Labeller:
        made = Labeller(reward, self.ring, self.gate, self.step, chunk_steps)
        self.labellers.append(made)
        return made

    def simulate(self, labeller: Labeller, steps: int) -> None:
        for _ in range(steps):
            self.gate.wait_for(self.step)
            self.ring.frames[self.step % SLOTS] = self.pictures[self.step]
            labeller.submit(self.step)
            self.step += 1

    def close(self) -> None:
        for labeller in self.labellers:
            labeller.close()
        self.ring.close()


@pytest.fixture
def rig(rng: np.random.Generator) -> Iterator[Rig]:
    rig = Rig(rng)
    yield rig
    rig.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "vlm-rewards-labeller"]


@pytest.mark.parametrize("chunk_steps", [1, 3])
def test_what_was_not_rendered_is_not_scored(rig: Rig, chunk_steps: int) -> None:
    reward, seen = DelayedReward(mean_reward, 0.0), []
    labeller = Labeller(
        reward, rig.ring, rig.gate, 0, chunk_steps, look=lambda steps, frames, scores: seen.append(np.isnan(scores))
    )
    rig.labellers.append(labeller)
    taken = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 0]], dtype=bool)
    for step, row in enumerate(taken):
        rig.gate.wait_for(step)
        rig.ring.frames[step % SLOTS] = rig.pictures[step]
        labeller.submit(step, rendered=row)
    _, rewards = labeller.drain()
    expected = np.where(taken, mean_reward(rig.pictures[:5].reshape(-1, 4, 4, 3)).reshape(5, SIMULATORS), np.nan)
    np.testing.assert_array_equal(rewards, expected)
    assert reward.batches == ([3, 1, 1, 2] if chunk_steps == 1 else [4, 3]), "no frame, no batch"
    np.testing.assert_array_equal(np.concatenate(seen), ~taken.reshape(-1))


@pytest.mark.parametrize("chunk_steps", [1, 3, 4])
def test_gives_what_the_reward_says_of_the_same_chunks(rig: Rig, chunk_steps: int) -> None:
    reward = DelayedReward(mean_reward, 0.005)
    labeller = rig.labeller(reward, chunk_steps)
    expected_batches = []
    for steps in (11, 1, 4, 0, 25):
        first = rig.step
        rig.simulate(labeller, steps)
        start, rewards = labeller.drain()
        assert start == first
        assert rewards.shape == (steps, SIMULATORS)
        assert rewards.dtype == np.float32
        for offset in range(0, steps, chunk_steps):
            chunk = rig.pictures[first + offset : first + min(offset + chunk_steps, steps)]
            expected_batches.append(chunk.shape[0] * SIMULATORS)
            expected = mean_reward(chunk.reshape(-1, 4, 4, 3)).reshape(-1, SIMULATORS)
            np.testing.assert_array_equal(rewards[offset : offset + chunk_steps], expected)
    assert reward.batches == expected_batches, "chunks must be cut by step, never by arrival"


def test_may_begin_at_any_step(rig: Rig) -> None:
    first = rig.labeller(mean_reward)
    rig.simulate(first, 7)
    first.drain()
    first.close()
    second = rig.labeller(mean_reward)
    rig.simulate(second, 6)
    start, rewards = second.drain()
    assert start == 7
    np.testing.assert_array_equal(rewards, mean_reward(rig.pictures[7:13].reshape(-1, 4, 4, 3)).reshape(6, 3))


def test_scores_while_the_simulators_go_on(rig: Rig) -> None:
    scored = threading.Event()
    may_go_on = threading.Event()

    def slow(frames: np.ndarray) -> np.ndarray:
        scored.set()
        assert may_go_on.wait(timeout=100)
        return mean_reward(frames)

    labeller = rig.labeller(slow, chunk_steps=1)
    rig.simulate(labeller, 1)
    assert scored.wait(timeout=100)
    # The first chunk was copied out, so that its slot is free too: five more steps fit before the sixth waits.
    rig.simulate(labeller, SLOTS)
    may_go_on.set()
    np.testing.assert_array_equal(
        labeller.drain()[1], mean_reward(rig.pictures[:6].reshape(-1, 4, 4, 3)).reshape(-1, SIMULATORS)
    )


def broken(frames: np.ndarray) -> np.ndarray:
    raise ZeroDivisionError("no reward today")


@pytest.mark.parametrize(("chunk_steps", "steps"), [(1, 90), (4, 3)])  # submit or drain is the first to tell
def test_a_reward_that_raises_ends_with_its_cause(rig: Rig, chunk_steps: int, steps: int) -> None:
    labeller = rig.labeller(broken, chunk_steps)

    def learn() -> None:
        rig.simulate(labeller, steps)
        labeller.drain()

    with pytest.raises(LabellerError, match=r"scoring frames failed: ZeroDivisionError\('no reward today'\)") as caught:
        learn()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(LabellerError, match="no reward today"):
        labeller.drain()


def test_a_reward_that_raises_ends_a_step_that_waits_for_room(rig: Rig) -> None:
    begun = threading.Event()

    def late(frames: np.ndarray) -> np.ndarray:
        begun.set()
        time.sleep(0.2)
        raise ZeroDivisionError("late")

    # Chunk of 4 in a ring of 5. The thread scores steps 0 to 3, so step 8 and 9 wait for the next chunk to be read.
    labeller = rig.labeller(late, chunk_steps=4)
    rig.simulate(labeller, 4)
    assert begun.wait(timeout=100)
    started = time.monotonic()
    with pytest.raises(LabellerError, match="late") as caught:
        rig.simulate(labeller, 90)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert time.monotonic() - started < 100
    assert rig.step < 10


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda frames: np.zeros(len(frames) + 1), "must return 6 finite numbers for 6 frames, got shape .7,."),
        (lambda frames: np.zeros((len(frames), 1)), "for 6 frames, got shape .6, 1."),
        (lambda frames: np.full(len(frames), np.nan), "got shape .6,. with 6 not finite"),
        (lambda frames: np.array([np.inf, 0, 0, 0, 0, 0]), "got shape .6,. with 1 not finite"),
        (lambda frames: "bad", "could not convert string"),
        (lambda frames: None, "scoring frames failed"),
    ],
)
def test_refuses_what_is_no_reward(rig: Rig, reward: Score, message: str) -> None:
    labeller = rig.labeller(reward)
    rig.simulate(labeller, 2)
    with pytest.raises(LabellerError, match=message):
        labeller.drain()


def test_after_a_failure_another_can_take_over(rig: Rig) -> None:
    labeller = rig.labeller(broken, chunk_steps=1)
    with pytest.raises(LabellerError, match="no reward today"):
        rig.simulate(labeller, 90)
    labeller.close()
    rig.gate.wait_for(rig.step + 10_000)  # nobody reads: nobody waits, and nobody has failed
    rig.step += 1  # the step whose submission was refused has been taken
    other = rig.labeller(mean_reward)
    rig.simulate(other, 20)
    assert other.drain()[1].shape == (20, SIMULATORS)


def test_close_is_quick_lets_everybody_go_and_may_be_repeated(rig: Rig) -> None:
    reward = DelayedReward(mean_reward, 0.2)
    labeller = rig.labeller(reward, chunk_steps=1)
    rig.simulate(labeller, 5)
    started = time.monotonic()
    labeller.close()
    labeller.close()
    assert time.monotonic() - started < 100
    assert len(reward.batches) < 5, "what nobody will ask for need not be scored"
    rig.gate.wait_for(1_000)
    for request in (labeller.drain, lambda: labeller.submit(5)):
        with pytest.raises(LabellerError, match="the labeller has been closed"):
            request()


def test_refuses_steps_out_of_order(rig: Rig) -> None:
    labeller = rig.labeller(mean_reward)
    rig.simulate(labeller, 3)
    with pytest.raises(InvalidInputError, match="vector step 3 must be submitted next, got 5"):
        labeller.submit(5)


@pytest.mark.parametrize("chunk_steps", [0, 5])
def test_refuses_chunks_that_the_ring_cannot_hold(rig: Rig, chunk_steps: int) -> None:
    with pytest.raises(InvalidInputError, match=f"chunk_steps must be from 1 to 4 .*got {chunk_steps}"):
        rig.labeller(mean_reward, chunk_steps)
