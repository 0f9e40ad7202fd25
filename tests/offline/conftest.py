"""A folder for datasets, and what makes them."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

from offline_datasets import COUNTING, Recorder


@pytest.fixture
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    root = tmp_path / "datasets"
    root.mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    if COUNTING not in gym.registry:
        gym.register(COUNTING, entry_point="offline_datasets:DrawnCounting")
    return root


@pytest.fixture
def recorder(minari_root: Path) -> Recorder:
    return Recorder()
