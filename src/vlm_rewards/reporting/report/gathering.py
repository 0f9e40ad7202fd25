"""Finds the runs and records that a report is about. What is broken off is found too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_json
from vlm_rewards.reporting.report.reading import (
    OF_A_RUN,
    OF_AN_EVALUATION,
    OF_BASELINES,
    check_record,
    is_run_folder,
    kind_of,
    last_words,
    planned_record,
    recorded_run,
    unfinished_run,
)
from vlm_rewards.reporting.report.runs import KINDS, STUDIES, Gathered, Run, Study
from vlm_rewards.training.run_folder import RunFolder

_PLAN = "sweep-plan"
_SHOWN_REASONS = 3
_DEPTH = 3  # folders below the one named: a folder of sweeps has its runs at two


def gather(paths: Iterable[Path]) -> Gathered:
    """Find runs and records.

    Args:
        paths: Run folders, folders of run folders or of records, a sweep's too, and record files.

    Returns:
        Everything found, once.

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
        self._seen: set[Path] = set()
        self._runs: list[tuple[Path, Run]] = []
        self._baselines: list[dict[str, Any]] = []
        self._studies: list[tuple[Path, dict[str, Any]]] = []
        self._left_out: list[str] = []
        self._count = 0

    @property
    def count(self) -> int:
        """How many files and folders a report can show, those met again counted again."""
        return self._count

    @property
    def left_out(self) -> list[str]:
        """What was found and cannot be shown, and why."""
        return self._left_out

    def add_file(self, path: Path, *, named: bool) -> None:
        """Take in a record.

        Args:
            path: The file.
            named: Whether the user named it, so that one that cannot be shown is an error.
        """
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
            self._left_out.append(str(error))
        else:
            self._is_new(path)

    def add_folder(self, folder: Path) -> None:
        """Take in a run's folder, or all that a folder holds."""
        if is_run_folder(folder):
            self._add_run_folder(folder)
            return
        for path in sorted(folder.glob("*.json")):
            self.add_file(path, named=False)
        for inner in _folders_below(folder, _DEPTH):
            if is_run_folder(inner):
                self._add_run_folder(inner)
            else:
                self._add_records_of_known_kind(inner)

    def gathered(self) -> Gathered:
        """Everything, named and in order."""
        names = _short_names([path for path, _ in self._runs])
        runs = [replace(run, name=name) for name, (_, run) in zip(names, self._runs, strict=True)]
        kept, copies = _once(runs)
        order = sorted(kept, key=lambda run: (run.task, run.seed, run.name))
        study_names = _short_names([path for path, _ in self._studies])
        folders = [path.parent for path, _ in self._studies]
        studies = [
            Study(name, record["kind"], record, _pictures(path, alone=folders.count(path.parent) == 1))
            for name, (path, record) in zip(study_names, self._studies, strict=True)
        ]
        baselines = sorted(self._baselines, key=lambda record: (str(record["task"]), record["seed"]))
        return Gathered(
            tuple(order), tuple(baselines), tuple(studies), tuple(dict.fromkeys([*self._left_out, *copies]))
        )

    def _is_new(self, path: Path) -> bool:
        resolved = path.resolve()
        self._count += 1
        if resolved in self._seen:
            return False
        self._seen.add(resolved)
        return True

    def _add(self, path: Path, kind: str | None, record: dict[str, Any]) -> None:
        if kind == "baselines":
            check_record(path, record, OF_BASELINES)
            for summary in record["policies"].values():
                check_record(path, summary, OF_AN_EVALUATION)
            if record not in self._baselines:
                self._baselines.append(record)
        elif kind in STUDIES:
            if all(record != other for _, other in self._studies):
                self._studies.append((path, record))
        elif kind == _PLAN:
            self._add_planned(path.parent, record)
        else:
            check_record(path, record, OF_A_RUN)
            if record.get("evaluation") is not None:
                check_record(path, record["evaluation"], OF_AN_EVALUATION)
            folder = path.parent if path.name == "record.json" and is_run_folder(path.parent) else None
            self._runs.append((folder or path.with_suffix(""), recorded_run(path, record, folder)))

    def _add_run_folder(self, folder: Path) -> None:
        run = RunFolder(folder)
        if run.record.is_file():
            self.add_file(run.record, named=True)
        elif self._is_new(run.config):
            self._runs.append((folder, unfinished_run(run)))

    def _add_planned(self, folder: Path, plan: dict[str, Any]) -> None:
        """Runs of a sweep that have left nothing yet."""
        for planned in plan.get("runs") or ():
            check_record(folder / "plan.json", planned, {"name": str, "config": dict})
            check_record(folder / "plan.json", planned["config"], {"task": str, "algorithm": dict})
            inner = folder / planned["name"]
            if not is_run_folder(inner) and self._is_new(inner / "config.json"):
                record = {**planned_record(planned["config"]), "command": plan.get("command")}
                self._runs.append((inner, Run("", "not started", record, last_words=last_words(inner))))

    def _add_records_of_known_kind(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            if kind_of(path) in (_PLAN, *KINDS):
                self.add_file(path, named=False)


def _folders_below(folder: Path, depth: int) -> Iterator[Path]:
    """Folders inside a folder, none of them inside a run's."""
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and not inner.name.startswith("."):
            yield inner
            if depth > 1 and not is_run_folder(inner):
                yield from _folders_below(inner, depth - 1)


def _once(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Drop copies of a run, folders first; also what was dropped.

    Two records are never the same by chance: they hold the time of their start.
    """
    kept: list[Run] = []
    copies: list[str] = []
    for run in sorted(runs, key=lambda run: run.folder is None):
        recorded = run.state not in ("unfinished", "not started")
        same = next((other for other in kept if recorded and _said(other) == _said(run)), None)
        if same is None:
            kept.append(run)
        else:
            copies.append(f"{run.name} (a copy of {same.name})")
    return kept, copies


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


def _pictures(record: Path, *, alone: bool) -> tuple[Path, ...]:
    """PNG files beside a record; where several records share a folder, those named after it, if there are any."""
    beside = sorted(record.parent.glob("*.png"))
    own = [path for path in beside if path.name.startswith(record.stem)]
    return tuple(beside if alone or not own else own)
