"""The runs of a sweep: a grid, a list, or both, and the folder that stays with them."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm_rewards.encoders.loading import check_encoder_name
from vlm_rewards.errors import CheckpointError, InvalidInputError, unknown_name
from vlm_rewards.files import read_json, write_json
from vlm_rewards.provenance import provenance
from vlm_rewards.training.config import TrainConfig

Value = str | float | int

SWEPT: dict[str, type[Any]] = {
    "goal": str,
    "baseline": str,
    "alpha": float,
    "form": str,
    "encoder": str,
    "algo": str,
    "seed": int,
}
"""The settings that may differ from run to run, in the order of names and tables, and their kinds."""
RESERVED = (*SWEPT, "preset", "env-id", "run-dir", "resume", "overwrite")
"""Flags of ``train`` that are the sweep's to decide."""
_KINDS = {str: "a string", float: "a finite number", int: "an int"}


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as it was asked for, typed or in a file, whose values may be of any kind: those of others are refused."""

    task: Any = None
    """Name of a task, ``FILE.py`` or ``FILE.py:TASK``."""
    env_id: Any = None
    """Gymnasium's id of an environment, in place of a task."""
    preset: Any = None
    """Name of a preset."""
    out: Any = None
    """The sweep's folder."""
    grid: Any = field(default_factory=dict[str, Any])
    """Values of the settings that are crossed, a list for each."""
    runs: Any = ()
    """Settings of single runs, each of which is crossed with the grid."""
    train: Any = ()
    """Arguments that every run of ``train`` is given, strings."""

    def __post_init__(self) -> None:
        for name in ("task", "env_id", "preset", "out"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise InvalidInputError(f"{name} must be a string that is not empty, got {value!r}.")
        for name, kind, what in (("grid", Mapping, "an object"), ("runs", list, "a list"), ("train", list, "a list")):
            value = getattr(self, name)
            if not isinstance(list(value) if isinstance(value, tuple) else value, kind):
                raise InvalidInputError(f"{name} must be {what}, got {value!r}.")
        object.__setattr__(self, "grid", {key: _values(key, values) for key, values in self.grid.items()})
        object.__setattr__(self, "runs", tuple(_run(f"runs[{n}]", run) for n, run in enumerate(self.runs)))
        for number, run in enumerate(self.runs):
            for key in run:
                if key in self.grid:
                    raise InvalidInputError(f"{key} must be in the grid or in the runs, runs[{number}] has it too.")
        _check_train(self.train)

    def combinations(self) -> list[dict[str, Value]]:
        """The settings of every run: each of ``runs`` with each point of the grid, the grid's last setting fastest."""
        if not self.grid and not self.runs:
            raise InvalidInputError(f"a sweep needs values of at least one of {', '.join(SWEPT)}; none was given.")
        names = [name for name in SWEPT if name in self.grid]
        points = [dict(zip(names, point, strict=True)) for point in itertools.product(*(self.grid[n] for n in names))]
        mixed = [{**run, **point} for run in self.runs or ({},) for point in points]
        return [{name: run[name] for name in SWEPT if name in run} for run in mixed]

    def arguments(self, settings: Mapping[str, Value]) -> list[str]:
        """Arguments of ``train`` for a run with some settings, all but the folder."""
        if (self.task is None) == (self.env_id is None):
            raise InvalidInputError(f"give a task or --env-id, one of them: got {self.task!r} and {self.env_id!r}.")
        about = [self.task if self.env_id is None else f"--env-id={self.env_id}"]
        about += [] if self.preset is None else [f"--preset={self.preset}"]
        return [*about, *(f"--{key}={value}" for key, value in settings.items()), *self.train]

    def joined(self, other: SweepRequest) -> SweepRequest:
        """Put together what a file says and what was typed; they may not say the same thing."""
        ours, theirs = ({**vars(one), **one.grid} for one in (self, other))
        del ours["grid"], theirs["grid"]
        for name in ours:
            if ours[name] and theirs.get(name):
                raise InvalidInputError(f"{name} must be given once: it is in the file and on the command line.")
        plain = {name: ours[name] or theirs[name] for name in _FIELDS if name != "grid"}
        return SweepRequest(grid={**self.grid, **other.grid}, **plain)


_FIELDS = [known.name for known in dataclasses.fields(SweepRequest)]


def read_sweep_file(path: Path) -> SweepRequest:
    """Read a sweep from JSON, an object with fields of `SweepRequest`; or from CSV, one run a row, columns as `SWEPT`.

    An empty cell leaves a setting to the preset.

    Raises:
        InvalidInputError: It cannot be read, or says something else.
    """
    if path.suffix not in (".json", ".csv"):
        raise InvalidInputError(f"file must end in .json or .csv, got {str(path)!r}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        said: Any = {"runs": _rows(text)} if path.suffix == ".csv" else json.loads(text)
        if not isinstance(said, dict):
            raise InvalidInputError(f"the file must hold an object, got {type(said).__name__}.")
        for key in said:
            if key not in _FIELDS:
                raise unknown_name(f"field of {path.name}:", key, _FIELDS)
        return SweepRequest(**said)
    except OSError as error:
        raise InvalidInputError(f"file {str(path)!r} cannot be read: {error.strerror or error}.") from None
    except InvalidInputError as error:
        raise InvalidInputError(f"{str(path)!r}: {error}") from None
    except (ValueError, csv.Error) as error:
        raise InvalidInputError(f"file {str(path)!r} must hold {path.suffix[1:].upper()}: {error}.") from None


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


def _value(field_name: str, key: str, value: Any) -> Value:
    if key not in SWEPT:
        raise unknown_name("setting", key, SWEPT)
    kind = SWEPT[key]
    taken = {str: str, float: (int, float), int: int}[kind]
    if isinstance(value, taken) and not isinstance(value, bool) and (kind is not float or math.isfinite(value)):
        return kind(value)
    raise InvalidInputError(f"{field_name} must be {_KINDS[kind]}, got {value!r}.")


def _check_train(arguments: Sequence[Any]) -> None:
    for argument in arguments:
        if not isinstance(argument, str):
            raise InvalidInputError(f"train must be a list of strings, got {argument!r} in it.")
        name = argument.partition("=")[0].removeprefix("--").removeprefix("no-").replace("_", "-")
        if argument.startswith("--") and name in RESERVED:
            where = "the sweep chooses it" if name in ("run-dir", "resume", "overwrite") else "give it before --"
            raise InvalidInputError(f"--{name} cannot be among the arguments of train: {where}.")


_PLAN = "plan.json"
_LONGEST_WORD = 24


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str
    """Of its folder, inside the sweep's."""
    arguments: tuple[str, ...]
    """Of ``train``, all but the folder; none for a run that is started from its folder."""
    config: TrainConfig
    """What they amount to."""


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep, each of which can be started."""

    out: Path
    """The sweep's folder."""
    runs: tuple[PlannedRun, ...]
    """In the order in which they are started."""

    def folder(self, run: PlannedRun) -> Path:
        """Where a run writes."""
        return self.out / run.name

    def log(self, run: PlannedRun) -> Path:
        """What a run prints."""
        return self.out / "logs" / f"{run.name}.log"

    def failure(self, run: PlannedRun) -> Path:
        """Why a run failed; there is no such file if it did not."""
        return self.out / "logs" / f"{run.name}.failed.json"


def make_plan(
    cells: Sequence[Mapping[str, Value]],
    out: Path,
    configure: Callable[[Mapping[str, Value]], tuple[TrainConfig, Sequence[str]]],
) -> SweepPlan:
    """Plan a sweep; nothing is written. Runs that its folder knows already keep their names.

    Every configuration is built: ``configure`` turns a cell of `SweepRequest.combinations` into all settings of a run
    and the arguments by which ``train`` is told of them, none where they come from no command line.

    Raises:
        InvalidInputError: A run is not possible, two are the same, or the folder holds another sweep or something else.
        WeightsNotFoundError: An encoder's file or folder does not exist.
    """
    known = _read_known(out)
    names = {_identity(run.config): run.name for run in known}
    taken = {run.name for run in known}
    planned: dict[str, PlannedRun] = {}
    for settings in cells:
        config, arguments = configure(settings)
        check_encoder_name(config.encoder)
        identity, usual = _identity(config), run_name(settings)
        if identity in planned:
            raise InvalidInputError(f"runs must differ, {planned[identity].name!r} and {usual!r} are the same.")
        name = names.get(identity) or (usual if usual not in taken else f"{usual},{_digest(identity)}")
        taken.add(name)
        planned[identity] = PlannedRun(name, tuple(arguments), config)
    plan = SweepPlan(out, tuple(planned.values()))
    _check_only_grown(known, plan)
    return plan


def read_plan(out: Path) -> SweepPlan:
    """Read the plan of a sweep that has been started; InvalidInputError where there is none."""
    known = _read_known(out)
    if not known:
        raise InvalidInputError(f"out must be a folder that `vlm-rewards sweep` wrote, got {str(out)!r}.")
    return SweepPlan(out, tuple(known))


def write_plan(plan: SweepPlan, command: str | None) -> None:
    """Write the plan into the sweep's folder, which exists; another sweep may have begun there since: refused."""
    _check_only_grown(_read_known(plan.out), plan)
    runs = [{"name": r.name, "arguments": list(r.arguments), "config": r.config.to_dict()} for r in plan.runs]
    write_json(plan.out / _PLAN, {"kind": "sweep-plan", "command": command, "runs": runs, **provenance()})


def run_name(settings: Mapping[str, Value]) -> str:
    """A readable name such as ``alpha-0.5,seed-0``; prompts and paths are cut short, with a digest behind them."""
    return ",".join(f"{key}-{_word(value)}" for key, value in settings.items())


def _word(value: Value) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    if re.fullmatch(rf"[\w.+-]{{1,{_LONGEST_WORD}}}", text, re.ASCII):
        return text
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(slug) > _LONGEST_WORD:
        slug = slug[: _LONGEST_WORD + 1].rpartition("-")[0] or slug[:_LONGEST_WORD]  # whole words, where there are any
    return f"{slug}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _identity(config: TrainConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True)


def _read_known(out: Path) -> list[PlannedRun]:
    """The runs that a folder was made for; none where it is new or empty."""
    file = out / _PLAN
    try:
        if not file.is_file():
            # Hidden files alone are what a sweep leaves that was killed as it began.
            if out.exists() and not (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir())):
                raise InvalidInputError(f"out {str(out)!r} is in use and holds no sweep; choose another folder.")
            return []
    except OSError as error:
        raise InvalidInputError(f"out {str(out)!r} cannot be read: {error.strerror or error}.") from None
    plan = read_json(file)
    try:
        return [
            PlannedRun(run["name"], tuple(run["arguments"]), TrainConfig.from_dict(run["config"]))
            for run in plan["runs"]
        ]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{str(file)!r} is no plan of a sweep: {error!r}.") from None


def _check_only_grown(known: Sequence[PlannedRun], plan: SweepPlan) -> None:
    kept = {run.name: run for run in plan.runs}
    for old in known:
        if old.name in kept:
            continue
        usual = [run for run in plan.runs if run.name.startswith(f"{old.name},")]
        reason = f": {_difference(old.config, usual[0].config)}" if usual else ""
        raise InvalidInputError(
            f"out {str(plan.out)!r} holds another sweep, and a plan may only grow. Run {old.name!r} is not in this "
            f"one{reason}. Choose another folder."
        )


def _difference(old: TrainConfig, new: TrainConfig) -> str:
    before, after = (_flat(config.to_dict()) for config in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} was {before.get(name)!r} and is now {after.get(name)!r}" for name in names)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat
