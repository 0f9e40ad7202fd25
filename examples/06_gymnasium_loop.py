"""The plain Gymnasium loop with a reward from frames: one wrapper, and nothing else changes.

`VLMRewardWrapper` goes around any environment that renders `rgb_array`. What `step` returns as the reward is that of a
frame of the state that the step led to, the last one of an episode too; the environment's own reward moves to
`info["true_reward"]`, for your log.

It embeds one frame a step. Where environments can step together, `VLMRewardVectorWrapper` is faster (07).

    python examples/06_gymnasium_loop.py
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from vlm_rewards import VLMReward, VLMRewardWrapper, load_encoder
from vlm_rewards.tasks.rendering import letterbox

EPISODES = 2


def catches(observation: np.ndarray) -> int:
    """Push the cart to the side to which the pole is falling."""
    return int(observation[2] + 0.5 * observation[3] > 0)


def drops(observation: np.ndarray) -> int:
    """Push the cart the other way."""
    return 1 - catches(observation)


def play(env: VLMRewardWrapper, policy: Callable[[np.ndarray], int], seed: int) -> tuple[list[float], float]:
    """Run an episode of at most 60 steps; give the VLM reward of each, and the true return."""
    rewards, true_return = [], 0.0
    observation, _ = env.reset(seed=seed)
    for _ in range(60):
        observation, reward, terminated, truncated, info = env.step(policy(observation))
        rewards.append(reward)
        true_return += info["true_reward"]
        if terminated or truncated:
            break
    return rewards, true_return


def main() -> None:
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal="pole vertically upright on top of the cart", baseline="pole and cart", alpha=1.0)
    env = VLMRewardWrapper(gym.make("CartPole-v1", render_mode="rgb_array"), reward)

    for policy in (catches, drops):
        for seed in range(EPISODES):
            rewards, true_return = play(env, policy, seed)
            print(
                f"{policy.__name__:8} the pole: {len(rewards):2} steps, mean VLM reward {np.mean(rewards):.3f}, "
                f"last {rewards[-1]:.3f}, true return {true_return:.0f}"
            )

    # The environment is still in the last state of its last episode: score that frame by hand.
    picture = letterbox(np.asarray(env.render()), encoder.image_size)
    same = rewards[-1] == reward(picture[None])[0]
    print("the last reward is that of the last state's frame:", "yes" if same else "no")
    env.close()


if __name__ == "__main__":
    main()
