"""``vlm-rewards report RUNS``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlm_rewards.cli.common import command_line
from vlm_rewards.reporting.page import report


@dataclass(frozen=True)
class _Arguments:
    """Turn runs into one page: tables, figures, videos, settings, commands, reference policies.

    The page is one HTML file that needs no network. Nothing is left out, failed and unfinished runs neither.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS...")]
    """Run folders, folders of them, sweeps, records."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = None
    """The page; report.html, unless only Markdown or figures are asked for."""
    markdown: Annotated[Path | None, tyro.conf.arg(metavar="FILE.md")] = None
    """The same as Markdown, figures in a folder beside it. Where the file has the lines `<!-- results:begin -->` and
    `<!-- results:end -->`, only the tables, between them."""
    figures: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the figures of records of judge and sweep; each begins with the name of its record."""
    title: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Heading of the page."""
    max_mb: Annotated[float, tyro.conf.arg(metavar="MB")] = 15.0
    """What the page may have; images and videos that do not fit are left out by name."""


def main(arguments: list[str]) -> int:
    """Write the report."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards report", args=arguments)
    written = report(
        chosen.paths,
        chosen.out,
        markdown=chosen.markdown,
        figures=chosen.figures,
        title=chosen.title,
        max_mb=chosen.max_mb,
        command=command_line("report", arguments),
    )
    for line in written.notes:
        print(line)
    for path in written.files:
        if path not in (chosen.out, chosen.markdown) and path.suffix == ".png":
            print(path)
    return 0
