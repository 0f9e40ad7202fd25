"""Adds rewards that arrive late up to episodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EpisodeSummary:
    """What one finished episode came to."""

    simulator: int
    """Which simulator ran it."""
    end_step: int
    """The vector step that ended it."""
    length: int
    """Steps."""
    vlm_return: float
    """Sum of the raw VLM rewards, undiscounted."""
    true_return: float
    """Sum of the simulator's own rewards, which the learner never sees."""
    success: bool | None
    """The task's verdict; None where it has no criterion."""


class EpisodeLedger:
    """Matches steps with their later rewards.

    Args:
        simulators: How many there are.
    """

    def __init__(self, simulators: int) -> None:
        self._steps: deque[tuple[np.ndarray, np.ndarray, dict[int, bool | None]]] = deque()
        self._vlm = np.zeros(simulators, dtype=np.float64)
        self._true = np.zeros(simulators, dtype=np.float64)
        self._length = np.zeros(simulators, dtype=np.int64)

    def observe(self, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        """Note a vector step: dones bool ``[n_envs]`` and infos, in order; only what is needed of them is kept."""
        true_rewards = np.array([info["true_reward"] for info in infos], dtype=np.float64)
        verdicts = {int(index): infos[index].get("is_success") for index in np.flatnonzero(dones)}
        self._steps.append((np.array(dones), true_rewards, verdicts))

    def label(self, first_step: int, rewards: np.ndarray) -> list[EpisodeSummary]:
        """Deliver raw rewards ``[steps n_envs]`` of the oldest steps noted.

        Returns:
            The episodes that ended within those steps, in order.
        """
        finished: list[EpisodeSummary] = []
        for offset, row in enumerate(rewards):
            dones, true_rewards, verdicts = self._steps.popleft()
            self._vlm += row
            self._true += true_rewards
            self._length += 1
            for index in np.flatnonzero(dones).tolist():
                finished.append(self._finish(index, first_step + offset, verdicts[index]))
        return finished

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the unfinished episodes have come to; all steps must have been labelled."""
        return {"vlm": self._vlm.copy(), "true": self._true.copy(), "length": self._length.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self._steps.clear()
        self._vlm, self._true, self._length = (np.array(state[name]) for name in ("vlm", "true", "length"))

    def _finish(self, index: int, step: int, success: bool | None) -> EpisodeSummary:
        summary = EpisodeSummary(
            simulator=index,
            end_step=step,
            length=int(self._length[index]),
            vlm_return=float(self._vlm[index]),
            true_return=float(self._true[index]),
            success=success,
        )
        self._vlm[index] = self._true[index] = self._length[index] = 0
        return summary
