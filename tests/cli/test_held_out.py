"""The reward that a run is watched against is made where it is of use, and nowhere else."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from rich.console import Console

from vlm_rewards.cli.common import ConsoleProgress
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.training.presets import preset, task_of
from vlm_rewards.training.rewards import load_held_out

ENCODER = FakeEncoder()
REWARD = VLMReward(ENCODER, goal="up", baseline="pole", alpha=0.5)


def held_out(**changes: Any) -> tuple[Any, str]:
    said = io.StringIO()
    config = dataclasses.replace(preset("cartpole"), **changes)
    progress = ConsoleProgress(Console(file=said, width=300))
    return load_held_out(config, task_of(config), REWARD, progress), said.getvalue()


def test_another_sentence_for_the_same_encoder() -> None:
    found, said = held_out(watch="held-out", watch_goal="a pole pointing at the sky")
    assert said == ""
    assert found.encoder is ENCODER
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    config = preset("cartpole")
    own = VLMReward(ENCODER, goal="a pole pointing at the sky", baseline=config.baseline, alpha=config.alpha)
    np.testing.assert_array_equal(found(frames), own(frames))


def test_what_nobody_would_use_is_not_loaded() -> None:
    found, said = held_out(watch="auto", watch_encoder="ViT-bigG-14/laion2b_s39b_b160k")  # would have to be fetched
    assert found is None
    assert "'cartpole' is watched against its criterion" in said
    assert "with --watch held-out alone" in said


def test_nothing_asked_for() -> None:
    assert held_out() == (None, "")
