r"""A family of encoders of your own, in one file: trained on, judged and relabelled with like any CLIP.

A toy, and no vision-language model: a frame becomes the shares of a few colours in bands from top to bottom, a prompt
the colours and places that it names ("brown in the middle"), and all its other words are ignored. What it shows is the
contract, `ImageTextEncoder`: three properties and three methods. A function that makes one is all that the command line
needs; `register_encoder` gives the family a scheme ("histogram:8" has eight bands), which a package would rather do by
an entry point of the group `vlm_rewards.encoders`:

    python examples/14_own_encoder_family.py
    vlm-rewards judge cartpole --encoder examples/14_own_encoder_family.py:load \
        --goal "brown in the middle" --baseline brown
    vlm-rewards train cartpole --encoder examples/14_own_encoder_family.py:load \
        --goal "brown in the middle" --baseline brown
    vlm-rewards relabel cartpole/random-v0 --frames replay --encoder examples/14_own_encoder_family.py:load \
        --goal "brown in the middle" --baseline brown
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards import VLMReward, load_encoder, register_encoder
from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.tasks.cartpole import draw_cartpole

COLOURS = {"black": (0, 0, 0), "brown": (202, 152, 101), "blue": (0, 0, 255), "red": (255, 0, 0), "green": (0, 128, 0)}
PLACES = ("top", "middle", "bottom")
GOAL, BASELINE = "brown in the middle", "brown"


class HistogramEncoder:
    """Shares of colours in bands of a frame, white left out, beside colours and places that a prompt names.

    Args:
        bands: From top to bottom, at least 3.
    """

    image_size = 64
    """Side in pixels of the frames that it is given."""

    def __init__(self, bands: int = 3) -> None:
        self.bands = bands
        self.name = f"histogram:{bands}"
        self.embedding_dim = bands * len(COLOURS) + 1

    def embed_images(self, frames: Frames) -> Embeddings:
        """uint8 ``[n h w 3]`` to float32 ``[n d]``, unit-norm rows."""
        palette = np.array([(255, 255, 255), *COLOURS.values()])
        distances = np.abs(frames[:, :, :, None].astype(np.int16) - palette).sum(axis=-1)  # [n h w colours + 1]
        nearest = distances.argmin(axis=-1)
        shares = [
            [(band == colour).mean(axis=(1, 2)) for colour in range(1, len(palette))]
            for band in np.array_split(nearest, self.bands, axis=1)
        ]
        return self._unit(np.sqrt(np.array(shares).reshape(-1, len(frames)).T))

    def embed_texts(self, prompts: Sequence[str]) -> Embeddings:
        """Prompts to float32 ``[n d]``, unit-norm rows: one where a colour and a place are meant, zero elsewhere."""
        return self._unit(np.stack([self._meant(prompt.lower().split()) for prompt in prompts]))

    def unknown_words(self, prompt: str) -> list[str]:
        """Optional: the words that say nothing to it, of which the command line warns."""
        return [word for word in prompt.lower().split() if word not in (*COLOURS, *PLACES, "in", "at", "the")]

    def describe(self) -> dict[str, Any]:
        """For records. The digest, here of this file, decides whether embeddings on disk are still good."""
        digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        return {"name": self.name, "architecture": "a toy", "bands": self.bands, "weights_sha256": digest}

    def _meant(self, words: Sequence[str]) -> np.ndarray:
        colours = np.array([colour in words for colour in COLOURS])
        thirds = np.array([place in words for place in PLACES])
        places = thirds[np.arange(self.bands) * len(PLACES) // self.bands]
        return np.outer(places if places.any() else ~places, colours if colours.any() else ~colours).ravel() * 1.0

    def _unit(self, shares: np.ndarray) -> Embeddings:
        vectors = np.concatenate([shares, np.full((len(shares), 1), 1e-3)], axis=1)  # white alone has a direction, too
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def load() -> HistogramEncoder:
    """For `--encoder FILE:load`. It could take `device`, `dtype` and `batch_size`."""
    return HistogramEncoder()


def load_scheme(rest: str, **settings: Any) -> HistogramEncoder:
    """For names such as "histogram:8"; the settings are device, dtype and batch size, of no use to a histogram."""
    return HistogramEncoder(int(rest))


register_encoder("histogram", load_scheme, check=int, about="a toy: colours in so many bands", replace=True)


def command(*arguments: str) -> None:
    """Run a command of `vlm-rewards` in this process."""
    from vlm_rewards.cli import main

    print("\n$ vlm-rewards", *arguments)
    try:
        main([*arguments, "--encoder", f"{__file__}:load", "--goal", GOAL, "--baseline", BASELINE, "--alpha", "1"])
    except SystemExit as end:
        if end.code:
            raise


def record(folder: str) -> str:
    """Record an episode of random actions as a Minari dataset; its id."""
    os.environ["MINARI_DATASETS_PATH"] = folder  # yours is elsewhere: leave this out
    import gymnasium as gym
    import minari

    env = minari.DataCollector(gym.make("CartPole-v1"))
    env.reset(seed=0)
    while not any(env.step(env.action_space.sample())[2:4]):
        pass
    name = "cartpole/random-v0"
    env.create_dataset(dataset_id=name, algorithm_name="random", code_permalink="", author="", author_email="")
    env.close()
    return name


def main() -> None:
    for name in ("histogram:3", "histogram:8", f"{__file__}:load"):
        reward = VLMReward(load_encoder(name), goal=GOAL, baseline=BASELINE, alpha=1.0)
        frames = np.stack([draw_cartpole(0.0, angle, reward.frame_size) for angle in (0.0, np.pi / 2, np.pi)])
        upright, level, hanging = reward(frames)
        print(f"{reward.encoder.name:12}  upright {upright:.3f}  level {level:.3f}  hanging {hanging:.3f}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VLM_REWARDS_CACHE"] = folder
        command("judge", "cartpole", "--count", "100")
        short = "--steps=400 --n-envs=2 --gradient-steps=1 --standardise=100 --learning-starts=200 --snapshots=1"
        few = "--selection-episodes=1 --evaluation-episodes=1 --no-video"  # far too few of everything to learn from
        command("train", "cartpole", "--run-dir", f"{folder}/run", *short.split(), *few.split())
        command("relabel", record(folder), "--frames", "replay")


if __name__ == "__main__":
    main()
