"""Folders that a crash at any moment leaves in the old state or the new one, and the journal of unfinished work."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, RunFolderError
from vlm_rewards.files import sync_folder

_LOCK = ".lock"
_SPARE = 1.05
"""What a file system takes beside the bytes of the files."""


def put_folder(new: Path, final: Path) -> None:
    """Rename a complete folder to its place on the same disk; one that is there makes way at the last moment."""
    old = new.with_name(new.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def clear_folder(folder: Path) -> None:
    """Remove what is in a folder, but for the lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Refuse where another process does the same work. The lock goes with the process, however that ends."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInputError(f"out is being written by another process (it works in {str(folder)!r}).") from None
        yield


@contextlib.contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Say of an error of the disk what it means for the work: a RunFolderError in place of any other ``OSError``."""
    try:
        yield
    except OSError as error:
        if type(error).__module__ != "builtins":  # one of ours: some of them are OSErrors
            raise
        raise RunFolderError(
            f"out cannot be written ({error.strerror or error}). What is labelled so far is kept in {str(folder)!r}; "
            "run the same command again to go on."
        ) from error


def check_writable(path: Path, field: str = "out") -> None:
    """Refuse a path, without making anything, where a folder on the way is read-only or is no folder."""
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise InvalidInputError(f"{field} {str(path)!r} cannot be made: {str(parent)!r} is not a folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{field} {str(path)!r} cannot be written: {str(parent)!r} is read-only.")


def check_disk(path: Path, needed: int) -> None:
    """Refuse where there is no room for so many bytes at a path, existing or not."""
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed * _SPARE:
        raise InvalidInputError(
            f"out {str(path)!r} needs {needed * _SPARE / 1e6:,.1f} MB on disk, and {free / 1e6:,.1f} MB are free."
        )


def decode_frame(data: bytes) -> Frame:
    """Decode a PNG or JPEG of three channels: uint8 ``[h w 3]``. What is none is refused, to be named by `naming`."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("RGB", "RGBA", "P"):
                raise InvalidInputError(f"a frame must have 3 channels, got mode {image.mode!r}")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise InvalidInputError(f"a frame cannot be decoded: {error}") from error


@contextlib.contextmanager
def naming(dataset: str, episode: int) -> Iterator[None]:
    """Say which episode an InvalidInputError, or an error of HDF5, is about."""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"episode {episode} of {dataset!r}: {str(error).removesuffix('.')}.") from error
    except (OSError, KeyError) as error:
        raise InvalidInputError(f"episode {episode} of {dataset!r} cannot be read: {error}.") from error


_SYNC_SECONDS = 1.0
"""A killed process loses nothing that was written; a power cut at most this much."""
_DTYPE = np.dtype("<f4")


class Journal:
    """Values of the states of labelled episodes, appended one episode after another.

    Two files: ``values.f32`` holds the numbers, ``episodes.jsonl`` a line an
    episode with their count and checksum. The line is written after the numbers,
    so a line that is whole speaks of numbers that are there; whatever a crash
    left behind the last such episode is cut off when the journal is opened.
    """

    def __init__(self, folder: Path, columns: int = 1) -> None:
        self._columns = columns
        self._values_path, self._index_path = folder / "values.f32", folder / "episodes.jsonl"
        self._starts = [0]
        self._recover()
        self._values = self._values_path.open("r+b")
        self._index = self._index_path.open("r+b")
        self._values.seek(0, os.SEEK_END)
        self._index.seek(0, os.SEEK_END)
        self._synced = time.monotonic()

    @property
    def episodes(self) -> int:
        """How many episodes are in it; the next one to append has this number."""
        return len(self._starts) - 1

    @property
    def states(self) -> int:
        """How many states they have in all."""
        return self._starts[-1]

    def append(self, episode: int, values: Float32[np.ndarray, "states columns"]) -> None:
        """Add the values of the next episode, float32 ``[states columns]``; any other number is refused."""
        if episode != self.episodes:
            raise InvalidInputError(f"episode {self.episodes} must be appended next, got {episode}.")
        data = np.ascontiguousarray(values, dtype=_DTYPE).tobytes()
        self._values.write(data)
        self._values.flush()
        self._index.write(_line(episode, len(values), zlib.crc32(data)))
        self._index.flush()
        self._starts.append(self.states + len(values))
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def read(self, episode: int) -> Float32[np.ndarray, "states columns"]:
        """Values of one episode: float32 ``[states columns]``."""
        start, stop = self._starts[episode : episode + 2]
        row = self._columns * _DTYPE.itemsize
        data = os.pread(self._values.fileno(), (stop - start) * row, start * row)
        return np.frombuffer(data, dtype=_DTYPE).reshape(-1, self._columns).astype(np.float32)

    def sync(self) -> None:
        """Wait until everything is on disk."""
        for file in (self._values, self._index):
            file.flush()
            os.fsync(file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close. Safe to call twice."""
        with contextlib.suppress(ValueError):  # closed
            self.sync()
        self._values.close()
        self._index.close()

    def _recover(self) -> None:
        """Find the episodes that are whole, and cut off the rest."""
        self._values_path.touch()
        self._index_path.touch()
        good_index = 0
        with self._values_path.open("r+b") as values, self._index_path.open("r+b") as index:
            for line in index:
                entry = _parse(line)
                if entry is None or entry["episode"] != self.episodes:
                    break
                data = values.read(entry["states"] * self._columns * _DTYPE.itemsize)
                if _line(entry["episode"], entry["states"], zlib.crc32(data)) != line:
                    break
                self._starts.append(self.states + entry["states"])
                good_index += len(line)
            values.truncate(self.states * self._columns * _DTYPE.itemsize)
            index.truncate(good_index)


def _line(episode: int, states: int, checksum: int) -> bytes:
    return (json.dumps({"episode": episode, "states": states, "crc32": checksum}) + "\n").encode()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        return entry if line.endswith(b"\n") and int(entry["states"]) >= 0 and int(entry["episode"]) >= 0 else None
    except (ValueError, KeyError, TypeError):
        return None
