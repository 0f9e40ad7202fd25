"""The pictures of a LeRobot dataset: frames of videos, or PNG files in the rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.photographer import letterbox
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.media import read_coded_frames
from vlm_rewards.offline.lerobot_layout import LeRobotEpisode, LeRobotLayout, reading

_ROWS = 16
"""Rows with pictures that are read in one go."""

_Opener: TypeAlias = Callable[[Path], Iterator[Any]]


class LeRobotPictures:
    """Frames of episodes, from one camera or several.

    Episodes that follow one another in a file are read in one pass.

    Args:
        layout: The dataset's layout.
        names: Features that are pictures.

    Raises:
        InvalidInputError: A feature is no picture, or the first picture cannot be read.
    """

    def __init__(self, layout: LeRobotLayout, names: Sequence[str]) -> None:
        self._layout = layout
        self.names = tuple(names)
        choices = [*layout.video_keys, *layout.image_keys]
        for name in names:
            if name not in choices:
                raise _no_picture(layout, name, choices)
        self._cameras = {name: self._camera(name) for name in names}
        next(self.frames(0, 32))
        for camera in self._cameras.values():  # a video that waits to be read on would keep its process
            camera.close()

    def frames(self, position: int, size: int) -> Iterator[Frame]:
        """Pictures of the rows of an episode: uint8 ``[size size 3]``, or strips.

        Args:
            position: Of the episode in the layout's list.
            size: Side of the square that each is fitted into.
        """
        episode = self._layout.episodes[position]
        cameras = [self._frames(episode, name) for name in self.names]
        for pictures in zip(*cameras, strict=True):
            fitted = [letterbox(picture, size) for picture in pictures]
            yield fitted[0] if len(fitted) == 1 else np.concatenate(fitted)

    def close(self) -> None:
        """End what is being read. Safe to call twice."""
        for camera in self._cameras.values():
            camera.close()

    def _camera(self, name: str) -> _Cursor:
        if name in self._layout.video_keys:
            return _Cursor(read_coded_frames)
        return _Cursor(lambda path: _encoded_pictures(path, name))

    def _frames(self, episode: LeRobotEpisode, name: str) -> Iterator[Frame]:
        if name in self._layout.video_keys:
            part = episode.videos[name]
            file, first = part.file, part.first
        else:
            file, first = episode.data_file, episode.first_row
        count = 0
        for item in self._cameras[name].read(self._layout.root / file, first, episode.length):
            yield _decode(item, episode.index, name) if isinstance(item, bytes | None) else item
            count += 1
        if count < episode.length:
            raise InvalidInputError(
                f"{file!r} of {str(self._layout.root)!r} must hold frames {first} to {first + episode.length - 1} for "
                f"episode {episode.index}, got {first + count} frames."
            )


class _Cursor:
    """Reads parts of files; what comes next in the same file is read on, not sought from the start."""

    def __init__(self, opener: _Opener) -> None:
        self._open = opener
        self._path: Path | None = None
        self._items: Iterator[Any] = iter(())
        self._next = 0

    def read(self, path: Path, first: int, count: int) -> Iterator[Any]:
        """Give up to ``count`` items from the ``first`` one on."""
        if path != self._path or first < self._next:
            self.close()
            self._path, self._items, self._next = path, self._open(path), 0
        while self._next < first + count:
            item = next(self._items, self)
            if item is self:
                return
            self._next += 1
            if self._next > first:
                yield item

    def close(self) -> None:
        """Forget the file; ends the process that decodes it."""
        items, self._path, self._items, self._next = self._items, None, iter(()), 0
        if hasattr(items, "close"):
            items.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator


def choose_pictures(layout: LeRobotLayout) -> tuple[str, ...]:
    """Choose the only camera.

    Raises:
        InvalidInputError: There is none, or there are several.
    """
    names = [*layout.video_keys, *layout.image_keys]
    if not names:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has no pictures: none of its features is a video or an image of 3 channels."
        )
    if len(names) > 1:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has several cameras; choose with frames: {', '.join(names)}."
        )
    return (names[0],)


def _no_picture(layout: LeRobotLayout, name: str, choices: Sequence[str]) -> InvalidInputError:
    feature = layout.features.get(name)
    if feature is None:
        return unknown_name("frames", name, choices)
    return InvalidInputError(
        f"frames {name!r} must be a video or an image of 3 channels, got {feature.get('dtype')} "
        f"{feature.get('shape')}. Choices: {', '.join(choices) or 'none'}."
    )


def _encoded_pictures(path: Path, column: str) -> Iterator[bytes | None]:
    """The encoded pictures of a file's rows, a few rows at a time."""
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
            for cell in batch.column(0):
                yield (cell.as_py() or {}).get("bytes")


def _decode(data: bytes | None, episode: int, name: str) -> Frame:
    if data is None:
        raise InvalidInputError(f"episode {episode}: a picture of {name!r} is not in the data file itself.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("RGB", "RGBA", "P"):
                raise InvalidInputError(
                    f"episode {episode}: a picture of {name!r} must have 3 channels, got mode {image.mode!r}."
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise InvalidInputError(f"episode {episode}: a picture of {name!r} cannot be decoded: {error}") from error
