"""Folders that a crash at any moment leaves in the old state or the new one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vlm_rewards.errors import InvalidInputError, RunFolderError
from vlm_rewards.files import sync_folder

_LOCK = ".lock"
_SPARE = 1.05
"""What a file system takes beside the bytes of the files."""


def put_folder(new: Path, final: Path) -> None:
    """Rename a complete folder to its place; one that is there already makes way at the last moment.

    Args:
        new: Folder on the same file system.
        final: Its place.
    """
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
    """Keep other processes from the same work. The lock goes with the process, however that ends.

    Args:
        folder: An existing folder.

    Raises:
        InvalidInputError: Another process holds the lock.
    """
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInputError(f"out is being written by another process (it works in {str(folder)!r}).") from None
        yield


@contextlib.contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Say of an error of the disk what it means for the work.

    Raises:
        RunFolderError: In place of any other ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if type(error).__module__ != "builtins":  # one of ours: some of them are OSErrors
            raise
        raise RunFolderError(
            f"out cannot be written ({error.strerror or error}). What is labelled so far is kept in {str(folder)!r}; "
            "run the same command again to go on."
        ) from error


def check_writable(path: Path) -> None:
    """Check that a path can be made, without making anything.

    Raises:
        InvalidInputError: A folder on the way is read-only or is no folder.
    """
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise InvalidInputError(f"out {str(path)!r} cannot be made: {str(parent)!r} is not a folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidInputError(f"out {str(path)!r} cannot be written: {str(parent)!r} is read-only.")


def check_disk(path: Path, needed: int) -> None:
    """Check that there is room.

    Args:
        path: What will be written, existing or not.
        needed: Bytes.

    Raises:
        InvalidInputError: There is not.
    """
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed * _SPARE:
        raise InvalidInputError(
            f"out {str(path)!r} needs {needed * _SPARE / 1e6:,.1f} MB on disk, and {free / 1e6:,.1f} MB are free."
        )
