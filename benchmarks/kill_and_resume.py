"""Kill runs with SIGKILL at random moments, resume them, and compare with a run that was never stopped.

    python benchmarks/kill_and_resume.py --kills 20 --out docs/measurements/kill-and-resume.json

Each kill is a run of its own, by the command line, as a user would start it. The moment is drawn uniformly from the
duration of the run that is left alone: while Python starts, while policies learn, are compared or evaluated, while
files are written. Afterwards policies, replay buffer, generators, logs: everything in the last checkpoint, and every
snapshot, must be equal to the last bit; and no process of the run may be left.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from vlm_rewards.files import read_state
from vlm_rewards.provenance import provenance
from vlm_rewards.testing.fakes import state_differences

COMMON = ["--no-video", "--keep-state", "--checkpoint-seconds", "0.5", "--seed", "0", "--device", "cpu"]
SHORT = ["--steps", "6000", "--learning-starts", "1000", "--standardise", "1000", "--gradient-steps", "16"]
FEW = ["--evaluation-episodes", "4", "--selection-episodes", "4", "--snapshots", "3"]
RUNS = {"cartpole, DQN": "cartpole", "mountaincar-textured, SAC with gSDE": "mountaincar-textured"}
SECONDS_TO_DIE = 5.0


def command(task: str, folder: Path) -> list[str]:
    start = [sys.executable, "-m", "vlm_rewards.cli", "train", task, "--preset", "cpu", "--run-dir", str(folder)]
    return [*start, *COMMON, *SHORT, *FEW]


def resume(folder: Path) -> list[str]:
    start = [sys.executable, "-m", "vlm_rewards.cli", "train", "--resume", str(folder)]
    return [*start, "--no-video", "--keep-state", "--checkpoint-seconds", "0.5"]


def finish(arguments: list[str]) -> float:
    started = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - started


def kill_after(arguments: list[str], seconds: float) -> int:
    """Start, wait, kill; returns how many of its processes were still there some seconds later."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    process.wait()
    return len(psutil.wait_procs(children, timeout=SECONDS_TO_DIE)[1])


def differences(folder: Path, whole: Path) -> list[str]:
    found = state_differences(read_state(folder / "resume.npz"), read_state(whole / "resume.npz"))
    for path in sorted((whole / "checkpoints").iterdir()):
        other = folder / "checkpoints" / path.name
        if not other.is_file() or other.read_bytes() != path.read_bytes():
            found.append(str(path.relative_to(whole)))
    return found


def one_kill(task: str, whole: Path, folder: Path, seconds: float) -> dict[str, Any]:
    left = kill_after(command(task, folder), seconds)
    began = (folder / "config.json").is_file()
    state = folder / "resume.npz"
    steps = read_state(state)["steps"] if state.is_file() else None
    complete = (folder / "record.json").is_file() and "evaluation" in json.loads((folder / "record.json").read_text())
    if not complete:
        finish(resume(folder) if began else command(task, folder))
    found = differences(folder, whole)
    shutil.rmtree(folder)
    return {
        "killed_after_seconds": round(seconds, 2),
        "checkpoint_at_step": steps,
        "processes_left": left,
        "differences": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    record: dict[str, Any] = {"kind": "kill-and-resume", "kills": chosen.kills, "runs": {}, **provenance()}
    rng = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as scratch:
        for name, task in RUNS.items():
            whole = Path(scratch) / "whole"
            seconds = finish(command(task, whole))
            kills = []
            for number in range(chosen.kills):
                kills.append(one_kill(task, whole, Path(scratch) / "cut", rng.uniform(0.0, seconds)))
                print(f"{name}, kill {number + 1}: {kills[-1]}", flush=True)
            shutil.rmtree(whole)
            record["runs"][name] = {"task": task, "seconds_of_the_whole_run": round(seconds, 1), "kills": kills}
    chosen.out.write_text(json.dumps(record, indent=2) + "\n")
    bad = sum(
        bool(kill["differences"]) or kill["processes_left"] > 0
        for run in record["runs"].values()
        for kill in run["kills"]
    )
    raise SystemExit(f"{bad} kills left traces" if bad else 0)


if __name__ == "__main__":
    main()
