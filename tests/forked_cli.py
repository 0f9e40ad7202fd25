"""Runs command lines in forked processes that can be made to hang or fail at a chosen place; see cli/test_endings.py.

One process imports everything, which takes seconds, and forks for each command line, which takes none.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

MODULES = (
    "stable_baselines3.dqn.dqn",
    "torch._dynamo",
    "vlm_rewards.cli.train",
    "vlm_rewards.encoders.checkpoints",
    "vlm_rewards.training.checkpoints",
    "vlm_rewards.evaluation.rollouts",
    "vlm_rewards.reporting.videos",
)


def trap(place: str, call: int, marker: Path, fails: bool) -> None:
    """Make a function, ``module:name`` or ``module:class.name``, hang or fail when it is called for the n-th time."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for step in outer:
        owner = getattr(owner, step)
    original = getattr(owner, name)
    calls = 0

    def trapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            marker.write_text(place)
            if fails:
                raise ZeroDivisionError("the cause that must be named")
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                time.sleep(0.05)
        return original(*arguments, **named)

    setattr(owner, name, trapped)


def run(job: dict[str, Any]) -> None:
    """In the forked process: never returns."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: Any = 99
    try:
        if job["place"]:
            trap(job["place"], job["call"], Path(job["marker"]), job["fails"])
        from vlm_rewards.cli import main

        main(job["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the forked one
    for module in MODULES:
        importlib.import_module(module)
    say("ready")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(json.loads(line))
        say(pid)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
