"""Ctrl-C that waits for a good moment, but not for long."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

PATIENCE_SECONDS = 1.5
"""How long the first Ctrl-C may wait for a moment at which the run's state can be saved."""
_LAST_WORDS_SECONDS = 1.0
"""How long a run may take, after that, to save its last policy."""


class Interruption:
    """While active, the first Ctrl-C asks for an end at the next good moment; a second one, or time, forces it.

    Only at the start of a rollout can a run's whole state be saved. Whoever
    gets there asks `requested` and raises KeyboardInterrupt. If nobody does
    within `PATIENCE_SECONDS`, it is raised wherever the program is.

    In a thread other than the main one, or where somebody else handles Ctrl-C,
    it stays what it was.
    """

    def __init__(self) -> None:
        self._requested = False
        self._active = False
        self._timer: threading.Timer | None = None

    @property
    def requested(self) -> bool:
        """Whether Ctrl-C has been pressed."""
        return self._requested

    def __enter__(self) -> Interruption:
        """Take over Ctrl-C."""
        self._active = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._active:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give Ctrl-C back."""
        if self._active:
            self._active = False
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._disarm()

    def limit_last_words(self) -> None:
        """From now on the run is ending: raise KeyboardInterrupt if that takes too long."""
        if self._active:
            self._arm(_LAST_WORDS_SECONDS)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        self._arm(PATIENCE_SECONDS)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        # The signal, unlike an exception, reaches a main thread that waits for a lock or a pipe.
        self._timer = threading.Timer(seconds, self._press_again)
        self._timer.daemon = True
        self._timer.start()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _press_again(self) -> None:
        if self._active:
            self._requested = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
