"""Writes videos that browsers play."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, SupportsFloat

import imageio_ffmpeg
import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import quietly


def write_video(frames: Iterable[Any], path: str | Path, fps: SupportsFloat) -> Path:
    """Write an MP4 (H.264, yuv420p), one frame at a time; the file appears when it is complete.

    H.264 in this colour format needs even sides: an odd one gets its last row or column twice. Nothing is resized.

    Args:
        frames: uint8 ``[h w 3]``, all of one size, at least one.
        path: The ``.mp4`` file to write, in a folder that is made if need be.
        fps: Frames a second, positive.

    Returns:
        ``path`` as a path.

    Raises:
        InvalidInputError: A frame breaks these rules, or there is none.
    """
    out, checked = Path(path), _checked(frames)
    first = next(checked, None)
    if first is None:
        raise InvalidInputError("frames must hold at least one frame, got none.")
    out.parent.mkdir(parents=True, exist_ok=True)
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    partial = out.with_name(f".{out.stem}.partial.mp4")
    writer = imageio_ffmpeg.write_frames(
        str(partial.resolve()),  # absolute, so that no name is taken for an option
        (width, height),
        fps=float(fps),  # pyright: ignore[reportArgumentType] - it takes fractions too
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        quality=8,
        macro_block_size=2,
        output_params=["-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    try:
        quietly(lambda: writer.send(None))
        for frame in chain([first], checked):
            writer.send(_pad(frame, height, width).tobytes())
        writer.close()
        partial.replace(out)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
    return out


def _checked(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    expected: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        pixels = np.asarray(frame)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise InvalidInputError(f"frame {index} must be uint8 [h w 3], got {pixels.dtype} {pixels.shape}.")
        expected = expected or pixels.shape
        if pixels.shape != expected:
            raise InvalidInputError(f"frame {index} must have the first frame's shape {expected}, got {pixels.shape}.")
        yield pixels


def _pad(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")
