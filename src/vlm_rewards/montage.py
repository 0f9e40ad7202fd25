"""Pictures side by side, each with a line of text: what a number is about, for people to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.files import write_atomically

_GAP = 6
_TEXT = 12  # height of the letters
_LINE = 16
_LEAST_SIDE = 96  # smaller pictures are shown larger


def montage(
    frames: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str] = (), *, columns: int = 6, heading: str = ""
) -> Frame:
    """Lay pictures out in rows, captions below them.

    Args:
        frames: uint8 ``[n h w 3]``, n at least 1; small ones are enlarged by a whole factor, without smoothing.
        captions: One a picture, or none at all; a line break begins another line.
        columns: Pictures in a row.
        heading: A line above all.

    Returns:
        uint8 ``[h w 3]``.

    Raises:
        InvalidInputError: There is no picture, or captions and pictures are not equally many.
    """
    check_count("columns", columns)
    if len(frames) == 0 or (captions and len(captions) != len(frames)):
        raise InvalidInputError(f"captions must be as many as frames, at least 1, got {len(captions)}, {len(frames)}.")
    height, width = frames[0].shape[:2]
    scale = max(1, -(-_LEAST_SIDE // max(height, width)))
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    font = ImageFont.load_default(_TEXT)
    widest = max((_width(caption, font) for caption in captions), default=0)
    cell = max(width * scale, widest) + _GAP, height * scale + lines * _LINE + _GAP
    columns = min(columns, len(frames))
    top = _LINE + _GAP if heading else 0
    rows = -(-len(frames) // columns)
    across = max(columns * cell[0], _width(heading, font) + _GAP) + _GAP
    sheet = Image.new("RGB", (across, top + rows * cell[1] + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    if heading:
        pen.text((_GAP, _GAP // 2), heading, fill="black", font=font)
    for index, frame in enumerate(frames):
        x, y = _GAP + index % columns * cell[0], top + _GAP + index // columns * cell[1]
        enlarged = (width * scale, height * scale)
        sheet.paste(Image.fromarray(frame).resize(enlarged, Image.Resampling.NEAREST), (x, y))
        if captions:
            pen.multiline_text((x, y + enlarged[1] + 1), captions[index], fill="black", font=font, spacing=2)
    return np.asarray(sheet)


def _width(text: str, font: Any) -> int:
    """Pixels from left to right; the longest of several lines counts."""
    return max(math.ceil(font.getlength(line)) for line in text.split("\n"))


def write_png(picture: Frame, path: Path) -> Path:
    """Write a picture as PNG, whole or not at all; folders are made."""
    import io

    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())
    return path
