"""What a report says, before it is HTML or Markdown. Texts are plain: whoever writes them out escapes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is more than a text."""

    text: str
    """What it says."""
    strong: bool = False
    """Whether it is to stand out."""
    code: str = ""
    """A command behind the text."""
    anchor: str = ""
    """The section that tells more."""


@dataclass(frozen=True)
class Paragraph:
    """A text."""

    text: str
    """The text."""


@dataclass(frozen=True)
class Notes:
    """Points to be made."""

    lines: tuple[str, ...]
    """One a point."""


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    pairs: tuple[tuple[str, str], ...]
    """Name and value; commands are not among them."""


@dataclass(frozen=True)
class Table:
    """A table."""

    heads: tuple[str, ...]
    """One a column."""
    rows: tuple[tuple[Cell | str, ...], ...]
    """As many cells each."""


@dataclass(frozen=True)
class Commands:
    """What to type."""

    lines: tuple[str, ...]
    """One a command, without the prompt."""


@dataclass(frozen=True)
class Media:
    """A frame or a video."""

    name: str
    """Different from all others of a report, and good as a file's."""
    kind: Literal["png", "mp4"]
    """Format."""
    content: bytes
    """The file."""
    caption: str
    """What it shows."""
    rank: tuple[int, int]
    """Where there is not room for everything, lower comes first."""


@dataclass(frozen=True)
class Beside:
    """Frames and videos side by side, as far as there is room."""

    media: tuple[Media, ...]
    """In order."""


@dataclass(frozen=True)
class Fold:
    """What is opened on demand."""

    heading: str
    """What it holds."""
    blocks: tuple[Block, ...]
    """The contents."""


@dataclass(frozen=True)
class Section:
    """A part with a heading, which the table of contents names."""

    heading: str
    """The heading."""
    anchor: str
    """Its name for links: letters, digits and dashes."""
    blocks: tuple[Block, ...]
    """The contents; other sections come last."""


Block: TypeAlias = Paragraph | Notes | Facts | Table | Commands | Media | Beside | Fold | Section
"""A part of a report."""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    """Heading of all."""
    summary: tuple[Block, ...]
    """What comes before the table of contents."""
    sections: tuple[Section, ...] = field(default=())
    """What comes after it."""

    def media(self) -> list[Media]:
        """Every frame and video, in order."""
        return [*_media(self.summary), *_media(self.sections)]


def present(*blocks: Block | None) -> tuple[Block, ...]:
    """The blocks that there are, without those that would be empty."""
    return tuple(block for block in blocks if block is not None and not _is_empty(block))


def _is_empty(block: Block) -> bool:
    if isinstance(block, Notes | Commands):
        return not block.lines
    if isinstance(block, Facts):
        return not block.pairs
    if isinstance(block, Table):
        return not block.rows
    return isinstance(block, Beside) and not block.media


def _media(blocks: Sequence[Block]) -> Iterator[Media]:
    for block in blocks:
        if isinstance(block, Media):
            yield block
        elif isinstance(block, Beside):
            yield from block.media
        elif isinstance(block, Fold | Section):
            yield from _media(block.blocks)
