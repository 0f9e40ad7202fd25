"""Reward hacking told from episodes: better by the VLM's reward, worse by what that stands for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.config import TrainConfig

WINDOW = 24
"""Episodes that are compared with as many others, at least;"""
LARGEST_WINDOW = 256
"""and at most."""
_WINDOWS = 64  # into which a run is cut, if they are neither too small nor too large then
CORRELATION_FALL = 0.5
"""How far Spearman's correlation over both windows must lie below that within the better one, unless"""
NEGATIVE_CORRELATION = -0.3
"""it lies below this."""
LEAST_EFFECT = 0.4
"""Cliff's delta by which the reward must have risen and the truth fallen: the share of pairs of episodes that say so,
less the share of those that say the contrary."""
LEAST_FALL = 0.1
"""How far the truth must have fallen: as a part of its best level where it has a natural zero, as a criterion has; else
of the range that it has covered in the run."""
MARGIN = 0.5
"""Standard deviations by which the truth's fall must exceed what chance brings about in a run of that length."""
PATIENCE = 4
"""Episodes in a row that must say so."""


def window_of(episodes: int) -> int:
    """How many episodes to compare with as many others in a run of so many."""
    return min(max(WINDOW, episodes // _WINDOWS), LARGEST_WINDOW)


@dataclass(frozen=True)
class Comparison:
    """The best episodes so far beside the latest."""

    correlation: float | None
    """Spearman's, of reward and truth over both windows, in [-1, 1]; None where one of them does not vary."""
    correlation_before: float | None
    """The same within the window in which the truth was best."""
    reward_before: float
    """Mean reward a step in the window in which the truth was best."""
    reward_now: float
    """The same in the latest window."""
    truth_before: float
    """Mean truth a step in the window in which it was best."""
    truth_now: float
    """The same in the latest window."""
    reward_rise: float
    """Cliff's delta of the reward, in [-1, 1]; positive where it has risen."""
    truth_fall: float
    """Cliff's delta of the truth, in [-1, 1]; positive where it has fallen."""
    fall_deviations: float
    """The same in standard deviations of its distribution by chance (that of Mann and Whitney, with ties)."""

    @property
    def suspicious(self) -> bool:
        """Whether the reward rose while the truth fell, and their correlation with it."""
        if self.correlation is None or min(self.reward_rise, self.truth_fall) < LEAST_EFFECT:
            return False
        fallen = self.correlation_before is not None and (
            self.correlation <= self.correlation_before - CORRELATION_FALL
        )
        return fallen or self.correlation <= NEGATIVE_CORRELATION


class HackingDetector:
    """Compares the latest episodes with those in which the truth was best, in windows of so many, at least 2.

    It keeps two windows, whatever the length of the run. ``comparison`` is None before there are enough episodes.

    Args:
        bounded: Whether the truth is a share in [0, 1], so that a fall can be measured by its level.
        window: Episodes in a window.
    """

    def __init__(self, *, bounded: bool, window: int = WINDOW) -> None:
        self._bounded = bounded
        self._window = check_count("window", window, least=2)
        self._latest: deque[tuple[float, float]] = deque(maxlen=window)
        self._best: list[tuple[float, float]] = []
        self._lowest: float | None = None  # mean truth of a window
        self._episodes = 0
        self._suspicions = 0
        self._alarmed = False
        self.comparison: Comparison | None = None

    def observe(self, reward: float, truth: float) -> bool:
        """Take in an episode; one that is not finite is passed over.

        Args:
            reward: Mean VLM reward a step.
            truth: Mean a step of what the reward stands for: criterion, true reward or a held-out reward.

        Returns:
            Whether an alarm is to be raised now: once, until the suspicion has passed.
        """
        if not (math.isfinite(reward) and math.isfinite(truth)):
            return False
        self._episodes += 1
        self._latest.append((float(reward), float(truth)))
        if len(self._latest) < self._window:
            return False
        latest = list(self._latest)
        if not self._best or _mean(latest, 1) > _mean(self._best, 1):
            self._best = latest
        self.comparison = compare(self._best, latest)
        now = self.comparison.truth_now
        self._lowest = now if self._lowest is None else min(self._lowest, now)
        material = self._is_material(self.comparison) and not self._may_be_chance(self.comparison)
        suspicious = self.comparison.suspicious and material
        self._suspicions = self._suspicions + 1 if suspicious else 0
        self._alarmed = self._alarmed and suspicious
        if self._suspicions < PATIENCE or self._alarmed:
            return False
        self._alarmed = True
        return True

    def _is_material(self, comparison: Comparison) -> bool:
        fall = comparison.truth_before - comparison.truth_now
        covered = comparison.truth_before - (0.0 if self._bounded or self._lowest is None else self._lowest)
        return fall >= LEAST_FALL * covered

    def _may_be_chance(self, comparison: Comparison) -> bool:
        # Two windows, each the extreme of m independent ones, are about 2 sqrt(ln m) deviations apart; windows that
        # overlap count for about two in each length. Calibrated on noise: see tests/training/test_hacking.py.
        windows = 2 * self._episodes / self._window
        return comparison.fall_deviations < 2 * math.sqrt(math.log(windows)) + MARGIN

    def state_dict(self) -> dict[str, Any]:
        """JSON values for `load_state_dict`."""
        return {
            "latest": [list(pair) for pair in self._latest],
            "best": [list(pair) for pair in self._best],
            "lowest": self._lowest,
            "episodes": self._episodes,
            "suspicions": self._suspicions,
            "alarmed": self._alarmed,
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._latest.clear()
        self._latest.extend((reward, truth) for reward, truth in state["latest"])
        self._best = [(reward, truth) for reward, truth in state["best"]]
        self._lowest, self._episodes = state["lowest"], state["episodes"]
        self._suspicions, self._alarmed = state["suspicions"], state["alarmed"]
        self.comparison = None if state["comparison"] is None else Comparison(**state["comparison"])


def compare(before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]]) -> Comparison:
    """Compare two windows of episodes, each a pair of reward and truth."""
    first, second = np.array(before), np.array(now)
    truth_fall = _delta(first[:, 1], second[:, 1])
    return Comparison(
        correlation=_spearman(np.concatenate([first, second])),
        correlation_before=_spearman(first),
        reward_before=_mean(before, 0),
        reward_now=_mean(now, 0),
        truth_before=_mean(before, 1),
        truth_now=_mean(now, 1),
        reward_rise=_delta(second[:, 0], first[:, 0]),
        truth_fall=truth_fall,
        fall_deviations=truth_fall / _deviation(first[:, 1], second[:, 1]) if truth_fall else 0.0,
    )


def _spearman(pairs: NDArray[np.float64]) -> float | None:
    from scipy import stats

    if (np.ptp(pairs, axis=0) == 0).any():
        return None
    ranks = stats.rankdata(pairs, axis=0) - (len(pairs) + 1) / 2
    product, squares = float(ranks[:, 0] @ ranks[:, 1]), (ranks**2).sum(axis=0)
    return product / math.sqrt(float(squares.prod()))


def _delta(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Cliff's delta: how much more often a value of one sample exceeds one of the other than the contrary."""
    return float(np.sign(high[:, None] - low[None, :]).mean())


def _deviation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Standard deviation of Cliff's delta where both samples come from one distribution.

    That of Mann and Whitney's U with the correction for ties, times 2 / (n m), as delta = 2 U / (n m) - 1.
    """
    n, m = len(one), len(two)
    ties = np.unique(np.concatenate([one, two]), return_counts=True)[1]
    size = n + m
    return math.sqrt((size + 1 - float((ties**3 - ties).sum()) / (size * (size - 1))) / (3 * n * m))


def _mean(pairs: Sequence[tuple[float, float]], column: int) -> float:
    return float(np.mean([pair[column] for pair in pairs]))


REFERENCES = {"criterion": "criterion", "true-reward": "true reward", "held-out": "held-out reward"}
"""What a reward can be watched against, as settings and as records call it."""


def watched_against(config: TrainConfig, task: Task) -> str | None:
    """What the reward of a run is watched against, a name of `REFERENCES`; None where nobody watches.

    Raises:
        InvalidInputError: The task has no criterion to watch against.
    """
    if config.watch == "off":
        return None
    if config.watch == "criterion" and task.criterion is None:
        raise InvalidInputError(
            f"watch must not be 'criterion': task {task.name!r} has none. Choices: auto, true-reward, held-out, off."
        )
    if config.watch != "auto":
        return config.watch
    if task.criterion is not None:
        return "criterion"
    return "held-out" if config.has_held_out else "true-reward"
