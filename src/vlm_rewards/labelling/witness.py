"""A second pair of eyes on what is scored: keeps telling pictures, scores all by a reward that nobody learns from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlm_rewards.labelling.labeller import FrameReward
from vlm_rewards.rewards import PotentialShaping
from vlm_rewards.rewards.base import StateReward, share_embeddings

_OF_A_CHUNK = 4  # pictures that are kept of each chunk, each of another simulator where there are as many
_KEPT = 48


@dataclass(frozen=True)
class Sighting:
    """A picture that scored high among those of its time."""

    step: int
    """Vector step after which it was taken."""
    simulator: int
    """Whose it is."""
    frame: np.ndarray
    """The picture, uint8 ``[h w 3]``."""
    reward: float
    """The VLM reward, raw."""
    truth: float | None = None
    """What it is judged by: criterion (1 or 0), true reward, or the held-out reward; None until it is known."""


class Witness:
    """Looks at every chunk of pictures that `LabelRewards` has scored.

    Args:
        held_out: Another reward, which the learner never sees; None without one. Where it embeds pictures as the
            reward does (another prompt for the same encoder), they are embedded once.
    """

    def __init__(self, held_out: FrameReward | None = None) -> None:
        self.held_out = held_out
        self._kept: deque[Sighting] = deque(maxlen=_KEPT)

    @property
    def sightings(self) -> list[Sighting]:
        """The pictures kept of late, oldest first."""
        return list(self._kept)

    def scorer(self, reward: FrameReward | PotentialShaping) -> tuple[Callable[[np.ndarray], np.ndarray], int | None]:
        """Put the held-out reward beside a reward.

        Returns:
            What scores pictures, and how many columns it gives: the reward's own, and the held-out reward's last.
        """
        if self.held_out is None:
            return own_scorer(reward)
        held_out = self.held_out
        if isinstance(reward, StateReward) and isinstance(held_out, StateReward) and share_embeddings(reward, held_out):
            return lambda frames: _both(reward, held_out, frames), 2
        score, columns = own_scorer(reward)
        width = columns or 1

        def beside(frames: np.ndarray) -> np.ndarray:
            own = np.asarray(score(frames)).reshape(len(frames), width)
            return np.concatenate([own, np.asarray(held_out(frames)).reshape(-1, 1)], axis=1)

        return beside, width + 1

    def look(self, steps: range, frames: np.ndarray, scores: np.ndarray) -> None:
        """Keep the pictures of a chunk that score highest: frames ``[steps*simulators h w 3]`` and their scores."""
        rewards = scores if scores.ndim == 1 else scores[:, 0]
        simulators = len(frames) // len(steps)
        table = rewards.reshape(len(steps), simulators)
        best = table.argmax(axis=0)  # of each simulator
        order = np.argsort(-table[best, np.arange(simulators)], kind="stable")[:_OF_A_CHUNK]
        for simulator in order.tolist():
            row = int(best[simulator])
            frame = frames[row * simulators + simulator].copy()
            self._kept.append(Sighting(steps[row], simulator, frame, float(table[row, simulator])))

    def learn_truth(self, first_step: int, truths: np.ndarray) -> None:
        """Fill in what the pictures are judged by: ``[steps n_envs]`` from a vector step on."""
        for index, seen in enumerate(self._kept):
            if seen.truth is None and 0 <= seen.step - first_step < len(truths):
                self._kept[index] = replace(seen, truth=float(truths[seen.step - first_step, seen.simulator]))

    def state_dict(self) -> dict[str, Any]:
        """The pictures kept: JSON values and arrays, for `load_state_dict`."""
        facts = [[s.step, s.simulator, s.reward, s.truth] for s in self._kept]
        return {"facts": facts, "frames": np.stack([s.frame for s in self._kept]) if self._kept else np.empty(0)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._kept.clear()
        for (step, simulator, reward, truth), frame in zip(state["facts"], state["frames"], strict=True):
            self._kept.append(Sighting(step, simulator, frame, reward, truth))


def own_scorer(reward: FrameReward | PotentialShaping) -> tuple[Callable[[np.ndarray], np.ndarray], int | None]:
    """What scores pictures by a reward, and how many columns it gives; None is a plain vector."""
    return (reward.columns, 2) if isinstance(reward, PotentialShaping) else (reward, None)


def _both(reward: StateReward, held_out: StateReward, frames: np.ndarray) -> np.ndarray:
    embeddings = reward.embed(frames)
    return np.stack([reward.from_embeddings(embeddings), held_out.from_embeddings(embeddings)], axis=1)
