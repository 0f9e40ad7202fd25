"""Reads the files of a report, those of runs that were broken off too."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.errors import CheckpointError
from vlm_rewards.files import read_json
from vlm_rewards.reporting.report.runs import Run, State
from vlm_rewards.training.run_folder import RunFolder

_ABOUT: dict[str, type[Any]] = {"task": str, "seed": int, "encoder": dict}
OF_BASELINES = {**_ABOUT, "policies": dict}
"""What a record of baselines must have."""
OF_A_RUN = {**_ABOUT, "config": dict, "steps": int, "seconds": dict}
"""What a run's record must have."""
_RETURNS = ("vlm_return", "vlm_return_std", "true_return", "true_return_std")
OF_AN_EVALUATION = {"episodes": int, **dict.fromkeys(_RETURNS, Real)}
"""What an evaluation must have."""


def read_columns(path: Path | None) -> dict[str, NDArray[np.float64]]:
    """Read a CSV file of numbers, one array a column.

    Args:
        path: The file; None, or one that is not there, has no columns.

    Returns:
        The columns; an empty cell, or one cut off where a run was killed, is NaN.
    """
    if path is None or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return {name: np.array([_number(row[name]) for row in rows]) for name in reader.fieldnames or ()}


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def is_run_folder(folder: Path) -> bool:
    """Whether a folder holds the settings of a run; other tools write a ``config.json`` too."""
    try:
        config = read_json(folder / "config.json")
    except CheckpointError:
        return False
    return "task" in config and "algorithm" in config


def kind_of(path: Path) -> object:
    """What a JSON file says that it is; None where it says nothing, or cannot be read."""
    try:
        return read_json(path).get("kind")
    except CheckpointError:
        return None


def check_record(path: Path, record: Any, needed: Mapping[str, type[Any]]) -> None:
    """Check that a record, or a part of it, has what a report needs.

    Args:
        path: The file, for the message.
        record: The record or part.
        needed: Keys and the kinds of their values.

    Raises:
        CheckpointError: Something is missing, or is of another kind.
    """
    if not isinstance(record, dict):
        raise CheckpointError(f"{str(path)!r} is no record: it has {record!r} where an object is due.")
    missing = [key for key in needed if key not in record]
    if missing:
        raise CheckpointError(f"{str(path)!r} is no record: it has no {', '.join(missing)}.")
    for key, kind in needed.items():
        if isinstance(record[key], bool) or not isinstance(record[key], kind):
            raise CheckpointError(f"{str(path)!r} is no record: its {key} is {record[key]!r}.")


def recorded_run(path: Path, record: dict[str, Any], folder: Path | None) -> Run:
    """A run that has a record.

    Args:
        path: The record's file.
        record: What it says.
        folder: The run's folder; None where the record came alone.

    Returns:
        The run, without a name as yet.
    """
    state: State = "interrupted" if record.get("interrupted") else "not evaluated"
    if record.get("evaluation") is not None:
        state = "complete"
    if folder is not None:
        run = RunFolder(folder)
        return Run("", state, record, folder, run.metrics, run.snapshots, last_words(folder))
    metrics, snapshots = (path.with_name(f"{path.stem}.{what}.csv") for what in ("metrics", "snapshots"))
    return Run("", state, record, None, metrics, snapshots)


def unfinished_run(run: RunFolder) -> Run:
    """A run that has no record: it was killed, or is still going. It has no name as yet."""
    steps = read_columns(run.metrics).get("step", np.array([]))
    steps = steps[np.isfinite(steps)]
    record = planned_record(read_json(run.config))
    record["steps"] = int(steps[-1]) if steps.size else 0
    return Run("", "unfinished", record, run.path, run.metrics, run.snapshots, last_words(run.path))


def planned_record(config: dict[str, Any]) -> dict[str, Any]:
    """What settings alone say of a run."""
    said = {key: config.get(key) for key in ("task", "goal", "baseline", "alpha", "preset")}
    return {
        **said,
        "seed": config.get("seed", 0),
        "encoder": {"name": config.get("encoder")},
        "steps": 0,
        "planned_steps": config.get("steps"),
        "seconds": {},
        "config": config,
    }


def last_words(folder: Path) -> str | None:
    """Why a run of a sweep failed, as ``vlm-rewards sweep`` noted it."""
    note = folder.parent / "logs" / f"{folder.name}.failed.json"
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["last_words"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
