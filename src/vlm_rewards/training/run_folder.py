"""The files of a run, the policies among them: safetensors and JSON, nothing that is unpickled."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError, VLMRewardsError
from vlm_rewards.evaluation.rollouts import PolicyFunction
from vlm_rewards.files import read_json, write_atomically, write_json
from vlm_rewards.tasks.files import file_digest
from vlm_rewards.training.algorithms import build_algorithm, rollout_rows
from vlm_rewards.training.config import TrainConfig, task_from_file
from vlm_rewards.training.learner_state import load_policy_arrays, policy_arrays

LOCK = ".lock"


@contextlib.contextmanager
def still_writable(folder: str) -> Iterator[None]:
    """A disk that fills up in the middle of a run is no bad input, and no reason for a traceback either."""
    try:
        yield
    except OSError as error:
        if isinstance(error, VLMRewardsError):
            raise
        raise RunFolderError(
            f"{folder} can no longer be written: {error.strerror or error}. What was complete before is intact."
        ) from error


class RunFolder:
    """Paths inside a run folder, and writing by one process at a time.

    ``state`` is what a resumed run starts from, one file that is replaced again and again; ``checkpoints`` has the
    policies, ``snapshots`` how they did, ``alarms`` the frames behind alarms of reward hacking.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.record = path / "config.json", path / "record.json"
        self.metrics, self.snapshots, self.curve = path / "metrics.csv", path / "snapshots.csv", path / "curve.png"
        self.state = path / "resume.npz"
        self.tensorboard, self.checkpoints = path / "tensorboard", path / "checkpoints"
        self.videos, self.alarms = path / "videos", path / "alarms"

    @classmethod
    def create(cls, path: Path, config: TrainConfig, *, overwrite: bool) -> RunFolder:
        """Make the folder, as `check_free` allows, and write the settings into it."""
        run = cls(path)
        try:
            run.check_free(overwrite=overwrite)
            run._remove_old()
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.config, config.to_dict())  # first: a folder that holds settings is a run's
            for folder in (run.checkpoints, run.videos):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InvalidInputError(f"run_dir {str(path)!r} cannot be written: {error.strerror or error}.") from None
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the folder of a run that exists; InvalidInputError where there is none."""
        run = cls(path)
        if not run.config.is_file():
            raise InvalidInputError(f"run must be a folder that `vlm-rewards train` wrote, got {str(path)!r}.")
        return run

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing this run at the same time.

        The lock goes with the process that holds it, however that ends.
        """
        try:
            file = (self.path / LOCK).open("w")
        except OSError as error:
            raise InvalidInputError(
                f"run_dir {str(self.path)!r} cannot be written: {error.strerror or error}."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InvalidInputError(f"run {str(self.path)!r} is being written by another process.") from None
            yield

    def read_config(self, *, run_task_file: bool = False) -> TrainConfig:
        """Read the settings.

        With ``run_task_file`` the task's file is run first, where it is the one that the run was made with: it may
        register a reward form or an algorithm that the settings name.

        Raises:
            CheckpointError: The file is missing or damaged.
            InvalidInputError: A setting is missing, unknown or breaks a rule.
        """
        values = read_json(self.config)
        file, digest = values.get("task_file"), values.get("task_file_sha256")
        if run_task_file and file is not None and Path(file).is_file() and digest == file_digest(Path(file)):
            task_from_file(file, str(values.get("task")), digest)
        return TrainConfig.from_dict(values)

    def finished_record(self) -> dict[str, Any] | None:
        """What came out of a run that is trained and evaluated; None of one that is not."""
        with contextlib.suppress(CheckpointError):
            record = read_json(self.record)
            return record if "evaluation" in record else None
        return None

    def check_free(self, *, overwrite: bool) -> None:
        """Check that a new run may be written here, without touching anything.

        Raises:
            InvalidInputError: The folder holds something already and
                ``overwrite`` is False, or it holds something that is no run.
        """
        try:
            in_use = self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir()))
            parent = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        except OSError as error:
            raise InvalidInputError(f"run_dir {str(self.path)!r} cannot be read: {error.strerror or error}.") from None
        if parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
            raise InvalidInputError(f"run_dir {str(self.path)!r} cannot be written: {str(parent)!r} is read-only.")
        if not parent.is_dir() and parent != self.path:
            raise InvalidInputError(f"run_dir {str(self.path)!r} cannot be made: {str(parent)!r} is not a folder.")
        if not in_use:
            return
        if not self._holds_a_run():
            raise InvalidInputError(
                f"run_dir {str(self.path)!r} is in use and holds no run; it will not be overwritten."
            )
        if not overwrite:
            raise InvalidInputError(
                f"run_dir must be new or empty, got {str(self.path)!r}. Choose another, or pass --overwrite."
            )

    def _holds_a_run(self) -> bool:
        """Whether the settings are there and are ours: other tools write a config.json too."""
        try:
            self.read_config()
        except (CheckpointError, InvalidInputError):
            return False
        return True

    def _remove_old(self) -> None:
        """Remove what a run writes, and nothing else that somebody may have put beside it."""
        for folder in (self.checkpoints, self.videos, self.tensorboard, self.alarms):
            if folder.is_dir():
                shutil.rmtree(folder)
        for file in (self.state, self.record, self.metrics, self.snapshots, self.curve, self.config):
            file.unlink(missing_ok=True)


BEST = "best.json"


@dataclass(frozen=True)
class Snapshot:
    """A policy that was saved, and how it did on the selection episodes."""

    step: int
    """Environment steps taken before it was saved."""
    vlm_return: float
    """Mean VLM return over the selection episodes."""
    path: str
    """File name inside the run's ``checkpoints`` folder."""


def snapshot_marks(config: TrainConfig) -> list[int]:
    """Environment steps at which snapshots are due: each is taken before the rollout that begins there or next."""
    return [config.steps * (index + 1) // config.snapshots for index in range(config.snapshots)]


def planned_snapshots(config: TrainConfig) -> list[int]:
    """Environment steps after which a run that is not interrupted takes its snapshots."""
    rows = rollout_rows(config.algorithm, config.n_envs)
    return sorted({-(-mark // rows) * rows for mark in snapshot_marks(config)})


def save_policy(model: BaseAlgorithm, path: Path) -> None:
    """Write a policy's arrays, whole or not at all."""
    arrays = {name: np.ascontiguousarray(array) for name, array in policy_arrays(model).items()}
    write_atomically(path, save(arrays))


def policy_function(model: BaseAlgorithm) -> PolicyFunction:
    """The model's policy as a function, without exploration."""
    return lambda observations: model.predict(observations, deterministic=True)[0]


def mark_best(run: RunFolder, best: Snapshot | None) -> None:
    """Write which snapshot is to be evaluated; None where there is none yet, whatever a run that was killed marked."""
    if best is None:
        (run.checkpoints / BEST).unlink(missing_ok=True)
        return
    write_json(run.checkpoints / BEST, {**dataclasses.asdict(best), "chosen_by": "vlm_return"})


def load_policy(run: RunFolder, config: TrainConfig, venv: VecEnv, snapshot: str | None = None) -> PolicyFunction:
    """Load a snapshot of a run as a function, without exploration. Arguments and errors are those of `load_model`."""
    return policy_function(load_model(run, config, venv, snapshot))


def load_model(run: RunFolder, config: TrainConfig, venv: VecEnv, snapshot: str | None = None) -> BaseAlgorithm:
    """Load a snapshot of a run, by default the best, into its algorithm, with nothing to go on learning from.

    The environment has the run's observation and action spaces.

    Raises:
        InvalidInputError: There is no such snapshot.
        CheckpointError: The file is damaged or of another network.
    """
    path = find_snapshot(run, snapshot)
    model = build_algorithm(config.algorithm, venv, seed=config.seed, device=config.device, for_inference=True)
    try:
        load_policy_arrays(model, load_file(path))
    except (SafetensorError, CheckpointError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} is damaged or of another network: {error}") from None
    return model


def find_snapshot(run: RunFolder, snapshot: str | None) -> Path:
    """Find the file of a snapshot by its name inside ``checkpoints``; None is the best by VLM return."""
    path = run.checkpoints / (snapshot or best_snapshot(run).path)
    if not path.is_file():
        choices = ", ".join(sorted(file.name for file in run.checkpoints.glob("*.safetensors")))
        raise InvalidInputError(f"snapshot {path.name!r} does not exist. Choices: {choices or 'none'}.")
    return path


def best_snapshot(run: RunFolder) -> Snapshot:
    """Read which snapshot has the highest VLM return on the selection episodes; CheckpointError if there is none."""
    try:
        value = json.loads((run.checkpoints / BEST).read_text(encoding="utf-8"))
        return Snapshot(int(value["step"]), float(value["vlm_return"]), str(value["path"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"run {str(run.path)!r} has no best snapshot: {error}.") from None
