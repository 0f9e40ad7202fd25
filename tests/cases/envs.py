"""Environments that people bring, for ``--env-id cases.envs:ID``. No torch here: simulator processes import this."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

LINE = gym.spaces.Box(-50, 50, (1,), np.float32)


class Line(gym.Env[Any, Any]):
    """A white line on black that goes left or right. Its own reward is 1 where the action is one of its space."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space: gym.Space[Any] = gym.spaces.Discrete(2)
    observation_space: gym.Space[Any] = LINE

    def __init__(self, render_mode: str | None = None, level: int = 0) -> None:
        self.render_mode, self.level, self.x = render_mode, level, 20

    def observe(self) -> Any:
        return np.array([self.x], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x = 20
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x += 1 if np.sum(action) % 2 else -1
        return self.observe(), float(self.action_space.contains(action)), False, False, {}

    def render(self) -> Any:
        frame = np.zeros((40, 40, 3), np.uint8)
        frame[:, self.x % 40] = 255
        return frame


class Pixels(Line):
    """Observes its own pictures, as Atari, ViZDoom and procgen do."""

    observation_space = gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)

    def observe(self) -> Any:
        return self.render()


class Blank(Line):
    """Its renderer has failed, or its display is a dummy."""

    def render(self) -> Any:
        return np.full((40, 40, 3), self.level, np.uint8)


class FromOne(Line):
    action_space = gym.spaces.Discrete(2, start=1)


class Dials(Line):
    action_space = gym.spaces.MultiDiscrete([3, 2])


class Switches(Line):
    action_space = gym.spaces.MultiBinary(3)


class Mission(gym.Space[str]):
    """A space that flattening does not know, as MiniGrid has it."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return "a mission"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


class Grid(Line):
    observation_space = gym.spaces.Dict(x=LINE, mission=Mission())

    def observe(self) -> Any:
        return {"x": super().observe(), "mission": "a mission"}


class Reach(Line):
    """Has goals that can be relabelled, and a reward of its own for each."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gym.spaces.Dict(observation=LINE, achieved_goal=LINE, desired_goal=LINE)

    def observe(self) -> Any:
        x = super().observe()
        return {"observation": x, "achieved_goal": x, "desired_goal": np.ones(1, np.float32)}

    def compute_reward(self, achieved: Any, desired: Any, info: Any) -> Any:
        return -100.0 * np.ones(np.shape(achieved)[:-1], np.float32)


class Slow(Line):
    """Takes its time, and leaves the processor to others."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(0.2)
        return super().step(action)


for kind in (Pixels, Blank, FromOne, Dials, Switches, Grid, Slow):
    gym.register(f"{kind.__name__}-v0", kind)
