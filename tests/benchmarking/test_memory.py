"""What counts as memory, and that a run's does not grow with its rollouts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.memory import PeakMemory
from vlm_rewards.errors import InvalidInputError

pytestmark = pytest.mark.alone
MIB = 2**20
HERE = Path(__file__).parent
HOLDS = """
import sys
held = bytearray(b"x") * (%d * 2**20)
print("ready", flush=True)
sys.stdin.readline()
"""
SHARES = """
import mmap, os, sys
held = mmap.mmap(-1, %d * 2**20)
held.write(b"x" * len(held))
reading, writing = os.pipe()
child = os.fork()
sum(held[place] for place in range(0, len(held), 4096))
if child == 0:
    os.write(writing, b"x")  # a page counts as one process's until the other has looked at it, too
    sys.stdin.readline()
    os._exit(0)
os.read(reading, 1)
print("ready", flush=True)
sys.stdin.readline()
os.waitpid(child, 0)
"""


def memory_of(code: str, mib: int) -> float:
    """MiB of a Python that runs this code."""
    with subprocess.Popen(
        [sys.executable, "-c", code % mib], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        memory = PeakMemory(child.pid)
        found = memory.look()
        child.stdin.write("\n\n")
        child.stdin.close()
        child.wait(timeout=10)
        assert memory.look() == 0, "an ended process has none"
        assert memory.peak == found
        assert memory.looks == 2
    return found / MIB


def test_a_processs_memory_is_seen() -> None:
    assert memory_of(HOLDS, 80) - memory_of(HOLDS, 16) == pytest.approx(64, abs=3)


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere it is RSS, and says so")
def test_memory_that_processes_share_counts_once() -> None:
    assert memory_of(SHARES, 80) - memory_of(SHARES, 16) == pytest.approx(64, abs=4)


def test_a_short_peak_stays_known() -> None:
    with PeakMemory(interval=0.01) as memory:
        before = memory.look()
        held = bytearray(b"x") * (64 * MIB)
        memory.look()
        del held
    assert memory.peak - before > 60 * MIB
    assert memory.look() < memory.peak - 40 * MIB
    assert memory.looks >= 4


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="interval must be a positive number of seconds, got 0"):
        PeakMemory(interval=0)
    with pytest.raises(InvalidInputError, match="pid must be that of a process which runs, got 4194304"):
        PeakMemory(4_194_304)


def test_long_rollouts_need_less_than_two_rings_more_than_short_ones() -> None:
    """16 simulators, rollouts of 100 and of 2,000 vector steps, equal steps in all: every process's memory together."""
    peaks: dict[int, int] = {}
    ring = 0
    for train_freq in (100, 2_000):
        command = [sys.executable, str(HERE / "rollout_memory.py"), str(train_freq)]
        # Large blocks go back to the system at once. Left alone, glibc begins to keep them once some have been freed:
        # whether it then holds 44 MiB more is a matter of which thread asks first, not of the rollouts.
        own = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB), "MALLOC_ARENA_MAX": "1"}
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
        with run as child, PeakMemory(child.pid) as memory:
            printed, _ = child.communicate(timeout=120)
        ring, steps, updates = map(int, printed.split())
        assert (steps, updates) == (32_000, 2_000 // train_freq), "the runs are not the ones that were meant"
        peaks[train_freq] = memory.peak
    assert ring == 33 * 16 * 96 * 96 * 3
    assert peaks[2_000] - peaks[100] < 2 * ring, peaks
