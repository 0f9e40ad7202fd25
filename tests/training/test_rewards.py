"""The reward of a run's settings: what is said of its encoder, and the held-out reward that it is watched against."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_rewards.encoders.loading import trained_on
from vlm_rewards.encoders.sources import bundled_folder
from vlm_rewards.progress import LoggedProgress
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.training import rewards
from vlm_rewards.training.presets import preset, task_of
from vlm_rewards.training.rewards import captioned_for, load_encoder_for, load_held_out

ENCODER = FakeEncoder()
REWARD = VLMReward(ENCODER, goal="up", baseline="pole", alpha=0.5)


def held_out(**changes: Any) -> Any:
    config = dataclasses.replace(preset("cartpole"), **changes)
    return load_held_out(config, task_of(config), REWARD, LoggedProgress())


def test_another_sentence_for_the_same_encoder(caplog: pytest.LogCaptureFixture) -> None:
    found = held_out(watch="held-out", watch_goal="a pole pointing at the sky")
    assert caplog.messages == []
    assert found.encoder is ENCODER
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    config = preset("cartpole")
    own = VLMReward(ENCODER, goal="a pole pointing at the sky", baseline=config.baseline, alpha=config.alpha)
    np.testing.assert_array_equal(found(frames), own(frames))


def test_what_nobody_would_use_is_not_loaded(caplog: pytest.LogCaptureFixture) -> None:
    found = held_out(watch="auto", watch_encoder="ViT-bigG-14/laion2b_s39b_b160k")  # would have to be fetched
    assert found is None
    (said,) = caplog.messages
    assert "'cartpole' is watched against its criterion" in said
    assert "with --watch held-out alone" in said


def test_nothing_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    assert held_out() is None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("tasks", "task", "said"),
    [
        (["cartpole"], "cartpole", "was trained on frames of these very simulators"),
        (["cartpole"], "mountaincar", "'mountaincar' is none of them"),
        (["kneeling"], "splits", "was trained on frames of these very simulators"),  # the poses share their frames
        (["cartpole"], "splits", "'splits' is none of them"),
        (["somebody's own"], "cartpole", "'cartpole' is none of them"),
        (None, "cartpole", "was trained on frames of these very simulators"),  # nothing says on which
    ],
)
def test_an_encoder_is_known_to_know_a_task_or_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tasks: list[str] | None, task: str, said: str
) -> None:
    folder = shutil.copytree(bundled_folder(), tmp_path / "model")
    record = {} if tasks is None else {"config": {"tasks": tasks}}
    (folder / "training_record.json").write_text(json.dumps(record))
    assert trained_on(str(folder)) == (None if tasks is None else tuple(tasks))
    caplog.set_level("INFO")
    load_encoder_for(get_task(task), str(folder), ["a cart"], LoggedProgress(), device="cpu", dtype="fp32")
    assert said in caplog.text


def test_a_pretrained_model_was_trained_on_no_task_of_ours() -> None:
    assert trained_on("RN50/openai") is None


@pytest.mark.parametrize(
    ("encoders", "task", "captioned"),
    [
        ([{"name": "bundled", "in_domain": True}], "cartpole", True),
        ([{"name": "all", "in_domain": True}], "splits", True),
        ([{"name": "mine", "in_domain": True}], "splits", False),
        ([{"name": "RN50/openai", "in_domain": None}], "splits", True),
        ([{"name": "RN50/openai"}, {"name": "mine", "in_domain": True}], "splits", False),
    ],
)
def test_a_record_does_not_call_a_strangers_scores_in_domain(
    encoders: list[dict], task: str, captioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"mine": ("cartpole",), "all": ("cartpole", "kneeling")}
    monkeypatch.setattr(rewards, "trained_on", lambda name: known[name] if name in known else trained_on(name))
    assert captioned_for(encoders, get_task(task)) is captioned
