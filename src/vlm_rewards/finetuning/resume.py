"""Keeping the state of a fine-tuning, so that hours of it survive a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError
from vlm_rewards.provenance import provenance
from vlm_rewards.state_file import read_state, seconds_to_wait, write_state

STATE = "state.npz"
"""In the folder of a training that is not finished."""
FORMAT = 1
"""Of the state; another number is another layout."""

_SECONDS = 60.0
"""Between two states."""


@dataclass
class Keeper:
    """Writes the state of a training now and then; `vlm_rewards.finetuning.trainer.Trainer` calls it after each step.

    Args:
        path: File of the state.
        settings: What decides the weights, to be held against what a later call asks for.
        earlier: The state that this training goes on from, if it does.
    """

    path: Path
    settings: Mapping[str, Any]
    earlier: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        origin = provenance()
        self._commit, self._versions = origin["commit"], _versions(origin)
        self.start()

    @property
    def commit(self) -> str | None:
        """Commit that the training began with."""
        return self._commit if self.earlier is None else self.earlier["commit"]

    @property
    def resumed(self) -> list[dict[str, Any]]:
        """``step`` and ``commit`` of each time that it went on."""
        if self.earlier is None:
            return []
        return [*self.earlier["resumed"], {"step": len(self.earlier["trainer"]["losses"]), "commit": self._commit}]

    def start(self) -> None:
        """Training begins; what came before is not its time."""
        self._began = time.perf_counter()
        self._due = self._began + _SECONDS

    def seconds(self) -> float:
        """Time spent in training, that of earlier calls included."""
        before = 0.0 if self.earlier is None else float(self.earlier["seconds"])
        return before + time.perf_counter() - self._began

    def __call__(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write the state if it is time to.

        Args:
            state: Gives it.

        Raises:
            RunFolderError: It cannot be written; the state before is as it was.
        """
        started = time.perf_counter()
        if started < self._due:
            return
        whole = {
            "format": FORMAT,
            "settings": dict(self.settings),
            "versions": self._versions,
            "commit": self.commit,
            "resumed": self.resumed,
            "seconds": self.seconds(),
            "trainer": state(),
        }
        try:
            write_state(self.path, whole)
        except OSError as error:
            raise RunFolderError(
                f"{str(self.path)!r} cannot be written: {error}. Make room, and go on with --resume where there is an "
                "earlier state."
            ) from error
        finished = time.perf_counter()
        self._due = finished + seconds_to_wait(_SECONDS, finished - started)

    def forget(self) -> None:
        """The training is finished, or begins anew."""
        self.path.unlink(missing_ok=True)


def load_state(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state of a training that was broken off.

    Args:
        path: Its file.
        settings: What is asked for now.

    Raises:
        InvalidInputError: There is none, or it is of other settings; the message says which, then and now.
        CheckpointError: It is damaged, or other versions of packages wrote it: the weights would not be the same.
    """
    if not path.is_file():
        raise InvalidInputError(
            f"resume: there is no training to go on with in {str(path.parent)!r}: it is finished, or was stopped in "
            "its first minute. Leave --resume out to begin."
        )
    state = read_state(path)
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} has format {state.get('format')!r}, this version reads {FORMAT}.")
    told = _differences(state["settings"], settings)
    if told:
        raise InvalidInputError(f"resume: the training in {str(path.parent)!r} has other settings: {told}.")
    told = _differences(state["versions"], _versions(provenance()))
    if told:
        raise CheckpointError(
            f"the training in {str(path.parent)!r} began with other versions: {told}. The weights would not be those "
            "of a training that was never stopped; install these versions, or begin again with --overwrite."
        )
    return state


def _versions(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"vlm-rewards": origin["version"], **origin["versions"]}


def _differences(saved: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    keys = [key for key in {**saved, **present} if saved.get(key) != present.get(key)]
    return ", ".join(f"{key} was {saved.get(key)!r} and is {present.get(key)!r} now" for key in keys)
