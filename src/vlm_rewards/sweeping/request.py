"""What a sweep is asked to run: a grid, a list of runs, or both, typed or in a file."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm_rewards.errors import InvalidInputError, unknown_name

Value = str | float | int

SWEPT: dict[str, type[Any]] = {"goal": str, "baseline": str, "alpha": float, "encoder": str, "algo": str, "seed": int}
"""The settings that may differ from run to run, in the order of names and tables, and their kinds."""
RESERVED = (*SWEPT, "preset", "env-id", "run-dir", "resume", "overwrite")
"""Flags of ``train`` that are the sweep's to decide."""
_KINDS = {str: "a string", float: "a finite number", int: "an int"}


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as it was asked for. Values of other kinds, as a file may hold them, are refused in words."""

    task: Any = None
    """Name of a task, ``FILE.py`` or ``FILE.py:TASK``."""
    env_id: Any = None
    """Gymnasium's id of an environment, in place of a task."""
    preset: Any = None
    """Name of a preset."""
    out: Any = None
    """The sweep's folder."""
    grid: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values of the settings that are crossed, a list for each."""
    runs: Sequence[Any] = ()
    """Settings of single runs, each of which is crossed with the grid."""
    train: Sequence[Any] = ()
    """Arguments that every run of ``train`` is given, strings."""

    def __post_init__(self) -> None:
        for name in ("task", "env_id", "preset", "out"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise InvalidInputError(f"{name} must be a string that is not empty, got {value!r}.")
        object.__setattr__(self, "grid", {key: _values(key, values) for key, values in self.grid.items()})
        object.__setattr__(self, "runs", tuple(_run(f"runs[{n}]", run) for n, run in enumerate(self.runs)))
        for number, run in enumerate(self.runs):
            for key in run:
                if key in self.grid:
                    raise InvalidInputError(f"{key} must be in the grid or in the runs, runs[{number}] has it too.")
        _check_train(self.train)

    def combinations(self) -> list[dict[str, Value]]:
        """The settings of every run: each of ``runs`` with each point of the grid, the grid's last setting fastest.

        Raises:
            InvalidInputError: Neither was given.
        """
        if not self.grid and not self.runs:
            raise InvalidInputError(f"a sweep needs values of at least one of {', '.join(SWEPT)}; none was given.")
        names = [name for name in SWEPT if name in self.grid]
        points = [dict(zip(names, point, strict=True)) for point in itertools.product(*(self.grid[n] for n in names))]
        mixed = [{**run, **point} for run in self.runs or ({},) for point in points]
        return [{name: run[name] for name in SWEPT if name in run} for run in mixed]

    def joined(self, other: SweepRequest) -> SweepRequest:
        """Put together what a file says and what was typed.

        Raises:
            InvalidInputError: Both say the same thing.
        """
        together: dict[str, Any] = {"grid": {**self.grid, **other.grid}}
        for key in sorted(set(self.grid) & set(other.grid)):
            raise InvalidInputError(f"{key} must be given once: it is in the file and on the command line.")
        for name in ("task", "env_id", "preset", "out", "runs", "train"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours and theirs:
                raise InvalidInputError(f"{name} must be given once: it is in the file and on the command line.")
            together[name] = ours or theirs
        return SweepRequest(**together)


def read_sweep_file(path: Path) -> SweepRequest:
    """Read a sweep from a file.

    Args:
        path: JSON, an object with fields of `SweepRequest`; or CSV, one run a row, its columns among `SWEPT`. An empty
            cell leaves a setting to the preset.

    Raises:
        InvalidInputError: It cannot be read, or says something else.
    """
    if path.suffix not in (".json", ".csv"):
        raise InvalidInputError(f"file must end in .json or .csv, got {str(path)!r}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return SweepRequest(runs=_rows(text))
        said = json.loads(text)
    except OSError as error:
        raise InvalidInputError(f"file {str(path)!r} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error) as error:
        if isinstance(error, InvalidInputError):
            raise InvalidInputError(f"{str(path)!r}: {error}") from None
        raise InvalidInputError(f"file {str(path)!r} must hold JSON: {error}.") from None
    if not isinstance(said, dict):
        raise InvalidInputError(f"file {str(path)!r} must hold an object, got {type(said).__name__}.")
    for name, kind, what in (("grid", dict, "an object"), ("runs", list, "a list"), ("train", list, "a list")):
        if not isinstance(said.get(name, kind()), kind):
            raise InvalidInputError(f"{str(path)!r}: {name} must be {what}, got {said[name]!r}.")
    fields = [known.name for known in dataclasses.fields(SweepRequest)]
    for key in said:
        if key not in fields:
            raise unknown_name(f"field of {path.name}:", key, fields)
    return SweepRequest(**said)


def _rows(text: str) -> list[dict[str, Value]]:
    reader = csv.DictReader(text.splitlines())
    runs: list[dict[str, Value]] = []
    for row in reader:
        if None in row or None in row.values():
            raise InvalidInputError(f"line {reader.line_num} must have {len(reader.fieldnames or [])} cells.")
        runs.append({key: _cell(key, cell) for key, cell in row.items() if cell.strip()})
    if not runs:
        raise InvalidInputError("there must be at least one run, got none.")
    return runs


def _cell(key: str, cell: str) -> Value:
    try:
        return SWEPT.get(key, str)(cell)
    except ValueError:
        return cell  # refused with its field's name, as any other value


def _run(field_name: str, run: object) -> dict[str, Value]:
    if not isinstance(run, Mapping) or not run:
        raise InvalidInputError(f"{field_name} must be an object with at least one setting, got {run!r}.")
    return {key: _value(f"{key} of {field_name}", key, value) for key, value in run.items()}


def _values(key: str, values: object) -> tuple[Value, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) == 0:
        raise InvalidInputError(f"{key} must be a list of at least one value, got {values!r}.")
    checked = tuple(_value(key, key, value) for value in values)
    for number, value in enumerate(checked):
        if value in checked[:number]:
            raise InvalidInputError(f"{key} must have each value once, got {value!r} twice.")
    return checked


def _value(field_name: str, key: str, value: object) -> Value:
    if key not in SWEPT:
        raise unknown_name("setting", key, SWEPT)
    kind = SWEPT[key]
    if isinstance(value, str) and kind is str:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and kind is not str:
        return kind(value)
    if isinstance(value, float) and kind is float and math.isfinite(value):
        return value
    raise InvalidInputError(f"{field_name} must be {_KINDS[kind]}, got {value!r}.")


def _check_train(arguments: Sequence[Any]) -> None:
    for argument in arguments:
        if not isinstance(argument, str):
            raise InvalidInputError(f"train must be a list of strings, got {argument!r} in it.")
        name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("_", "-")
        if argument.startswith("--") and name in RESERVED:
            where = "the sweep chooses it" if name in ("run-dir", "resume", "overwrite") else "give it before --"
            raise InvalidInputError(f"--{name} cannot be among the arguments of train: {where}.")
