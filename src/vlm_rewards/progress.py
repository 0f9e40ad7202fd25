"""What a long job tells whoever started it; only the command line knows about terminals."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Shows how far a job has come. All of a job's messages go through it, one stage is shown at a time."""

    def say(self, text: str, *, warning: bool = False) -> None:
        """Tell something, in one line."""
        ...

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage of so many parts; None where nobody can say how many."""
        ...

    def advance(self, done: int, note: str = "") -> None:
        """So many parts of the stage are done, in all."""
        ...

    def stop(self) -> None:
        """The stage has ended. Safe to call twice."""
        ...


class LoggedProgress:
    """Goes to the log ``vlm_rewards``: warnings appear on standard error unless the program says otherwise."""

    def __init__(self) -> None:
        self._log = logging.getLogger("vlm_rewards")

    def say(self, text: str, *, warning: bool = False) -> None:
        """Tell something, in one line."""
        self._log.log(logging.WARNING if warning else logging.INFO, text)

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage."""
        self._log.info(stage)

    def advance(self, done: int, note: str = "") -> None:
        """So many parts of the stage are done, in all."""
        self._log.debug("%s %s", done, note)

    def stop(self) -> None:
        """The stage has ended."""
