"""States of simulators as frames, and captions for them, from a seed.

Frames of states that only a simulator can draw, from several of them side by side.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from vlm_rewards.arrays import Frames
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.state_access import StateStudio
from vlm_rewards.tasks.task import Captioner, SimulatedCaptioner, Task, get_task

_BATCH = 64  # states in a request


def captioned_tasks(names: Sequence[str]) -> list[Task]:
    """Look tasks up that can make captions.

    Raises:
        UnknownNameError: There is no such task.
        InvalidInputError: A task has no captioner, or shares it with another.
    """
    tasks = [get_task(name) for name in names]
    for place, task in enumerate(tasks):
        if task.captioner is None:
            raise InvalidInputError(
                f"tasks: {task.name!r} has no captioner; give its Task one (vlm_rewards.tasks.task.StateCaptioner) to "
                "train on it."
            )
        for other in tasks[:place]:
            if other.captioner is task.captioner:
                raise InvalidInputError(
                    f"tasks: {other.name!r} and {task.name!r} share their states and captions; name one of them."
                )
    return tasks


@dataclass(frozen=True)
class CaptionedStates:
    """States of one task with their frames; captions are drawn when they are needed."""

    captioner: Captioner
    """Writes the captions."""
    states: np.ndarray
    """float64 ``[n k]``."""
    pictures: Frames
    """uint8 ``[n size size 3]``."""

    @classmethod
    def draw(
        cls,
        captioner: Captioner,
        count: int,
        size: int,
        rng: np.random.Generator,
        advance: Callable[[], object] = lambda: None,
    ) -> CaptionedStates:
        """Sample states and draw them with ``size`` pixels a side; ``advance`` is called after each."""
        states = np.stack([captioner.sample(rng) for _ in range(count)])
        return cls(captioner, states, draw_states(captioner, states, size, advance))

    def captions(self, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
        """A fresh caption for each of the rows."""
        return [self.captioner.caption(self.states[row], rng) for row in rows]


def draw_states(
    captioner: Captioner, states: np.ndarray, size: int, advance: Callable[[], object] = lambda: None
) -> Frames:
    """Render states, in worker processes where it is a simulator that draws.

    Args:
        captioner: Of the task.
        states: float64 ``[n k]``, as the captioner samples them.
        size: Side of the frames in pixels.
        advance: Called after each frame.

    Returns:
        uint8 ``[n size size 3]``.
    """
    frames = np.empty((len(states), size, size, 3), np.uint8)
    if isinstance(captioner, SimulatedCaptioner):
        _simulate(captioner, states, frames, advance)
        return frames
    for frame, state in zip(frames, states, strict=True):
        frame[:] = captioner.draw(state, size)
        advance()
    return frames


def _simulate(captioner: SimulatedCaptioner, states: np.ndarray, frames: Frames, advance: Callable[[], object]) -> None:
    """Draw in worker processes: a process that draws must not train (two LLVMs in one process crash)."""
    kinds, inner = captioner.split(states)
    size = frames.shape[1]
    parts = np.array_split(np.arange(len(states)), min(os.cpu_count() or 1, len(states)))
    texts: dict[str, Any] = {"name": "captions", "goal": "a frame", "baseline": "any frame"}
    tasks = [Task(**texts, simulator=factory, horizon=1) for factory in captioner.simulators()]
    factories = [functools.partial(StateStudio, task, size) for task in tasks]

    def draw(rows: np.ndarray) -> None:
        venv = RenderedVecEnv(factories, image_size=size, n_workers=1, slots=2)
        try:
            for kind in range(len(factories)):
                own = rows[kinds[rows] == kind]
                for start in range(0, len(own), _BATCH):
                    batch = own[start : start + _BATCH]
                    frames[batch] = venv.env_method("show", inner[batch], indices=kind)[0][0]
                    for _ in batch:
                        advance()
        finally:
            venv.close()

    with ThreadPoolExecutor(len(parts)) as threads:
        list(threads.map(draw, parts))


class Jitter:
    """Mild photometric and geometric noise, so that no weight hangs on a single pixel.

    Frames are never mirrored or turned: left, right and every angle mean something.

    Args:
        generator: Draws the noise; on the CPU, so that results do not depend on the device.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Jitter frames, each in its own way: float32 ``[n 3 h w]``, 0 to 255, and so returned."""
        n = len(pixels)
        brightness, contrast = self._spread(n, 12.0), 1 + self._spread(n, 0.1)
        noise = torch.randn(n, 1, *pixels.shape[2:], generator=self._generator) * 3 * self._uniform(n)
        moved = self._move(pixels)
        brightness, contrast, noise = (part.to(pixels.device) for part in (brightness, contrast, noise))
        return ((moved - 128) * contrast + 128 + brightness + noise).clamp_(0, 255)

    def _move(self, pixels: torch.Tensor) -> torch.Tensor:
        """Shift by up to a pixel and a half of 96, and scale by up to 2 %; edges are repeated."""
        n = len(pixels)
        maps = torch.zeros(n, 2, 3)
        maps[:, 0, 0] = maps[:, 1, 1] = 1 + self._spread(n, 0.02).flatten()
        maps[:, 0, 2], maps[:, 1, 2] = self._spread(n, 0.03).flatten(), self._spread(n, 0.03).flatten()
        grid = functional.affine_grid(maps.to(pixels.device), list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)

    def _uniform(self, n: int) -> torch.Tensor:
        return torch.rand(n, 1, 1, 1, generator=self._generator)

    def _spread(self, n: int, half_width: float) -> torch.Tensor:
        return (2 * self._uniform(n) - 1) * half_width
