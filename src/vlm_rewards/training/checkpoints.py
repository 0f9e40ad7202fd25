"""Saving a run's whole state, and going on from it as if nothing had happened.

Both happen at the start of a rollout: all frames have their rewards then, all
updates have been made, and the first action is still to be chosen.

Ctrl-C that waits for a good moment, but not for long. What a resume state belongs to: a run may go on only where
everything that decides it is as it was.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards import __version__
from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError
from vlm_rewards.files import seconds_to_wait, write_state
from vlm_rewards.provenance import package_versions
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.callbacks import Callback, Stopwatch
from vlm_rewards.training.run_folder import RunFolder

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


FORMAT = 3
"""Of the resume state; another number is another layout."""


def identity(task: Task, venv: VecEnv, reward: Any, held_out: Any) -> dict[str, Any]:
    """Describe, in JSON values, what decides a run besides its settings."""
    return {
        "format": FORMAT,
        "versions": {"vlm-rewards": __version__, **package_versions()},
        "task": {
            "name": task.name,
            "horizon": task.horizon,
            "criterion": task.criterion_text,
            "metadata": _plain(dict(task.metadata)),
            "observation_space": repr(venv.observation_space),
            "action_space": repr(venv.action_space),
        },
        "reward": _plain(reward.describe()),
        "held-out reward": {} if held_out is None else _plain(held_out.describe()),
    }


def check_identity(saved: Mapping[str, Any], present: Mapping[str, Any], *, other_versions: bool = False) -> None:
    """Raise CheckpointError where `identity` is not what it was in the saved state; versions may be let pass."""
    if saved.get("format") != present["format"]:
        raise CheckpointError(
            f"the resume state has format {saved.get('format')!r}, this version reads {present['format']!r}. "
            f"Go on with the version that wrote it: {saved.get('versions', {}).get('vlm-rewards', 'unknown')}."
        )
    for part, advice in (
        ("task", "The task has changed; start a new run."),
        ("reward", "The reward has changed; start a new run, or bring back what it was made of."),
        ("held-out reward", "Start a new run, or bring back what it was made of."),
    ):
        _check_part(part, saved.get(part, {}), present[part], advice)
    if not other_versions:
        _check_part(
            "version",
            saved.get("versions", {}),
            present["versions"],
            "Install what it was, or pass --other-versions: the run goes on, but not just as if it had never stopped.",
        )


def _check_part(part: str, saved: Mapping[str, Any], present: Mapping[str, Any], advice: str) -> None:
    names = [name for name in {**saved, **present} if saved.get(name) != present.get(name)]
    if names:
        said = [f"{name} was {_short(saved.get(name))}, is {_short(present.get(name))}" for name in names[:4]]
        raise CheckpointError(f"the {part} is not that of the run: {'; '.join(said)}. {advice}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:160] + "..."


def _plain(value: Any) -> Any:
    """As JSON gives it back, so that saved and present can be compared."""
    return json.loads(json.dumps(value, default=str))


class Checkpoints(Callback):
    """Writes the run's resume state every so many seconds, and at the end. Must come last in the list.

    One file is kept and replaced. A run that is killed goes on from it. ``step`` is the environment steps that the file
    on disk stands for; None before the first.
    """

    def __init__(
        self,
        run: RunFolder,
        capture: Callable[[], dict[str, Any]],
        *,
        every: float,
        interruption: Interruption,
        stopwatch: Stopwatch,
        step: int | None,
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

    def _on_training_end(self) -> None:
        self.take(finished=True)

    def take(self, *, finished: bool) -> None:
        """Write the state; RunFolderError where that fails, and the one before is intact."""
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


class Resumption(Callback):
    """Puts a saved state back, once. Must come first in the list, but after `LabelRewards`.

    The ``others`` are callbacks that must know how many steps have been taken.
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
    """Remove what was written after a checkpoint from all logs; where one is too short, raise and touch none."""
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
