"""Slow or general forms of what the package computes in a quick or short one, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import pearson_distance
from vlm_rewards.evaluation.statistics import Estimate

TransitionReward: TypeAlias = Callable[[Any, Any, Any], np.ndarray]
"""Scores transitions: states ``[n]``, actions ``[n]`` and next states ``[n]`` to ``[n]``."""


def canonical_reward(
    reward: TransitionReward, transitions: Any, sampled_states: np.ndarray, sampled_actions: np.ndarray, gamma: float
) -> np.ndarray:
    """Definition 4.1 of EPIC (Gleave et al. 2021), the expectations as means over samples: float64 ``[n]``.

    ``C(R)(s, a, s') = R(s, a, s') + E[gamma R(s', A, S') - R(s, A, S') - gamma R(S, A, S')]``
    """

    def leaving(states: np.ndarray) -> np.ndarray:
        draws = len(sampled_actions)
        others = (np.tile(array, len(states)) for array in (sampled_actions, sampled_states))
        return reward(np.repeat(states, draws), *others).reshape(len(states), draws).mean(axis=1)

    begin, _, end = transitions
    everywhere = leaving(sampled_states).mean()
    return reward(*transitions) + gamma * leaving(end) - leaving(begin) - gamma * everywhere


def epic_distance(one: TransitionReward, two: TransitionReward, transitions: Any, **samples: Any) -> float:
    """Definition 4.2 of EPIC: of rewards of transitions, not of the reached state alone."""
    return pearson_distance(*(canonical_reward(reward, transitions, **samples) for reward in (one, two)))


def bootstrapped(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    one: np.ndarray,
    two: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over states, one resample after another; goal states and others are drawn apart."""
    groups = [np.flatnonzero(two), np.flatnonzero(~two)] if two.dtype == np.bool_ else [np.arange(len(two))]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        try:
            values.append(float(statistic(one[drawn], two[drawn])))
        except InvalidInputError:  # few states, all drawn alike
            continue
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(statistic(one, two)), float(low), float(high))
