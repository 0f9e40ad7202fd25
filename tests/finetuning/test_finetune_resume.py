"""A training that is broken off goes on as if it had never been stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError
from vlm_rewards.finetuning import trainer as resume
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.run import RECORD, run_finetune
from vlm_rewards.finetuning.trainer import STATE, Trainer

Quick = Callable[..., FinetuneConfig]
WEIGHTS = "open_clip_model.safetensors"


class StoppedError(Exception):
    """Stands for a kill."""


@contextmanager
def stopped_before(step: int) -> Iterator[None]:
    """Break a training off before one of its steps; a state is kept after each."""
    take = Trainer._step

    def step_or_stop(self: Trainer, optimiser: torch.optim.Optimizer) -> float:
        if len(self.losses) == step:
            raise StoppedError
        return take(self, optimiser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", step_or_stop)
        patch.setattr(resume, "_SECONDS", 0.0)
        with pytest.raises(StoppedError):
            yield


def record_of(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / RECORD).read_text())
    del record["seconds"]
    return record


@pytest.mark.slow
def test_the_weights_are_those_of_a_training_that_was_never_stopped(quick: Quick, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"tasks": ("cartpole", "mountaincar"), "steps": 5}
    whole = run_finetune(quick(**settings, out=tmp_path / "whole"))
    for stop, more in ((2, {}), (4, {"resume": True})):
        with stopped_before(stop):
            run_finetune(quick(**settings, **more))
        assert [path.name for path in (tmp_path / "model").iterdir()] == [STATE]
    folder = run_finetune(quick(**settings, resume=True))
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert not (folder / STATE).exists()
    record = record_of(folder)
    assert [one["step"] for one in record.pop("resumed")] == [2, 4]
    assert record == record_of(whole)


@pytest.mark.slow
def test_a_frozen_tower_is_frozen_still(quick: Quick, tmp_path: Path) -> None:
    first = run_finetune(quick(steps=1, out=tmp_path / "first"))
    settings: dict[str, Any] = {"model": str(first), "freeze": "image", "steps": 4}
    whole = run_finetune(quick(**settings, out=tmp_path / "whole"))
    with stopped_before(2):
        run_finetune(quick(**settings))
    folder = run_finetune(quick(**settings, resume=True))
    assert (folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_what_was_broken_off_is_neither_lost_nor_mixed_up(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="resume: there is no training to go on with"):
        run_finetune(quick(resume=True))
    with stopped_before(2):
        run_finetune(quick())
    kept = (quick().out / STATE).read_bytes()
    with pytest.raises(InvalidInputError, match="holds a training that was broken off; go on with --resume"):
        run_finetune(quick())
    with pytest.raises(InvalidInputError, match="other settings: seed was 0 and is 1 now, steps was 3 and is 4 now"):
        run_finetune(quick(resume=True, steps=4, seed=1))
    with monkeypatch.context() as patch:
        patch.setattr(resume, "provenance", lambda: {"commit": None, "version": "9", "versions": {"torch": "9"}})
        with pytest.raises(CheckpointError, match=r"began with other versions: vlm-rewards was .* and is '9' now"):
            run_finetune(quick(resume=True))
    (quick().out / STATE).write_bytes(kept[: len(kept) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        run_finetune(quick(resume=True))
    folder = run_finetune(quick(overwrite=True, steps=1))
    assert not (folder / STATE).exists()


def test_a_full_disk_is_said(quick: Quick) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "_SECONDS", 0.0)
        patch.setattr(resume, "write_state", full)
        with pytest.raises(RunFolderError, match=r"state.npz' cannot be written: .*No space left on device"):
            run_finetune(quick())


@pytest.mark.slow
def test_no_state_before_a_minute_of_training(quick: Quick) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "write_state", lambda *_: pytest.fail("too early"))
        run_finetune(quick())
