"""A task's episodes: the horizon, the criterion on every step, the verdict at the end."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.envs.canvas import check_size
from vlm_rewards.envs.headless import configure_headless
from vlm_rewards.envs.tasks import Task


class TaskEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """Adds a task's horizon and criterion to its simulator.

    Reaching the horizon truncates, it does not terminate. Every step's info has
    ``true_reward`` (the simulator's own reward) and, where the task has a
    criterion, ``criterion`` (bool: the present state fulfils it). The last
    step's info has ``is_success`` (bool: the task's episode rule), which
    belongs to that episode alone.

    Args:
        env: The simulator, without a time limit of its own.
        task: The task whose horizon and criterion apply.
    """

    def __init__(self, env: gym.Env[Any, Any], task: Task) -> None:
        super().__init__(env)
        self.task = task
        self._outcomes: list[bool] = []
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; nothing of the last one's verdict remains."""
        self._outcomes = []
        self._steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step and judge the state it leads to."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        truncated = truncated or self._steps >= self.task.horizon
        # A simulator's own verdict is not the task's.
        info = {**{key: value for key, value in info.items() if key != "is_success"}, "true_reward": float(reward)}
        if self.task.criterion is not None:
            self._outcomes.append(bool(self.task.criterion(self.env.unwrapped)))
            info["criterion"] = self._outcomes[-1]
            if terminated or truncated:
                info["is_success"] = bool(self.task.episode_rule(np.asarray(self._outcomes, dtype=bool)))
        return observation, float(reward), bool(terminated), bool(truncated), info


def make_task_env(task: Task, image_size: int) -> TaskEpisode:
    """Build one simulator of a task, with its horizon and criterion.

    Args:
        task: The task.
        image_size: Side in pixels of the square picture that the simulator is
            asked to draw. One that cannot renders what it can; `Photographer`
            letterboxes that.

    Returns:
        A Gymnasium environment with ``render_mode="rgb_array"``.

    Raises:
        InvalidInputError: ``image_size`` is not an int of at least 32.
    """
    check_size(image_size, "image_size")
    configure_headless()
    return TaskEpisode(task.simulator(image_size), task)
