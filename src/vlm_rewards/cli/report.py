"""``vlm-rewards report RUNS``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlm_rewards.cli.common import command_line
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import write_atomically
from vlm_rewards.reporting.report import markdown, page
from vlm_rewards.reporting.report.blocks import Document
from vlm_rewards.reporting.report.contents import document, tables
from vlm_rewards.reporting.report.gathering import gather
from vlm_rewards.reporting.report.runs import Gathered

_DEFAULT_OUT = Path("report.html")
_MB = 1_000_000
_NAMED_TASKS = 3


@dataclass(frozen=True)
class _Arguments:
    """Turn runs into one page: tables, figures, videos, settings, commands, baselines.

    The page is one HTML file that needs no network. Nothing is left out, failed and unfinished runs neither.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS...")]
    """Run folders, folders of them, sweeps, records."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = None
    """The page; report.html, unless only Markdown is asked for."""
    markdown: Annotated[Path | None, tyro.conf.arg(metavar="FILE.md")] = None
    """The same as Markdown, frames in a folder beside it. Where the file has the lines `<!-- results:begin -->` and
    `<!-- results:end -->`, only the tables, between them."""
    title: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """Heading of the page."""
    max_mb: Annotated[float, tyro.conf.arg(metavar="MB")] = 15.0
    """What the page may have; images and videos that do not fit are left out by name."""


def main(arguments: list[str]) -> int:
    """Write the report."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards report", args=arguments)
    if not (math.isfinite(chosen.max_mb) and chosen.max_mb > 0):
        raise InvalidInputError(f"max_mb must be a positive number, got {chosen.max_mb!r}.")
    if chosen.title is not None and not chosen.title.strip():
        raise InvalidInputError(f"title must be a text that is not empty, got {chosen.title!r}.")
    out = chosen.out or (_DEFAULT_OUT if chosen.markdown is None else None)
    if out is not None and chosen.markdown is not None and out.resolve() == chosen.markdown.resolve():
        raise InvalidInputError(f"out and markdown must be two files, both are {str(out)!r}.")
    try:
        _write(chosen, out, command_line("report", arguments))
    except OSError as error:
        raise InvalidInputError(f"a file of the report cannot be read or written: {error}.") from error
    return 0


def _write(chosen: _Arguments, out: Path | None, command: str) -> None:
    if out is not None:
        _earlier("out", out, page.GENERATOR)
    into = ""
    if chosen.markdown is not None:
        into = _earlier("markdown", chosen.markdown, markdown.GENERATOR, markdown.BEGIN, markdown.END)
    between = markdown.has_markers(into)
    gathered = gather(chosen.paths)
    if chosen.markdown is not None and between:
        _save(chosen.markdown, markdown.placed(into, tables(gathered)).encode("utf-8", "replace"))
        if out is None:
            return
    whole = document(gathered, chosen.title or _title(gathered), command)
    if chosen.markdown is not None and not between:
        _write_markdown(chosen.markdown, whole)
    if out is not None:
        _write_page(out, whole, chosen.max_mb)


def _earlier(field: str, path: Path, *marks: str) -> str:
    """What a file holds that is to be written over; nothing of somebody else's is."""
    if not path.parent.is_dir():
        raise InvalidInputError(f"{field} must lie in a folder that exists, got {str(path)!r}.")
    if not path.exists():
        return ""
    if not path.is_file():
        raise InvalidInputError(f"{field} must be a file, got {str(path)!r}, which is none.")
    text = path.read_text(encoding="utf-8", errors="replace")
    if not any(mark in text for mark in marks):
        choices = "a new file, or an earlier report"
        choices += f", or have the lines {markdown.BEGIN} and {markdown.END}" if field == "markdown" else ""
        raise InvalidInputError(f"{field} must be {choices}; {str(path)!r} is something else, and is left alone.")
    return text


def _title(gathered: Gathered) -> str:
    count, tasks = len(gathered.runs), gathered.tasks
    if not tasks:
        return "Records of vlm-rewards"
    named = ", ".join(tasks[:_NAMED_TASKS]) + (f" and {len(tasks) - _NAMED_TASKS} more" * (len(tasks) > _NAMED_TASKS))
    return f"{count} run{'' if count == 1 else 's'} of {named}"


def _write_markdown(path: Path, whole: Document) -> None:
    folder = path.with_name(f"{path.stem}-files")
    media = whole.media()
    if media:
        folder.mkdir(exist_ok=True)
    for one in media:
        write_atomically(folder / one.name, one.content)
    _save(path, markdown.markdown(whole, folder.name).encode("utf-8", "replace"))


def _write_page(path: Path, whole: Document, max_mb: float) -> None:
    content, fitted = page.page(whole, max_mb)
    _save(path, content)
    for one in fitted.left_out:
        print(f"left out, as the page is to have at most {max_mb:g} MB: {one.caption}")
    if fitted.smaller:
        print(f"{len(fitted.smaller)} videos are coarser than those recorded, as the page is to be small")
    if len(content) > max_mb * _MB:
        print(f"the text alone has more than {max_mb:g} MB; it is never cut")


def _save(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    print(f"{path}: {len(content) / _MB:.2f} MB")
