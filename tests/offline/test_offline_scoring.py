"""Chunks are cut by episode and step, few are held, a failure ends the work; statistics are those of all at once."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError, LabellerError
from vlm_rewards.offline.dataset import score_episodes
from vlm_rewards.offline.relabelling import RewardStatistics


def frames_of(episode: int, count: int) -> Iterator[np.ndarray]:
    for step in range(count):
        yield np.full((2, 2, 3), (7 * episode + step) % 256, dtype=np.uint8)


def mean(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2, 3)).astype(np.float32)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 5))
def test_values_and_chunks_are_those_of_each_episode_alone(lengths: list[int], batch_size: int) -> None:
    batches: list[int] = []

    def score(frames: np.ndarray) -> np.ndarray:
        batches.append(len(frames))
        return mean(frames)

    episodes = ((number, frames_of(number, length)) for number, length in enumerate(lengths))
    got = dict(score_episodes(score, episodes, batch_size))
    assert list(got) == list(range(len(lengths)))
    for number, length in enumerate(lengths):
        np.testing.assert_array_equal(got[number][:, 0], [(7 * number + step) % 256 for step in range(length)])
    cut = [
        [batch_size] * (length // batch_size) + [length % batch_size] * (length % batch_size > 0) for length in lengths
    ]
    assert batches == list(itertools.chain.from_iterable(cut))


def test_no_more_than_two_chunks_are_alive() -> None:
    # One is being scored while one is being filled: a third would have to be counted here, while a frame is read.
    chunks: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []
    busy = threading.Lock()

    def score(frames: np.ndarray) -> np.ndarray:
        with busy:
            chunks.append(weakref.ref(frames if frames.base is None else frames.base))
        time.sleep(0.002)
        return mean(frames)

    def watched(episode: int) -> Iterator[np.ndarray]:
        for frame in frames_of(episode, 25):
            with busy:
                alive.append(sum(chunk() is not None for chunk in chunks))
            yield frame

    list(score_episodes(score, ((episode, watched(episode)) for episode in range(3)), 4))
    assert len(chunks) == 3 * 7
    assert max(alive) <= 1


def test_the_next_chunk_is_read_while_one_is_scored() -> None:
    reading = threading.Event()

    def score(frames: np.ndarray) -> np.ndarray:
        assert reading.wait(10)  # set by the read of the second chunk
        return mean(frames)

    def frames() -> Iterator[np.ndarray]:
        yield from frames_of(0, 2)
        reading.set()
        yield from frames_of(0, 2)

    assert len(dict(score_episodes(score, iter([(0, frames())]), 2))[0]) == 4


def test_a_reward_that_raises_is_the_cause() -> None:
    def score(frames: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    with pytest.raises(LabellerError, match=r"scoring frames failed: RuntimeError\('out of memory'\)") as failure:
        list(score_episodes(score, iter([(0, frames_of(0, 3))]), 2))
    assert isinstance(failure.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.array([1.0, np.nan], np.float32), "2 finite numbers for 2 frames, got shape .2, 1. with 1 not finite"),
        (np.zeros(3, np.float32), "2 finite numbers for 2 frames, got shape .3, 1. with 0 not finite"),
    ],
)
def test_a_reward_that_is_none_is_refused(answer: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        list(score_episodes(lambda frames: answer, iter([(0, frames_of(0, 2))]), 2))


def test_frames_that_cannot_be_read_end_the_work() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield from frames_of(1, 3)
        raise InvalidInputError("damaged")

    scored = score_episodes(mean, iter([(0, frames_of(0, 2)), (1, broken())]), 2)
    assert next(scored)[0] == 0
    with pytest.raises(InvalidInputError, match="damaged"):
        next(scored)


PARTS = st.lists(st.lists(st.floats(-100, 100, width=32), max_size=6), min_size=1, max_size=6)


@given(PARTS, st.integers(0, 99))
def test_statistics_are_those_of_all_at_once(parts: list[list[float]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    news = [np.array(part, dtype=np.float32) for part in parts]
    olds = [(new * 0.5 + rng.standard_normal(len(new))).astype(np.float64) for new in news]
    statistics = RewardStatistics()
    for new, old in zip(news, olds, strict=True):
        statistics.add(new, old)
    new, old = np.concatenate(news).astype(np.float64), np.concatenate(olds)
    facts = statistics.to_dict()
    if len(new) == 0:
        assert facts == {"rewards": {}, "true_rewards": None, "correlation": None}
        return
    assert facts["rewards"]["mean"] == pytest.approx(new.mean(), abs=1e-9)
    assert facts["rewards"]["std"] == pytest.approx(new.std(), abs=1e-9)
    assert (facts["rewards"]["min"], facts["rewards"]["max"]) == (new.min(), new.max())
    if np.ptp(new) > 1e-3 and np.ptp(old) > 1e-3:
        assert facts["correlation"] == pytest.approx(np.corrcoef(new, old)[0, 1], abs=1e-6)


def test_by_hand() -> None:
    # new 1 2 3, old 2 4 9: means 2 and 5, products (-1)(-3) + 0 + (1)(4) = 7, squares 2 and 26
    statistics = RewardStatistics()
    statistics.add(np.array([1.0, 2.0], np.float32), np.array([2.0, 4.0]))
    statistics.add(np.array([3.0], np.float32), np.array([9.0]))
    assert statistics.correlation == pytest.approx(7 / np.sqrt(2 * 26))


def test_no_correlation_with_what_is_constant_or_missing() -> None:
    constant, missing = RewardStatistics(), RewardStatistics()
    for part in ([1.0, 2.0], [3.0]):
        constant.add(np.array(part, np.float32), np.full(len(part), 0.1))
        missing.add(np.array(part, np.float32), None)
    assert constant.correlation is None
    assert missing.correlation is None
    assert missing.to_dict()["true_rewards"] is None
