"""Policies as data: safetensors and JSON, nothing that is unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import write_atomically
from vlm_rewards.training.algorithm_config import rollout_rows
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.learner_state import load_policy_arrays, policy_arrays
from vlm_rewards.training.run_folder import RunFolder

PolicyFunction = Callable[[np.ndarray], np.ndarray]
"""Observations ``[n ...]`` to deterministic actions ``[n ...]``."""

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


def mark_best(run: RunFolder, best: Snapshot) -> None:
    """Write which snapshot is to be evaluated."""
    value = {"step": best.step, "vlm_return": best.vlm_return, "path": best.path, "chosen_by": "vlm_return"}
    run.write_json(run.checkpoints / BEST, value)


def restore_best(run: RunFolder, best: Snapshot | None) -> None:
    """Go back to the best of a checkpoint: a run that was killed may have marked a later one."""
    if best is None:
        (run.checkpoints / BEST).unlink(missing_ok=True)
    else:
        mark_best(run, best)


def load_policy(run: RunFolder, config: TrainConfig, venv: VecEnv, snapshot: str | None = None) -> PolicyFunction:
    """Load a snapshot of a run as a function, without exploration. Arguments and errors are those of `load_model`."""
    return policy_function(load_model(run, config, venv, snapshot))


def load_model(run: RunFolder, config: TrainConfig, venv: VecEnv, snapshot: str | None = None) -> BaseAlgorithm:
    """Load a snapshot of a run into its algorithm.

    Args:
        run: The run's folder.
        config: Its settings.
        venv: An environment with the run's observation and action spaces.
        snapshot: File name inside ``checkpoints``; None is the best by VLM return.

    Returns:
        The algorithm; it has the policy, and nothing to go on learning from.

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
    """Find the file of a snapshot.

    Args:
        run: The run's folder.
        snapshot: File name inside ``checkpoints``; None is the best by VLM return.

    Raises:
        InvalidInputError: There is no such snapshot.
        CheckpointError: The run has no best snapshot.
    """
    path = run.checkpoints / (snapshot or best_snapshot(run).path)
    if not path.is_file():
        choices = ", ".join(sorted(file.name for file in run.checkpoints.glob("*.safetensors")))
        raise InvalidInputError(f"snapshot {path.name!r} does not exist. Choices: {choices or 'none'}.")
    return path


def best_snapshot(run: RunFolder) -> Snapshot:
    """Read which snapshot has the highest VLM return on the selection episodes.

    Raises:
        CheckpointError: The run has saved none yet.
    """
    try:
        value = json.loads((run.checkpoints / BEST).read_text(encoding="utf-8"))
        return Snapshot(int(value["step"]), float(value["vlm_return"]), str(value["path"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"run {str(run.path)!r} has no best snapshot: {error}.") from None
