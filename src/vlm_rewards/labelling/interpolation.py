"""Rewards of states that were not photographed, from those before and after."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Interpolation:
    """Fills in rewards linearly between two pictures of an episode, and holds the last one after it.

    The first and the last state of an episode are photographed always
    (`PhotographedVecEnv`), so no line leads from one episode to another, and a
    reward is held only where a rollout ends between two pictures.

    Args:
        simulators: How many there are.
    """

    def __init__(self, simulators: int) -> None:
        self._last = np.full((simulators, 1), np.nan)
        self._since = np.zeros(simulators, dtype=np.int64)

    def fill(self, rewards: np.ndarray) -> np.ndarray:
        """Fill in the rewards of the steps that follow those of the last call.

        Args:
            rewards: float ``[steps simulators]`` or ``[steps simulators columns]``, NaN where there was no picture.

        Returns:
            A copy without NaN, same shape and dtype.
        """
        steps, simulators = rewards.shape[:2]
        values = rewards.reshape(steps, simulators, -1).copy()
        if self._last.shape[1] != values.shape[2]:
            self._last = np.full(values.shape[1:], np.nan)
        for simulator in range(simulators):
            own = values[:, simulator]
            known = np.flatnonzero(~np.isnan(own[:, 0]))
            at, scored = known, own[known].astype(np.float64)
            if not np.isnan(self._last[simulator, 0]):
                at = np.concatenate([[-1 - self._since[simulator]], known])
                scored = np.concatenate([self._last[simulator : simulator + 1], scored])
            if len(known) < steps:
                for column in range(own.shape[1]):
                    own[:, column] = np.interp(np.arange(steps), at, scored[:, column])
            self._last[simulator] = scored[-1]
            self._since[simulator] = steps - 1 - at[-1]
        return values.reshape(rewards.shape)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The last scores and the steps since, for `load_state_dict`."""
        return {"last": self._last.copy(), "since": self._since.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self._last, self._since = np.array(state["last"]), np.array(state["since"])
