"""SAC, TD3 and PPO of Stable-Baselines3 and SAC of sbx, by hand, on MountainCar's sentence.

What has a replay buffer takes `LabelledReplayBuffer`; PPO has a rollout buffer and needs nothing but the callback.
The algorithms themselves stay as they are. Each runs too short to learn anything.

    python examples/11_sb3_algorithms.py            # all
    python examples/11_sb3_algorithms.py td3
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import sbx
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards import LabelledReplayBuffer, LabelRewards, RenderedVecEnv, VLMReward, get_task, load_encoder

STEPS = int(os.environ.get("STEPS", "480"))
SIMULATORS = 4


def replay() -> dict[str, Any]:
    """Settings of all that have a replay buffer."""
    return {
        "replay_buffer_class": LabelledReplayBuffer,
        "buffer_size": 20_000,
        "learning_starts": 160,
        "train_freq": 20,
        "gradient_steps": 4,
        "batch_size": 64,
        "policy_kwargs": {"net_arch": [32, 32]},
    }


ALGORITHMS: dict[str, Callable[[VecEnv], Any]] = {
    "sac": lambda venv: SAC("MlpPolicy", venv, seed=0, **replay()),
    "td3": lambda venv: TD3("MlpPolicy", venv, seed=0, **replay()),
    "ppo": lambda venv: PPO("MlpPolicy", venv, seed=0, n_steps=40, batch_size=80, n_epochs=2),
    "sbx-sac": lambda venv: sbx.SAC("MlpPolicy", venv, seed=0, **replay()),
}


def main() -> None:
    torch.set_num_threads(1)
    task = get_task("mountaincar")
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal=task.goal, baseline=task.baseline, alpha=0.5)
    for name in sys.argv[1:] or ALGORITHMS:
        venv = RenderedVecEnv(task, SIMULATORS, image_size=encoder.image_size, seed=0)
        try:
            model = ALGORITHMS[name](venv)
            labels = LabelRewards(reward)
            model.learn(STEPS, callback=labels)
        finally:
            venv.close()
        buffer = model.rollout_buffer if name == "ppo" else model.replay_buffer
        rewards = buffer.rewards[: len(buffer.rewards) if buffer.full else buffer.pos]
        print(
            f"{name:8} {model.num_timesteps} steps, {model._n_updates} updates, {labels.labelled_frames} frames, "
            f"mean reward {rewards.mean():.3f} (from {rewards.min():.3f} to {rewards.max():.3f})"
        )


if __name__ == "__main__":
    main()
