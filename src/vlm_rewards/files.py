"""Files that are written whole or not at all: JSON, folders, and a resume state of JSON values and numpy arrays."""

from __future__ import annotations

import csv
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.errors import CheckpointError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one."""
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of another once it is complete and on disk, or leaves no trace."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: The file is missing or damaged, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{str(path)!r} must hold a JSON object, got {type(value).__name__}.")
    return value


def read_columns(path: Path | None) -> dict[str, NDArray[np.float64]]:
    """Read a CSV file of numbers, one array a column.

    Args:
        path: The file; None, or one that is not there, has no columns.

    Returns:
        The columns, float64 ``[rows]``; an empty cell, or one cut off where a run was killed, is NaN.
    """
    if path is None or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return {name: np.array([_number(row[name]) for row in rows], float) for name in reader.fieldnames or ()}


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def sync_file(path: Path) -> None:
    """Wait until a file that another library wrote is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_JSON = "state.json"
_ARRAY = "__array__"
_SMALLEST_SHARE = 19


def seconds_to_wait(interval: float, duration: float) -> float:
    """Say how long after one state the next is due.

    Args:
        interval: Seconds between two states, as wished; 0 is none.
        duration: Seconds that writing this one took.

    Returns:
        Seconds: the interval, or where writing is slow so much more that at most 5 % of the time goes there.
    """
    return max(interval, _SMALLEST_SHARE * duration) if interval else 0.0


def write_state(path: Path, state: Mapping[str, Any]) -> int:
    """Write a state, so that a crash at any moment leaves the old file or the new one.

    Arrays are written one after the other, without a copy of them all.

    Args:
        path: The file, replaced when the new one is complete and on disk.
        state: Dictionaries with str keys, lists and JSON values, with numpy arrays of any shape and plain dtype at
            the leaves.

    Returns:
        Bytes written.

    Raises:
        OSError: The disk is full, or the folder cannot be written; the old file is as it was.
        TypeError: The state holds something else.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _without_arrays(state, (), arrays)
    with _replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_JSON, json.dumps(tree))
            for name, array in arrays.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        return file.tell()


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        CheckpointError: The file is missing, truncated, damaged, or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tree = json.loads(archive.read(_JSON))
            state = _with_arrays(tree, archive)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"the resume state {str(path)!r} cannot be read: {error}.") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"the resume state {str(path)!r} must hold an object, got {type(state).__name__}.")
    return state


def _without_arrays(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"the array at {'/'.join(path)} holds objects.")
        name = "/".join(path)
        while name in arrays:  # {"a": {"b": ...}} and {"a/b": ...}
            name += "'"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {_key(key, path): _without_arrays(item, (*path, key), arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, (*path, str(index)), arrays) for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _key(key: object, path: tuple[str, ...]) -> str:
    if not isinstance(key, str) or key == _ARRAY:
        raise TypeError(f"keys must be str and not {_ARRAY!r}, got {key!r} in {'/'.join(path) or 'the state'}.")
    return key


def _with_arrays(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            with archive.open(value[_ARRAY] + ".npy") as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        return {key: _with_arrays(item, archive) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, archive) for item in value]
    return value
