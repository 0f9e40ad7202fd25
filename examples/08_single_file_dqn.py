"""DQN in one file, in the manner of CleanRL, over the vector wrapper.

Nothing of Stable-Baselines3 is used. What needs care is the end of an episode. The last state must be learned from
as it was: no value behind it where the episode terminated, the value of the *last* observation (not of the first one
after the reset) where only its time was up. `transitions` does that for each of Gymnasium's ways to reset; at the
end every stored transition is checked against the physics of the cart.

The default is too few steps to learn much; a real run of some minutes:

    STEPS=20000 python examples/08_single_file_dqn.py
    python examples/08_single_file_dqn.py SameStep      # or NextStep (the default), Disabled
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from vlm_rewards import FrameInInfo, VLMReward, VLMRewardVectorWrapper, load_encoder

STEPS = int(os.environ.get("STEPS", "800"))
NUM_ENVS, BATCH, GAMMA, LEARNING_STARTS = 8, 64, 0.98, 200


def transitions(
    next_observations: np.ndarray, infos: dict[str, Any], mode: AutoresetMode
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are transitions (bool `[n]`), and the observations that they led to."""
    taken = infos["_true_reward"]  # False for a step that only reset (NextStep)
    if mode is AutoresetMode.SAME_STEP and "final_obs" in infos:
        ended = infos["_final_obs"]
        next_observations = next_observations.copy()
        next_observations[ended] = np.stack(infos["final_obs"][ended])
    return taken, next_observations


def obeys_physics(buffer: dict[str, torch.Tensor], size: int) -> bool:
    """Whether in each row the cart is where its velocity took it in 0.02 s: a row across a reset would not."""
    before, after = buffer["observation"][:size], buffer["next_observation"][:size]
    return torch.allclose(after[:, 0], before[:, 0] + 0.02 * before[:, 1], atol=1e-5)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    mode = AutoresetMode(sys.argv[1]) if len(sys.argv) > 1 else AutoresetMode.NEXT_STEP
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal="pole vertically upright on top of the cart", baseline="pole and cart", alpha=1.0)
    venv = VLMRewardVectorWrapper(
        gym.make_vec(
            "CartPole-v1",
            NUM_ENVS,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
            wrappers=[functools.partial(FrameInInfo, frame_size=encoder.image_size)],
            render_mode="rgb_array",
        ),
        reward,
    )

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    q, target = network(), network()
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-3)
    shapes = {"observation": (4,), "next_observation": (4,), "action": (), "reward": (), "terminated": ()}
    buffer = {name: torch.zeros((STEPS + NUM_ENVS, *shape)) for name, shape in shapes.items()}
    size, true_return, episodes, losses = 0, 0.0, 0, []

    observations, _ = venv.reset(seed=0)
    while size < STEPS:
        greedy = q(torch.as_tensor(observations)).argmax(1).numpy()
        epsilon = max(0.05, 1 - size / (0.5 * STEPS))
        actions = np.where(rng.random(NUM_ENVS) < epsilon, rng.integers(0, 2, NUM_ENVS), greedy)
        next_observations, rewards, terminated, truncated, infos = venv.step(actions)
        taken, led_to = transitions(next_observations, infos, mode)
        rows = slice(size, size + int(taken.sum()))
        # A truncated row is not terminated: it bootstraps from the last observation.
        values = (observations, led_to, actions, rewards, terminated)
        for name, value in zip(shapes, values, strict=True):
            buffer[name][rows] = torch.as_tensor(value[taken], dtype=torch.float32)
        size, observations, ended = rows.stop, next_observations, terminated | truncated
        true_return, episodes = true_return + float(infos["true_reward"][taken].sum()), episodes + int(ended.sum())
        if mode is AutoresetMode.DISABLED and ended.any():
            observations, _ = venv.reset(options={"reset_mask": ended})
        if size < LEARNING_STARTS:
            continue

        for _ in range(NUM_ENVS // 2):
            chosen = torch.as_tensor(rng.integers(0, size, BATCH))
            batch = {name: values[chosen] for name, values in buffer.items()}
            with torch.no_grad():
                later = target(batch["next_observation"]).max(1).values
                wanted = batch["reward"] + GAMMA * (1 - batch["terminated"]) * later
            value = q(batch["observation"]).gather(1, batch["action"].long()[:, None])[:, 0]
            loss = nn.functional.smooth_l1_loss(value, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            for slow, fast in zip(target.parameters(), q.parameters(), strict=True):
                slow.data.lerp_(fast.data, 0.02)
    venv.close()

    print(f"{size} transitions, {episodes} episodes, {len(losses)} updates")
    print(f"mean true return of an episode: {true_return / max(1, episodes):.1f}")
    print(f"mean VLM reward: {buffer['reward'][:size].mean():.3f}, last loss {losses[-1]:.4f}")
    print("no transition runs across a reset:", "yes" if obeys_physics(buffer, size) else "no")


if __name__ == "__main__":
    main()
