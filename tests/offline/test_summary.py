"""Running statistics against those of all numbers at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.offline.relabelling import RewardStatistics

PARTS = st.lists(st.lists(st.floats(-100, 100, width=32), max_size=6), min_size=1, max_size=6)


@given(PARTS, st.integers(0, 99))
def test_statistics_are_those_of_all_at_once(parts: list[list[float]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    news = [np.array(part, dtype=np.float32) for part in parts]
    olds = [(new * 0.5 + rng.standard_normal(len(new))).astype(np.float64) for new in news]
    statistics = RewardStatistics()
    for new, old in zip(news, olds, strict=True):
        statistics.add(new, old)
    new, old = np.concatenate(news).astype(np.float64), np.concatenate(olds)
    facts = statistics.to_dict()
    if len(new) == 0:
        assert facts == {"rewards": {}, "true_rewards": None, "correlation": None}
        return
    assert facts["rewards"]["mean"] == pytest.approx(new.mean(), abs=1e-9)
    assert facts["rewards"]["std"] == pytest.approx(new.std(), abs=1e-9)
    assert (facts["rewards"]["min"], facts["rewards"]["max"]) == (new.min(), new.max())
    if np.ptp(new) > 1e-3 and np.ptp(old) > 1e-3:
        assert facts["correlation"] == pytest.approx(np.corrcoef(new, old)[0, 1], abs=1e-6)


def test_by_hand() -> None:
    # new 1 2 3, old 2 4 9: means 2 and 5, products (-1)(-3) + 0 + (1)(4) = 7, squares 2 and 26
    statistics = RewardStatistics()
    statistics.add(np.array([1.0, 2.0], np.float32), np.array([2.0, 4.0]))
    statistics.add(np.array([3.0], np.float32), np.array([9.0]))
    assert statistics.correlation == pytest.approx(7 / np.sqrt(2 * 26))


def test_no_correlation_with_what_is_constant_or_missing() -> None:
    constant, missing = RewardStatistics(), RewardStatistics()
    for part in ([1.0, 2.0], [3.0]):
        constant.add(np.array(part, np.float32), np.full(len(part), 0.1))
        missing.add(np.array(part, np.float32), None)
    assert constant.correlation is None
    assert missing.correlation is None
    assert missing.to_dict()["true_rewards"] is None
