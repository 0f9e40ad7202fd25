"""Runs what a sweep has planned, one process a run, and tells from files how far each has come."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json, write_json
from vlm_rewards.training.run_folder import RunFolder, still_writable
from vlm_rewards.training.sweep_plan import PlannedRun, SweepPlan

State = Literal["complete", "failed", "stopped", "new"]
"""``complete`` is trained and evaluated; ``stopped`` has begun and can go on; ``failed`` ended by itself before."""

_LONGEST_WORDS = 300
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 6.0  # `train` ends within five of Ctrl-C

LAUNCH = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform.startswith("linux"):
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG of linux/prctl.h
if os.getppid() != parent:  # it has died already
    sys.exit(1)
os.execv(command[0], command)
"""
"""Program that becomes the command in its arguments, after the id of its parent, and dies with that parent (Linux)."""


@dataclass(frozen=True)
class RunStatus:
    """How far a run has come."""

    state: State
    """In a word."""
    record: dict[str, Any] | None = None
    """Of a complete run, with its evaluation."""
    last_words: str | None = None
    """Of a failed one."""


def status_of(plan: SweepPlan, run: PlannedRun) -> RunStatus:
    """Find out how far a run has come; InvalidInputError where its folder holds a run with other settings."""
    folder = RunFolder(plan.folder(run))
    begun = folder.config.is_file()
    if begun and folder.read_config() != run.config:
        raise InvalidInputError(f"run {str(folder.path)!r} must have the settings of the plan; it has others.")
    record = folder.finished_record() if begun else None
    if record is not None:
        return RunStatus("complete", record=record)
    if plan.failure(run).is_file():
        return RunStatus("failed", last_words=str(read_json(plan.failure(run))["last_words"]))
    return RunStatus("stopped" if begun else "new")


def note_failure(plan: SweepPlan, run: PlannedRun, exit_code: int, ended: str) -> None:
    """Write down why a run failed: how its process ended, and the last line that it printed."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = plan.log(run).read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = said.removeprefix("vlm-rewards: ")
    words = f"{ended}: {said[:_LONGEST_WORDS]}" if said else ended
    write_json(plan.failure(run), {"exit_code": exit_code, "last_words": words})


@dataclass(frozen=True)
class _Job:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    started: float


def execute(
    plan: SweepPlan,
    *,
    jobs: int,
    resume_options: Sequence[str],
    started: Callable[[PlannedRun, RunStatus], None],
    ended: Callable[[PlannedRun, RunStatus, float], None],
) -> None:
    """Train all runs of a plan that are not complete. One that fails does not stop the others.

    Whatever ends this, Ctrl-C included, ends the runs: within seconds, with a
    checkpoint where they get to it. Where this process is killed, so are they.
    Call it in a thread that lives on until it returns. The sweep's folder exists.
    ``started`` is told of each run with its state before, ``ended`` of each that
    ended by itself, with its state now, and its seconds.
    """
    waiting = [run for run in plan.runs if status_of(plan, run).state != "complete"]
    running: list[_Job] = []
    try:
        (plan.out / "logs").mkdir(exist_ok=True)
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                before = status_of(plan, run)
                running.append(_start(plan, run, resume_options))
                started(run, before)
            time.sleep(_LOOK_SECONDS)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                ended(job.run, _judge(plan, job), time.monotonic() - job.started)
    finally:
        _stop(running)


@contextlib.contextmanager
def locked(plan: SweepPlan) -> Iterator[None]:
    """Make a sweep's folder, and keep other processes out of it."""
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"out {str(plan.out)!r} cannot be made: {error.strerror or error}.") from None
    with RunFolder(plan.out).locked(), still_writable(f"the sweep's folder {str(plan.out)!r}"):
        yield


def _start(plan: SweepPlan, run: PlannedRun, resume_options: Sequence[str]) -> _Job:
    plan.failure(run).unlink(missing_ok=True)
    folder = plan.folder(run)
    begun = (folder / "config.json").is_file()
    if not begun:
        (folder / ".config.json.tmp").unlink(missing_ok=True)  # of a run killed as it began
        if not run.arguments:
            RunFolder.create(folder, run.config, overwrite=False)
    # A run without a checkpoint begins, as well, by being resumed.
    arguments = ["--resume", str(folder), *resume_options]
    if run.arguments and not begun:
        arguments = [*run.arguments, "--run-dir", str(folder)]
    train = [sys.executable, "-P", "-m", "vlm_rewards.cli", "train", *arguments]
    with plan.log(run).open("ab") as log:
        log.write(f"$ {shlex.join(['vlm-rewards', 'train', *arguments])}\n".encode())
        log.flush()
        process = subprocess.Popen(
            # -P: the current folder comes first only where it does so for the parent too
            [sys.executable, "-P", "-c", LAUNCH, str(os.getpid()), *train],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            process_group=0,  # Ctrl-C in a terminal goes to a whole group: the runs would get it twice
        )
    return _Job(run, process, time.monotonic())


def _judge(plan: SweepPlan, job: _Job) -> RunStatus:
    code = job.process.returncode
    status = status_of(plan, job.run)
    if code == 0 and status.state == "complete":
        return status
    if status.state == "complete":  # trained and evaluated; its video failed
        return RunStatus("complete", status.record, _ending(code))
    note_failure(plan, job.run, code, _ending(code))
    return status_of(plan, job.run)


def _ending(code: int) -> str:
    return (
        f"killed by {signal.Signals(-code).name}" if code < 0 else {130: "interrupted"}.get(code, f"exit code {code}")
    )


def _stop(jobs: Sequence[_Job]) -> None:
    """End runs as Ctrl-C does; whoever is still there after that is killed, at once where it is pressed again."""
    try:
        for job in jobs:
            if job.process.poll() is None:
                job.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and any(job.process.poll() is None for job in jobs):
            time.sleep(_LOOK_SECONDS)
    finally:
        for job in jobs:
            job.process.kill()
            job.process.wait()
