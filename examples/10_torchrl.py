"""VLM rewards in TorchRL: wrap the Gymnasium environment, then hand it to TorchRL's GymWrapper.

The reward that TorchRL collects is the picture's. The environment's own reward stays out of the learner's sight, in
`info`; an info reader brings it into the tensordict for the log.

    pip install torchrl
    python examples/10_torchrl.py
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer, Unbounded
from torchrl.envs import GymWrapper
from torchrl.envs.libs.gym import default_info_dict_reader

from vlm_rewards import VLMReward, VLMRewardWrapper, load_encoder
from vlm_rewards.tasks.rendering import letterbox

FRAMES, BATCH = 120, 40


def main() -> None:
    torch.manual_seed(0)
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal="pole vertically upright on top of the cart", baseline="pole and cart", alpha=1.0)
    wrapped = VLMRewardWrapper(gym.make("CartPole-v1", render_mode="rgb_array"), reward)
    true_reward = default_info_dict_reader(
        ["true_reward"], spec={"true_reward": Unbounded(torch.Size(()), dtype=torch.float64)}
    )
    env = GymWrapper(wrapped).set_info_dict_reader(true_reward)
    env.set_seed(0)

    collector = Collector(env, None, frames_per_batch=BATCH, total_frames=FRAMES)  # None: random actions
    memory = ReplayBuffer(storage=LazyTensorStorage(FRAMES), batch_size=32)
    for batch in collector:
        memory.extend(batch)
        following: Any = batch["next"]
        print(
            f"{len(batch)} transitions, {int(following['terminated'].sum())} ends of episodes, "
            f"VLM reward {following['reward'].mean():.3f}, true return {following['true_reward'].sum():.0f}"
        )
        # TorchRL resets after an end, so only an unfinished episode still shows its last state.
        if not following["done"][-1]:
            picture = letterbox(np.asarray(wrapped.render()), encoder.image_size)
            same = np.isclose(reward(picture[None])[0], following["reward"][-1].item())
            print("  the last reward is that of the last state's frame:", "yes" if same else "no")
    sample = memory.sample()
    print(f"a minibatch: rewards {tuple(sample['next', 'reward'].shape)}, {sample['next', 'reward'].dtype}")
    collector.shutdown()


if __name__ == "__main__":
    main()
