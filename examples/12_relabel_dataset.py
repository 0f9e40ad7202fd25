r"""VLM rewards for recorded data: relabel a Minari dataset, then read it like any other.

A small dataset is recorded from CartPole first, with its frames left out, as most datasets have it. `relabel` steps
the environment again along the recorded actions to draw them, checks that it gets the recorded observations, and
writes a new dataset; the old one stays as it is. On the command line:

    vlm-rewards relabel cartpole/random-v0 --frames replay \
        --goal "pole vertically upright on top of the cart" --baseline "pole and cart"

    pip install 'vlm-rewards[minari]'
    python examples/12_relabel_dataset.py
"""

from __future__ import annotations

import os
import tempfile

import gymnasium as gym
import numpy as np

EPISODES = 3


def record() -> str:
    """Record some episodes of random actions; the id of the dataset."""
    import minari

    env = minari.DataCollector(gym.make("CartPole-v1"))
    env.action_space.seed(0)
    for seed in range(EPISODES):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    name = "cartpole/random-v0"
    env.create_dataset(dataset_id=name, algorithm_name="random", code_permalink="", author="", author_email="")
    env.close()
    return name


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder  # yours is elsewhere: leave this out

        import minari

        from vlm_rewards import VLMReward, load_encoder
        from vlm_rewards.offline.dataset import RelabelOptions
        from vlm_rewards.offline.relabelling import open_dataset, relabel

        reward = VLMReward(
            load_encoder("bundled"),
            goal="pole vertically upright on top of the cart",
            baseline="pole and cart",
            alpha=1.0,
        )
        options = RelabelOptions(frames=("replay",))
        dataset = open_dataset(record(), options)
        try:
            facts = relabel(dataset, reward, options)
        finally:
            dataset.close()
        print(f"{facts['source']} -> {facts['out']}: {facts['episodes']} episodes, {facts['frames']} frames")

        for episode in minari.load_dataset(facts["out"]).iterate_episodes():
            lean = np.abs(episode.observations[1:, 2])  # of the pole, in radians, in the states that were reached
            print(
                f"  episode {episode.id}: {len(episode.rewards)} steps, first reward {episode.rewards[0]:.3f} at "
                f"{lean[0]:.2f} rad, last {episode.rewards[-1]:.3f} at {lean[-1]:.2f} rad"
            )


if __name__ == "__main__":
    main()
