"""Frames of episodes to values, in chunks, the next chunk being read while one is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, LabellerError, VLMRewardsError

Scorer: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Frames, uint8 ``[n h w 3]``, to values ``[n]`` or ``[n columns]``."""


@dataclass
class _Episode:
    """An episode whose chunks are on their way."""

    number: int
    chunks: list[Future[np.ndarray]] = field(default_factory=list)
    complete: bool = False


def score_episodes(
    score: Scorer, episodes: Iterable[tuple[int, Iterator[Frame]]], batch_size: int, columns: int = 1
) -> Iterator[tuple[int, Float32[np.ndarray, "states columns"]]]:
    """Score the frames of episodes, one episode after another.

    A chunk holds ``batch_size`` successive frames of one episode, the last one
    what remains. So a value depends on its episode and place alone, never on
    timing or on what was scored before: pictures embedded in batches of another
    shape differ in the last bits. One chunk is scored in a thread while the
    next is filled here, so at most ``2 * batch_size`` frames are held.

    Args:
        score: Scores pictures.
        episodes: Numbers of episodes with their frames, all frames of one size.
        batch_size: Frames in a chunk.
        columns: Values that ``score`` gives a frame.

    Yields:
        Number and values, float32 ``[states columns]``, of each episode, in order.

    Raises:
        LabellerError: Scoring failed; the cause is chained.
    """
    waiting: list[_Episode] = []
    with ThreadPoolExecutor(1, thread_name_prefix="vlm-rewards-scorer") as pool:
        for number, frames in episodes:
            episode = _Episode(number)
            waiting.append(episode)
            for chunk in _chunks(frames, batch_size):
                yield from _finished(waiting, columns)
                episode.chunks.append(pool.submit(_score, score, chunk, columns))
                del chunk  # the thread has it: a name for it would keep a third one while the next is filled
            episode.complete = True
        yield from _finished(waiting, columns)


def _chunks(frames: Iterator[Frame], size: int) -> Iterator[np.ndarray]:
    chunk: np.ndarray | None = None
    filled = 0
    for frame in frames:
        if chunk is None:
            chunk = np.empty((size, *frame.shape), dtype=np.uint8)
        chunk[filled] = frame
        filled += 1
        if filled == size:
            full, chunk, filled = chunk, None, 0
            yield full
            del full
    if chunk is not None:
        yield chunk[:filled]


def _finished(waiting: list[_Episode], columns: int) -> Iterator[tuple[int, Float32[np.ndarray, "states columns"]]]:
    """Wait for the chunk on its way, and give the episodes that are complete with it."""
    for episode in waiting:
        if episode.chunks:
            _result(episode.chunks[-1])
    while waiting and waiting[0].complete:
        episode = waiting.pop(0)
        values = [chunk.result() for chunk in episode.chunks]
        yield episode.number, np.concatenate([np.empty((0, columns), dtype=np.float32), *values])


def _result(chunk: Future[np.ndarray]) -> np.ndarray:
    try:
        return chunk.result()
    except VLMRewardsError:
        raise
    except Exception as error:
        raise LabellerError(f"scoring pictures failed: {error!r}") from error


def _score(score: Scorer, frames: np.ndarray, columns: int) -> np.ndarray:
    values = np.asarray(score(frames), dtype=np.float32).reshape(-1, columns)
    if values.shape != (len(frames), columns) or not np.isfinite(values).all():
        raise InvalidInputError(
            f"a reward must return {len(frames)} finite numbers for {len(frames)} pictures, "
            f"got shape {values.shape} with {int(np.sum(~np.isfinite(values)))} not finite."
        )
    return values
