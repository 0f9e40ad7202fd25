"""Peak memory of a process and all that it started."""

from __future__ import annotations

import contextlib
import os
import threading

import psutil

from vlm_rewards.errors import InvalidInputError

_INTERVAL = 0.05  # seconds; a rollout of frames is there for longer


class PeakMemory(contextlib.AbstractContextManager["PeakMemory"]):
    """Watches the memory of a process and its descendants while a ``with`` block runs.

    On Linux it adds up proportional set sizes (PSS): memory that n processes
    share counts 1/n in each, so that the sum counts it once. Elsewhere it adds
    up resident set sizes (RSS), which counts shared memory several times;
    `kind` says which.

    Args:
        pid: The process; default: this one.
        interval: Seconds between two looks. What lives for less may be missed.

    Attributes:
        kind: ``"PSS"`` or ``"RSS"``.
        peak: Greatest sum seen so far, in bytes.
        looks: How often it has looked.

    Raises:
        InvalidInputError: There is no such process, or the interval is not positive.
    """

    def __init__(self, pid: int | None = None, *, interval: float = _INTERVAL) -> None:
        if not interval > 0:
            raise InvalidInputError(f"interval must be a positive number of seconds, got {interval!r}.")
        try:
            self._root = psutil.Process(os.getpid() if pid is None else pid)
        except psutil.NoSuchProcess:
            raise InvalidInputError(f"pid must be that of a process which runs, got {pid}.") from None
        self.kind = "PSS" if psutil.LINUX else "RSS"
        self.peak = 0
        self.looks = 0
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vlm-rewards-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        """Begin to look."""
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look a last time."""
        self._stop.set()
        self._thread.join()
        self.look()

    def look(self) -> int:
        """Add up what the processes have now, in bytes; processes that end meanwhile count as nothing."""
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [self._root, *self._root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                    total += process.memory_full_info().pss if psutil.LINUX else process.memory_info().rss
        self.peak = max(self.peak, total)
        self.looks += 1
        return total

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self.look()
