"""Pictures of states that only a simulator can draw, from several of them side by side."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frames
from vlm_rewards.envs.state_access import StateStudio
from vlm_rewards.envs.tasks import SimulatedCaptioner, SimulatorFactory, Task
from vlm_rewards.simulation import PhotographedVecEnv

_BATCH = 64  # states in a request


def photograph(
    captioner: SimulatedCaptioner, states: np.ndarray, pictures: Frames, advance: Callable[[], object] = lambda: None
) -> None:
    """Draw states in worker processes: a process that draws must not train (two LLVMs in one process crash).

    Args:
        captioner: Knows which simulator draws which state.
        states: float64 ``[n k]``, as the captioner samples them.
        pictures: uint8 ``[n size size 3]``, filled in.
        advance: Called after each picture.
    """
    kinds, inner = captioner.split(states)
    parts = np.array_split(np.arange(len(states)), min(os.cpu_count() or 1, len(states)))
    factories = [functools.partial(_studio, factory, pictures.shape[1]) for factory in captioner.simulators()]

    def draw(rows: np.ndarray) -> None:
        venv = PhotographedVecEnv(factories, image_size=pictures.shape[1], n_workers=1, slots=2)
        try:
            for kind in range(len(factories)):
                own = rows[kinds[rows] == kind]
                for start in range(0, len(own), _BATCH):
                    batch = own[start : start + _BATCH]
                    pictures[batch] = venv.env_method("show", inner[batch], indices=kind)[0][0]
                    for _ in batch:
                        advance()
        finally:
            venv.close()

    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(draw, parts))


def _studio(factory: SimulatorFactory, size: int) -> gym.Env:
    task = Task(name="captions", goal="a picture", baseline="any picture", simulator=factory, horizon=1)
    return StateStudio(task, size)
