"""Statistics of rewards, one episode at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass
class Tally:
    """Count, mean, deviation, least and greatest of numbers that arrive in parts (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, values: ArrayLike) -> None:
        """Take numbers in: ``[n]``."""
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
        if numbers.size == 0:
            return
        mean, total = float(numbers.mean()), self.count + numbers.size
        step = mean - self.mean
        self.squares += float(np.square(numbers - mean).sum()) + step**2 * self.count * numbers.size / total
        self.mean += step * numbers.size / total
        self.count = total
        self.least, self.greatest = min(self.least, float(numbers.min())), max(self.greatest, float(numbers.max()))

    @property
    def std(self) -> float:
        """Deviation of the population; 0 for none."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    @property
    def varies(self) -> bool:
        """Whether two of the numbers differ."""
        return self.greatest > self.least

    def to_dict(self) -> dict[str, Any]:
        """JSON-able ``mean``, ``std``, ``min`` and ``max``; empty for no number."""
        if not self.count:
            return {}
        return {"mean": self.mean, "std": self.std, "min": self.least, "max": self.greatest}


@dataclass
class RewardStatistics:
    """The new rewards, the old ones, and how far they go together."""

    new: Tally = field(default_factory=Tally)
    old: Tally = field(default_factory=Tally)
    products: float = 0.0

    def add(self, new: np.ndarray, old: np.ndarray | None) -> None:
        """Take an episode in.

        Args:
            new: VLM rewards, ``[steps]``.
            old: The dataset's own, ``[steps]``; None where there are none.
        """
        if old is not None and len(new):
            one, two = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
            steps = (one.mean() - self.new.mean) * (two.mean() - self.old.mean)
            seen, total = self.old.count, self.old.count + len(one)
            self.products += float(((one - one.mean()) * (two - two.mean())).sum()) + steps * seen * len(one) / total
            self.old.add(two)
        self.new.add(new)

    @property
    def correlation(self) -> float | None:
        """Pearson's r over all steps; None where a reward is missing or constant."""
        if self.old.count != self.new.count or not (self.new.varies and self.old.varies):
            return None
        r = self.products / math.sqrt(self.new.squares * self.old.squares)
        return max(-1.0, min(1.0, r)) if math.isfinite(r) else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able ``rewards``, ``true_rewards`` (None where there is none) and ``correlation``."""
        return {
            "rewards": self.new.to_dict(),
            "true_rewards": self.old.to_dict() or None,
            "correlation": self.correlation,
        }
