"""``vlm-rewards results RECORDS``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import write_atomically
from vlm_rewards.reporting.results import read_records, results_table

_BEGIN, _END = "<!-- results:begin -->", "<!-- results:end -->"


@dataclass(frozen=True)
class _Arguments:
    """Turn the records of runs and baselines into a Markdown table."""

    records: tyro.conf.Positional[tuple[Path, ...]]
    """Record files, run folders, or folders of records."""
    out: Path | None = None
    """File to write the table to: between its lines `<!-- results:begin -->` and `<!-- results:end -->` where it has
    them, else as the whole file. Default: print it."""


def main(arguments: list[str]) -> int:
    """Make the table."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards results", args=arguments)
    table = results_table(read_records(chosen.records))
    if chosen.out is None:
        print(table, end="")
    else:
        write_atomically(chosen.out, _placed(chosen.out, table).encode())
    return 0


def _placed(path: Path, table: str) -> str:
    if not path.is_file():
        return table
    text = path.read_text(encoding="utf-8")
    if _BEGIN not in text and _END not in text and text.startswith("| task |"):
        return table  # an earlier table
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise InvalidInputError(f"out must be a new file, a table, or have the lines {_BEGIN} and {_END}, each once.")
    before, rest = text.split(_BEGIN)
    return f"{before}{_BEGIN}\n{table}{_END}{rest.split(_END)[1]}"
