"""Train with Stable-Baselines3 yourself: its algorithms stay as they are.

Three parts of this package go around SB3's DQN: `RenderedVecEnv` steps and renders the simulators,
`LabelledReplayBuffer` holds transitions whose reward is still to come, and `LabelRewards` fills the rewards in,
embedding in the background while the simulators step. SAC works the same way. With the few steps of the default
nothing is learned yet; `STEPS=60000 python examples/04_sb3_by_hand.py` is more like it.
"""

from __future__ import annotations

import os
from typing import cast

import torch
from stable_baselines3 import DQN

from vlm_rewards import LabelledReplayBuffer, LabelRewards, RenderedVecEnv, VLMReward, get_task, load_encoder

STEPS = int(os.environ.get("STEPS", "2000"))
SIMULATORS = 4


def main() -> None:
    torch.set_num_threads(1)
    task = get_task("cartpole")
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal=task.goal, baseline=task.baseline, alpha=0.5)

    venv = RenderedVecEnv(task, SIMULATORS, image_size=encoder.image_size, seed=0)
    try:
        model = DQN(
            "MlpPolicy",
            venv,
            learning_starts=800,
            train_freq=50,
            gradient_steps=50,
            replay_buffer_class=LabelledReplayBuffer,
            seed=0,
        )
        labels = LabelRewards(reward)
        model.learn(STEPS, callback=labels)
    finally:
        venv.close()

    buffer = cast(LabelledReplayBuffer, model.replay_buffer)
    filled = buffer.rewards[: buffer.pos]
    print(f"{labels.labelled_frames} frames scored, {buffer.pending_count} transitions still without a reward")
    print(f"rewards in the buffer: from {filled.min():.3f} to {filled.max():.3f}, mean {filled.mean():.3f}")
    if labels.episodes:
        last = labels.episodes[-1]
        print(
            f"last episode: {last.length} steps, VLM return {last.vlm_return:.1f}, true return {last.true_return:.1f}"
        )


if __name__ == "__main__":
    main()
