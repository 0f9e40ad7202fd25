"""Files in, scores out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation import scoring
from vlm_rewards.evaluation.scoring import Score, frames_per_second, score_paths, scores_to_csv, scores_to_json
from vlm_rewards.reporting.videos import write_video
from vlm_rewards.rewards.model import VLMReward


class BrightnessEncoder:
    """Embeds a frame at the angle of its brightness, black 0 and white 90 degrees; notes the batches."""

    name, image_size, embedding_dim = "brightness", 8, 2

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        self.batches.append(frames.shape)
        return self._at(frames.mean(axis=(1, 2, 3)) / 255)

    def embed_texts(self, prompts: Sequence[str]) -> np.ndarray:
        return self._at(np.array([{"white": 1.0, "black": 0.0}[prompt] for prompt in prompts]))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    @staticmethod
    def _at(share: np.ndarray) -> np.ndarray:
        return np.stack([np.cos(share * np.pi / 2), np.sin(share * np.pi / 2)], axis=1).astype(np.float32)


@pytest.fixture
def reward() -> VLMReward:
    return VLMReward(BrightnessEncoder(), goal="white", baseline="black", alpha=0.5)


def save_grey(path: Path, level: int, size: tuple[int, int] = (6, 4)) -> Path:
    Image.new("L", size, level).save(path)
    return path


def test_a_picture_by_hand(tmp_path: Path, reward: VLMReward) -> None:
    # White is the goal itself: similarity 1 to it, 0 to the baseline, reward 1. Black lies at the baseline:
    # v = b - g, all of it along g - b, |v|^2 = 2, so that the reward is 1 - 1/2 * 2 = 0 whatever alpha.
    paths = [save_grey(tmp_path / "white.png", 255), save_grey(tmp_path / "black.png", 0)]
    white, black = score_paths(reward, paths)
    assert (white.path, white.frame, white.time_s) == (str(paths[0]), None, None)
    numbers = [(s.goal_similarity, s.baseline_similarity, s.reward) for s in (white, black)]
    assert numbers == [pytest.approx((1, 0, 1), abs=1e-6), pytest.approx((0, 1, 0), abs=1e-6)]


def test_without_a_baseline_there_is_no_baseline_similarity(tmp_path: Path) -> None:
    (score,) = score_paths(VLMReward(BrightnessEncoder(), goal="white"), [save_grey(tmp_path / "a.png", 40)])
    assert score.baseline_similarity is None
    assert score.reward == score.goal_similarity


def test_order_is_kept_though_pictures_are_grouped_by_size(tmp_path: Path, reward: VLMReward) -> None:
    sizes = [(6, 4), (5, 5), (6, 4), (6, 4), (5, 5)]
    paths = [save_grey(tmp_path / f"{i}.png", 50 * i, size) for i, size in enumerate(sizes)]
    scores = score_paths(reward, paths, batch_size=2)
    assert [score.path for score in scores] == [str(path) for path in paths]
    expected = [float(reward(np.full((1, 2, 2, 3), 50 * i, np.uint8))[0]) for i in range(5)]
    assert [score.reward for score in scores] == pytest.approx(expected, abs=1e-6)
    encoder = reward.encoder
    assert isinstance(encoder, BrightnessEncoder)
    assert encoder.batches[:3] == [(2, 4, 6, 3), (2, 5, 5, 3), (1, 4, 6, 3)]


def test_a_video_is_scored_in_batches(tmp_path: Path, reward: VLMReward) -> None:
    path = write_video((np.full((8, 8, 3), 25 * i, np.uint8) for i in range(10)), tmp_path / "v.mp4", fps=5)
    scores = score_paths(reward, [path], batch_size=4)
    assert [score.frame for score in scores] == list(range(10))
    assert [score.time_s for score in scores] == pytest.approx([i / 5 for i in range(10)])
    assert (np.diff([score.goal_similarity for score in scores]) > 0).all()
    assert frames_per_second(scores) == pytest.approx(5)
    assert [shape[0] for shape in reward.encoder.batches] == [4, 4, 2]  # type: ignore[attr-defined]


def test_pictures_that_wait_stay_within_their_memory(
    tmp_path: Path, reward: VLMReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_PENDING_BYTES", 2 * 4 * 6 * 3)
    scores = score_paths(reward, [save_grey(tmp_path / f"{i}.png", i) for i in range(7)], batch_size=100)
    assert len(scores) == 7
    assert [shape[0] for shape in reward.encoder.batches] == [3, 3, 1]  # type: ignore[attr-defined]


def test_a_missing_file_is_found_before_anything_is_embedded(tmp_path: Path, reward: VLMReward) -> None:
    with pytest.raises(InvalidInputError, match="paths must exist"):
        score_paths(reward, [save_grey(tmp_path / "a.png", 1), tmp_path / "b.png"], batch_size=1)
    assert reward.encoder.batches == []  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError, match="batch_size must be an int of at least 1, got 0"):
        score_paths(reward, [tmp_path / "a.png"], batch_size=0)


def test_json_says_what_scored_and_csv_leaves_empty_cells(tmp_path: Path, reward: VLMReward) -> None:
    scores = score_paths(reward, [save_grey(tmp_path / "ü.png", 128)])
    document = json.loads(scores_to_json(scores, reward))
    assert document["reward"] == reward.describe()
    assert [Score(**row) for row in document["scores"]] == scores
    (row,) = csv.DictReader(io.StringIO(scores_to_csv(scores)))
    assert (row["path"], row["frame"], row["time_s"]) == (str(tmp_path / "ü.png"), "", "")
    assert np.float32(row["reward"]) == np.float32(scores[0].reward)
    assert len(row["reward"]) < 12  # no digits that float32 does not have


def test_a_plot_over_time_needs_one_video(tmp_path: Path, reward: VLMReward) -> None:
    for scores in ([], score_paths(reward, [save_grey(tmp_path / "a.png", 1)])):
        with pytest.raises(InvalidInputError, match="needs the frames of one video"):
            frames_per_second(scores)
