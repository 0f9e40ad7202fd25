"""A simulator whose frames say which step of which episode they show.

With it, a test can tell of every row of a replay buffer what its reward must
be: the picture's number and the next observation's number are the same number,
or something was paired wrongly.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frames, Rewards
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.task import Task

Ending = Literal["terminate", "truncate", "either"]

_EPISODES = 2**12
_STEPS = 2**12
_NUMBERS = _EPISODES * _STEPS  # 24 bits: one RGB colour, and exact in float32


class CountingEnv(gym.Env[np.ndarray, Any]):
    """Counts steps and shows the count as its picture's only colour.

    The frame of step ``t`` of episode ``e`` is flat, and its red, green and
    blue are the three base-256 digits of ``e * 4096 + t``. An episode's number
    is drawn from its reset seed, and so are its length and how it ends: equal
    seeds give equal episodes whatever the actions.

    Observations are float32 ``[3]``: ``e / 4096`` and ``t / 4096``, both exact,
    and the action that led here (0 after a reset; for continuous actions, its
    only number). The array is *the same object* on every step, as some
    simulators have it, so that whoever keeps a reference instead of a copy is
    found out. The environment's own reward is ``t``.

    Args:
        image_size: Side of the frames in pixels, at least 32.
        lengths: Shortest and longest episode in steps, both included.
        ending: Whether episodes terminate, truncate, or do either at random.
        actions: ``"discrete"`` (three of them) or ``"box"`` (one number in [-1, 1]).
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium declares it so
    render_mode = "rgb_array"

    def __init__(
        self,
        image_size: int = 32,
        lengths: tuple[int, int] = (3, 9),
        ending: Ending = "either",
        actions: Literal["discrete", "box"] = "discrete",
    ) -> None:
        if not 1 <= lengths[0] <= lengths[1] < _STEPS:
            raise InvalidInputError(f"lengths must be ordered and from 1 to {_STEPS - 1}, got {lengths!r}.")
        self.image_size = check_size(image_size)
        self.observation_space = gym.spaces.Box(-1.0, 2.0, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(3) if actions == "discrete" else gym.spaces.Box(-1.0, 1.0, (1,))
        self._lengths = lengths
        self._ending = ending
        self._observation = np.zeros(3, dtype=np.float32)
        self.episode = 0
        self.count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the episode that the seed stands for."""
        super().reset(seed=seed)
        self.episode = int(self.np_random.integers(_EPISODES))
        self.count = 0
        self._length = int(self.np_random.integers(self._lengths[0], self._lengths[1] + 1))
        self._terminates = self._ending == "terminate" or (self._ending == "either" and self.np_random.random() < 0.5)
        return self._observe(0.0), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Count one further."""
        self.count += 1
        over = self.count >= self._length
        observation = self._observe(float(np.asarray(action).reshape(-1)[0]))
        return observation, float(self.count), over and self._terminates, over and not self._terminates, {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The count as a colour: uint8 ``[image_size image_size 3]``."""
        number = self.episode * _STEPS + self.count
        colour = np.array([number >> 16, number >> 8 & 255, number & 255], dtype=np.uint8)
        return np.broadcast_to(colour, (self.image_size, self.image_size, 3)).copy()

    def _observe(self, action: float) -> np.ndarray:
        self._observation[:] = self.episode / _EPISODES, self.count / _STEPS, action
        return self._observation


def counting_reward(frames: Frames) -> Rewards:
    """Read the number in the frames of a `CountingEnv`; stands in for a VLM.

    Args:
        frames: uint8 ``[n h w 3]``.

    Returns:
        float32 ``[n]`` in [0, 1): the number divided by ``2**24``, exact. Equal
        to `counting_label` of the observation of the same state.

    Raises:
        InvalidInputError: A frame has more than one colour, as one that was
            read while it was being written might have.
    """
    if not (frames == frames[:, :1, :1]).all():
        raise InvalidInputError("a frame of CountingEnv must have one colour: was it read while it was written?")
    digits = frames[:, 0, 0].astype(np.int64)
    return ((digits @ np.array([65536, 256, 1])) / _NUMBERS).astype(np.float32)


class CountingPotential:
    """`counting_reward` in the form of a `FrameReward`."""

    frame_size = 32

    def __call__(self, frames: Frames) -> Rewards:
        """As `counting_reward`."""
        return counting_reward(frames)

    def describe(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def counting_label(observations: np.ndarray) -> np.ndarray:
    """What `counting_reward` says of the states that these observations describe.

    Args:
        observations: float ``[... 3]``, of a `CountingEnv`.

    Returns:
        float32 ``[...]`` in [0, 1).
    """
    exact = np.asarray(observations, dtype=np.float64)
    return np.asarray(exact[..., 0] + exact[..., 1] / _EPISODES, dtype=np.float32)


class DelayedReward:
    """Takes its time, at random, over another reward: shakes out whatever depends on timing.

    Args:
        reward: Scores frames.
        seconds: The longest delay of one call.
        seed: Of the delays.

    Attributes:
        batches: How many frames each call was given.
    """

    def __init__(self, reward: Callable[[np.ndarray], np.ndarray], seconds: float, seed: int = 0) -> None:
        self.batches: list[int] = []
        self.frame_size = int(getattr(reward, "frame_size", 32))
        self._reward = reward
        self._seconds = seconds
        self._rng = np.random.default_rng(seed)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Wait, then score frames: uint8 ``[n h w 3]`` to float32 ``[n]``."""
        time.sleep(self._seconds * self._rng.random())
        self.batches.append(len(frames))
        return self._reward(frames)

    def describe(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def even_episode(env: gym.Env[Any, Any]) -> bool:
    """Criterion of `counting_task`: the episode's number is even."""
    return getattr(env, "episode") % 2 == 0  # noqa: B009 - gym.Env declares no such attribute


def counting_task(
    name: str = "counting",
    *,
    horizon: int = 8,
    lengths: tuple[int, int] = (3, 9),
    ending: Ending = "either",
    actions: Literal["discrete", "box"] = "discrete",
) -> Task:
    """A task over `CountingEnv`: about half of its episodes succeed, as their numbers are even.

    Args:
        name: The task's name. It is not registered.
        horizon: Steps after which an episode is truncated.
        lengths: Shortest and longest episode before the horizon cuts it.
        ending: How episodes end before the horizon.
        actions: ``"discrete"`` or ``"box"``.

    Returns:
        The task, for `RenderedVecEnv` or `make_task_env`.
    """
    return Task(
        name=name,
        goal="a large number",
        baseline="a number",
        simulator=functools.partial(CountingEnv, lengths=lengths, ending=ending, actions=actions),
        horizon=horizon,
        criterion=even_episode,
        criterion_text="the episode's number is even",
    )
