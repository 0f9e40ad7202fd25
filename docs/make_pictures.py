"""Make the pictures of README and docs from a run: python docs/make_pictures.py runs/demo [curve] [agent] [reward].

The curve is the run's own; the animation is the first 200 frames of its video, every fourth of them; the plot is what
`vlm-rewards score --plot` draws for that video.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection
from itertools import islice
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from vlm_rewards.cli import main as vlm_rewards

PICTURES = Path(__file__).parent / "img"


def main(run: Path, wanted: Collection[str]) -> None:
    """Write docs/img/TASK-{curve.png,agent.gif,reward.png}, or those wanted; a run TASK-MORE-0 has its own."""
    PICTURES.mkdir(exist_ok=True)
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    video = run / record["evaluation"]["video"]
    own = run.name.removesuffix(f"-{record['seed']}")
    name = str(PICTURES / (own if own.startswith(record["task"]) else record["task"]))
    if "curve" in wanted:
        shutil.copy(run / "curve.png", f"{name}-curve.png")
    if "agent" in wanted:
        frames = (_small(frame) for frame in islice(iio.imiter(video), 0, 200, 4))
        images = (Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames)
        next(images).save(f"{name}-agent.gif", save_all=True, append_images=images, duration=100, loop=0)  # 10 a second
    if "reward" in wanted:
        prompts = ["--goal", record["goal"], "--baseline", record["baseline"], "--alpha", str(record["alpha"])]
        vlm_rewards(["score", str(video), *prompts, "--csv", "--plot", f"{name}-reward.png"])


def _small(frame: np.ndarray) -> np.ndarray:
    """Every second pixel of a large frame; the middle of a small one, where the agent is."""
    height, width = frame.shape[:2]
    return frame[::2, ::2] if width > 300 else frame[height // 8 : -height // 8, width // 8 : -width // 8]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ("curve", "agent", "reward"))
