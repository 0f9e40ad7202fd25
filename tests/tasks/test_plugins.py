"""Tasks from files and from packages' entry points."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.tasks.files import file_digest, load_task_file
from vlm_rewards.tasks.task import TASKS, get_task, list_tasks

ONE = """
import dataclasses
from vlm_rewards import register_task
from vlm_rewards.testing.point import point_task
OWN = {own!r}
def build(size):
    env = point_task().simulator(size)
    env.own = OWN
    return env
TASK = register_task(dataclasses.replace(point_task("dot"), simulator=build))
"""
TWO = (
    ONE
    + """
_hidden = dataclasses.replace(TASK, name="hidden")
other = dataclasses.replace(TASK, name="other")
"""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dot.py"
    path.write_text(ONE.format(own=7))
    return path


def test_the_only_task_of_a_file(path: Path) -> None:
    task = load_task_file(path)
    assert task.name == "dot"
    assert get_task("dot") is task
    assert len(file_digest(path)) == 64


def test_a_file_may_be_changed_and_run_again(path: Path) -> None:
    for own in (1, 2):
        path.write_text(ONE.format(own=own))
        os.utime(path, (1e9, 1e9))  # within one second, as bytecode counts
        assert load_task_file(path).simulator(32).own == own  # type: ignore[attr-defined]
    assert list(path.parent.iterdir()) == [path]


def test_only_python_files_are_run(path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"must be a Python file, got '.*dot\.txt'"):
        load_task_file(path.rename(path.with_suffix(".txt")))


def test_one_of_several_is_named(path: Path) -> None:
    path.write_text(TWO.format(own=1))
    with pytest.raises(InvalidInputError, match="has several tasks; name one: dot, other"):
        load_task_file(path)
    assert load_task_file(path, "other").name == "other"
    with pytest.raises(UnknownNameError, match="'hidden'"):
        load_task_file(path, "hidden")


def test_what_a_file_defines_goes_to_other_processes_by_value(path: Path) -> None:
    pickled = path.with_name("simulator")
    pickled.write_bytes(cloudpickle.dumps(load_task_file(path).simulator))
    path.unlink()
    code = f"import pickle, pathlib; print(pickle.loads(pathlib.Path({str(pickled)!r}).read_bytes())(32).own)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, cwd="/")
    assert done.stdout == "7\n", done.stderr
    assert pickle.loads(pickled.read_bytes())(32).own == 7


@pytest.fixture
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that brings tasks, some of which are none."""
    (tmp_path / "brought.py").write_text(
        "from vlm_rewards.testing.point import point_task\n"
        "TASK = point_task('brought-one')\n"
        "def made():\n    return point_task('brought-two')\n"
        "number = 7\n"
    )
    info = tmp_path / "brought-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vlm_rewards.tasks]\nbrought-one = brought:TASK\nbrought-two = brought:made\nother = brought:TASK\n"
        "bad = brought:number\nno = nowhere:TASK\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(TASKS, "_points", None)
    yield
    sys.modules.pop("brought", None)


@pytest.mark.usefixtures("_package")
def test_packages_bring_tasks_and_a_broken_one_does_not_keep_others_away() -> None:
    assert {"bad", "brought-one", "brought-two", "cartpole", "no"} <= set(list_tasks())
    assert "brought" not in sys.modules
    for name in ("brought-one", "brought-two"):
        assert get_task(name).name == name
    assert get_task("brought:made").name == "brought-two"


@pytest.mark.usefixtures("_package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad", "task 'bad' must be a Task or a function that returns one, got 7"),
        ("brought:number", "task 'brought:number' must be a Task or a function that returns one, got 7"),
        ("no", "task 'nowhere:TASK' cannot be loaded: ModuleNotFoundError"),
        ("nowhere:TASK", "task 'nowhere:TASK' cannot be loaded: ModuleNotFoundError"),
        ("other", "the entry point of task 'brought-one' must be called like it, got 'other'"),
    ],
)
def test_what_brings_no_task_is_named(name: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        get_task(name)
