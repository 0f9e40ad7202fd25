"""Finds the runs and records that a report is about, and reads them. What is broken off is found too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_columns, read_json
from vlm_rewards.training.run_folder import RunFolder

State = Literal["complete", "not evaluated", "interrupted", "unfinished", "not started"]
"""``interrupted`` ended by Ctrl-C; ``unfinished`` has no record: it was killed, or is still going."""

STUDIES = ("judge", "landscape", "scaling", "sweep")
"""Kinds of records that are shown by the figures beside them."""
KINDS = ("baselines", *STUDIES)
"""Kinds of records that a report shows, besides those of runs, which have none."""

# What a record, and an evaluation in it, must have.
_ABOUT: dict[str, type[Any]] = {"task": str, "seed": int, "encoder": dict}
_OF_BASELINES = {**_ABOUT, "policies": dict}
_OF_A_RUN = {**_ABOUT, "config": dict, "steps": int, "seconds": dict}
_RETURNS = ("vlm_return", "vlm_return_std", "true_return", "true_return_std")
_OF_AN_EVALUATION = {"episodes": int, **dict.fromkeys(_RETURNS, Real)}

_PLAN = "sweep-plan"
_SHOWN_REASONS = 3
_DEPTH = 3  # folders below the one named: a folder of sweeps has its runs at two


@dataclass(frozen=True)
class Run:
    """A run, complete or not."""

    name: str
    """Such as the folder's name; no two of a report are the same."""
    state: State
    """How far it has come."""
    record: dict[str, Any]
    """Its ``record.json``; where there is none, what its settings and its log say."""
    folder: Path | None = None
    """Its folder; None where the record came alone."""
    metrics: Path | None = None
    """CSV of the training over time."""
    snapshots: Path | None = None
    """CSV of the policies saved along the way."""
    last_words: str | None = None
    """Of a run of a sweep that failed."""

    @property
    def task(self) -> str:
        """Name of its task."""
        return str(self.record["task"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record["seed"])

    @property
    def config(self) -> dict[str, Any]:
        """Its settings."""
        return self.record["config"]

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What its final evaluation said."""
        return self.record.get("evaluation")

    def file(self, relative: object) -> Path | None:
        """A file of its folder that the record names; None where there is none, or where it lies elsewhere."""
        if self.folder is None or not isinstance(relative, str) or not relative:
            return None
        path = (self.folder / relative).resolve()
        return path if path.is_relative_to(self.folder.resolve()) and path.is_file() else None


@dataclass(frozen=True)
class Study:
    """A record that figures tell more of than a table."""

    name: str
    """Such as the file's name."""
    kind: str
    """One of `STUDIES`."""
    record: dict[str, Any]
    """What the command wrote."""
    path: Path
    """The record's file."""
    figures: tuple[Path, ...]
    """The PNG files beside the record."""


@dataclass(frozen=True)
class Gathered:
    """All that a report is about."""

    runs: tuple[Run, ...]
    """By task, seed and name."""
    baselines: tuple[dict[str, Any], ...]
    """Records of reference policies, by task."""
    studies: tuple[Study, ...]
    """The other records."""
    left_out: tuple[str, ...]
    """Records in folders that a report does not show, and why."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task that a run or a record of baselines is about, in order."""
        return tuple(sorted({*(run.task for run in self.runs), *(str(b["task"]) for b in self.baselines)}))


def gather(paths: Iterable[Path]) -> Gathered:
    """Find run folders and records in files and folders, each once.

    Raises:
        InvalidInputError: A path does not exist or holds nothing, nothing was named, or a file is of an unknown kind.
        CheckpointError: A file is no record.
    """
    found = _Found()
    for path in paths:
        before = found.count
        if path.is_file():
            found.add_file(path, named=True)
        elif path.is_dir():
            found.add_folder(path)
        else:
            raise InvalidInputError(f"runs must be files or folders that exist, got {str(path)!r}.")
        if found.count == before:
            raise InvalidInputError(
                f"runs must be run folders, folders of them, or records: {str(path)!r} holds none that is shown."
                + "".join(f" {reason}" for reason in found.left_out[:_SHOWN_REASONS])
            )
    if not found.count:
        raise InvalidInputError("no runs were named; name run folders, folders of them, or records.")
    return found.gathered()


class _Found:
    """Collects what the paths hold, each file once."""

    def __init__(self) -> None:
        self.count = 0  # files and folders that a report can show, those met again counted again
        self.left_out: list[str] = []  # what cannot be shown, and why
        self._seen: set[Path] = set()
        self._runs: list[tuple[Path, Run]] = []
        self._baselines: list[dict[str, Any]] = []
        self._studies: list[tuple[Path, dict[str, Any]]] = []

    def add_file(self, path: Path, *, named: bool) -> None:
        """Take in a record; one that cannot be shown is an error if the user named it."""
        try:
            record = read_json(path)
            kind = record.get("kind")
            if kind not in (None, "run", _PLAN, *KINDS):
                raise InvalidInputError(
                    f"{str(path)!r} is a record of kind {kind!r}, which a report does not show. "
                    f"Choices: runs, {', '.join(KINDS)}."
                )
            if path.resolve() not in self._seen:
                self._add(path, kind, record)
        except (CheckpointError, InvalidInputError) as error:
            if named:
                raise
            self.left_out.append(str(error))
        else:
            self._is_new(path)

    def add_folder(self, folder: Path) -> None:
        """Take in a run's folder, or all that a folder holds; further below, only files that say what they are."""
        for inner in _folders(folder, _DEPTH):
            run = RunFolder(inner)
            if not _is_run_folder(inner):
                for path in sorted(inner.glob("*.json")):
                    if inner == folder or _kind_of(path) in (_PLAN, *KINDS):
                        self.add_file(path, named=False)
            elif run.record.is_file():
                self.add_file(run.record, named=True)
            elif self._is_new(run.config):
                self._runs.append((inner, _unfinished_run(run)))

    def gathered(self) -> Gathered:
        """Everything, named and in order."""
        names = _short_names([path for path, _ in self._runs])
        runs = [replace(run, name=name) for name, (_, run) in zip(names, self._runs, strict=True)]
        kept, copies = _once(runs)
        study_names = _short_names([path for path, _ in self._studies])
        folders = [path.parent for path, _ in self._studies]
        studies = [
            Study(name, record["kind"], record, path, _figures_beside(path, alone=folders.count(path.parent) == 1))
            for name, (path, record) in zip(study_names, self._studies, strict=True)
        ]
        baselines = sorted(self._baselines, key=lambda record: (str(record["task"]), record["seed"]))
        left_out = tuple(dict.fromkeys([*self.left_out, *copies]))
        return Gathered(tuple(kept), tuple(baselines), tuple(studies), left_out)

    def _is_new(self, path: Path) -> bool:
        before = len(self._seen)
        self.count += 1
        self._seen.add(path.resolve())
        return len(self._seen) > before

    def _add(self, path: Path, kind: str | None, record: dict[str, Any]) -> None:
        if kind == "baselines":
            _check_record(path, record, _OF_BASELINES)
            for summary in record["policies"].values():
                _check_record(path, summary, _OF_AN_EVALUATION)
            if record not in self._baselines:
                self._baselines.append(record)
        elif kind in STUDIES:
            if all(record != other for _, other in self._studies):
                self._studies.append((path, record))
        elif kind == _PLAN:
            self._add_planned(path.parent, record)
        else:
            _check_record(path, record, _OF_A_RUN)
            if record.get("evaluation") is not None:
                _check_record(path, record["evaluation"], _OF_AN_EVALUATION)
            folder = path.parent if path.name == "record.json" and _is_run_folder(path.parent) else None
            self._runs.append((folder or path.with_suffix(""), _recorded_run(path, record, folder)))

    def _add_planned(self, folder: Path, plan: dict[str, Any]) -> None:
        """Runs of a sweep that have left nothing yet."""
        for planned in plan.get("runs") or ():
            _check_record(folder / "plan.json", planned, {"name": str, "config": dict})
            _check_record(folder / "plan.json", planned["config"], {"task": str, "algorithm": dict})
            inner = folder / planned["name"]
            if not _is_run_folder(inner) and self._is_new(inner / "config.json"):
                record = {**_planned_record(planned["config"]), "command": plan.get("command")}
                self._runs.append((inner, Run("", "not started", record, last_words=_last_words(inner))))


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """A folder and those inside it, none of them inside a run's."""
    yield folder
    if depth and not _is_run_folder(folder):
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not inner.name.startswith("."):
                yield from _folders(inner, depth - 1)


def _once(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Drop copies of a run, of which a folder is better than a record, and sort; also what was dropped."""
    kept: list[Run] = []
    copies: list[str] = []
    # Two records are never the same by chance: they hold the time of their start.
    for run in sorted(runs, key=lambda run: run.folder is None):
        recorded = run.state not in ("unfinished", "not started")
        same = next((other for other in kept if recorded and _said(other) == _said(run)), None)
        if same is None:
            kept.append(run)
        else:
            copies.append(f"{run.name} (a copy of {same.name})")
    return sorted(kept, key=lambda run: (run.task, run.seed, run.name)), copies


def _said(run: Run) -> dict[str, Any]:
    """A record without the place of its video, which comes last and may lie elsewhere."""
    return {**run.record, "evaluation": {**(run.evaluation or {}), "video": None}}


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many of the last parts as it takes to tell them apart."""
    parts = [path.absolute().parts for path in paths]
    names = [path[-1] for path in parts]
    length = 1
    while len(set(names)) < len(names) and length < max(map(len, parts)):
        length += 1
        names = [
            "/".join(path[-length:]) if names.count(name) > 1 else name for path, name in zip(parts, names, strict=True)
        ]
    return names


def _figures_beside(record: Path, *, alone: bool) -> tuple[Path, ...]:
    """PNG files beside a record; where several records share a folder, those named after it, if there are any."""
    beside = sorted(record.parent.glob("*.png"))
    own = [path for path in beside if path.name.startswith(record.stem)]
    return tuple(beside if alone or not own else own)


def _is_run_folder(folder: Path) -> bool:
    """Whether a folder holds the settings of a run; other tools write a ``config.json`` too."""
    try:
        config = read_json(folder / "config.json")
    except CheckpointError:
        return False
    return "task" in config and "algorithm" in config


def _kind_of(path: Path) -> object:
    """What a JSON file says that it is; None where it says nothing, or cannot be read."""
    try:
        return read_json(path).get("kind")
    except CheckpointError:
        return None


def _check_record(path: Path, record: Any, needed: Mapping[str, type[Any]]) -> None:
    """Refuse a record, or a part of it, that lacks what a report needs."""
    if not isinstance(record, dict):
        raise CheckpointError(f"{str(path)!r} is no record: it has {record!r} where an object is due.")
    missing = [key for key in needed if key not in record]
    if missing:
        raise CheckpointError(f"{str(path)!r} is no record: it has no {', '.join(missing)}.")
    for key, kind in needed.items():
        if isinstance(record[key], bool) or not isinstance(record[key], kind):
            raise CheckpointError(f"{str(path)!r} is no record: its {key} is {record[key]!r}.")


def _recorded_run(path: Path, record: dict[str, Any], folder: Path | None) -> Run:
    """A run that has a record; it has no name as yet."""
    state: State = "interrupted" if record.get("interrupted") else "not evaluated"
    state = state if record.get("evaluation") is None else "complete"
    if folder is not None:
        run = RunFolder(folder)
        return Run("", state, record, folder, run.metrics, run.snapshots, _last_words(folder))
    metrics, snapshots = (path.with_name(f"{path.stem}.{what}.csv") for what in ("metrics", "snapshots"))
    return Run("", state, record, None, metrics, snapshots)


def _unfinished_run(run: RunFolder) -> Run:
    """A run that has no record: it was killed, or is still going."""
    steps = read_columns(run.metrics).get("step", np.array([]))
    steps = steps[np.isfinite(steps)]
    record = _planned_record(read_json(run.config))
    record["steps"] = int(steps[-1]) if steps.size else 0
    return Run("", "unfinished", record, run.path, run.metrics, run.snapshots, _last_words(run.path))


def _planned_record(config: dict[str, Any]) -> dict[str, Any]:
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


def _last_words(folder: Path) -> str | None:
    """Why a run of a sweep failed, as ``vlm-rewards sweep`` noted it."""
    try:
        return str(read_json(folder.parent / "logs" / f"{folder.name}.failed.json")["last_words"])
    except (CheckpointError, KeyError):
        return None
