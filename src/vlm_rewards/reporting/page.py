"""A report of runs and records: one HTML file, Markdown, and figures."""

from __future__ import annotations

import base64
import math
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import imageio_ffmpeg

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import write_atomically
from vlm_rewards.reporting.contents import Media, contents, tables
from vlm_rewards.reporting.figures.records import draw_figures
from vlm_rewards.reporting.gathering import Gathered, Study, gather
from vlm_rewards.templates import render

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
"""Lines between which the tables of a page are written."""

_HTML_MARK = '<meta name="generator" content="vlm-rewards report">'
_MARKDOWN_MARK = "<!-- written by vlm-rewards report -->"
_TEMPLATES = "reporting/templates/"
_TYPES = {"png": "image/png", "mp4": "video/mp4"}
_MB = 1_000_000
_NAMED_TASKS = 3
_AROUND, _ROUNDING = 400, 64  # bytes of the element around a figure, and of the note where it is left out
_SIDE, _RATE, _QUALITY = 192, 15, 32  # pixels, frames a second, x264's crf: coarse, and one sees what is done
_PATIENCE_S = 120
_STEMS = ("judge", "scaling", "landscape", "summary", "record")  # names that every folder of a command has


@dataclass(frozen=True)
class Written:
    """What a report has written."""

    files: tuple[Path, ...]
    """The page, the Markdown and the figures that were asked for."""
    notes: tuple[str, ...]
    """What there is to say of them: the sizes of the pages, and what was left out of them."""


def report(
    paths: Iterable[str | Path],
    out: str | Path | None = None,
    *,
    markdown: str | Path | None = None,
    figures: str | Path | None = None,
    title: str | None = None,
    max_mb: float = 15.0,
    command: str = "vlm_rewards.report(...)",
) -> Written:
    """Turn runs into one page: tables, figures, videos, settings, commands, reference policies.

    Nothing is left out, failed and unfinished runs neither.

    Args:
        paths: Run folders, folders of them, sweeps, records.
        out: The page, one HTML file that needs no network; ``report.html`` if nothing else is asked for.
        markdown: The same as Markdown, figures and videos in a folder beside it. Where the file has the lines `BEGIN`
            and `END`, only the tables, between them.
        figures: Folder for the figures of records of judgements, landscapes and sweeps; each begins with the name of
            its record. Frames of states are not in records, and so are missing.
        title: Heading of the page; says what is in it if None.
        max_mb: What the page may have, in millions of bytes; images and videos that do not fit are left out by name.
            The text is never cut, whatever it has.
        command: What is said to have made the page.

    Returns:
        What was written.

    Raises:
        InvalidInputError: An argument breaks these rules, a path does not exist or holds nothing, or a file to be
            written is there and is not an earlier report.
        CheckpointError: A file is no record.
    """
    if not (math.isfinite(max_mb) and max_mb > 0):
        raise InvalidInputError(f"max_mb must be a positive number, got {max_mb!r}.")
    if title is not None and not title.strip():
        raise InvalidInputError(f"title must be a text that is not empty, got {title!r}.")
    page, text = (None if path is None else Path(path) for path in (out, markdown))
    page = Path("report.html") if page is None and text is None and figures is None else page
    if page is not None and text is not None and page.resolve() == text.resolve():
        raise InvalidInputError(f"out and markdown must be two files, both are {str(page)!r}.")
    folder = None if figures is None else Path(figures)
    try:
        return _write([Path(path) for path in paths], page, text, folder, title, max_mb, command)
    except OSError as error:
        raise InvalidInputError(f"a file of the report cannot be read or written: {error}.") from error


def _write(
    paths: Sequence[Path],
    page: Path | None,
    text: Path | None,
    figures: Path | None,
    title: str | None,
    max_mb: float,
    command: str,
) -> Written:
    """Everything that can be wrong is found before the first file is written."""
    if page is not None:
        _earlier("out", page, _HTML_MARK)
    into = "" if text is None else _earlier("markdown", text, _MARKDOWN_MARK, BEGIN, END)
    between = has_markers(into)
    if figures is not None and figures.exists() and not figures.is_dir():
        raise InvalidInputError(f"figures must be a folder, got the file {str(figures)!r}.")
    gathered = gather(paths)
    drawn = {} if figures is None else _stems(gathered.studies)
    notes: list[str] = []
    if text is not None and between:
        notes.append(_save(text, placed(into, gathered)))
    if page is not None or (text is not None and not between):
        told, media = contents(gathered)
        told |= {"title": title or _title(gathered), "command": command}
        if text is not None and not between:
            notes.append(_write_markdown(text, told, media))
        if page is not None:
            notes += _write_page(page, told, media, max_mb)
    files = [path for path in (text, page) if path is not None]
    for stem, study in drawn.items():
        files += draw_figures(study.record, figures or Path(), stem)
    return Written(tuple(files), tuple(notes))


def has_markers(text: str) -> bool:
    """Whether a page asks for tables between its lines, which must be there once each and in order."""
    if BEGIN not in text and END not in text:
        return False
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InvalidInputError(f"markdown must have the lines {BEGIN} and {END} each once, in this order.")
    return True


def placed(text: str, gathered: Gathered) -> str:
    """Write the tables of all runs between the two lines of a page, for which `has_markers` holds."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{render(f'{_TEMPLATES}tables.md.j2', **tables(gathered))}{END}{rest.split(END)[1]}"


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
        choices += f", or have the lines {BEGIN} and {END}" if field == "markdown" else ""
        raise InvalidInputError(f"{field} must be {choices}; {str(path)!r} is something else, and is left alone.")
    return text


def _stems(studies: Sequence[Study]) -> dict[str, Study]:
    """What the names of each record's figures begin with: its own name, or its folder's if all have that name."""
    if not studies:
        raise InvalidInputError(
            "figures are drawn of records of judge, landscape, scaling and sweep; got none of them."
        )
    stems = [study.path.absolute().parent.name if study.path.stem in _STEMS else study.path.stem for study in studies]
    if len(set(stems)) < len(stems):
        raise InvalidInputError(f"records must have names of their own, got {', '.join(stems)}.")
    return dict(zip(stems, studies, strict=True))


def _title(gathered: Gathered) -> str:
    count, tasks = len(gathered.runs), gathered.tasks
    if not tasks:
        return "Records of vlm-rewards"
    named = ", ".join(tasks[:_NAMED_TASKS]) + (f" and {len(tasks) - _NAMED_TASKS} more" * (len(tasks) > _NAMED_TASKS))
    return f"{count} run{'' if count == 1 else 's'} of {named}"


def _save(path: Path, text: str) -> str:
    content = text.encode("utf-8", "replace")
    write_atomically(path, content)
    return f"{path}: {len(content) / _MB:.2f} MB"


def _write_markdown(path: Path, told: Mapping[str, Any], media: Sequence[Media]) -> str:
    folder = path.with_name(f"{path.stem}-files")
    if media:
        folder.mkdir(exist_ok=True)
    for one in media:
        write_atomically(folder / one.name, one.content)
    sources = {one.name: f"{quote(folder.name)}/{quote(one.name)}" for one in media}
    return _save(path, markdown_page(told, sources))


def markdown_page(told: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """A report as Markdown; ``sources`` are the links to its figures and videos by their names."""
    return render(f"{_TEMPLATES}page.md.j2", **told, sources=sources, size_notes=[], marker=_MARKDOWN_MARK)


def _write_page(path: Path, told: Mapping[str, Any], media: Sequence[Media], max_mb: float) -> list[str]:
    text, fitted = html_page(told, media, max_mb)
    notes = [_save(path, text), *fitted.notes(max_mb)]
    if path.stat().st_size > max_mb * _MB:
        notes.append(f"the text alone has more than {max_mb:g} MB; it is never cut")
    return notes


@dataclass(frozen=True)
class Fitted:
    """What fits into a file that carries its figures and videos inside; those of ``smaller`` were encoded anew."""

    kept: tuple[Media, ...]
    smaller: tuple[Media, ...]
    left_out: tuple[Media, ...]

    def notes(self, max_mb: float) -> list[str]:
        """What is to be said of the others, in the page and beside it."""
        why = f"as the page is to have at most {max_mb:g} MB"
        count = len(self.smaller)
        coarser = [f"{count} video{'s are' if count > 1 else ' is'} coarser than recorded, {why}"] if count else []
        return [f"left out, {why}: {one.caption}" for one in self.left_out] + coarser


def html_page(told: Mapping[str, Any], media: Sequence[Media], max_mb: float) -> tuple[str, Fitted]:
    """A report as one HTML file that loads nothing; also which figures and videos are in it. The others are named."""
    bare = len(_filled(told, Fitted((), (), ()), max_mb).encode("utf-8", "replace"))
    bare += sum(len(one.caption.encode("utf-8", "replace")) + _ROUNDING for one in media)
    fitted = fit(media, int(max_mb * _MB) - bare)
    return _filled(told, fitted, max_mb), fitted


def _filled(told: Mapping[str, Any], fitted: Fitted, max_mb: float) -> str:
    notes = fitted.notes(max_mb)
    sources = {
        one.name: f"data:{_TYPES[one.kind]};base64,{base64.b64encode(one.content).decode()}" for one in fitted.kept
    }
    return render(f"{_TEMPLATES}page.html.j2", **told, sources=sources, size_notes=notes, marker=_HTML_MARK)


def fit(media: Sequence[Media], room: int) -> Fitted:
    """Choose what fits into bytes of base64, the lowest rank first; what is too large makes way for what is not.

    If not all fits, videos are made smaller, and then as many are kept as fit.
    """
    order = sorted(media, key=lambda one: one.rank)
    if sum(map(embedded_size, order)) > room:
        order = [_shrunk(one) if one.kind == "mp4" else one for one in order]
    kept: list[Media] = []
    left_out: list[Media] = []
    for one in order:
        fits = embedded_size(one) <= room
        room -= embedded_size(one) if fits else 0
        (kept if fits else left_out).append(one)
    return Fitted(tuple(kept), tuple(one for one in kept if one not in media), tuple(left_out))


def embedded_size(media: Media) -> int:
    """Bytes that an image or video takes inside a page: base64 makes four of three."""
    return -(-len(media.content) // 3) * 4 + _AROUND


def _shrunk(video: Media) -> Media:
    """Encode a video anew; as it was where that is no smaller, or is not possible."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.mp4"), Path(folder, "smaller.mp4")
        source.write_bytes(video.content)
        fitting = f"scale='if(gt(iw,ih),min({_SIDE},iw),-2)':'if(gt(iw,ih),-2,min({_SIDE},ih))'"
        filters = f"fps='min({_RATE},source_fps)',{fitting},scale=trunc(iw/2)*2:trunc(ih/2)*2"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(source), "-an"]
        command += ["-vf", filters, "-c:v", "libx264", "-crf", str(_QUALITY), "-preset", "slow"]
        command += ["-pix_fmt", "yuv420p", "-map_metadata", "-1", "-movflags", "+faststart", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_S)
            content = target.read_bytes()
        except (OSError, subprocess.SubprocessError):
            return video
    return replace(video, content=content) if 0 < len(content) < len(video.content) else video
