"""The frames that are kept, and what is scored beside the learner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.collection.episodes import EpisodeLedger
from vlm_rewards.collection.watcher import FrameWatcher
from vlm_rewards.rewards.base import score_columns
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import darkness_reward


class CountingEncoder(FakeEncoder):
    """Counts the frames that it embeds."""

    frames = 0

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        self.frames += len(frames)
        return super().embed_images(frames)


def pictures(*levels: int) -> np.ndarray:
    return np.repeat(np.array(levels, dtype=np.uint8), 12).reshape(-1, 2, 2, 3)


def facts(watcher: FrameWatcher) -> list[tuple[int, int, int]]:
    """Step, simulator and brightness."""
    return [(seen.step, seen.simulator, int(seen.frame[0, 0, 0])) for seen in watcher.watched]


def look(watcher: FrameWatcher, first: int, levels: list[list[int]]) -> None:
    frames = pictures(*np.reshape(levels, -1).tolist())
    watcher.look(range(first, first + len(levels)), frames, frames[:, 0, 0, :1] / np.float32(255))


def test_the_best_of_each_simulator_are_kept_by_hand() -> None:
    watcher = FrameWatcher()
    # Three steps of five simulators, whose best are 50, 200, 90, 30 and 90; of equals the first step counts.
    look(watcher, 7, [[10, 200, 80, 30, 90], [50, 100, 90, 30, 80], [20, 200, 10, 20, 70]])
    assert facts(watcher) == [(7, 1, 200), (7, 4, 90), (8, 0, 50), (8, 2, 90)]
    assert [seen.reward for seen in watcher.watched] == [np.float32(level / 255) for level in (200, 90, 50, 90)]


def test_a_state_without_a_picture_is_never_kept() -> None:
    watcher, frames = FrameWatcher(), pictures(9, 9, 20, 9)
    watcher.look(range(2), frames, np.array([[np.nan], [np.nan], [-3.0], [np.nan]], dtype=np.float32))
    assert facts(watcher) == [(1, 0, 20)]


def test_small_chunks_do_not_push_out_what_came_before() -> None:
    """Where a rollout is one step, a chunk is one frame: 256 of them make a block, of which the best is kept."""
    watcher = FrameWatcher()
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 250, 1_024)
    levels[[100, 400, 700, 1_000]] = 255
    for step, level in enumerate(levels.tolist()):
        look(watcher, step, [[level]])
    assert facts(watcher) == [(100, 0, 255), (400, 0, 255), (700, 0, 255), (1_000, 0, 255)]


def test_the_latest_are_kept() -> None:
    watcher = FrameWatcher()
    for block in range(20):
        look(watcher, 64 * block, [[1, 2, 3, 4]] * 64)
    assert len(watcher.watched) == 48
    assert {seen.step for seen in watcher.watched} == {64 * block for block in range(8, 20)}


def test_the_frames_kept_are_copies() -> None:
    watcher, frames = FrameWatcher(), pictures(9)
    watcher.look(range(1), frames, np.ones((1, 1), dtype=np.float32))
    frames[:] = 0
    assert facts(watcher) == [(0, 0, 9)]


def test_truths_come_later() -> None:
    watcher = FrameWatcher()
    look(watcher, 5, [[10, 0], [0, 20]])
    watcher.learn_truth(0, np.ones((5, 2)))  # steps 0 to 4
    assert [seen.truth for seen in watcher.watched] == [None, None]
    watcher.learn_truth(5, np.array([[0.25, 9.0], [9.0, 0.75]]))
    watcher.learn_truth(5, np.zeros((2, 2)))  # known already
    assert [(seen.step, seen.simulator, seen.truth) for seen in watcher.watched] == [(5, 0, 0.25), (6, 1, 0.75)]


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_a_witness_that_was_put_back_keeps_the_same(seed: int, cut: int) -> None:
    chunks = np.random.default_rng(seed).integers(0, 256, (12, 9, 5)).tolist()
    whole, first, second = FrameWatcher(), FrameWatcher(), FrameWatcher()
    for index, chunk in enumerate(chunks):
        look(whole, 9 * index, chunk)
        if index < cut:
            look(first, 9 * index, chunk)
    second.load_state_dict(first.state_dict())
    for index in range(cut, 12):
        look(second, 9 * index, chunks[index])
    assert facts(second) == facts(whole)
    one, two = whole.state_dict(), second.state_dict()
    assert np.array_equal(one.pop("frames"), two.pop("frames"))
    assert one == two


@pytest.mark.parametrize("same", [True, False])
def test_the_reward_is_the_same_to_the_last_bit_beside_another(same: bool, rng: np.random.Generator) -> None:
    encoder = CountingEncoder()
    frames = rng.integers(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    reward = VLMReward(encoder, goal="a cat", baseline="a thing")
    other = VLMReward(encoder if same else FakeEncoder(seed=1), goal="a dog", baseline="a thing")
    scores = score_columns([reward, darkness_reward, other], frames)
    assert encoder.frames == 7  # once, for both that share it
    assert np.array_equal(scores, np.stack([reward(frames), darkness_reward(frames), other(frames)], axis=1))


def test_the_first_column_counts() -> None:
    watcher = FrameWatcher()
    watcher.look(range(3), pictures(1, 2, 3), np.array([[0.1, 0], [0.3, 0], [0.2, 1]], dtype=np.float32))
    assert facts(watcher) == [(1, 0, 2)]


def test_what_the_ledger_says_pictures_are_judged_by() -> None:
    ledger = EpisodeLedger(2)
    judged = [{"true_reward": 5.0, "criterion": True}, {"true_reward": 6.0, "criterion": False}]
    ledger.observe(np.array([False, False]), judged)
    ledger.observe(np.array([False, False]), [{"true_reward": 7.0}, {"true_reward": 8.0}])
    assert ledger.truths(2).tolist() == [[1.0, 0.0], [7.0, 8.0]]
    assert ledger.truths(2, true_reward=True).tolist() == [[5.0, 6.0], [7.0, 8.0]]
    assert ledger.truths(1).tolist() == [[1.0, 0.0]]
