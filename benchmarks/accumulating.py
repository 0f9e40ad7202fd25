"""Records that grow by a row at a time, so that nothing is measured twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlm_rewards.files import read_json, write_json


def rows_of(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows that a record has; ends the program if it was made with other settings."""
    if not path.exists():
        return {}
    record = read_json(path)
    if {key: record.get(key) for key in settings} != settings:
        raise SystemExit(f"{path} was made with other settings than {settings}")
    return record["rows"]


def keep_row(path: Path, settings: dict[str, Any], name: str, row: dict[str, Any], made: dict[str, Any]) -> None:
    """Put a row into a record, beside those that it has.

    Args:
        path: The record; it may be new.
        settings: What all its rows share.
        name: What the row is called; an earlier one of this name goes.
        row: What was measured.
        made: Where and with what, as of the program's start: a record that is in the repository changes it.
    """
    rows = rows_of(path, settings) | {name: row | {"provenance": made}}
    write_json(path, {**settings, "rows": dict(sorted(rows.items()))})
