"""Rewards in LeRobot folders of each version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline_datasets import Reward, options
from offline_lerobot import CAMERA, LeRobotMaker, right_values
from vlm_rewards.offline.relabelling import relabel

pq = pytest.importorskip("pyarrow.parquet")

KINDS = [("v2.0", False), ("v2.1", False), ("v2.1", True), ("v3.0", False), ("v3.0", True)]


def read_rows(root: Path) -> dict[int, dict[str, np.ndarray]]:
    """Columns of each episode, whatever files they are in."""
    episodes: dict[int, dict[str, Any]] = {}
    for file in sorted((root / "data").rglob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            columns = episodes.setdefault(row["episode_index"], {})
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    return {index: {name: np.array(values) for name, values in columns.items()} for index, columns in episodes.items()}


def expected(episode: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    own = right_values(episode, length)
    return np.append(own[1:], own[-1]), own


@pytest.mark.parametrize(("version", "images"), KINDS)
def test_each_row_gets_the_reward_of_its_picture_and_of_the_next(version: str, images: bool, tmp_path: Path) -> None:
    maker = LeRobotMaker(version, images=images)
    root = maker.store(tmp_path / "data")
    record = relabel(root, Reward(), options())
    assert record["kind"] == f"lerobot {version}"
    assert record["frames_from"] == [CAMERA]
    rows = read_rows(tmp_path / "data-vlm")
    before = read_rows(root)
    for episode, length in enumerate(maker.lengths):
        following, own = expected(episode, length)
        np.testing.assert_array_equal(rows[episode]["next.reward"], following)
        np.testing.assert_array_equal(rows[episode]["vlm_reward"], own)
        np.testing.assert_array_equal(rows[episode]["true_reward"], maker.old_rewards(episode))
        for name in set(before[episode]) - {"next.reward"}:
            np.testing.assert_array_equal(rows[episode][name], before[episode][name])
