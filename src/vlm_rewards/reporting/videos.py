"""Writes videos that browsers play."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, SupportsFloat

import imageio_ffmpeg
import numpy as np
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import quietly

_SHORTEST_GIF_DELAY_MS = 20
"""Browsers show a GIF that asks for less at 10 frames a second."""


def write_video(frames: Iterable[Any], path: str | Path, fps: SupportsFloat) -> Path:
    """Write an MP4 (H.264, yuv420p), one frame at a time.

    H.264 in this colour format needs even sides: an odd one gets its last row
    or column twice. Nothing is resized. The file appears when it is complete.

    Args:
        frames: uint8 ``[h w 3]``, all of one size, at least one.
        path: The ``.mp4`` file to write.
        fps: Frames a second, positive.

    Returns:
        ``path`` as a path.

    Raises:
        InvalidInputError: The path, the frame rate or a frame breaks these rules.
    """
    out, rate = _check_target(path, ".mp4"), _check_rate(fps)
    first, checked = _peek(frames)
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    partial = out.with_name(f".{out.stem}.partial.mp4")
    writer = imageio_ffmpeg.write_frames(
        str(partial.resolve()),  # absolute, so that no name is taken for an option
        (width, height),
        fps=rate,  # pyright: ignore[reportArgumentType] - it takes fractions too
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
        for frame in checked:
            writer.send(_pad(frame, height, width).tobytes())
        writer.close()
        partial.replace(out)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
    return out


def write_gif(frames: Iterable[Any], path: str | Path, fps: SupportsFloat) -> Path:
    """Write an animated GIF that repeats for ever, for pages that show no video.

    GIF counts time in hundredths of a second, and browsers slow down what is
    faster than 50 frames a second: the rate is rounded accordingly.

    Args:
        frames: uint8 ``[h w 3]``, all of one size, at least one.
        path: The ``.gif`` file to write.
        fps: Frames a second, positive.

    Returns:
        ``path`` as a path.

    Raises:
        InvalidInputError: The path, the frame rate or a frame breaks these rules.
    """
    out, rate = _check_target(path, ".gif"), _check_rate(fps)
    _, checked = _peek(frames)
    pictures = (Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in checked)
    delay = max(_SHORTEST_GIF_DELAY_MS, round(100 / rate) * 10)
    next(pictures).save(out, save_all=True, append_images=pictures, duration=delay, loop=0)
    return out


def _check_target(path: str | Path, suffix: str) -> Path:
    out = Path(path)
    if out.suffix.lower() != suffix:
        raise InvalidInputError(f"path must end in {suffix}, got {str(out)!r}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def _check_rate(fps: SupportsFloat) -> float:
    rate = float(fps)
    if not (math.isfinite(rate) and rate > 0):
        raise InvalidInputError(f"fps must be positive, got {rate!r}.")
    return rate


def _peek(frames: Iterable[Any]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all frames, each checked when its turn comes."""
    checked = _checked(frames)
    first = next(checked, None)
    if first is None:
        raise InvalidInputError("frames must hold at least one frame, got none.")
    return first, chain([first], checked)


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
