"""The smallest task with a known answer: go where it is bright."""

from __future__ import annotations

import functools
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frames, Rewards
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.task import Task

_STRIDE = 0.25


class PointEnv(gym.Env[np.ndarray, Any]):
    """A point on a line from 0 to 1; its frame is grey, the brighter the further right.

    An episode starts anywhere and never ends by itself. A step moves the point
    by up to a quarter. The observation is the position, float32 ``[1]``; the
    environment's own reward is always 0, so that nothing can be learned from it.

    Args:
        image_size: Side of the frames in pixels, at least 32.
        actions: ``"discrete"`` (0 moves left, 1 right) or ``"box"`` (one number in [-1, 1]).
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium declares it so
    render_mode = "rgb_array"

    def __init__(self, image_size: int = 32, actions: Literal["discrete", "box"] = "discrete") -> None:
        self.image_size = check_size(image_size)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2) if actions == "discrete" else gym.spaces.Box(-1.0, 1.0, (1,))
        self.position = 0.5

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Put the point anywhere."""
        super().reset(seed=seed)
        self.position = float(self.np_random.random())
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the point."""
        push = float(np.asarray(action).reshape(-1)[0])
        if isinstance(self.action_space, gym.spaces.Discrete):
            push = 2.0 * push - 1.0
        self.position = float(np.clip(self.position + _STRIDE * push, 0.0, 1.0))
        return self._observe(), 0.0, False, False, {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The position as brightness: uint8 ``[image_size image_size 3]``."""
        return np.full((self.image_size, self.image_size, 3), round(255 * self.position), dtype=np.uint8)

    def _observe(self) -> np.ndarray:
        return np.array([self.position], dtype=np.float32)


def brightness_reward(frames: Frames) -> Rewards:
    """Mean brightness of frames.

    Args:
        frames: uint8 ``[n h w 3]``.

    Returns:
        float32 ``[n]`` in [0, 1].
    """
    return (frames.mean(axis=(1, 2, 3)) / 255).astype(np.float32)


def darkness_reward(frames: Frames) -> Rewards:
    """The opposite of `brightness_reward`: float32 ``[n]`` in [0, 1]."""
    return 1 - brightness_reward(frames)


def at_the_right(env: gym.Env[Any, Any]) -> bool:
    """Criterion of `point_task`: the point is within a tenth of the right end."""
    return getattr(env, "position") >= 0.9  # noqa: B009 - gym.Env declares no such attribute


def over_at_the_right(steps: np.ndarray) -> bool:
    """Episode rule of `point_task`: the episode ends at the right."""
    return bool(steps[-1])


def point_task(name: str = "point", *, horizon: int = 8, actions: Literal["discrete", "box"] = "discrete") -> Task:
    """A task over `PointEnv`: be at the right end when time is up.

    Args:
        name: The task's name. It is not registered.
        horizon: Steps after which an episode is truncated.
        actions: ``"discrete"`` or ``"box"``.

    Returns:
        The task, for `RenderedVecEnv` or `make_task_env`.
    """
    return Task(
        name=name,
        goal="a white wall",
        baseline="a wall",
        simulator=functools.partial(PointEnv, actions=actions),
        horizon=horizon,
        criterion=at_the_right,
        episode_rule=over_at_the_right,
        criterion_text="the point is at the right end when time is up",
    )
