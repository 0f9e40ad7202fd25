"""Shared memory for the frames in flight, of a fixed size whatever a run's length."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import psutil

from vlm_rewards.errors import InvalidInputError

_SHARED_MEMORY = Path("/dev/shm")
_HEADROOM_BYTES = 32 * 2**20  # other programs use /dev/shm too


class FrameRing:
    """``slots x simulators x height x width x 3`` bytes that several processes see; twice that with reset frames.

    The memory has no name in any file system (it is an unlinked file that the
    workers inherit), so that nothing is left behind however a run ends. It lies
    in ``/dev/shm`` where that has room, in the folder for temporary files
    otherwise.

    Args:
        slots: How many vector steps fit before the oldest is overwritten.
        simulators: Simulators that write one frame each a vector step.
        size: Side of the square frames in pixels.
        cameras: Square frames of each state, one below another.
        resets: Whether there is room for the frames of the states after resets, too.
        descriptor: File descriptor of a ring that another process made; None
            makes a new one.

    Attributes:
        frames: uint8 ``[slots columns cameras*size size 3]``: a column a simulator, and after those, with ``resets``,
            another column a simulator for the state after a reset in that vector step.
        descriptor: What a worker needs to map the same memory.

    Raises:
        InvalidInputError: A size is not positive, or so much memory cannot be had.
    """

    def __init__(
        self,
        slots: int,
        simulators: int,
        size: int,
        *,
        cameras: int = 1,
        resets: bool = False,
        descriptor: int | None = None,
    ) -> None:
        self.shape = ring_shape(slots, simulators, size, cameras=cameras, resets=resets)
        self.simulators, self.size, self.cameras, self.resets = simulators, size, cameras, resets
        self.nbytes = math.prod(self.shape)
        self._file: IO[bytes] | None = None
        if descriptor is None:
            self._file = _reserve(self.nbytes)
            descriptor = self._file.fileno()
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, self.nbytes)
        self.frames = np.frombuffer(self._map, dtype=np.uint8).reshape(self.shape)

    @property
    def slots(self) -> int:
        """How many vector steps fit."""
        return self.shape[0]

    def copy_steps(self, steps: range) -> np.ndarray:
        """Copy the frames of vector steps, counted from the run's first: uint8 ``[steps*simulators h w 3]``."""
        rows = np.fromiter((step % self.slots for step in steps), dtype=np.intp)
        return self.frames[rows, : self.simulators].reshape(-1, *self.shape[2:])

    def copy_resets(self, places: Sequence[tuple[int, int]]) -> np.ndarray:
        """Copy the frames after resets, each by vector step and simulator: uint8 ``[places h w 3]``."""
        rows = np.array([step % self.slots for step, _ in places], dtype=np.intp)
        columns = np.array([self.simulators + simulator for _, simulator in places], dtype=np.intp)
        return self.frames[rows, columns]

    def close(self) -> None:
        """Unmap the memory; arrays that still refer to it keep it alive until they go."""
        self.frames = np.empty((0, *self.shape[1:]), dtype=np.uint8)
        with contextlib.suppress(BufferError):
            self._map.close()
        if self._file is not None:
            self._file.close()


def ring_shape(
    slots: int, simulators: int, size: int, *, cameras: int = 1, resets: bool = False
) -> tuple[int, int, int, int, int]:
    """Shape of a `FrameRing`, whose arguments these are; as uint8, its product is the ring's size in bytes."""
    if min(slots, simulators, size, cameras) < 1:
        sizes = (slots, simulators, size, cameras)
        raise InvalidInputError(f"slots, simulators, size and cameras must be at least 1, got {sizes}.")
    return (slots, simulators * (2 if resets else 1), cameras * size, size, 3)


def ring_folder(nbytes: int) -> Path:
    """Where a ring of so many bytes would lie; nothing is reserved. Refuses what cannot be had."""
    folders = _folders(nbytes)
    for folder in folders:
        if free_bytes(folder) > nbytes:
            return folder
    raise _too_large(nbytes, "; ".join(f"{folder}: {free_bytes(folder) / 2**20:.0f} MiB free" for folder in folders))


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the file system of a folder that exists."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def _folders(nbytes: int) -> list[Path]:
    """Where so many bytes may be tried, best first."""
    available = psutil.virtual_memory().available
    if nbytes > available:
        raise _too_large(nbytes, f"only {available / 2**20:.0f} MiB of memory are available")
    folders = [Path(tempfile.gettempdir())]
    usable = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK)
    if usable and free_bytes(_SHARED_MEMORY) > nbytes + _HEADROOM_BYTES:
        folders.insert(0, _SHARED_MEMORY)
    return folders


def _reserve(nbytes: int) -> IO[bytes]:
    """Reserve the bytes now: writing to a sparse file on a full disk would be a bus error later."""
    problems: list[str] = []
    for folder in _folders(nbytes):
        with contextlib.ExitStack() as undone:
            try:
                file = undone.enter_context(tempfile.TemporaryFile(dir=folder))
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, nbytes)
                else:  # macOS has none; writing zeros reserves as well
                    file.write(bytes(nbytes))
                    file.flush()
            except OSError as error:
                problems.append(f"{folder}: {error.strerror}")
            else:
                undone.pop_all()  # it stays open as long as the ring
                return file
    raise _too_large(nbytes, "; ".join(problems))


def _too_large(nbytes: int, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"the frames in flight need {nbytes / 2**20:.0f} MiB (slots x simulators x height x width x 3), "
        f"which could not be had ({why}). Use fewer simulators, fewer slots or smaller frames."
    )


class StepGate:
    """Keeps simulators from overwriting frames that have not been read.

    Open (no reader) until `hold` is called. Safe between threads.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._condition = threading.Condition()
        self._released: int | None = None
        self._failure: BaseException | None = None

    def hold(self, from_step: int) -> None:
        """From this vector step on, a slot is overwritten only after `release`."""
        with self._condition:
            self._released = from_step
            self._failure = None

    def release(self, up_to_step: int) -> None:
        """All frames of steps before ``up_to_step`` have been read."""
        with self._condition:
            if self._released is not None:
                self._released = max(self._released, up_to_step)
            self._condition.notify_all()

    def open(self) -> None:
        """Nobody reads any more; a reader's failure is forgotten with it."""
        with self._condition:
            self._released = None
            self._failure = None
            self._condition.notify_all()

    def fail(self, cause: BaseException) -> None:
        """The reader failed: wake whoever waits for it."""
        with self._condition:
            self._failure = cause
            self._condition.notify_all()

    def wait_for(self, step: int) -> None:
        """Block until the slot of ``step`` may be written; raises whatever the reader failed with."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._failure is not None or self._released is None or step < self._released + self._slots
            )
            if self._failure is not None:
                raise self._failure
