"""A command that must not outlive its parent does not."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from vlm_rewards.training.sweep import LAUNCH

PARENT = """
import os, subprocess, sys, time
from vlm_rewards.training.sweep import LAUNCH
sleep = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
launch = [sys.executable, "-c", LAUNCH, str(os.getpid())] if sys.argv[1] == "launched" else []
child = subprocess.Popen([*launch, *sleep], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a killed parent leaves its children")
@pytest.mark.parametrize("way", ["launched", "by itself"])
def test_a_killed_parent_takes_its_child_along(way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert "sleep(60)" in child.cmdline()[-1]  # the command has taken the place of its launcher
    parent.kill()
    parent.communicate()
    gone, left = psutil.wait_procs([child], timeout=5 if way == "launched" else 0.5)
    assert bool(gone) is (way == "launched")
    for process in left:
        process.kill()


def test_a_command_whose_parent_is_dead_already_does_not_start() -> None:
    command = [sys.executable, "-c", LAUNCH, "1", sys.executable, "-c", "print('started')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
