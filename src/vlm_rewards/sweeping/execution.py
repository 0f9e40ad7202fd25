"""Trains the runs of a sweep, each in a process of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_rewards.sweeping.plan import PlannedRun, SweepPlan
from vlm_rewards.sweeping.status import RunStatus, note_failure, status_of

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 6.0  # `train` ends within five of Ctrl-C


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
    Call it in a thread that lives on until it returns.

    Args:
        plan: The sweep, whose folder exists.
        jobs: How many at a time.
        resume_options: Arguments of ``train --resume`` for runs that were stopped.
        started: Told of each run that is started, with its state before.
        ended: Told of each run that ended by itself, with its state now, and of its seconds.

    Raises:
        OSError: The sweep's folder cannot be written.
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


def _start(plan: SweepPlan, run: PlannedRun, resume_options: Sequence[str]) -> _Job:
    plan.failure(run).unlink(missing_ok=True)
    folder = plan.folder(run)
    if (folder / "config.json").is_file():
        arguments = ["--resume", str(folder), *resume_options]
    else:
        (folder / ".config.json.tmp").unlink(missing_ok=True)  # of a run killed as it began
        arguments = [*run.arguments, "--run-dir", str(folder)]
    train = [sys.executable, "-P", "-m", "vlm_rewards.cli", "train", *arguments]
    with plan.log(run).open("ab") as log:
        log.write(f"$ {shlex.join(['vlm-rewards', 'train', *arguments])}\n".encode())
        log.flush()
        process = subprocess.Popen(
            # -P: the current folder comes first only where it does so for the parent too
            [sys.executable, "-P", "-m", "vlm_rewards.sweeping.tied", str(os.getpid()), *train],
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
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "interrupted" if code == 130 else f"exit code {code}"


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
