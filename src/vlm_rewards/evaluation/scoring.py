"""Scores images and videos in files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.media import PathLike, expand_paths, read_frames
from vlm_rewards.rewards.base import EmbeddingReward, FrameReward
from vlm_rewards.rewards.goal_baseline import goal_reward
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.rendering import letterbox

_PENDING_BYTES = 256 * 2**20
"""Most that frames may take up while they wait for others of their size."""


@dataclass(frozen=True)
class Score:
    """What a reward says about one image or one frame of a video."""

    path: str
    """The file."""
    frame: int | None
    """Place in the video, from 0; None for an image."""
    time_s: float | None
    """Seconds since the video's start; None for an image."""
    goal_similarity: float | None
    """Cosine similarity to the goal (eq. 2), in [-1, 1]; None for a reward other than `VLMReward`."""
    baseline_similarity: float | None
    """Cosine similarity to the baseline, in [-1, 1]; None without one."""
    reward: float
    """The reward."""


def score_paths(reward: FrameReward, paths: Sequence[PathLike], *, batch_size: int = 64) -> list[Score]:
    """Score every image and every frame of every video.

    Frames of one size are scored together; where there is an encoder, each goes through its own preprocessing. A video
    is streamed: at most ``batch_size`` of its frames are in memory at a time, fewer if they are large.

    Args:
        reward: Scores frames. One without an encoder gets them letterboxed to the size that it wants.
        paths: Images, videos, animations, and folders of images.
        batch_size: Most frames to score at once, at least 1.

    Returns:
        One score an image or frame, in the order of ``paths``.
    """
    check_count("batch_size", batch_size)
    files = expand_paths(paths)
    batches = _Batches(reward, batch_size)
    for path in files:
        for frame in read_frames(path):
            batches.add(str(path), frame.index, frame.time_s, frame.pixels)
    return batches.finish()


def frames_per_second(scores: Sequence[Score]) -> float:
    """Mean frame rate of one video's scores, for a plot."""
    times = [score.time_s for score in scores if score.time_s is not None]
    if not scores or len(times) < len(scores) or len({score.path for score in scores}) != 1:
        raise InvalidInputError("a plot over time needs the frames of one video, got frames or several files.")
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 1.0


def scores_to_json(scores: Sequence[Score], reward: FrameReward) -> str:
    """JSON text: what scored (``reward``) and what came out (``scores``)."""
    rows = [dataclasses.asdict(score) for score in scores]
    return json.dumps({"reward": reward.describe(), "scores": rows}, indent=2, ensure_ascii=False) + "\n"


def scores_to_csv(scores: Sequence[Score]) -> str:
    """CSV text with a header; a cell that does not apply is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Score)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(score) for score in scores)
    return text.getvalue()


class _Batches:
    """Collects frames by size, scores each batch when it is full, and keeps the order."""

    def __init__(self, reward: FrameReward, batch_size: int) -> None:
        self._reward = reward
        self._batch_size = batch_size
        self._origins: list[tuple[str, int | None, float | None]] = []
        self._waiting: dict[tuple[int, ...], list[tuple[int, Frame]]] = {}
        self._waiting_bytes = 0
        self._values: dict[int, dict[str, Any]] = {}

    def add(self, path: str, index: int | None, time_s: float | None, pixels: Frame) -> None:
        group = self._waiting.setdefault(pixels.shape, [])
        group.append((len(self._origins), pixels))
        self._origins.append((path, index, time_s))
        self._waiting_bytes += pixels.nbytes
        if len(group) == self._batch_size:
            self._score(pixels.shape)
        elif self._waiting_bytes > _PENDING_BYTES:
            self._score_all()

    def finish(self) -> list[Score]:
        self._score_all()
        return [Score(*origin, **self._values[row]) for row, origin in enumerate(self._origins)]

    def _score_all(self) -> None:
        for shape in list(self._waiting):
            self._score(shape)

    def _score(self, shape: tuple[int, ...]) -> None:
        group = self._waiting.pop(shape)
        self._waiting_bytes -= sum(pixels.nbytes for _, pixels in group)
        frames, reward = np.stack([pixels for _, pixels in group]), self._reward
        near: list[np.ndarray | None] = [None, None]
        if isinstance(reward, EmbeddingReward):
            embeddings = reward.embed(frames)
            rewards = reward.score(embeddings)
            if isinstance(reward, VLMReward):
                against = (reward.goal_embedding, reward.baseline_embedding)
                near = [None if prompt is None else goal_reward(embeddings, prompt) for prompt in against]
        else:
            size = reward.frame_size
            rewards = reward(np.stack([letterbox(frame, size) for frame in frames]))
        for place, (row, _) in enumerate(group):
            goal, baseline = (None if values is None else _shortest(values[place]) for values in near)
            self._values[row] = {
                "goal_similarity": goal,
                "baseline_similarity": baseline,
                "reward": _shortest(np.float32(rewards[place])),
            }


def _shortest(value: np.float32) -> float:
    """The same float32 with as few digits as tell it apart: 0.25, not 0.25000000298."""
    return float(str(value))
