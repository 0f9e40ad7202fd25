"""Score frames with a sentence.

Draws a cart with its pole at several angles and prints how well each frame fits the goal, for several alphas: 0 is
the plain similarity (eq. 2), 1 keeps only what tells the goal from the baseline (eq. 3). The frames are encoded
once; every further reward is two dot products a frame. Give paths of frames of your own to score those instead.

    python examples/01_score_pictures.py
    python examples/01_score_pictures.py a.png b.png
"""

from __future__ import annotations

import math
import sys

import numpy as np
from PIL import Image

from vlm_rewards import VLMReward, load_encoder
from vlm_rewards.tasks.cartpole import draw_cartpole

GOAL = "pole vertically upright on top of the cart"
BASELINE = "pole and cart"
ALPHAS = (0.0, 0.5, 1.0)
ANGLES_DEG = (0, 5, 15, 45, 90, 135, 180)


def pictures(paths: list[str], size: int) -> tuple[list[str], np.ndarray]:
    """Names and frames, uint8 [n size size 3]: the files, or carts with their poles."""
    if paths:
        return paths, np.stack([np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in paths])
    frames = [draw_cartpole(0.0, math.radians(angle), size) for angle in ANGLES_DEG]
    return [f"pole at {angle} degrees" for angle in ANGLES_DEG], np.stack(frames)


def main() -> None:
    encoder = load_encoder("bundled")
    rewards = [VLMReward(encoder, goal=GOAL, baseline=BASELINE, alpha=alpha) for alpha in ALPHAS]
    names, frames = pictures(sys.argv[1:], encoder.image_size)

    embeddings = rewards[0].embed(frames)  # the expensive half, once for all
    columns = [reward.score(embeddings) for reward in rewards]
    print(f"goal: {GOAL}\nbaseline: {BASELINE}\n")
    print(f"{'picture':24}" + "".join(f"{f'alpha {alpha}':>12}" for alpha in ALPHAS))
    for name, *values in zip(names, *columns, strict=True):
        print(f"{name:24}" + "".join(f"{value:12.3f}" for value in values))


if __name__ == "__main__":
    main()
