"""Potential-based shaping of transitions whose states are scored late."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from vlm_rewards.rewards.shaping import PotentialShaping, shaped


class Potentials:
    """Remembers the potential of every simulator's last state.

    Args:
        shaping: The reward.
        initial: Potentials of the states after the reset, ``[n_envs]``.
    """

    def __init__(self, shaping: PotentialShaping, initial: np.ndarray) -> None:
        self._shaping = shaping
        self._last = np.array(initial, dtype=np.float32)
        self._steps: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque()

    def observe(self, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        """Note a vector step: dones bool ``[n_envs]`` and infos, in order."""
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        true_rewards = np.array([info["true_reward"] for info in infos], dtype=np.float64)
        self._steps.append((np.array(dones), dones & ~truncated, true_rewards))

    def shape(self, columns: np.ndarray, after_resets: np.ndarray) -> np.ndarray:
        """Turn scored states into rewards of transitions.

        Args:
            columns: Base reward and potential of the states after the oldest steps noted, ``[steps n_envs 2]``.
            after_resets: The same for the states after the resets within those steps, in order, ``[n 2]``.

        Returns:
            float32 ``[steps n_envs]``.
        """
        resets = iter(after_resets[:, 1])
        rows = [self._shape_step(base, potential, resets) for base, potential in np.moveaxis(columns, 2, 1)]
        return np.stack(rows) if rows else np.empty(columns.shape[:2], dtype=np.float32)

    def _shape_step(self, base: np.ndarray, potential: np.ndarray, resets: Any) -> np.ndarray:
        dones, terminated, true_rewards = self._steps.popleft()
        own = true_rewards if isinstance(self._shaping.base, str) else base
        rewards = shaped(own, self._last, potential, terminated, self._shaping.gamma)
        self._last = np.array(potential)
        for index in np.flatnonzero(dones):
            self._last[index] = next(resets)
        return rewards

    def state_dict(self) -> dict[str, np.ndarray]:
        """The potentials of the present states."""
        return {"last": self._last.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self._steps.clear()
        self._last = np.array(state["last"])
