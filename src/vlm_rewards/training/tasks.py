"""The task of a run, from its settings alone: to train, to resume and to evaluate."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from vlm_rewards.envs import EnvironmentConfig, Task, environment_task, get_task
from vlm_rewards.envs.humanoid.tasks import configured
from vlm_rewards.envs.plugins import file_digest, load_task_file
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset


def task_of(config: TrainConfig) -> Task:
    """Build the task of a run.

    Args:
        config: The run's settings.

    Returns:
        The task: from the registry, an environment by its id, or from a Python file.

    Raises:
        InvalidInputError: The task's file is gone, fails or has changed since; or the environment is not usable.
        UnknownNameError: There is no such task.
    """
    if config.environment is not None:
        return _environment_task(config.environment, config.goal, config.baseline)
    if config.task_file is not None:
        _check_unchanged(Path(config.task_file), config.task_file_sha256)
        task = _task_from(config.task_file, config.task, config.task_file_sha256)
    else:
        task = get_task(config.task)
    return task if config.humanoid is None else configured(task, config.humanoid)


def file_preset(path: Path, task: str | None, name: str = "cpu", algorithm: str | None = None) -> TrainConfig:
    """Settings to start from, for a task in a Python file; see `vlm_rewards.training.presets.preset`.

    Args:
        path: The file, which is run.
        task: Name of the task; None where the file has only one.
        name: The preset.
        algorithm: Another algorithm than the preset's.

    Raises:
        InvalidInputError: As `vlm_rewards.envs.plugins.load_task_file` and `preset`.
    """
    if not path.is_file():
        raise InvalidInputError(f"task file {str(path)!r} does not exist.")
    digest = file_digest(path)
    config = preset(load_task_file(path, task), name, algorithm)
    return dataclasses.replace(config, task_file=str(path.resolve()), task_file_sha256=digest)


@functools.lru_cache(maxsize=16)
def _environment_task(config: EnvironmentConfig, goal: str, baseline: str) -> Task:
    return environment_task(config, goal=goal, baseline=baseline)


@functools.lru_cache(maxsize=16)
def _task_from(file: str, name: str, digest: str | None) -> Task:  # the digest tells contents apart
    return load_task_file(Path(file), name)


def _check_unchanged(path: Path, digest: str | None) -> None:
    if path.is_file() and digest not in (None, file_digest(path)):
        raise InvalidInputError(
            f"task file {str(path)!r} has changed since the run began: it is another task now. Bring back the file "
            "as it was, or start a new run."
        )
