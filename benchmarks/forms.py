"""Judge every form of reward on the same states: EPIC distance and AUROC by form, for CartPole and kneeling.

    python benchmarks/forms.py [--count N]

It writes docs/measurements/forms.json. Goal frames and the demonstration are made of states of another seed than those
that rewards are judged on. The demonstration is the straight way from the state in which an episode starts to a goal.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.arrays import Frames
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.files import write_json
from vlm_rewards.media import write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.videos import write_video
from vlm_rewards.tasks.state_access import interpolate
from vlm_rewards.tasks.task import get_task

RECORD = Path(__file__).parent.parent / "docs" / "measurements" / "forms.json"
SOURCES = {"cartpole": "rule", "kneeling": "visited"}
FORMS = ("goal-baseline", "contrast", "softmax", "goal-pictures", "demonstration", "forms.py:whiteness")
GOALS, STEPS, SIZE = 8, 40, 224


def whiteness(frames: Frames) -> np.ndarray:
    """A reward that knows nothing, to compare with: how bright a frame is, float32 ``[n]``."""
    return np.asarray(frames, dtype=np.float32).mean(axis=(1, 2, 3)) / 255


whiteness.frame_size = 96  # type: ignore[attr-defined]


def vlm_rewards(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "vlm_rewards.cli", *arguments]
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout


def goals(task: str, folder: Path) -> tuple[list[str], str]:
    """Frames of goal states, and a video of the way to one: names of files in the folder."""
    source = ("--states", SOURCES[task], "--count", "200", "--state-seed", "1", "--size", str(SIZE))
    vlm_rewards("judge", task, *source, "--save-states", f"{task}.npz", folder=folder)
    with np.load(folder / f"{task}.npz", allow_pickle=False) as arrays:
        frames, states = (arrays[name][arrays["label"]][:GOALS] for name in ("picture", "state"))
    files = [write_png(frame, folder / f"{task}-{index}.png").name for index, frame in enumerate(frames)]
    with open_studio(get_task(task), SIZE) as studio:
        shown, _ = studio.show(interpolate(studio.space.start, states[0], STEPS))
    return files, write_video(iter(shown), folder / f"{task}.mp4", fps=20).name


def judged(task: str, count: int, folder: Path) -> dict[str, Any]:
    files, video = goals(task, folder)
    inputs = ("--count", str(count), "--alpha", "0.5", "--goal-pictures", *files, "--demonstration", video)
    record = json.loads(vlm_rewards("judge", task, "--form", *FORMS, *inputs, "--json", folder=folder))
    kept = ("epic", "epic_low", "epic_high", "auroc", "spearman")
    rows = [{"form": "goal-baseline", **row} for row in record["rows"]] + record["forms"]
    table = {row["form"].rpartition(":")[2]: {name: row[name] for name in kept} for row in rows}
    told = ("command", "criterion", "states", "interval", "prompts", "encoders")
    return {**{name: record[name] for name in told}, "forms": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000, metavar="N", help="states of each task")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "forms.py").write_bytes(Path(__file__).read_bytes())
        found = {task: judged(task, count, Path(name)) for task in SOURCES}
    command = shlex.join(["python", "benchmarks/forms.py", *sys.argv[1:]])
    write_json(RECORD, {"kind": "forms", "command": command, **provenance(), "tasks": found})
    for task, told in found.items():
        print(f"| {task} | EPIC (95 % interval) | AUROC |")
        for form, row in told["forms"].items():
            epic = f"{row['epic']:.3f} ({row['epic_low']:.3f} to {row['epic_high']:.3f})"
            print(f"| {form} | {epic} | {row['auroc']:.3f} |")


if __name__ == "__main__":
    main()
