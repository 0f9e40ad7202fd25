"""A report as Markdown, whole with its frames beside it, or its tables between two lines of a page."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.report.blocks import (
    Beside,
    Block,
    Cell,
    Commands,
    Document,
    Facts,
    Fold,
    Media,
    Notes,
    Paragraph,
    Section,
    Table,
)

GENERATOR = "<!-- written by vlm-rewards report -->"
"""Marks a file as ours, which may be written over."""
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
"""Lines between which the tables of a page are written."""


def markdown(document: Document, folder: str) -> str:
    """Write a report as Markdown.

    Args:
        document: The report.
        folder: Where its images and videos lie, relative to the file.

    Returns:
        The text.
    """
    links = {media.name: f"{quote(folder)}/{quote(media.name)}" for media in document.media()}
    parts = [GENERATOR, f"# {escaped(document.title)}", *_parts((*document.summary, *document.sections), links, 2)]
    return "\n\n".join(parts) + "\n"


def has_markers(text: str) -> bool:
    """Whether a page asks for tables between its lines.

    Raises:
        InvalidInputError: It has the lines, but not each of them once and in order.
    """
    if BEGIN not in text and END not in text:
        return False
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InvalidInputError(f"markdown must have the lines {BEGIN} and {END} each once, in this order.")
    return True


def placed(text: str, blocks: Sequence[Block]) -> str:
    """Write tables and notes between the two lines of a page.

    Args:
        text: The page, for which `has_markers` holds.
        blocks: Without frames.

    Returns:
        The page; nothing else in it has changed.
    """
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n" + "\n\n".join(_parts(blocks, {}, 3)) + f"\n{END}{rest.split(END)[1]}"


def escaped(text: str) -> str:
    """A text for Markdown, in one line, in which nothing has a meaning of its own."""
    plain = html.escape(" ".join(text.split()), quote=False)
    plain = re.sub(r"([\\`*_\[\]]|^[#+-](?=\s)|(?<=^\d)\.(?=\s))", r"\\\1", plain)
    return re.sub(r"[|~$]", lambda found: f"&#{ord(found[0])};", plain)  # not every Markdown knows these with a slash


def code(text: str) -> str:
    """A text as Markdown's code, for a cell of a table."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}".replace("|", r"\|")


def _parts(blocks: Sequence[Block], links: Mapping[str, str], level: int) -> list[str]:
    return [part for block in blocks for part in _block(block, links, level)]


def _block(block: Block, links: Mapping[str, str], level: int) -> list[str]:
    match block:
        case Paragraph(text):
            return [escaped(text)]
        case Notes(lines):
            return ["\n".join(f"* {escaped(line)}" for line in lines)]
        case Facts(pairs):
            return ["\n".join(f"* {escaped(name)}: {escaped(value)}" for name, value in pairs)]
        case Commands(lines):
            return [_fenced([f"$ {line}" for line in lines])]
        case Table():
            return [_table(block)]
        case Media():
            return [_media(block, links)]
        case Beside(media):
            return [_media(one, links) for one in media]
        case Fold(heading, inner):
            return [f"**{escaped(heading)}**", *_parts(inner, links, level)]
        case Section(heading, _, inner):
            return [f"{'#' * level} {escaped(heading)}", *_parts(inner, links, level + 1)]


def _media(media: Media, links: Mapping[str, str]) -> str:
    return f"{'!' if media.kind == 'png' else ''}[{escaped(media.caption)}]({links[media.name]})"


def _fenced(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}console\n{text}\n{fence}"


def _table(table: Table) -> str:
    lines = [[escaped(head) for head in table.heads], ["---"] * len(table.heads)]
    lines += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    return f"{text} {code(cell.code)}" if cell.code else text
