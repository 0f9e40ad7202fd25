"""A fine-tuning that takes a second."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_rewards.finetuning import run, trainer
from vlm_rewards.finetuning.config import FinetuneConfig


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FinetuneConfig]:
    """Settings of a very short run, with changes."""
    monkeypatch.setattr(trainer, "_SCAN", 200)
    monkeypatch.setattr(run, "model_card", functools.partial(run.model_card, captions=300))

    def build(**changes: Any) -> FinetuneConfig:
        settings: dict[str, Any] = {
            "tasks": ("mountaincar",),
            "out": tmp_path / "model",
            "steps": 3,
            "warmup_steps": 1,
            "pictures_per_task": 4,
            "states_per_task": 12,
            "held_out_states": 6,
        }
        return FinetuneConfig(**{**settings, **changes})

    return build
