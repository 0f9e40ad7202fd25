"""The policies that any result is to be compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.envs import Task
from vlm_rewards.errors import InvalidInputError, unknown_name

BASELINES = ("random", "zero", "rule")


def baseline_policy(
    name: str, task: Task, action_space: gym.Space[Any], *, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """Build a policy that has learned nothing.

    Args:
        name: ``"random"`` (uniform actions), ``"zero"`` (the action 0, or the
            zero vector) or ``"rule"`` (the task's one-line rule).
        task: The task.
        action_space: Its action space.
        seed: Seeds the random actions.

    Returns:
        Observations ``[n ...]`` to actions ``[n ...]``.

    Raises:
        InvalidInputError: The task has no rule, or its action space no zero.
        UnknownNameError: There is no such policy.
    """
    if name == "random":
        space = type(action_space)(**_arguments(action_space))
        space.seed(seed)
        return lambda observations: np.stack([np.asarray(space.sample()) for _ in observations])
    if name == "zero":
        zero = np.zeros(action_space.shape or (), dtype=action_space.dtype)
        if not action_space.contains(zero):
            raise InvalidInputError(f"there is no zero action in {action_space!r}.")
        return lambda observations: np.stack([zero] * len(observations))
    if name == "rule":
        rule = task.rule
        if rule is None:
            raise InvalidInputError(f"task {task.name!r} has no one-line rule.")
        return lambda observations: np.stack([np.asarray(rule(row), dtype=action_space.dtype) for row in observations])
    raise unknown_name("baseline policy", name, BASELINES)


def _arguments(space: gym.Space[Any]) -> dict[str, Any]:
    """A copy of the space with a generator of its own, so that nobody else's samples are disturbed."""
    if isinstance(space, gym.spaces.Discrete):
        return {"n": space.n, "start": space.start}
    if isinstance(space, gym.spaces.Box):
        return {"low": space.low, "high": space.high, "dtype": space.dtype}
    raise InvalidInputError(f"the action space must be Box or Discrete, got {space!r}.")
