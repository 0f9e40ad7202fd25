"""Saving a run's whole state, and going on from it as if nothing had happened.

Both happen at the start of a rollout: all pictures have their rewards then, all
updates have been made, and the first action is still to be chosen.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError
from vlm_rewards.state_file import seconds_to_wait, write_state
from vlm_rewards.training.callbacks import Stopwatch
from vlm_rewards.training.interruption import Interruption
from vlm_rewards.training.run_folder import RunFolder


class Checkpoints(BaseCallback):
    """Writes the run's resume state now and then, and at the end. Must come last in the list.

    One file is kept and replaced. A run that is killed goes on from it.

    Args:
        run: Where to write.
        capture: Says what there is to save: JSON values and arrays.
        every: Seconds between two; 0 is before every rollout, infinity only at the end and on Ctrl-C.
        interruption: Asked whether Ctrl-C has been pressed.
        stopwatch: Told how long it took.

    Attributes:
        step: Environment steps that the file on disk stands for; None before the first.
    """

    def __init__(
        self,
        run: RunFolder,
        capture: Callable[[], dict[str, Any]],
        *,
        every: float,
        interruption: Interruption,
        stopwatch: Stopwatch,
        step: int | None = None,
    ) -> None:
        super().__init__()
        self.step = step
        self._run = run
        self._capture = capture
        self._every = every
        self._interruption = interruption
        self._stopwatch = stopwatch
        self._next = time.perf_counter() + every

    def _on_rollout_start(self) -> None:
        steps = self.model.num_timesteps
        if self._interruption.requested:
            if self.step != steps:
                self.take(finished=False)
            raise KeyboardInterrupt  # here nothing is lost
        if time.perf_counter() >= self._next and self.step != steps:
            self.take(finished=False)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.take(finished=True)

    def take(self, *, finished: bool) -> None:
        """Write the state.

        Raises:
            RunFolderError: It cannot be written; the one before is intact.
        """
        started = time.perf_counter()
        # What the state counts on must be on disk before it: logs are cut to the sizes that it names.
        state = {"steps": self.model.num_timesteps, "finished": finished, **self._capture()}
        try:
            write_state(self._run.state, state)
        except OSError as error:
            kept = "none was written before" if self.step is None else f"the one of step {self.step:,} is intact"
            raise RunFolderError(
                f"the checkpoint of step {self.model.num_timesteps:,} could not be written to "
                f"{str(self._run.state)!r}: {error.strerror or error}; {kept}."
            ) from error
        self.step = self.model.num_timesteps
        seconds = time.perf_counter() - started
        self._stopwatch.exclude(seconds, "checkpoint")
        self._next = time.perf_counter() + seconds_to_wait(self._every, seconds)


class Resumption(BaseCallback):
    """Puts a saved state back, once. Must come first in the list, but after `LabelRewards`.

    Args:
        state: What `Checkpoints` wrote.
        restore: Puts the parts back.
        others: Callbacks that must know how many steps have been taken.
    """

    def __init__(
        self, state: dict[str, Any], restore: Callable[[dict[str, Any]], None], others: list[BaseCallback]
    ) -> None:
        super().__init__()
        self._state: dict[str, Any] | None = state
        self._restore = restore
        self._others = others

    def _on_training_start(self) -> None:
        if self._state is not None and self._state["finished"]:
            self._put_back()  # no rollout will start any more

    def _on_rollout_start(self) -> None:
        # Not before: Stable-Baselines3 has drawn exploration noise on its way here, and the saved state is from after.
        if self._state is not None:
            self._put_back()

    def _on_step(self) -> bool:
        return True

    @property
    def pending(self) -> bool:
        """Whether the state has not been put back yet, or only in part."""
        return self._state is not None

    def _put_back(self) -> None:
        state = self._state
        if state is not None:
            self._restore(state)
            for callback in self._others:
                callback.num_timesteps = state["steps"]
            self._state = None


def check_interval(seconds: float) -> float:
    """Check the time between checkpoints: a number of seconds that is not negative; infinity is allowed."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds) or seconds < 0:
        raise InvalidInputError(f"checkpoint_seconds must be a number of at least 0, got {seconds!r}.")
    return float(seconds)


def tensorboard_state(model: Any) -> dict[str, Any]:
    """Flush TensorBoard's log and say how long its files are, and which values wait to be written."""
    folder: Path | None = None
    for output in model.logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer.flush()
            folder = Path(output.writer.log_dir)
    files = {} if folder is None else {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    logger = model.logger
    return {
        "files": files,
        "values": {key: float(value) for key, value in logger.name_to_value.items()},
        "counts": dict(logger.name_to_count),
        "excluded": {key: list(value) for key, value in logger.name_to_excluded.items()},
    }


def restore_waiting(model: Any, state: dict[str, Any]) -> None:
    """Put back the values that had been recorded and not yet written."""
    model.logger.name_to_value.update(state["values"])
    model.logger.name_to_count.update(state["counts"])
    model.logger.name_to_excluded.update({key: tuple(value) for key, value in state["excluded"].items()})


def cut_logs(run: RunFolder, state: dict[str, Any]) -> None:
    """Remove from all logs what was written after a checkpoint.

    Raises:
        CheckpointError: One is missing or too short; none has been touched.
    """
    files = {run.tensorboard / name: size for name, size in state["tensorboard"]["files"].items()}
    sizes = {run.metrics: state["metrics"]["size"], run.snapshots: state["snapshots"]["size"], **files}
    for path, size in sizes.items():
        if not path.is_file() or path.stat().st_size < size:
            raise CheckpointError(
                f"{str(path)!r} is shorter than at the last checkpoint ({size} bytes): it was changed."
            )
    for path in run.tensorboard.iterdir() if run.tensorboard.is_dir() else ():
        if path not in files:
            path.unlink()
    for path, size in sizes.items():
        os.truncate(path, size)
