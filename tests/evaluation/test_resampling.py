"""Bootstrap intervals of many distances at once: beside the slow twin, and as wide as they must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_twins import bootstrapped
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation import statistics as resampling
from vlm_rewards.evaluation.epic import label_distance, pearson_distance
from vlm_rewards.evaluation.statistics import PearsonBootstrap

ALONE = np.arange


def scored(rng: np.random.Generator, reference: np.ndarray, noise: list[float]) -> np.ndarray:
    """Rewards that follow a reference more or less: ``[m n]``."""
    return np.stack([reference + level * rng.normal(size=len(reference)) for level in noise])


@given(
    st.integers(0, 2**32 - 1),
    st.integers(12, 60),
    st.booleans(),
    st.booleans(),
    st.tuples(st.integers(-8, 8), st.floats(-5, 5)),
    st.tuples(st.integers(-8, 8), st.floats(-5, 5)),
)
def test_the_estimate_is_the_pearson_distance_whatever_scale_and_offset(
    seed: int,
    count: int,
    clustered: bool,
    labelled: bool,
    reward: tuple[int, float],
    other: tuple[int, float],
) -> None:
    rng = np.random.default_rng(seed)
    reference = np.arange(count) % 3 == 0 if labelled else rng.normal(size=count)
    groups = rng.permutation(np.arange(count) // (2 if clustered else 1)) * 7 + 3
    rewards = scored(rng, reference.astype(float), [0.3, 2.0])
    expected = PearsonBootstrap(reference, groups, resamples=20).distances(rewards)
    for row, found in zip(rewards, expected, strict=True):
        assert found.value == pytest.approx(pearson_distance(row, reference.astype(float)), abs=1e-9)
    moved = (rewards + reward[1]) * 10.0 ** reward[0]
    against = reference if labelled else (reference + other[1]) * 10.0 ** other[0]
    for one, two in zip(PearsonBootstrap(against, groups, resamples=20).distances(moved), expected, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high), abs=1e-6)


@pytest.mark.parametrize("labelled", [True, False])
def test_independent_states_agree_with_the_slow_twin(rng: np.random.Generator, labelled: bool) -> None:
    reference = rng.random(400) < 0.2 if labelled else rng.normal(size=400)
    rewards = scored(rng, reference.astype(float), [0.2, 1.0, 5.0])
    found = PearsonBootstrap(reference, ALONE(400), resamples=2_000, seed=1).distances(rewards)
    statistic = label_distance if labelled else pearson_distance
    for row, fast in zip(rewards, found, strict=True):
        slow = bootstrapped(statistic, row, reference, resamples=2_000, seed=2)
        width = slow.high - slow.low
        assert fast.value == pytest.approx(slow.value, abs=1e-9)
        assert fast.low == pytest.approx(slow.low, abs=0.06 * width)
        assert fast.high == pytest.approx(slow.high, abs=0.06 * width)


def test_each_resample_is_what_its_counts_say(rng: np.random.Generator) -> None:
    # The slow twin of the clustered case: whole episodes are put together, again and again.
    groups = np.repeat(np.arange(9), rng.integers(1, 6, 9))
    groups = rng.permutation(groups)
    reference = rng.random(len(groups)) < 0.5
    reference[:2] = True, False
    rewards = scored(rng, reference.astype(float), [0.5])
    bootstrap = PearsonBootstrap(reference, groups, resamples=200, seed=3)
    twins = []
    for counts in np.concatenate(list(bootstrap._counts())):
        assert counts.sum() == 9
        drawn = np.concatenate(
            [np.flatnonzero(groups == group) for group in np.repeat(np.arange(9), counts.astype(int))]
        )
        if len(set(reference[drawn])) == 2:
            twins.append(label_distance(rewards[0][drawn], reference[drawn]))
    assert len(twins) > 190
    low, high = np.quantile(twins, [0.025, 0.975])
    (found,) = bootstrap.distances(rewards)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_goal_states_and_others_are_drawn_apart() -> None:
    reference = np.arange(50) < 5
    for counts in PearsonBootstrap(reference, ALONE(50), resamples=30)._counts():
        assert (counts[:, reference].sum(axis=1) == 5).all()
        assert (counts.sum(axis=1) == 50).all()


def alike(rng: np.random.Generator, episodes: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reward, reference and episode of states that hardly change within an episode."""
    groups = np.repeat(np.arange(episodes), length)
    common = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], episodes)[groups]
    reward, reference = (common + 0.1 * rng.normal(size=common.shape)).T
    return reward[None], reference, groups


def test_states_of_an_episode_count_as_one(rng: np.random.Generator) -> None:
    reward, reference, groups = alike(rng, 40, 25)
    clustered = PearsonBootstrap(reference, groups)
    naive = PearsonBootstrap(reference, ALONE(1_000))
    assert (clustered.clustered, naive.clustered) == (True, False)
    wide, narrow = (bootstrap.distances(reward)[0] for bootstrap in (clustered, naive))
    assert wide.value == pytest.approx(narrow.value)
    # 25 copies of a state look like 25 times as many states, and so 5 times as much precision.
    assert 3.5 < (wide.high - wide.low) / (narrow.high - narrow.low) < 6.5


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = math.sqrt((1 - 0.6 / 1.01) / 2)  # of each pair 0.01 of the variance is a state's own
    rng = np.random.default_rng(0)
    covered = {True: 0, False: 0}
    for seed in range(200):
        reward, reference, groups = alike(rng, 60, 10)
        for own_episodes in covered:
            units = groups if own_episodes else ALONE(600)
            bootstrap = PearsonBootstrap(reference, units, resamples=200, seed=seed, confidence=0.9)
            (found,) = bootstrap.distances(reward)
            covered[own_episodes] += found.low <= truth <= found.high
    assert 166 <= covered[True] <= 191  # 180 but for three standard errors below, as the bootstrap is a little narrow
    assert covered[False] < 110


def test_the_same_seed_gives_the_same_interval(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = rng.random(100) < 0.4
    rewards = scored(rng, reference.astype(float), [0.5, 1.0])
    bootstrap = PearsonBootstrap(reference, ALONE(100), resamples=100, seed=1)
    found = bootstrap.distances(rewards)
    assert bootstrap.distances(rewards) == found
    assert PearsonBootstrap(reference, ALONE(100), resamples=100, seed=1).distances(rewards) == found
    assert PearsonBootstrap(reference, ALONE(100), resamples=100, seed=2).distances(rewards) != found
    one_by_one = [bootstrap.distances(row[None])[0] for row in rewards]
    for one, two in zip(one_by_one, found, strict=True):
        assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=1e-12)
    # In small blocks that are not kept, the draws are the same.
    monkeypatch.setattr(resampling, "_BLOCK_BYTES", 8 * 100 * 7)
    monkeypatch.setattr(resampling, "_KEPT_BYTES", 0)
    frugal = PearsonBootstrap(reference, ALONE(100), resamples=100, seed=1)
    for one, two in zip(frugal.distances(rewards), found, strict=True):
        assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=1e-12)
    assert frugal._kept is None


def test_too_few_of_one_kind_are_refused() -> None:
    # One episode of ten has the goal states: (9/10)^10 = 0.35 of the resamples are without it.
    groups = np.repeat(np.arange(10), 4)
    rewards = np.random.default_rng(0).normal(size=(1, 40))
    PearsonBootstrap(groups == 0, groups, resamples=400).distances(rewards)
    # Of two episodes with a kind each, half of the resamples hold both; a little less with some seeds.
    few = np.repeat(np.arange(2), 20)
    for seed in range(20):
        bootstrap = PearsonBootstrap(few == 0, few, resamples=401, seed=seed)
        unusable = sum(bool((counts == 2).any()) for block in bootstrap._counts() for counts in block)
        if unusable > 200:
            break
    assert unusable > 200
    with pytest.raises(
        InvalidInputError,
        match=rf"needs goal states and others in most resamples, {unusable} of 401 have one kind alone: take more",
    ):
        bootstrap.distances(rewards)


def test_resamples_of_one_kind_are_left_out_though_rounding_makes_them_vary() -> None:
    # 0.7 and 0.3 are no binary fractions: the mean of squares less the squared mean is not 0 but some 1e-17.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 7)
    reference = np.where(groups < 2, 0.7, 0.3) * 1e6
    rewards = rng.normal(size=(1, 42))
    bootstrap = PearsonBootstrap(reference, groups, resamples=500, seed=0)
    kept = []
    for counts in np.concatenate(list(bootstrap._counts())).astype(int):
        drawn = np.concatenate([np.flatnonzero(groups == group) for group in np.repeat(np.arange(6), counts)])
        if np.ptp(reference[drawn]) > 0:
            kept.append(pearson_distance(rewards[0][drawn], reference[drawn]))
    assert 400 < len(kept) < 480
    (found,) = bootstrap.distances(rewards)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(kept, [0.025, 0.975])), abs=1e-7)


def test_states_of_one_kind_and_bad_settings_are_refused() -> None:
    varied, alone = np.arange(8.0), ALONE(8)
    for arguments, options, message in (
        ((np.zeros(8, dtype=bool), alone), {}, "labels must have goal states and others, got no state of 8 as goal"),
        ((np.ones(8), alone), {}, "the true reward must not be constant: 8 values are all near 1"),
        ((varied, alone * 0), {}, "an interval needs states of at least 2 episodes, got 8 of one"),
        ((varied, alone), {"resamples": 1}, "resamples must be an int of at least 2, got 1"),
        ((varied, alone), {"confidence": 0.0}, "confidence must be in"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            PearsonBootstrap(*arguments, **options)
