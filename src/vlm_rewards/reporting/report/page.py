"""A report as one HTML file that loads nothing: style, images and videos are inside, and there is no script."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

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
from vlm_rewards.reporting.report.fitting import Fitted, fit
from vlm_rewards.reporting.report.page_style import STYLE

GENERATOR = '<meta name="generator" content="vlm-rewards report">'
"""Marks a page as ours, which may be written over."""

_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
_TYPES = {"png": "image/png", "mp4": "video/mp4"}
_ROUNDING = 64
_MB = 1_000_000


def page(document: Document, max_mb: float) -> tuple[bytes, Fitted]:
    """Write a report as HTML.

    Args:
        document: The report.
        max_mb: What the file may have, in millions of bytes. The text is never cut, whatever it has.

    Returns:
        The file, and which images and videos are in it. Those that are not are named in it.
    """
    told = sum(len(_escaped(one.caption).encode("utf-8", "replace")) + _ROUNDING for one in document.media())
    bare = len(_written(document, Fitted({}, (), ()), max_mb)) + told
    fitted = fit(document.media(), int(max_mb * _MB) - bare)
    return _written(document, fitted, max_mb), fitted


def _written(document: Document, fitted: Fitted, max_mb: float) -> bytes:
    writer = _Writer(fitted.kept)
    size = Notes(tuple(_size_notes(fitted, max_mb)))
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        GENERATOR,
        f"<title>{_escaped(document.title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        f"<h1>{_escaped(document.title)}</h1>",
        writer.blocks(document.summary, 2),
        writer.blocks((size,) if size.lines else (), 2),
        f'<nav aria-label="Contents">{_contents(document.sections)}</nav>',
        "<main>",
        writer.blocks(document.sections, 2),
        "</main>",
        "</body>",
        "</html>",
    ]
    return ("\n".join(part for part in parts if part) + "\n").encode("utf-8", "replace")


def _size_notes(fitted: Fitted, max_mb: float) -> list[str]:
    bound = f"this file is to have at most {max_mb:g} MB"
    notes = [f"Left out, as {bound}: {one.caption}" for one in fitted.left_out]
    if fitted.smaller:
        notes.append(f"{len(fitted.smaller)} videos are coarser than those recorded, as {bound}.")
    return notes


class _Writer:
    """Turns blocks into HTML."""

    def __init__(self, kept: Mapping[str, Media]) -> None:
        self._kept = kept

    def blocks(self, blocks: Sequence[Block], level: int) -> str:
        return "\n".join(self._block(block, level) for block in blocks)

    def _block(self, block: Block, level: int) -> str:
        match block:
            case Paragraph(text):
                return f"<p>{_escaped(text)}</p>"
            case Notes(lines):
                return '<ul class="notes">' + "".join(f"<li>{_escaped(line)}</li>" for line in lines) + "</ul>"
            case Facts(pairs):
                inner = "".join(f"<dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd>" for name, value in pairs)
                return f"<dl>{inner}</dl>"
            case Commands(lines):
                return f"<pre>{_escaped(chr(10).join(f'$ {line}' for line in lines))}</pre>"
            case Table():
                return _table(block)
            case Media():
                return self._media(block)
            case Beside(media):
                return '<div class="beside">' + "\n".join(map(self._media, media)) + "</div>"
            case Fold(heading, inner):
                return f"<details><summary>{_escaped(heading)}</summary>\n{self.blocks(inner, level)}\n</details>"
            case Section(heading, anchor, inner):
                head = f"<h{level}>{_escaped(heading)}</h{level}>"
                return f'<section id="{_escaped(anchor)}">\n{head}\n{self.blocks(inner, level + 1)}\n</section>'

    def _media(self, media: Media) -> str:
        caption = _escaped(media.caption)
        if media.name not in self._kept:
            return f'<p class="missing">Left out for the size of this file: {caption}</p>'
        source = f"data:{_TYPES[media.kind]};base64,{base64.b64encode(self._kept[media.name].content).decode()}"
        if media.kind == "png":
            inner, kind = f'<img alt="{caption}" src="{source}">', "picture"
        else:
            inner = f'<video controls loop muted playsinline preload="metadata" aria-label="{caption}" src="{source}">'
            inner, kind = f"{inner}</video>", "video"
        return f'<figure class="{kind}">{inner}<figcaption>{caption}</figcaption></figure>'


def _table(table: Table) -> str:
    heads = "".join(f"<th>{_escaped(head)}</th>" for head in table.heads)
    lines = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td{_kind(cell)}>{_escaped(cell)}</td>"
    text = _escaped(cell.text)
    if cell.anchor:
        text = f'<a href="#{_escaped(cell.anchor)}">{text}</a>'
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if cell.code:
        text += f" <code>{_escaped(cell.code)}</code>"
    return f"<td>{text}</td>"


def _kind(text: str) -> str:
    """Numbers stay in one line."""
    return ' class="number"' if text[:1].isdigit() or text[:2].lstrip("-")[:1].isdigit() else ""


def _contents(sections: Sequence[Block]) -> str:
    lines = [
        f'<li><a href="#{_escaped(section.anchor)}">{_escaped(section.heading)}</a>{_contents(section.blocks)}</li>'
        for section in sections
        if isinstance(section, Section)
    ]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
