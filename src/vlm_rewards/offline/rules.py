"""From the values of states to the rewards of steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.dataset import RewardRule
from vlm_rewards.offline.scoring import Scorer
from vlm_rewards.rewards.base import StateReward
from vlm_rewards.rewards.shaping import PotentialShaping, shaped


@dataclass(frozen=True)
class Scoring:
    """How a reward scores the pictures of an episode, and makes rewards of the scores."""

    score: Scorer
    """Pictures to values."""
    columns: int
    """Values that a picture gets."""
    resets: bool
    """Whether the state before the first step is scored, too."""
    rewards: RewardRule
    """Values of an episode's states to rewards of its steps."""


def scoring_of(reward: StateReward | PotentialShaping) -> Scoring:
    """Tell how a reward is applied to an episode.

    Args:
        reward: Scores pictures, or shapes another reward with their scores.
    """
    if isinstance(reward, PotentialShaping):
        return Scoring(reward.columns, columns=2, resets=True, rewards=_shaping_rule(reward))
    return Scoring(reward, columns=1, resets=False, rewards=_own_value)


def _own_value(values: np.ndarray, old: np.ndarray | None, terminated: np.ndarray | None) -> np.ndarray:
    """The reward of a step is the value of the state that it led to."""
    return np.asarray(values[:, 0], dtype=np.float32)


def _shaping_rule(shaping: PotentialShaping) -> RewardRule:
    def rule(values: np.ndarray, old: np.ndarray | None, terminated: np.ndarray | None) -> np.ndarray:
        if terminated is None or (old is None and shaping.base == "environment"):
            raise InvalidInputError("shaping needs a dataset that has rewards and says which steps were terminal.")
        base = old if isinstance(shaping.base, str) else values[1:, 0]
        return shaped(np.asarray(base), values[:-1, 1], values[1:, 1], terminated, shaping.gamma)

    return rule
