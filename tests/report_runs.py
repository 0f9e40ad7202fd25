"""Run folders made by hand, as `vlm-rewards train` leaves them: for tests of reports, without training."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm_rewards.reporting.videos import write_video

RECORDS = Path(__file__).parents[1] / "docs" / "records"


def record(name: str = "cartpole-0", **changes: Any) -> dict[str, Any]:
    """A committed record, with other values; those of ``config`` and ``evaluation`` are joined."""
    told = json.loads((RECORDS / f"{name}.json").read_text())
    for key, value in changes.items():
        told[key] = {**told[key], **value} if key in ("config", "evaluation") and value is not None else value
    if "seed" in changes:
        told["config"]["seed"] = changes["seed"]
        told["command"] = told["command"].replace("--seed 0", f"--seed {changes['seed']}")
    return told


def table(path: Path, columns: dict[str, Any]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def video(path: Path, frames: int = 8, side: int = 32) -> Path:
    """A short video of noise, which is hard to compress."""
    rng = np.random.default_rng(frames)
    return write_video(rng.integers(0, 256, (frames, side, side, 3), dtype=np.uint8), path, 30)


def alarm(folder: Path, step: int) -> dict[str, Any]:
    """An alarm of reward hacking, and its frame."""
    picture = folder / "alarms" / f"step_{step:010d}.png"
    picture.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((64, 96, 3), 200, np.uint8)).save(picture)
    return {
        "step": step,
        "correlation": -0.62,
        "correlation_before": 0.81,
        "vlm_before": 0.412,
        "vlm_now": 0.733,
        "reference_before": 0.9,
        "reference_now": 0.125,
        "picture": str(picture.relative_to(folder)),
        "frames": [],
    }


def run_folder(
    folder: Path, told: dict[str, Any] | None = None, *, recorded: bool = True, film: bool = True, alarms: int = 0
) -> Path:
    """Make a run folder.

    Args:
        folder: Where.
        told: Its record; default: that of CartPole's seed 0.
        recorded: Whether it got as far as its record.
        film: Whether it has a video.
        alarms: How many alarms of reward hacking it raised.
    """
    told = copy.deepcopy(told or record())
    (folder / "videos").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(told["config"]))
    steps = np.arange(1, 11) * 2_400
    rising = 100 + 80 * (1 - np.exp(-np.arange(10) / 3)) - told["seed"]
    success = np.linspace(0, 1, 10)
    table(
        folder / "metrics.csv",
        {"step": steps, "vlm_return_mean": rising - 9, "vlm_return_std": success + 3, "true_return_mean": 200 * success}
        | {"success_rate": success},
    )
    table(
        folder / "snapshots.csv",
        {"step": steps, "vlm_return": rising, "vlm_return_std": success, "true_return": 200 * success}
        | {"success_rate": success, "path": [f"step_{step:010d}.safetensors" for step in steps]},
    )
    if alarms:
        raised = [alarm(folder, 5_000 * (number + 1)) for number in range(alarms)]
        told["watch"] = {"reference": "criterion", "correlation": -0.4, "alarms": raised}
    if film:
        video(folder / "videos" / "best.mp4")
    if told.get("evaluation"):
        told["evaluation"]["video"] = "videos/best.mp4" if film else None
    if recorded:
        (folder / "record.json").write_text(json.dumps(told))
    return folder
