"""Whether transitions fit into memory: pages are handed out when they are first written, hours into a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import psutil

from vlm_rewards.errors import InvalidInputError


def check_memory(field: str, rows: int, bytes_each: int) -> None:
    """Refuse more transitions than there is memory for.

    Args:
        field: The setting that asks for so many, as the message names it.
        rows: Transitions.
        bytes_each: Bytes of one.

    Raises:
        InvalidInputError: They do not fit; the message says how many do.
    """
    available = psutil.virtual_memory().available
    if rows * bytes_each > available:
        raise InvalidInputError(
            f"{field} asks for {rows:,} transitions of {bytes_each:,} bytes, {rows * bytes_each / 2**20:,.0f} MiB; "
            f"{available / 2**20:,.0f} MiB of memory are available: at most {available // bytes_each:,} transitions "
            "fit."
        )


def replay_row(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> dict[str, np.dtype[Any]]:
    """What `LabelledReplayBuffer` keeps of a transition.

    Args:
        observation_space: Box or Discrete.
        action_space: Box or Discrete.

    Returns:
        Kind and shape of each part, by the name of the buffer's array.
    """
    observation, action = _stored(observation_space), _stored(action_space)
    if action.base == np.float64:  # Stable-Baselines3 keeps actions of replay in single precision
        action = np.dtype((np.float32, action.shape))
    numbers = {"rewards": np.float32, "dones": np.float32, "timeouts": np.float32, "tickets": np.int64, "pending": bool}
    row = {"observations": observation, "next_observations": observation, "actions": action}
    return row | {name: np.dtype(kind) for name, kind in numbers.items()}


def rollout_row(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> dict[str, np.dtype[Any]]:
    """What PPO keeps of a transition; arguments and result are those of `replay_row`."""
    numbers = ("rewards", "returns", "values", "log_probs", "advantages", "episode_starts")
    row = {"observations": _stored(observation_space), "actions": _stored(action_space)}
    return row | {name: np.dtype(np.float32) for name in numbers}


def bytes_of(row: Mapping[str, np.dtype[Any]]) -> int:
    """Bytes of a row of `replay_row` or `rollout_row`."""
    return sum(kind.itemsize for kind in row.values())


def _stored(space: gym.Space[Any]) -> np.dtype[Any]:
    """An observation or an action of a Box or Discrete space, as Stable-Baselines3 stores it."""
    return np.dtype((space.dtype, space.shape or (1,)))
