"""The table of results."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.reporting.results import read_records, results_table

SUMMARY = {
    "episodes": 100,
    "successes": 97,
    "success_rate": 0.97,
    "success_interval_95": [0.9155, 0.9897],
    "true_return": 199.2,
    "true_return_std": 1.25,
    "vlm_return": 140.126,
    "vlm_return_std": 0.5,
}
MACHINE = {"processor": "A processor", "cores": 2}
ENCODER = {"name": "bundled", "in_domain": True, "weights_sha256": "0123456789abcdef"}
RUN: dict[str, Any] = {
    "command": "vlm-rewards train cartpole --seed 1",
    "task": "cartpole",
    "seed": 1,
    "encoder": ENCODER,
    "machine": MACHINE,
    "commit": "abc",
    "steps": 60_160,
    "config": {"algorithm": {"name": "dqn"}},
    "seconds": {"training": 170.4},
    "evaluation": SUMMARY,
}
BASELINES: dict[str, Any] = {
    "kind": "baselines",
    "task": "cartpole",
    "seed": 0,
    "encoder": ENCODER,
    "machine": MACHINE,
    "commit": "abc",
    "policies": {"random": {**SUMMARY, "successes": 0, "success_interval_95": [0.0, 0.037]}},
}


def write(folder: Path, *records: dict[str, Any]) -> None:
    for index, record in enumerate(records):
        (folder / f"{9 - index}.json").write_text(json.dumps(record))


def test_rows_are_what_the_records_say(tmp_path: Path) -> None:
    write(tmp_path, RUN, BASELINES)
    lines = results_table(read_records([tmp_path])).splitlines()
    baseline = "| cartpole | random actions | 0/100 (0.0 to 3.7 %) | 199.2 ± 1.2 | 140.13 ± 0.50 | - | - |"
    assert lines[2] == baseline
    assert lines[3].startswith("| cartpole | **DQN, seed 1** | 97/100 (91.5 to 99.0 %) |")
    assert lines[3].endswith("| 60,160 | 170 |")
    assert "$ vlm-rewards train cartpole --seed 1" in lines
    assert "bundled (in-domain, not zero-shot; weights 0123456789ab)" in "\n".join(lines)


def test_no_seed_is_left_out_and_failures_are_rows(tmp_path: Path) -> None:
    failed = copy.deepcopy(RUN) | {"seed": 2}
    failed["evaluation"] = {**SUMMARY, "successes": 3, "success_interval_95": [0.01, 0.085]}
    unfinished = {key: value for key, value in RUN.items() if key != "evaluation"} | {"seed": 3}
    write(tmp_path, unfinished, failed, RUN)
    lines = results_table(read_records([tmp_path])).splitlines()[2:5]
    assert [line.split("seed ")[1][0] for line in lines] == ["1", "2", "3"]
    assert "| 3/100 (" in lines[1]
    assert "not evaluated" in lines[2]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is no record: it has no task, seed, encoder"):
        read_records([tmp_path])
    (tmp_path / "x.json").write_text("not json")
    with pytest.raises(CheckpointError, match="cannot be read as a record"):
        read_records([tmp_path])
    (tmp_path / "x.json").unlink()
    with pytest.raises(InvalidInputError, match="no records were found"):
        read_records([tmp_path])
