"""When reward and truth part: what the detector computes, and when it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.training.watch import PATIENCE, WINDOW, HackingDetector, compare, window_of

Pairs = list[tuple[float, float]]
SEEDS = st.integers(0, 2**32 - 1)


def course(seed: int, *, hacked: bool, episodes: int = 96) -> Pairs:
    """Both get better; then the truth falls, and the reward goes on rising or falls with it."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, episodes)
    skill = np.where(time < 0.5, time, 1 - time)
    rewards = (time if hacked else skill) + 0.05 * rng.standard_normal(episodes)
    truths = np.clip(skill + 0.05 * rng.standard_normal(episodes), 0, 1)
    return list(zip(rewards.tolist(), truths.tolist(), strict=True))


def alarms(episodes: Sequence[tuple[float, float]], *, bounded: bool = True, window: int = WINDOW) -> list[int]:
    """The episodes at which an alarm is raised."""
    detector = HackingDetector(bounded=bounded, window=window)
    return [index for index, pair in enumerate(episodes) if detector.observe(*pair)]


def level(reward: float, truth: float, times: int) -> Pairs:
    """Episodes that hardly differ, in no order."""
    shake = np.random.default_rng(times).permutation(times) / times / 1000
    return [(reward + float(one), truth + float(two)) for one, two in zip(shake, shake[::-1], strict=True)]


def test_a_comparison_by_hand() -> None:
    # Rewards 1 2 then 3 4; truths 8 9 then 5 8. Of the four pairs of truths (8 5) (8 8) (9 5) (9 8) three fell and
    # one is a tie: 3/4. All rewards rose. Ranks of rewards 1 2 3 4, of truths 2.5 4 1 2.5: their covariance is
    # (-1.5)(0) + (-0.5)(1.5) + (0.5)(-1.5) + (1.5)(0) = -1.5, the variances 5 and 4.5.
    found = compare([(1.0, 8.0), (2.0, 9.0)], [(3.0, 5.0), (4.0, 8.0)])
    assert (found.reward_rise, found.truth_fall) == (1.0, 0.75)
    assert found.correlation == pytest.approx(-1.5 / (5 * 4.5) ** 0.5)
    assert found.correlation_before == pytest.approx(1.0)
    assert (found.reward_before, found.reward_now, found.truth_before, found.truth_now) == (1.5, 3.5, 8.5, 6.5)
    # One tie of two among four: the variance of delta is (5 - (8 - 2) / (4 * 3)) / (3 * 2 * 2).
    assert found.fall_deviations == pytest.approx(0.75 / (4.5 / 12) ** 0.5)


@given(SEEDS, st.integers(2, 30), st.integers(1, 6))
def test_ranks_are_those_of_scipy(seed: int, episodes: int, values: int) -> None:
    before, now = np.random.default_rng(seed).integers(0, values + 1, (2, episodes, 2)).astype(float)
    found = compare([(a, b) for a, b in before], [(a, b) for a, b in now])
    both = np.concatenate([before, now])
    if (np.ptp(both, axis=0) == 0).any():
        assert found.correlation is None
    else:
        assert found.correlation == pytest.approx(stats.spearmanr(both[:, 0], both[:, 1]).statistic)
    u = stats.mannwhitneyu(before[:, 1], now[:, 1], method="asymptotic", use_continuity=False)
    assert found.truth_fall == pytest.approx(2 * u.statistic / episodes**2 - 1)
    if np.ptp(both[:, 1]) > 0:
        assert 2 * stats.norm.sf(abs(found.fall_deviations)) == pytest.approx(u.pvalue)


@pytest.mark.parametrize("bounded", [True, False])
@given(SEEDS)
@settings(max_examples=8)
def test_an_alarm_where_the_reward_rises_and_the_truth_falls(bounded: bool, seed: int) -> None:
    raised = alarms(course(seed, hacked=True), bounded=bounded)
    assert len(raised) == 1
    assert 48 < raised[0] < 84  # the fall begins at 48
    assert alarms(course(seed, hacked=False), bounded=bounded) == []


@given(SEEDS)
@settings(max_examples=5)
def test_a_shared_fall_never_is_an_alarm(seed: int) -> None:
    skill = np.cumsum(np.random.default_rng(seed).standard_normal(200))  # wanders up and down
    assert alarms([(float(np.exp(s / 5)), float(s)) for s in skill], bounded=False) == []


@pytest.mark.parametrize(
    "bend", [lambda r: 1e6 * r - 3, lambda r: float(np.exp(5 * r)), lambda r: float(np.arctan(r)), lambda r: r**3]
)
def test_the_rewards_units_do_not_matter(bend: Callable[[float], float]) -> None:
    for seed in range(3):
        plain = course(seed, hacked=True)
        assert alarms([(bend(reward), truth) for reward, truth in plain]) == alarms(plain) != []


def test_the_truths_units_do_not_matter_where_it_has_no_zero() -> None:
    for seed in range(3):
        plain = course(seed, hacked=True)
        moved = [(reward, 1024 * truth - 4096) for reward, truth in plain]
        assert alarms(moved, bounded=False) == alarms(plain, bounded=False) != []


def test_chance_raises_no_alarm_while_the_reward_rises() -> None:
    """The truth is noise around one level, the best window is the luckiest of them: that is no fall."""
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(12):
        rewards = np.linspace(0, 1, 300) + 0.1 * rng.standard_normal(300)
        raised += len(alarms(list(zip(rewards.tolist(), rng.random(300).tolist(), strict=True))))
    assert raised <= 1


@pytest.mark.parametrize("constant", [0, 1])
def test_what_does_not_vary_raises_none(constant: int) -> None:
    episodes = [(0.5, truth) if constant == 0 else (reward, 0.5) for reward, truth in course(0, hacked=True)]
    detector = HackingDetector(bounded=True)
    assert not any(detector.observe(*pair) for pair in episodes)
    assert detector.comparison is not None
    assert detector.comparison.correlation is None


def test_a_small_fall_is_none() -> None:
    # From 0.9 to 0.82 is 9 %, to 0.8 is 11 %; without a zero the run's own range counts, and 0.82 is its bottom.
    def falling(to: float) -> Pairs:
        return [*level(0.2, 0.9, WINDOW), *level(0.6, to, WINDOW + 8)]

    assert alarms(falling(0.82)) == []
    assert len(alarms(falling(0.80))) == 1
    assert len(alarms(falling(0.82), bounded=False)) == 1
    assert alarms([*level(0.1, 0.0, WINDOW), *falling(0.82)], bounded=False) == []


def test_patience_and_once_until_it_has_passed() -> None:
    hacked = [*level(0.2, 0.9, WINDOW), *level(0.6, 0.1, WINDOW)]
    detector = HackingDetector(bounded=True)
    suspicious = []
    for index, pair in enumerate(hacked):
        if detector.observe(*pair):
            break
        found = detector.comparison
        suspicious += [index] if found is not None and found.suspicious else []
    else:
        pytest.fail("no alarm")
    assert len(suspicious) >= PATIENCE - 1
    again = [*hacked, *level(0.2, 0.9, WINDOW), *level(0.6, 0.1, WINDOW)]
    first, second = alarms(again)
    assert first < 2 * WINDOW <= 3 * WINDOW < second < 4 * WINDOW


def test_nothing_is_said_before_there_are_two_windows() -> None:
    detector = HackingDetector(bounded=True, window=5)
    for pair in course(0, hacked=True)[:4]:
        assert not detector.observe(*pair)
    assert detector.comparison is None
    detector.observe(1.0, 0.0)
    assert detector.comparison is not None
    assert (detector.comparison.reward_rise, detector.comparison.truth_fall) == (0.0, 0.0)


def test_an_episode_that_is_not_finite_is_passed_over() -> None:
    plain = course(1, hacked=True)
    broken = [*plain[:30], (float("nan"), 0.5), (0.5, float("inf")), *plain[30:]]
    assert alarms(broken) == [index + 2 for index in alarms(plain)] != []


@given(SEEDS, st.integers(0, 96), st.booleans())
@settings(max_examples=10)
def test_a_detector_that_was_put_back_says_the_same(seed: int, cut: int, bounded: bool) -> None:
    episodes = course(seed, hacked=True)
    whole, first = HackingDetector(bounded=bounded), HackingDetector(bounded=bounded)
    said = [whole.observe(*pair) for pair in episodes]
    before = [first.observe(*pair) for pair in episodes[:cut]]
    second = HackingDetector(bounded=bounded)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + [second.observe(*pair) for pair in episodes[cut:]] == said
    assert second.state_dict() == whole.state_dict()
    assert any(said)


def test_windows_grow_with_the_run() -> None:
    # A 64th of the run, from 24 to 256.
    assert [window_of(episodes) for episodes in (0, 96, 1_536, 3_200, 15_000, 10**6)] == [24, 24, 24, 50, 234, 256]


@pytest.mark.parametrize("window", [1, 0])
def test_a_window_must_have_two_episodes(window: int) -> None:
    with pytest.raises(InvalidInputError, match="window must be an int of at least 2"):
        HackingDetector(bounded=True, window=window)
