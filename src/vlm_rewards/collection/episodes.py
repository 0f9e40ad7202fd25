"""What becomes of rewards that arrive late: summed up by episode, and interpolated between rendered states."""

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
    criterion: float | None = None
    """Share of the steps on which the criterion held; None where there is none."""
    last_half: bool | None = None
    """Whether the criterion held on all of the last half of the steps; None where there is none."""
    held_out: float | None = None
    """Mean of a second reward that the learner never sees; None without one."""


_SUMS = {"vlm": float, "true": float, "held": float, "criterion": np.int64, "lately": np.int64, "length": np.int64}
"""What is added up of the episodes that run; lately: steps up to now on which the criterion held unbroken."""


class EpisodeLedger:
    """Matches steps of so many simulators with their later rewards."""

    def __init__(self, simulators: int) -> None:
        self._steps: deque[tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[int, bool | None]]] = deque()
        self._sums = {name: np.zeros(simulators, dtype=kind) for name, kind in _SUMS.items()}

    @property
    def complete(self) -> bool:
        """Whether every step that was noted has its reward."""
        return not self._steps

    def observe(self, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        """Note a vector step: dones bool ``[n_envs]`` and infos, in order; only what is needed of them is kept."""
        true_rewards = np.array([info["true_reward"] for info in infos], dtype=np.float64)
        verdicts = {int(index): infos[index].get("is_success") for index in np.flatnonzero(dones)}
        judged = all("criterion" in info for info in infos)
        criteria = np.array([info["criterion"] for info in infos], dtype=bool) if judged else None
        self._steps.append((np.array(dones), true_rewards, criteria, verdicts))

    def truths(self, steps: int, *, true_reward: bool = False) -> np.ndarray:
        """What the oldest steps noted are judged by, float64 ``[steps n_envs]``.

        It is the criterion (1 or 0), or else, or with ``true_reward``, the simulator's own reward.
        """
        rows = [self._steps[index] for index in range(steps)]
        values = [true if true_reward or criteria is None else criteria for _, true, criteria, _ in rows]
        return np.array(values, dtype=np.float64)

    def label(self, first_step: int, rewards: np.ndarray, held_out: np.ndarray | None = None) -> list[EpisodeSummary]:
        """Deliver raw rewards ``[steps n_envs]`` of the oldest steps noted, and a second reward's if there is one.

        Returns:
            The episodes that ended within those steps, in order.
        """
        finished: list[EpisodeSummary] = []
        sums = self._sums
        for offset, row in enumerate(rewards):
            dones, true_rewards, criteria, verdicts = self._steps.popleft()
            sums["vlm"] += row
            sums["true"] += true_rewards
            sums["held"] += 0.0 if held_out is None else held_out[offset]
            sums["criterion"] += 0 if criteria is None else criteria
            sums["lately"] = (sums["lately"] + 1) * (0 if criteria is None else criteria)
            sums["length"] += 1
            known = {"judged": criteria is not None, "second": held_out is not None}
            for index in np.flatnonzero(dones).tolist():
                finished.append(self._finish(index, first_step + offset, verdicts[index], **known))
        return finished

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the unfinished episodes have come to; all steps must have been labelled."""
        return {name: values.copy() for name, values in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self._steps.clear()
        # Older versions did not count "lately", which is for evaluations alone.
        self._sums |= {name: np.array(values) for name, values in state.items()}

    def _finish(self, index: int, step: int, success: bool | None, *, judged: bool, second: bool) -> EpisodeSummary:
        own = {name: values[index] for name, values in self._sums.items()}
        length = int(own["length"])
        for values in self._sums.values():
            values[index] = 0
        return EpisodeSummary(
            simulator=index,
            end_step=step,
            length=length,
            vlm_return=float(own["vlm"]),
            true_return=float(own["true"]),
            success=success,
            criterion=float(own["criterion"] / length) if judged else None,
            last_half=bool(own["lately"] >= length - length // 2) if judged else None,
            held_out=float(own["held"] / length) if second else None,
        )


class Interpolation:
    """Fills in rewards linearly between two frames of an episode, and holds the last one after it.

    The first and the last state of an episode are rendered always
    (`RenderedVecEnv`), so no line leads from one episode to another, and a
    reward is held only where a rollout ends between two frames.
    """

    def __init__(self, simulators: int) -> None:
        self._last = np.full((simulators, 1), np.nan)
        self._since = np.zeros(simulators, dtype=np.int64)

    def fill(self, rewards: np.ndarray) -> np.ndarray:
        """Fill in the rewards of the steps that follow those of the last call.

        Args:
            rewards: float ``[steps simulators]`` or ``[steps simulators columns]``, NaN where there was no frame.

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
