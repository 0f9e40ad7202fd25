"""The command line as the cases use it, in this process or in forked ones (see forked_cli.py)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked_cli
from vlm_rewards.cli import main

ABOUT = ("--horizon", "20", "--goal", "a line", "--baseline", "a picture")
SMALL = ("--steps", "400", "--n-envs", "2", "--n-workers", "1", "--snapshots", "1", "--selection-episodes", "1")
SMALL += ("--evaluation-episodes", "2", "--no-video", "--device", "cpu", "--net-arch", "16")
OFF_POLICY = ("--learning-starts", "100", "--standardise", "None", "--train-freq", "10", "--gradient-steps", "1")
OFF_POLICY += ("--checkpoint-seconds", "0")
MISUNDERSTOOD = re.compile("unrecognized|unknown command|must come first|error parsing|invalid choice", re.IGNORECASE)


@dataclass(frozen=True)
class Ended:
    """How a command line ended; code 99 where an exception got out."""

    code: int
    printed: str

    def __post_init__(self) -> None:
        if MISUNDERSTOOD.search(self.printed):  # a case that has grown old, and no failure that is expected
            raise RuntimeError(self.printed)

    def check_done(self) -> None:
        assert self.code == 0, self.printed
        assert "Traceback" not in self.printed

    def check_refused(self, *causes: str) -> None:
        """Exit code 2, and one line of error with every cause in it, as patterns."""
        assert self.code == 2, self.printed
        lines = self.printed.strip().splitlines()
        others = [line for line in lines if not line.startswith(("warning:", "note:"))]
        assert others == lines[-1:], self.printed
        assert lines[-1].startswith("vlm-rewards: error:"), self.printed
        for cause in causes:
            assert re.search(cause, lines[-1], re.IGNORECASE), self.printed


def run_here(*arguments: str) -> Ended:
    """In this process: for what ends before work starts."""
    code, printed = 0, io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception:
            traceback.print_exc()
            code = 99
    return Ended(code, printed.getvalue())


class CommandLine:
    """Runs command lines in forked processes; the folder is for their output."""

    def __init__(self, folder: Path) -> None:
        path = [str(Path(forked_cli.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "300"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, forked_cli.__file__]
        self._server: Any = subprocess.Popen(command, cwd=folder, env=environment, **pipes)
        self._folder, self._count = folder, 0
        assert self._answer() == "ready"

    def __call__(self, *arguments: object, fails: str = "", call: int = 1) -> Ended:
        """Run one to its end; ``fails`` is a place that shall raise when it is called for the n-th time."""
        with self.started(*arguments, fails=fails, call=call) as (_, log):
            pass
        return Ended(self._code, log.read_text())

    @contextlib.contextmanager
    def started(self, *arguments: object, fails: str = "", call: int = 1) -> Iterator[tuple[int, Path]]:
        """Start one: its process, and the file that its output goes to. Waits for its end on leaving."""
        self._count += 1
        log, marker = (self._folder / f"{name}-{self._count}" for name in ("log", "marker"))
        try:
            yield self.begin(*arguments, log=log, marker=marker, place=fails, call=call), log
        finally:
            self._code = self.end()

    def begin(
        self, *arguments: object, log: Path, marker: Path, place: str = "", call: int = 1, fails: bool = True
    ) -> int:
        """Start one that is to hang or fail somewhere; returns the id of its process."""
        job = {"arguments": list(map(str, arguments)), "log": str(log), "marker": str(marker)}
        self._server.stdin.write(json.dumps({**job, "place": place, "call": call, "fails": fails}) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._server.communicate(timeout=10)

    def end(self) -> int:
        """Wait for the end of the one that was begun; returns its exit code."""
        return self._answer()

    def _answer(self) -> Any:
        return json.loads(self._server.stdout.readline())
