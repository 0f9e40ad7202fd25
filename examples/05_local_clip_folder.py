"""Load a CLIP from a folder: no network, no name in a list.

A folder that open_clip (or `vlm-rewards finetune`) wrote holds `open_clip_config.json` and the weights. Give the path
of one; without it the example uses the folder of the bundled encoder, which is nothing but such a folder. Loaded by
path or by name, the model gives the same embeddings.

    python examples/05_local_clip_folder.py /models/my-clip
"""

from __future__ import annotations

import sys
from importlib.resources import as_file, files

import numpy as np

from vlm_rewards import load_encoder
from vlm_rewards.encoders.base import ImageTextEncoder

PROMPTS = ["pole vertically upright on top of the cart", "pole and cart", "a car in the mountain"]


def show(encoder: ImageTextEncoder) -> None:
    """Print what the encoder is and how close it finds the prompts."""
    for key, value in encoder.describe().items():
        print(f"{key:>16}: {value}")
    texts = encoder.embed_texts(PROMPTS)
    print("\ncosine similarities of the prompts:")
    for prompt, row in zip(PROMPTS, texts @ texts.T, strict=True):
        print("  ".join(f"{value:6.3f}" for value in row), " ", prompt)


def main() -> None:
    if len(sys.argv) > 1:
        show(load_encoder(sys.argv[1]))
        return
    with as_file(files("vlm_rewards.encoders") / "bundled") as folder:
        by_path = load_encoder(str(folder))
    show(by_path)
    same = np.array_equal(by_path.embed_texts(PROMPTS), load_encoder("bundled").embed_texts(PROMPTS))
    print("\nthe same embeddings as load_encoder('bundled'):", "yes" if same else "no")


if __name__ == "__main__":
    main()
