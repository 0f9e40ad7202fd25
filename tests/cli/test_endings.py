"""However a run ends: within five seconds, with the true cause, a checkpoint, no process and no shared memory left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cases.command_line import CommandLine
from commands import run
from vlm_rewards.files import read_state
from vlm_rewards.testing.fakes import state_differences

pytestmark = pytest.mark.alone
PATIENCE = 5.0
SHM = Path("/dev/shm")
SMALL = (
    "--steps 600 --n-envs 2 --n-workers 2 --standardise 100 --learning-starts 100 --train-freq 10 --gradient-steps 4"
)
SMALL += " --net-arch 16 --snapshots 3 --selection-episodes 2 --evaluation-episodes 2 --chunk-frames 20 --device cpu"
SMALL += " --checkpoint-seconds 0 --keep-state"
TASK_FILE = """
import dataclasses, os, time
from pathlib import Path
from vlm_rewards import register_task
from vlm_rewards.testing.point import point_task

MARKER, WHEN, FAILS = Path({marker!r}), {when!r}, {fails!r}
POINT = point_task("dot")

def at(place):
    if place == WHEN:
        new = MARKER.with_suffix(".new")
        try:
            new.open("x").write(str(os.getpid()))  # one process alone
        except FileExistsError:
            return
        os.link(new, MARKER)
        if FAILS:
            raise ZeroDivisionError("the cause that must be named")
        time.sleep(60)

def build(size):
    at("build")
    env = POINT.simulator(size)
    taken = env.step
    count = 0
    def step(action):
        nonlocal count
        count += 1
        if count == 60 and not MARKER.exists():
            at("step")
        return taken(action)
    env.step = step
    return env

TASK = register_task(dataclasses.replace(POINT, simulator=build, goal="the pole is upright"), replace=True)
"""
INTERRUPTED = {
    "loading the encoder": ("vlm_rewards.encoders.checkpoints:load_parts", 1),
    "asking the task for its actions": ("build", 1),
    "starting simulators": ("vlm_rewards.collection.pool:WorkerPool.receive_all", 1),
    "collecting": ("step", 1),
    "labelling": ("vlm_rewards.rewards.model:VLMReward.embed", 12),
    "updating": ("stable_baselines3.dqn.dqn:DQN.train", 3),
    "writing a checkpoint": ("vlm_rewards.training.checkpoints:write_state", 4),
    "selecting": ("vlm_rewards.evaluation.rollouts:PolicyEvaluator.run", 1),
    "evaluating": ("vlm_rewards.run:Run._evaluated", 1),
    "filming": ("vlm_rewards.run:Run.record_video", 1),
}
"""By what a stage is called: where to stop in it, and at which call."""
BEFORE_WORK = ("loading the encoder", "asking the task for its actions", "starting simulators")


@dataclass
class Started:
    """A command line that is running."""

    pid: int
    marker: Path
    log: Path
    code: Callable[[], int]

    def wait_for_marker(self) -> float:
        """Until the chosen place is reached; the time of that."""
        deadline = time.monotonic() + 60
        while not self.marker.exists():
            assert psutil.pid_exists(self.pid), self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        return time.monotonic()

    def end(self, since: float, workers: list[psutil.Process]) -> tuple[int, str]:
        """Wait for the end; exit code and what was printed. Nothing may be left."""
        code = self.code()
        assert time.monotonic() - since < PATIENCE, self.log.read_text()
        assert not psutil.wait_procs(workers, timeout=0.5)[1]
        return code, " ".join(self.log.read_text().split())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("command-line"))
    yield line
    line.close()


@pytest.fixture
def begin(server: CommandLine, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    shared = set(SHM.iterdir())

    def start(place: str, call: int = 1, *, fails: bool = False) -> Started:
        marker, log, file = tmp_path / "marker", tmp_path / "log", tmp_path / "dot.py"
        file.write_text(TASK_FILE.format(marker=str(marker), when=place, fails=fails))
        arguments = ["train", str(file), "--run-dir", str(tmp_path / "run"), *SMALL.split()]
        trapped = place if ":" in place else ""
        pid = server.begin(*arguments, log=log, marker=marker, place=trapped, call=call, fails=fails)
        return Started(pid, marker, log, server.end)

    yield start
    assert set(SHM.iterdir()) <= shared


def whole_run(folder: Path) -> dict[str, Any]:
    """The state at the end of a run that was left alone."""
    assert run("train", folder / "dot.py", "--run-dir", folder / "whole", "--no-video", *SMALL.split()) == 0
    return read_state(folder / "whole" / "resume.npz")


def resumed(folder: Path) -> dict[str, Any]:
    assert run("train", "--resume", folder / "run", "--no-video", "--checkpoint-seconds", 0, "--keep-state") == 0
    return read_state(folder / "run" / "resume.npz")


@pytest.mark.parametrize("stage", INTERRUPTED)
def test_ctrl_c_at_any_stage(stage: str, begin: Callable[..., Started], tmp_path: Path) -> None:
    started = begin(*INTERRUPTED[stage])
    started.wait_for_marker()
    workers = psutil.Process(started.pid).children(recursive=True)
    os.kill(started.pid, signal.SIGINT)
    code, text = started.end(time.monotonic(), workers)
    assert code == 130, text
    assert "Traceback" not in text
    assert "interrupted" in text
    if stage in BEFORE_WORK:
        assert not (tmp_path / "run").exists()
        return
    assert workers or stage in ("evaluating", "filming")
    state = read_state(tmp_path / "run" / "resume.npz")
    assert state["steps"] > 0
    if stage in ("collecting", "writing a checkpoint", "selecting"):
        assert not state_differences(resumed(tmp_path), whole_run(tmp_path))


@pytest.mark.parametrize("place", ["step", "vlm_rewards.rewards.model:VLMReward.embed"])
def test_what_raises_is_named(place: str, begin: Callable[..., Started], tmp_path: Path) -> None:
    started = begin(place, 12, fails=True)
    since = started.wait_for_marker()
    workers = psutil.Process(started.pid).children(recursive=True)
    code, text = started.end(since, workers)
    assert code == 1, text
    assert "the cause that must be named" in text
    assert f"go on with: vlm-rewards train --resume {tmp_path / 'run'}" in text
    assert text.count("vlm-rewards: error:") == 1
    assert not state_differences(resumed(tmp_path), whole_run(tmp_path))


def test_a_worker_that_is_killed_is_named(begin: Callable[..., Started], tmp_path: Path) -> None:
    started = begin("step")
    since = started.wait_for_marker()
    workers = psutil.Process(started.pid).children(recursive=True)
    victim = int(started.marker.read_text())
    os.kill(victim, signal.SIGKILL)
    code, text = started.end(since, workers)
    assert code == 1, text
    assert f"worker process {victim} died by signal SIGKILL while it hosted simulators" in text
    assert f"go on with: vlm-rewards train --resume {tmp_path / 'run'}" in text
    assert not state_differences(resumed(tmp_path), whole_run(tmp_path))
