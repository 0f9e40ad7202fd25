"""What is said of an encoder before its scores are trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from vlm_rewards.cli.common import load_encoder_for
from vlm_rewards.encoders.loading import trained_on
from vlm_rewards.encoders.sources import bundled_folder
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training import rewards
from vlm_rewards.training.rewards import captioned_for


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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tasks: list[str] | None, task: str, said: str
) -> None:
    folder = shutil.copytree(bundled_folder(), tmp_path / "model")
    record = {} if tasks is None else {"config": {"tasks": tasks}}
    (folder / "training_record.json").write_text(json.dumps(record))
    assert trained_on(str(folder)) == (None if tasks is None else tuple(tasks))
    load_encoder_for(get_task(task), str(folder), ["a cart"], Console(), device="cpu", dtype="fp32")
    assert said in " ".join(capsys.readouterr().out.split())


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
