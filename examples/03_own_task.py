"""A task of your own: a sentence, a simulator, a way to tell success.

The simulator is the cart and pole, the sentence is new: the pole is to hang down. Nothing but the sentence changes
for the learner. The criterion is for us alone, to see whether the sentence meant what we meant.

The bundled encoder understands sentences about carts and poles. For another simulator, pass the name of a pretrained
CLIP to `load_encoder`; any Gymnasium environment that renders `rgb_array` will do.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards import Task, VLMReward, load_encoder, register_task
from vlm_rewards.tasks.cartpole import CartPoleSimulator
from vlm_rewards.tasks.task import half_of_steps, make_task_env


def hangs_down(env: gym.Env[Any, Any]) -> bool:
    """The pole is within 30 degrees of hanging straight down."""
    return isinstance(env, CartPoleSimulator) and math.cos(env.state[2]) < -math.cos(math.radians(30))


HANGING = register_task(
    Task(
        name="cartpole-hanging",
        goal="the pole is hanging straight down below the cart",
        baseline="pole and cart",
        simulator=CartPoleSimulator,
        horizon=200,
        criterion=hangs_down,
        episode_rule=half_of_steps,
        criterion_text="the pole is within 30 degrees of hanging down on at least half of the steps",
    )
)


def main() -> None:
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal=HANGING.goal, baseline=HANGING.baseline, alpha=0.5)
    env = make_task_env(HANGING, encoder.image_size)
    env.action_space.seed(0)
    env.reset(seed=0)

    # Does the sentence tell good states from bad ones? Look before you train.
    frames, holds, done, info = [], [], False, {}
    while not done:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        frames.append(env.render())
        holds.append(info["criterion"])
        done = terminated or truncated
    rewards, mask = reward(np.stack(frames)), np.asarray(holds)

    print(f"goal: {HANGING.goal}")
    print(f"{len(frames)} random steps; the criterion holds on {mask.sum()}, success: {info['is_success']}")
    for label, chosen in (("holds", mask), ("does not hold", ~mask)):
        if chosen.any():
            print(f"mean reward where the criterion {label}: {rewards[chosen].mean():.3f}")


if __name__ == "__main__":
    main()
