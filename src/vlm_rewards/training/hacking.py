"""Notices when a policy gets better by the VLM's reward and worse by what the reward stands for.

The episodes in which the truth was best so far are compared with the latest ones. While the reward is a good stand-in
both scores rise and fall together, or neither moves. Where the policy exploits the reward's mistakes (Amodei et al.
2016, *Concrete Problems in AI Safety*; Skalse et al. 2022 define it as one rising while the other falls), the latest
episodes have more reward and less truth, and the correlation over both windows falls below that within the better one.
Everything is computed from ranks: it does not matter what units the two are in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.errors import check_count

WINDOW = 24
"""Episodes that are compared with as many others."""
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
PATIENCE = 4
"""Episodes in a row that must say so."""


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
    """Compares the latest episodes with those in which the truth was best.

    It keeps two windows of episodes, whatever the length of the run.

    Args:
        bounded: Whether the truth is a share in [0, 1], so that a fall can be measured by its level.
        window: Episodes in a window, at least 2.
    """

    def __init__(self, *, bounded: bool, window: int = WINDOW) -> None:
        self._bounded = bounded
        self._window = check_count("window", window, least=2)
        self._latest: deque[tuple[float, float]] = deque(maxlen=window)
        self._best: list[tuple[float, float]] = []
        self._lowest: float | None = None  # mean truth of a window
        self._suspicions = 0
        self._alarmed = False
        self.comparison: Comparison | None = None

    def observe(self, reward: float, truth: float) -> bool:
        """Take in an episode.

        Args:
            reward: Mean VLM reward a step.
            truth: Mean a step of what the reward stands for: criterion, true reward or a held-out reward.

        Returns:
            Whether an alarm is to be raised now: once, until the suspicion has passed.
        """
        self._latest.append((float(reward), float(truth)))
        if len(self._latest) < self._window:
            return False
        latest = list(self._latest)
        if not self._best or _mean(latest, 1) > _mean(self._best, 1):
            self._best = latest
        self.comparison = compare(self._best, latest)
        now = self.comparison.truth_now
        self._lowest = now if self._lowest is None else min(self._lowest, now)
        suspicious = self.comparison.suspicious and self._is_material(self.comparison)
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

    def state_dict(self) -> dict[str, Any]:
        """JSON values for `load_state_dict`."""
        return {
            "latest": [list(pair) for pair in self._latest],
            "best": [list(pair) for pair in self._best],
            "lowest": self._lowest,
            "suspicions": self._suspicions,
            "alarmed": self._alarmed,
            "comparison": None if self.comparison is None else asdict(self.comparison),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self._latest.clear()
        self._latest.extend((reward, truth) for reward, truth in state["latest"])
        self._best = [(reward, truth) for reward, truth in state["best"]]
        self._lowest, self._suspicions, self._alarmed = state["lowest"], state["suspicions"], state["alarmed"]
        self.comparison = None if state["comparison"] is None else Comparison(**state["comparison"])


def compare(before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]]) -> Comparison:
    """Compare two windows of episodes, each a pair of reward and truth."""
    first, second = np.array(before), np.array(now)
    return Comparison(
        correlation=_spearman(np.concatenate([first, second])),
        correlation_before=_spearman(first),
        reward_before=_mean(before, 0),
        reward_now=_mean(now, 0),
        truth_before=_mean(before, 1),
        truth_now=_mean(now, 1),
        reward_rise=_delta(second[:, 0], first[:, 0]),
        truth_fall=_delta(first[:, 1], second[:, 1]),
    )


def _spearman(pairs: NDArray[np.float64]) -> float | None:
    from scipy import stats

    if (np.ptp(pairs, axis=0) == 0).any():
        return None
    result: Any = stats.spearmanr(pairs[:, 0], pairs[:, 1])
    return float(result.statistic)


def _delta(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    """Cliff's delta: how much more often a value of one sample exceeds one of the other than the contrary."""
    return float(np.sign(high[:, None] - low[None, :]).mean())


def _mean(pairs: Sequence[tuple[float, float]], column: int) -> float:
    return float(np.mean([pair[column] for pair in pairs]))
