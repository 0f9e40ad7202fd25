"""``vlm-rewards figures RECORDS``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlm_rewards.cli.judge import check_out
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.judgements import draw_figures, read_record


@dataclass(frozen=True)
class _Arguments:
    """Draw the figures of records again: what judge, scaling, landscape and sweep have written.

    Frames of states are not in records, and so are missing.
    """

    records: tyro.conf.Positional[tuple[Path, ...]]
    """Record files, or the folders that the commands wrote."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("figures")
    """Folder for the frames; each begins with the name of its record."""


def main(arguments: list[str]) -> int:
    """Draw the figures of every record."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards figures", args=arguments)
    check_out(chosen.out)
    if not chosen.records:
        raise InvalidInputError("records must name at least one file or folder, got none.")
    stems = [path.stem if path.is_file() else path.name for path in chosen.records]
    if len(set(stems)) < len(stems):  # each folder's record has the same name
        stems = [path.absolute().parent.name if path.is_file() else path.name for path in chosen.records]
    if len(set(stems)) < len(stems):
        raise InvalidInputError(f"records must have names of their own, got {', '.join(stems)}.")
    records = [read_record(path) for path in chosen.records]  # all, before the first frame is written
    for stem, record in zip(stems, records, strict=True):
        for path in draw_figures(record, chosen.out, stem):
            print(path)
    return 0
