"""How far two rewards are apart: the EPIC distance, in full and for rewards of a state alone.

Source: Gleave, Dennis, Legg, Russell and Leike 2021, *Quantifying Differences in Reward Functions*, ICLR
(arXiv 2006.13900), definitions 4.1 and 4.2 and section 4; the state-only form and lemma 1 are those of Rocamonde et
al. 2024, appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import InvalidInputError

TransitionReward: TypeAlias = Callable[[Any, Any, Any], ArrayLike]
"""Scores transitions: states ``[n ...]``, actions ``[n ...]`` and next states ``[n ...]`` to ``[n]``."""

_CHUNK = 1 << 18  # transitions that a reward is asked for in one go
_SMALLEST_SPREAD = 1e-12
"""Least range, relative to the values' size, that is more than rounding."""
_SMALLEST_CANONICAL = 1e-9
"""The same for what is left of a reward without its shaping, a difference of means."""


def pearson_distance(one: ArrayLike, two: ArrayLike) -> float:
    """Pearson distance ``sqrt((1 - rho) / 2)``.

    For rewards of the reached state alone this is their EPIC distance: shaping
    by a potential leaves nothing of such a reward but a constant, which the
    correlation ignores (`epic_distance` says more). 0 is the same but for scale
    and offset, 1 the opposite, about 0.707 unrelated.

    Args:
        one: A reward on some states, ``[n]`` with ``n >= 2``, finite.
        two: Another on the same states, ``[n]``.

    Returns:
        The distance, in [0, 1].

    Raises:
        InvalidInputError: The shapes differ, a value is not finite, or one of them is constant: a constant reward
            prefers nothing, and its distance to anything is undefined.
    """
    first, second = check_rewards(one, two)
    return _distance(_correlation(_centred(first), _centred(second)))


def label_distance(rewards: ArrayLike, labels: ArrayLike) -> float:
    """EPIC distance of a reward to binary labels, by lemma 1 of Rocamonde et al. 2024.

    With a share ``p`` of goal states, the correlation is the scaled gap between
    two means: ``rho = sqrt(p (1 - p)) / sigma * (mean of goal - mean of others)``.

    Args:
        rewards: On some states, ``[n]``, finite and not constant.
        labels: Whether each state fulfils the task, bool ``[n]``, both values present.

    Returns:
        The distance, in [0, 1]; `pearson_distance` of the same gives the same.

    Raises:
        InvalidInputError: The arguments break these rules.
    """
    values, mask = check_labelled(rewards, labels)
    share = float(mask.mean())
    gap = float(values[mask].mean() - values[~mask].mean())
    return _distance(np.sqrt(share * (1.0 - share)) * gap / float(values.std()))


def canonical_reward(
    reward: TransitionReward,
    states: ArrayLike,
    actions: ArrayLike,
    next_states: ArrayLike,
    *,
    sampled_states: ArrayLike,
    sampled_actions: ArrayLike,
    gamma: float,
) -> NDArray[np.float64]:
    """Canonically shaped reward (definition 4.1), the expectations as means over samples.

    ``C(R)(s, a, s') = R(s, a, s') + E[gamma R(s', A, S') - R(s, A, S') - gamma R(S, A, S')]``

    Rewards that differ by a potential have the same canonical form: for every
    transition if the samples are what the expectations run over.

    Args:
        reward: Scores transitions.
        states: Where they begin, ``[n ...]``.
        actions: What is done, ``[n ...]``.
        next_states: Where they lead to, ``[n ...]``.
        sampled_states: Draws of ``S'``, ``[m ...]``; those of ``S`` are the same, each with each.
        sampled_actions: Draws of ``A``, ``[m ...]``, one with each ``S'``.
        gamma: The discount, in [0, 1].

    Returns:
        float64 ``[n]``.

    Raises:
        InvalidInputError: The lengths differ, gamma is out of range, or the reward did not return finite numbers.
    """
    if isinstance(gamma, bool) or not 0.0 <= gamma <= 1.0:
        raise InvalidInputError(f"gamma must be a number from 0 to 1, got {gamma!r}.")
    begin, done, end = (np.asarray(array) for array in (states, actions, next_states))
    if not len(begin) == len(done) == len(end) or len(begin) == 0:
        lengths = (len(begin), len(done), len(end))
        raise InvalidInputError(f"states, actions and next_states must be equally many, got {lengths}.")
    others, choices = np.asarray(sampled_states), np.asarray(sampled_actions)
    if len(others) != len(choices) or len(others) == 0:
        raise InvalidInputError(
            f"sampled_states and sampled_actions must be equally many, got {len(others)} and {len(choices)}."
        )
    # Mean rewards of leaving a state: asked for once, of every state that is needed.
    needed = np.concatenate([begin, end, others])
    leaving = _mean_leaving(reward, needed, choices, others)
    of_begin, of_end, of_others = np.split(leaving, [len(begin), len(begin) + len(end)])
    direct = _scored(reward, begin, done, end)
    return direct + gamma * of_end - of_begin - gamma * of_others.mean()


def epic_distance(
    one: TransitionReward,
    two: TransitionReward,
    states: ArrayLike,
    actions: ArrayLike,
    next_states: ArrayLike,
    *,
    sampled_states: ArrayLike,
    sampled_actions: ArrayLike,
    gamma: float,
) -> float:
    """EPIC distance of two rewards of transitions (definition 4.2).

    Args:
        one: A reward.
        two: Another.
        states: Transitions drawn from the coverage distribution: where they begin, ``[n ...]`` with ``n >= 2``.
        actions: What is done in them, ``[n ...]``.
        next_states: Where they lead to, ``[n ...]``.
        sampled_states: Draws from the distribution of states, ``[m ...]``.
        sampled_actions: Draws from the distribution of actions, ``[m ...]``.
        gamma: The discount, in [0, 1].

    Returns:
        The distance, in [0, 1]: 0 for rewards that differ by scale and shaping alone, whatever the potential; 1 for
        opposite ones.

    Raises:
        InvalidInputError: As `canonical_reward`; or a canonical reward is constant: such a reward is nothing but
            shaping.
    """
    transitions = [np.asarray(array) for array in (states, actions, next_states)]
    samples: dict[str, Any] = {"sampled_states": sampled_states, "sampled_actions": sampled_actions, "gamma": gamma}
    canonical: list[NDArray[np.float64]] = []
    for name, reward in (("one", one), ("two", two)):
        canonical.append(canonical_reward(reward, *transitions, **samples))
        size = float(np.abs(np.asarray(reward(*transitions))).max())
        if float(np.ptp(canonical[-1])) <= _SMALLEST_CANONICAL * size:
            raise InvalidInputError(
                f"{name} must not be constant: without shaping nothing is left of it, and a distance to a reward that "
                "prefers nothing is undefined."
            )
    return pearson_distance(*canonical)


def check_rewards(one: ArrayLike, two: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two rewards on the same states, float64 ``[n]`` each.

    Raises:
        InvalidInputError: The shapes differ, a value is not finite, or one of them is constant.
    """
    first, second = _values(one, "one"), _values(two, "two")
    if first.shape != second.shape:
        raise InvalidInputError(f"one and two must have the same length, got {len(first)} and {len(second)}.")
    return _varied(first, "one"), _varied(second, "two")


def check_labelled(rewards: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return rewards and binary labels of the same states, float64 and bool ``[n]``.

    Raises:
        InvalidInputError: The shapes differ, a reward is not finite, or all rewards or all labels are the same: then
            there is nothing to tell apart.
    """
    values, mask = _values(rewards, "rewards"), _labels(labels)
    if values.shape != mask.shape:
        raise InvalidInputError(f"rewards and labels must have the same length, got {len(values)} and {len(mask)}.")
    return _varied(values, "rewards"), mask


def _labels(labels: ArrayLike) -> NDArray[np.bool_]:
    mask = np.asarray(labels)
    if mask.dtype != np.bool_ and not (np.issubdtype(mask.dtype, np.number) and np.isin(mask, (0, 1)).all()):
        raise InvalidInputError(f"labels must be booleans, or 0 and 1, got dtype {mask.dtype}.")
    if mask.ndim != 1 or mask.size < 2:
        raise InvalidInputError(f"labels must have shape [n] with n >= 2, got {mask.shape}.")
    mask = mask.astype(np.bool_)
    if mask.all() or not mask.any():
        every = "every state" if mask.all() else "no state"
        raise InvalidInputError(f"labels must have goal states and others, got {every} of {mask.size} as goal.")
    return mask


def _mean_leaving(
    reward: TransitionReward, states: NDArray[Any], actions: NDArray[Any], next_states: NDArray[Any]
) -> NDArray[np.float64]:
    """``E[R(s, A, S')]`` of each state, over the pairs of action and next state: float64 ``[n]``."""
    draws = len(actions)
    rows = max(1, _CHUNK // draws)
    means: list[NDArray[np.float64]] = []
    for start in range(0, len(states), rows):
        chunk = states[start : start + rows]
        tiled = [np.concatenate([array] * len(chunk)) for array in (actions, next_states)]
        scored = _scored(reward, np.repeat(chunk, draws, axis=0), *tiled)
        means.append(scored.reshape(len(chunk), draws).mean(axis=1))
    return np.concatenate(means)


def _scored(
    reward: TransitionReward, states: NDArray[Any], actions: NDArray[Any], next_states: NDArray[Any]
) -> NDArray[np.float64]:
    values = np.asarray(reward(states, actions, next_states), dtype=np.float64)
    if values.shape != (len(states),) or not np.isfinite(values).all():
        raise InvalidInputError(
            f"a reward must return {len(states)} finite numbers for {len(states)} transitions, got shape "
            f"{values.shape} with {int(np.sum(~np.isfinite(values)))} not finite."
        )
    return values


def _values(values: ArrayLike, field: str) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size < 2 or (not np.issubdtype(array.dtype, np.number) and array.dtype != np.bool_):
        raise InvalidInputError(f"{field} must be numbers of shape [n] with n >= 2, got {array.dtype} {array.shape}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{field} must be finite, got NaN or infinity.")
    return array


def _varied(values: NDArray[np.float64], field: str) -> NDArray[np.float64]:
    if float(np.ptp(values)) <= _SMALLEST_SPREAD * float(np.abs(values).max()):
        raise InvalidInputError(
            f"{field} must not be constant: {values.size} values are all near {values[0]:.6g}, and a distance to a "
            "reward that prefers nothing is undefined."
        )
    return values


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    return centred / np.abs(centred).max()  # squares of very small or large ones would leave the range of floats


def _correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))


def _distance(correlation: float) -> float:
    return float(np.sqrt((1.0 - min(1.0, max(-1.0, correlation))) / 2.0))
