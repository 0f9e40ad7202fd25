"""Reads frames of images and videos from files, one at a time; writes sheets of captioned frames."""

from __future__ import annotations

import contextlib
import io
import math
import re
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.files import write_atomically

PICTURE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Files that are taken from a folder. A file that is named is looked into, whatever its suffix."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
"""Files that are read by ffmpeg, which would take a text file for a frame of its letters."""

_ANIMATIONS = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
"""Formats whose further frames are moments. Those of a TIFF are pages, those of an MPO other lenses."""

_DEFAULT_DELAY_S = 0.1
"""How long browsers show a frame that asks for no time at all."""

PathLike: TypeAlias = str | Path


class TimedFrame(NamedTuple):
    """One frame of a file."""

    index: int | None
    """Place in the video; None for a frame."""
    time_s: float | None
    """Seconds since the video's start; None for a frame."""
    pixels: Frame
    """uint8 ``[h w 3]``, RGB."""


def expand_paths(paths: Sequence[PathLike]) -> list[Path]:
    """Check that files exist, and put a folder's frames in its place.

    Args:
        paths: Files and folders.

    Returns:
        Files, in the order given; a folder's are sorted as people count (2 before 10).

    Raises:
        InvalidInputError: There is no path, one does not exist, or a folder holds no frame.
    """
    if not paths:
        raise InvalidInputError("paths must name at least one frame, video or folder, got none.")
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _pictures_in(path)
        elif path.is_file():
            files.append(path)
        else:
            hint = " No file matched the pattern." if set(path.name) & set("*?[") else ""
            raise InvalidInputError(f"paths must exist, there is no {str(path)!r}.{hint}")
    return files


def read_frames(path: Path) -> Iterator[TimedFrame]:
    """Read a frame, or the frames of a video or animation one after another.

    Frames are turned upright (EXIF), made RGB and, where they are transparent,
    laid on white. Videos come at a constant rate, as players show them.

    Args:
        path: An existing file.

    Yields:
        The frame, or each frame with its time.

    Raises:
        InvalidInputError: The file is neither, is damaged, or is empty.
    """
    return _video_frames(path) if path.suffix.lower() in VIDEO_SUFFIXES else _picture_frames(path)


def read_coded_frames(path: Path) -> Iterator[Frame]:
    """Read every frame of a video exactly as often as it was written, whatever the times between them.

    `read_frames` repeats and drops frames to keep a constant rate; here the
    n-th frame is the n-th that was encoded, as data sets count them.

    Args:
        path: An existing video.

    Yields:
        The frames, uint8 ``[h w 3]``.

    Raises:
        InvalidInputError: The file is damaged, empty, or no video.
    """
    major = re.search(r"\d+", imageio_ffmpeg.get_ffmpeg_version())
    option = "-fps_mode" if major is None or int(major.group()) >= 6 else "-vsync"  # the name until version 5
    with contextlib.closing(_video_frames(path, (option, "passthrough"))) as frames:
        for frame in frames:
            yield frame.pixels


def _pictures_in(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()]
    if not files:
        raise InvalidInputError(
            f"folder {str(folder)!r} holds no frame; a picture's name ends in {', '.join(sorted(PICTURE_SUFFIXES))}."
        )
    return sorted(files, key=lambda file: [(int(n or -1), text) for text, n in re.findall(r"(\D*)(\d*)", file.name)])


def _picture_frames(path: Path) -> Iterator[TimedFrame]:
    try:
        with Image.open(path) as image:
            if getattr(image, "is_animated", False) and image.format in _ANIMATIONS:
                yield from _animation_frames(image)
            else:
                yield TimedFrame(None, None, _to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise InvalidInputError(
            f"{str(path)!r} is no frame that can be read. Videos are known by their suffix: "
            f"{', '.join(sorted(VIDEO_SUFFIXES))}."
        ) from None
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:  # what Pillow raises for damage
        raise InvalidInputError(f"frame {str(path)!r} cannot be read: {error}") from error


def _animation_frames(image: Image.Image) -> Iterator[TimedFrame]:
    seconds = 0.0
    for index in range(image.n_frames):  # pyright: ignore[reportAttributeAccessIssue] - animated formats have it
        image.seek(index)
        yield TimedFrame(index, seconds, _to_rgb(image))
        seconds += image.info.get("duration", 0) / 1000 or _DEFAULT_DELAY_S


def _to_rgb(image: Image.Image) -> Frame:
    if image.mode == "F":
        raise OSError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        return _from_16_bit(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
    return np.array(image.convert("RGB"))


def _from_16_bit(grey: np.ndarray) -> Frame:
    """Greyscale of 16 bits to RGB of 8; Pillow's own conversion clips at 255 and leaves a white frame."""
    if int(grey.min()) < 0 or int(grey.max()) > 65535:
        raise OSError("its pixels are 32-bit integers of unknown range; save it with 8 or 16 bits.")
    eight = np.rint(grey.astype(np.float64) / 257.0).astype(np.uint8)
    return np.repeat(eight[:, :, None], 3, axis=2)


def _video_frames(path: Path, options: Sequence[str] = ()) -> Generator[TimedFrame, None, None]:
    # Absolute, so that no name is taken for an option or a protocol.
    read: Callable[..., Generator[Any, None, None]] = imageio_ffmpeg.read_frames
    stream = read(str(path.resolve()), pix_fmt="rgb24", output_params=list(options))
    count = 0
    try:
        facts = cast(dict[str, Any], quietly(lambda: next(stream)))
        (width, height), fps = facts["size"], float(facts["fps"])
        while (data := quietly(lambda: next(stream, None))) is not None:
            yield TimedFrame(count, count / fps, np.frombuffer(data, np.uint8).reshape(height, width, 3))
            count += 1
    except (OSError, RuntimeError, KeyError, StopIteration) as error:
        trace = error.__traceback__  # it would keep those pipes until this error is forgotten
        quietly(lambda: traceback.clear_frames(trace))
        place = f"is damaged after frame {count - 1}" if count else "cannot be read"
        raise InvalidInputError(f"video {str(path)!r} {place}: {_last_line(error)}") from error
    finally:
        quietly(stream.close)
    if count == 0:
        raise InvalidInputError(f"video {str(path)!r} holds no frame.")


def quietly(action: Callable[[], Any]) -> Any:
    """Run a step of imageio-ffmpeg without warnings that tell a user nothing.

    It leaves the pipes of a process that has ended to the garbage collector, and JAX, where it is imported, fears any
    fork; that of ffmpeg goes on to exec at once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        return action()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


_GAP = 6
_TEXT = 12  # height of the letters
_LINE = 16
_LEAST_SIDE = 96  # smaller frames are shown larger


def montage(
    frames: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str] = (), *, columns: int = 6, heading: str = ""
) -> Frame:
    """Lay frames out in rows, captions below them.

    Args:
        frames: uint8 ``[n h w 3]``, n at least 1; small ones are enlarged by a whole factor, without smoothing.
        captions: One a frame, or none at all; a line break begins another line.
        columns: Frames in a row.
        heading: A line above all.

    Returns:
        uint8 ``[h w 3]``.

    Raises:
        InvalidInputError: There is no frame, or captions and frames are not equally many.
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


def write_png(frame: Frame, path: Path) -> Path:
    """Write a frame as PNG, whole or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())
    return path
