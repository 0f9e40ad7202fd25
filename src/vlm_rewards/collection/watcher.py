"""A second pair of eyes on what is scored: keeps telling frames, scores all by a reward that nobody learns from."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlm_rewards.rewards.base import AnyReward

_OF_A_BLOCK = 4  # frames that are kept of each block, each of another simulator
_BLOCK = 256  # frames, at least: chunks are smaller where rollouts are short
_KEPT = 48


@dataclass(frozen=True)
class WatchedFrame:
    """A frame that scored high among those of its time."""

    step: int
    """Vector step after which it was taken."""
    simulator: int
    """Whose it is."""
    frame: np.ndarray
    """The frame, uint8 ``[h w 3]``."""
    reward: float
    """The VLM reward, raw."""
    truth: float | None = None
    """What it is judged by: criterion (1 or 0), true reward, or the held-out reward; None until it is known."""


class FrameWatcher:
    """Looks at every chunk of frames that `LabelRewards` has scored.

    Args:
        held_out: Another reward, which the learner never sees; None without one. Where it embeds frames as the
            reward does (another prompt for the same encoder), they are embedded once.
        true_reward: Whether frames are judged by the simulator's own reward although there is a criterion.
    """

    def __init__(self, held_out: AnyReward | None = None, *, true_reward: bool = False) -> None:
        self.held_out = held_out
        self.true_reward = true_reward
        self._kept: deque[WatchedFrame] = deque(maxlen=_KEPT)
        self._block_start = 0  # vector step

    @property
    def watched(self) -> list[WatchedFrame]:
        """The frames kept of late, oldest first."""
        return list(self._kept)

    def look(self, steps: range, frames: np.ndarray, scores: np.ndarray) -> None:
        """Keep the frames, uint8 ``[steps*simulators h w 3]``, of a block that score highest.

        A block is one chunk, or several small ones in a row. Of the scores, float ``[steps*simulators columns]``, the
        first column counts; NaN without a frame.
        """
        rewards = scores[:, 0]
        rewards = np.where(np.isnan(rewards), -np.inf, rewards)
        simulators = len(frames) // len(steps)
        if (steps.start - self._block_start) * simulators >= _BLOCK:
            self._block_start = steps.start
        best = {seen.simulator: seen for seen in self._kept if seen.step >= self._block_start}
        for _ in best:
            self._kept.pop()
        for simulator, column in enumerate(rewards.reshape(len(steps), simulators).T):
            row = int(column.argmax())
            if np.isneginf(column[row]):
                continue
            if simulator not in best or column[row] > best[simulator].reward:
                frame = frames[row * simulators + simulator].copy()
                best[simulator] = WatchedFrame(steps[row], simulator, frame, float(column[row]))
        highest = sorted(best.values(), key=lambda seen: (-seen.reward, seen.simulator))[:_OF_A_BLOCK]
        self._kept.extend(sorted(highest, key=lambda seen: (seen.step, seen.simulator)))

    def learn_truth(self, first_step: int, truths: np.ndarray) -> None:
        """Fill in what the frames are judged by: ``[steps n_envs]`` from a vector step on."""
        for index, seen in enumerate(self._kept):
            if seen.truth is None and 0 <= seen.step - first_step < len(truths):
                self._kept[index] = replace(seen, truth=float(truths[seen.step - first_step, seen.simulator]))

    def state_dict(self) -> dict[str, Any]:
        """The frames kept: JSON values and arrays, for `load_state_dict`."""
        facts = [[s.step, s.simulator, s.reward, s.truth] for s in self._kept]
        frames = np.stack([s.frame for s in self._kept]) if self._kept else np.empty(0)
        return {"facts": facts, "frames": frames, "block_start": self._block_start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._kept.clear()
        for (step, simulator, reward, truth), frame in zip(state["facts"], state["frames"], strict=True):
            self._kept.append(WatchedFrame(step, simulator, frame, reward, truth))
        self._block_start = state["block_start"]
