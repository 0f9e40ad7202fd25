"""A reward that is a plain function of frames, in one file: no encoder and no prompt have a part in it.

The function says how high in the frame the pole is, by its colour. `register_reward` gives it a name and says which
frames it wants; a place, `file.py:function`, does as well as a name. From then on it is a reward like any other:

    python examples/15_plain_reward.py
    vlm-rewards train cartpole --form examples/15_plain_reward.py:pole_height
    vlm-rewards judge cartpole --form examples/15_plain_reward.py:pole_height
    vlm-rewards relabel cartpole/random-v0 --frames replay --form examples/15_plain_reward.py:pole_height
"""

from __future__ import annotations

import numpy as np

from vlm_rewards import VLMRewardWrapper, WeightedSum, as_frame_reward, register_reward
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.rewards.config import RewardConfig, build_reward
from vlm_rewards.tasks.cartpole import CartPoleSimulator, draw_cartpole

SIZE = 64


@register_reward("pole-height", frame_size=SIZE)
def pole_height(frames: np.ndarray) -> np.ndarray:
    """Mean height of what is brown, from 0 (bottom) to 1 (top); uint8 [n 64 64 3] to [n]."""
    brown = frames[..., 0].astype(int) - frames[..., 2] > 50
    heights = 1.0 - np.arange(frames.shape[1])[:, None] / frames.shape[1]
    return (brown * heights).sum(axis=(1, 2)) / np.maximum(brown.sum(axis=(1, 2)), 1)


def darkness(frames: np.ndarray) -> np.ndarray:
    return 1.0 - frames.mean(axis=(1, 2, 3)) / 255.0


def no_encoder() -> ImageTextEncoder:
    raise RuntimeError("nobody asks for it")


def main() -> None:
    frames = np.stack([draw_cartpole(0.0, angle, SIZE) for angle in (0.0, np.pi / 2, np.pi)])
    height = build_reward(  # as the command line does it
        RewardConfig(form="pole-height"), no_encoder, goal="", baseline="", alpha=0.0
    )
    both = WeightedSum([height, as_frame_reward(darkness, SIZE)], [1.0, -1.0])
    for name, reward in (("height", height), ("height - darkness", both)):
        upright, level, hanging = reward(frames)
        print(f"{name:17}  upright {upright:6.3f}  level {level:6.3f}  hanging {hanging:6.3f}")

    env = VLMRewardWrapper(CartPoleSimulator(SIZE), pole_height, frame_size=SIZE)
    env.reset(seed=0)
    rewards = [env.step(step % 2)[1] for step in range(20)]
    print(f"20 steps of CartPole: rewards from {min(rewards):.3f} to {max(rewards):.3f}")


if __name__ == "__main__":
    main()
