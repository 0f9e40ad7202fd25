"""One simulator, tried before many are started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import psutil

from vlm_rewards.envs import Task
from vlm_rewards.errors import InvalidInputError, WorkerError
from vlm_rewards.simulation.vec_env import PhotographedVecEnv


@dataclass(frozen=True)
class Trial:
    """What a task's simulator turned out to be."""

    observation_space: gym.Space[Any]
    """Box or Discrete."""
    action_space: gym.Space[Any]
    """Box or Discrete."""
    frame_shape: tuple[int, ...]
    """Of the picture of a state: height, width, 3."""
    worker_bytes: int
    """Memory of a worker process that hosts one simulator."""


def try_simulator(task: Task, image_size: int) -> Trial:
    """Build one simulator in a worker process, reset it, take a random step and photograph where that led.

    Args:
        task: The task.
        image_size: Side of the picture in pixels.

    Raises:
        InvalidInputError: It cannot be built, stepped or drawn, or has spaces that are not supported.
    """
    try:
        venv = PhotographedVecEnv(task, 1, image_size=image_size, n_workers=1, slots=2)
        try:
            venv.reset()
            venv.action_space.seed(0)
            venv.step(np.stack([venv.action_space.sample()]))
            frame = venv.last_frames()[0]
            resident = psutil.Process(venv.worker_pids[0]).memory_info().rss
        finally:
            venv.close()
    except WorkerError as error:
        raise InvalidInputError(f"the simulator of task {task.name!r} cannot be used: {error}") from error
    return Trial(venv.observation_space, venv.action_space, frame.shape, resident)
