"""A pose of your own: another sentence for the humanoid, with a criterion measured in metres.

The sentence is new, and so is what tells success; learner, drawing and horizon are those of the eight poses. Train it:

    vlm-rewards train examples/13_own_pose.py --seed 0 --run-dir runs/on-its-back

The bundled encoder knows words for how this robot stands, sits, kneels and lies, and where its arms are; `train` names
the words of a sentence that it has never seen.
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards import Task, VLMReward, load_encoder, register_task
from vlm_rewards.tasks.humanoid.body import measure
from vlm_rewards.tasks.humanoid.model import HORIZON, HumanoidConfig, build_humanoid
from vlm_rewards.tasks.task import half_of_steps, make_task_env

COMPACT = HumanoidConfig(observations="compact")  # learns faster than the paper's 348 numbers


def lies_on_its_back(env: gym.Env[Any, Any]) -> bool:
    """The trunk is on the floor, and the chest faces up."""
    body = measure(env)
    return body.trunk_low < 0.05 and body.face_up > 0.7


ON_ITS_BACK = register_task(
    Task(
        name="on-its-back",
        goal="a humanoid robot lying on its back",
        baseline="a humanoid robot",
        simulator=functools.partial(build_humanoid, config=COMPACT),
        horizon=HORIZON,
        criterion=lies_on_its_back,
        episode_rule=half_of_steps,
        criterion_text="the trunk is on the floor and the chest faces up on at least half of the steps",
    )
)


def main() -> None:
    # Look before you train: does the sentence tell good states from bad ones? Zero actions fall over, random ones too.
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal=ON_ITS_BACK.goal, baseline=ON_ITS_BACK.baseline, alpha=0.5)
    env = make_task_env(ON_ITS_BACK, encoder.image_size)
    env.action_space.seed(0)
    frames, holds = [], []
    for episode in range(4):
        env.reset(seed=episode)
        truncated = False
        while not truncated:
            action = env.action_space.sample()
            _, _, _, truncated, info = env.step(action if episode % 2 else np.zeros_like(action))
            frames.append(env.render())
            holds.append(info["criterion"])
    rewards, mask = reward(np.stack(frames)), np.asarray(holds)

    print(f"goal: {ON_ITS_BACK.goal}")
    print(f"{len(frames)} steps; the criterion holds on {mask.sum()}")
    for label, chosen in (("holds", mask), ("does not hold", ~mask)):
        if chosen.any():
            print(f"mean reward where the criterion {label}: {rewards[chosen].mean():.3f}")


if __name__ == "__main__":
    main()
