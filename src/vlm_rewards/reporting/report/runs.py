"""What a report is about: runs, baselines, and other records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["complete", "not evaluated", "interrupted", "unfinished", "not started"]
"""``interrupted`` ended by Ctrl-C; ``unfinished`` has no record: it was killed, or is still going."""

STUDIES = ("judge", "landscape", "scaling", "sweep")
"""Kinds of records that are shown by the frames beside them."""
KINDS = ("baselines", *STUDIES)
"""Kinds of records that a report shows, besides those of runs, which have none."""


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
    """A record that frames tell more of than a table."""

    name: str
    """Such as the file's name."""
    kind: str
    """One of `STUDIES`."""
    record: dict[str, Any]
    """What the command wrote."""
    pictures: tuple[Path, ...]
    """The PNG files beside the record."""


@dataclass(frozen=True)
class Gathered:
    """All that a report is about."""

    runs: tuple[Run, ...]
    """By task, seed and name."""
    baselines: tuple[dict[str, Any], ...]
    """Records of ``vlm-rewards baselines``, by task."""
    studies: tuple[Study, ...]
    """The other records."""
    left_out: tuple[str, ...]
    """Records in folders that a report does not show, and why."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task that a run or a record of baselines is about, in order."""
        return tuple(sorted({*(run.task for run in self.runs), *(str(b["task"]) for b in self.baselines)}))
