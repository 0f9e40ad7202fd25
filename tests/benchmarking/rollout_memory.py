"""A run with 16 simulators whose rollouts have as many vector steps as the first argument says; see test_memory.py."""

from __future__ import annotations

import sys

import numpy as np

from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.testing.counting import counting_task
from vlm_rewards.training.algorithms import DQNConfig, build_algorithm
from vlm_rewards.training.runner import ring_slots

SIMULATORS, SIZE, CHUNK = 16, 96, 256
VECTOR_STEPS = 2_000


def brightness(frames: np.ndarray) -> np.ndarray:
    return frames[:, 0, 0].mean(axis=1, dtype=np.float32)


def main(train_freq: int) -> None:
    slots = ring_slots(CHUNK, SIMULATORS)
    venv = RenderedVecEnv(counting_task(), SIMULATORS, image_size=SIZE, slots=slots)
    algorithm = DQNConfig(
        learning_starts=1, train_freq=train_freq, gradient_steps=1, buffer_size=VECTOR_STEPS * SIMULATORS
    )
    model = build_algorithm(algorithm, venv, seed=0, device="cpu")
    model.learn(VECTOR_STEPS * SIMULATORS, callback=LabelRewards(brightness, chunk_frames=CHUNK))
    print(venv.ring.nbytes, model.num_timesteps, model._n_updates)  # noqa: T201 - the test reads it
    venv.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
