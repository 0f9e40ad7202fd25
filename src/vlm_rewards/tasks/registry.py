"""Tasks that users bring: a Python file, or a package with an entry point."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import warnings
from importlib import metadata
from importlib.machinery import SOURCE_SUFFIXES, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

from vlm_rewards.errors import InvalidInputError, VLMRewardsError, unknown_name
from vlm_rewards.tasks.task import Task, replacing_tasks

ENTRY_POINTS = "vlm_rewards.tasks"
"""Group of the entry points that bring tasks."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_task_file(path: Path, name: str | None = None) -> Task:
    """Run a Python file and take a task from it.

    The file registers tasks with `register_task`, or just has them as global
    names. What it defines is sent to simulator processes by value, so it need
    not be importable there.

    Args:
        path: The file. It is run as a program of the user's: it may do anything.
        name: Name of the task; None where the file has only one.

    Returns:
        The task. Those of the file are registered, too.

    Raises:
        InvalidInputError: There is no such file or task, the file raises, or it has several tasks and none was named.
    """
    if not path.is_file():
        raise InvalidInputError(f"task file {str(path)!r} does not exist.")
    with replacing_tasks() as registered:
        module = run_file(path.resolve(), "task file")
    tasks = {task.name: task for task in [*registered, *_tasks_in(module)]}
    if not tasks:
        raise InvalidInputError(f"task file {str(path)!r} has no task: call register_task(Task(...)) in it.")
    if name is None and len(tasks) > 1:
        raise InvalidInputError(f"task file {str(path)!r} has several tasks; name one: {', '.join(sorted(tasks))}.")
    if name is not None and name not in tasks:
        raise unknown_name(f"task in {str(path)!r}", name, tasks)
    return tasks[name] if name is not None else next(iter(tasks.values()))


def load_entry_points() -> list[Task]:
    """Tasks of installed packages: entry points that are a `Task` or a function that returns one, or a list.

    A package whose entry point fails is warned of and left out.
    """
    found: list[Task] = []
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            found.extend(_as_tasks(point.load()))
        except Exception as error:  # somebody else's code must not keep the others from working
            warnings.warn(f"the tasks of {point.value!r} cannot be loaded: {error!r}", stacklevel=2)
    return found


def _as_tasks(value: Any) -> list[Task]:
    if not isinstance(value, Task) and callable(value):
        value = value()
    tasks = [value] if isinstance(value, Task) else list(value)
    for task in tasks:
        if not isinstance(task, Task):
            raise InvalidInputError(f"an entry point of {ENTRY_POINTS!r} must bring tasks, got {task!r}.")
    return tasks


def run_file(path: Path, kind: str) -> ModuleType:
    """Run a Python file of the user's as a module, whose objects are pickled by value.

    Args:
        path: The file, absolute. It may do anything.
        kind: What it is, as messages call it.

    Raises:
        InvalidInputError: It is no Python file, or it raises.
    """
    name = f"vlm_rewards_task_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    loader = _Uncached(name, str(path)) if path.suffix in SOURCE_SUFFIXES else None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if loader is None or spec is None:
        raise InvalidInputError(f"{kind} must be a Python file, got {str(path)!r}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling and dataclasses look it up there
    try:
        loader.exec_module(module)
    except VLMRewardsError:
        del sys.modules[name]
        raise
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InvalidInputError(f"{kind} {str(path)!r} raised {type(error).__name__}: {error}") from error
    cloudpickle.register_pickle_by_value(module)
    return module


class _Uncached(SourceFileLoader):
    """Compiles the file as it is now.

    Bytecode is kept by a file's size and the second of its last change, so a
    number that is changed within the second that the file was run in would not
    be seen; and a folder that tasks lie in need not be written to.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _tasks_in(module: ModuleType) -> list[Task]:
    return [value for name, value in vars(module).items() if isinstance(value, Task) and not name.startswith("_")]
