"""Python files that users bring: tasks, and whatever else a setting names as ``file.py:name``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import cloudpickle

from vlm_rewards.errors import InvalidInputError, VLMRewardsError, unknown_name
from vlm_rewards.tasks.task import Task, replacing_tasks


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_task_file(path: Path, name: str | None = None) -> Task:
    """Run a Python file and take a task from it.

    The file registers tasks with `register_task`, or just has them as global
    names. What it defines is sent to simulator processes by value, so it need
    not be importable there.

    Args:
        path: The file, for `run_file`.
        name: Name of the task; None where the file has only one.

    Returns:
        The task. Those of the file are registered, too.

    Raises:
        InvalidInputError: There is no such file or task, the file raises, or it has several tasks and none was named.
    """
    with replacing_tasks() as registered:
        module = run_file(path, "task file")
    named = [value for name, value in vars(module).items() if isinstance(value, Task) and not name.startswith("_")]
    tasks = {task.name: task for task in [*registered, *named]}
    if not tasks:
        raise InvalidInputError(f"task file {str(path)!r} has no task: call register_task(Task(...)) in it.")
    if name is None and len(tasks) > 1:
        raise InvalidInputError(f"task file {str(path)!r} has several tasks; name one: {', '.join(sorted(tasks))}.")
    if name is not None and name not in tasks:
        raise unknown_name(f"task in {str(path)!r}", name, tasks)
    return tasks[name] if name is not None else next(iter(tasks.values()))


def run_file(path: Path, kind: str = "file") -> ModuleType:
    """Run a Python file as it is now, as a program of the user's: it may do anything. Messages call it by its kind.

    Returns:
        Its module. What it defines is pickled by value, so that it need not be importable in another process.

    Raises:
        InvalidInputError: There is no such file, it is not Python, or it raises.
    """
    if not path.is_file():
        raise InvalidInputError(f"{kind} {str(path)!r} does not exist.")
    path = path.resolve()
    if path.suffix not in SOURCE_SUFFIXES:
        raise InvalidInputError(f"{kind} must be a Python file, got {str(path)!r}.")
    name = f"vlm_rewards_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    loader = _Uncached(name, str(path))
    module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # pickling and dataclasses look it up there
    try:
        loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (VLMRewardsError, KeyboardInterrupt)):
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
