"""Sweeps whose runs were never trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_rewards.sweeping.plan import PlannedRun, SweepPlan, make_plan
from vlm_rewards.sweeping.request import SWEPT, SweepRequest
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

Finish = Callable[..., None]


def configure(arguments: list[str]) -> TrainConfig:
    """``TASK --name=value ...`` to settings, by hand."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments[1:])
    config = preset(arguments[0], given.pop("preset", "cpu"), given.pop("algo", None))
    kinds = {**SWEPT, "steps": int}
    return dataclasses.replace(config, **{name: kinds[name](value) for name, value in given.items()})


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., SweepPlan]:
    def plan(task: str = "cartpole", **fields: Any) -> SweepPlan:
        return make_plan(SweepRequest(task=task, **fields), tmp_path / "sweep", configure)

    return plan


@pytest.fixture
def finish() -> Finish:
    def write(plan: SweepPlan, run: PlannedRun, success: float | None, true: float = 100.0, vlm: float = 50.0) -> None:
        """Leave the files of a complete run."""
        folder = plan.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(run.config.to_dict()))
        record = {
            "criterion": None if success is None else "it stands",
            "encoder": {"name": "bundled", "in_domain": True, "weights_sha256": "0123456789abcdef"},
            "commit": "abc",
            "seconds": {"training": 12.3},
            "evaluation": {"success_rate": success, "true_return": true, "vlm_return": vlm},
        }
        (folder / "record.json").write_text(json.dumps(record))

    return write
