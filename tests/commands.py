"""The command line in this process and in one of its own, and runs that take seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_rewards.cli import main

SMALL = "--steps 600 --n-envs 3 --n-workers 1 --standardise 150 --learning-starts 150 --train-freq 10"
SMALL += " --gradient-steps 4 --net-arch 16 --snapshots 2 --selection-episodes 2 --evaluation-episodes 2"
SMALL += " --chunk-frames 30 --device cpu"
TASK_FILE = """
import dataclasses
from vlm_rewards import register_task
from vlm_rewards.testing.point import point_task
TASK = register_task(dataclasses.replace(point_task("dot"), goal="the pole is upright"), replace=True)
"""


def run(*arguments: object) -> int:
    """The exit code of a command line in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command line in a process of its own."""
    command = [sys.executable, "-m", "vlm_rewards.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def record_of(folder: Path) -> dict[str, Any]:
    """The record that a run left."""
    return json.loads((folder / "record.json").read_text())
