"""How far two rewards of a state are apart: the EPIC distance.

Source: Gleave, Dennis, Legg, Russell and Leike 2021, *Quantifying Differences in Reward Functions*, ICLR
(arXiv 2006.13900), section 4; the form for rewards of the reached state alone and lemma 1 are those of Rocamonde et
al. 2024, appendix A.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import InvalidInputError

_SMALLEST_SPREAD = 1e-12
"""Least range, relative to the values' size, that is more than rounding."""


def pearson_distance(one: ArrayLike, two: ArrayLike) -> float:
    """Pearson distance ``sqrt((1 - rho) / 2)``.

    For rewards of the reached state alone this is their EPIC distance: shaping by a potential leaves nothing of such
    a reward but a constant, which the correlation ignores. 0 is the same but for scale and offset, 1 the opposite,
    about 0.707 unrelated.

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
    first, second = _centred(first), _centred(second)
    return _distance(float(first @ second / np.sqrt((first @ first) * (second @ second))))


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


def check_rewards(one: ArrayLike, two: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two rewards on the same states, float64 ``[n]`` each, finite and not constant."""
    first, second = _values(one, "one"), _values(two, "two")
    if first.shape != second.shape:
        raise InvalidInputError(f"one and two must have the same length, got {len(first)} and {len(second)}.")
    return check_varied(first, "one"), check_varied(second, "two")


def check_labelled(rewards: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return finite rewards and binary labels of the same states, float64 and bool ``[n]``, neither all the same."""
    values, mask = _values(rewards, "rewards"), check_labels(labels)
    if values.shape != mask.shape:
        raise InvalidInputError(f"rewards and labels must have the same length, got {len(values)} and {len(mask)}.")
    return check_varied(values, "rewards"), mask


def check_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Return binary labels, bool ``[n]``, not all the same."""
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


def _values(values: ArrayLike, field: str) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size < 2 or (not np.issubdtype(array.dtype, np.number) and array.dtype != np.bool_):
        raise InvalidInputError(f"{field} must be numbers of shape [n] with n >= 2, got {array.dtype} {array.shape}.")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{field} must be finite, got NaN or infinity.")
    return array


def check_varied(values: NDArray[np.float64], field: str) -> NDArray[np.float64]:
    """Return a reward that prefers something."""
    if float(np.ptp(values)) <= _SMALLEST_SPREAD * float(np.abs(values).max()):
        raise InvalidInputError(
            f"{field} must not be constant: {values.size} values are all near {values[0]:.6g}, and a distance to a "
            "reward that prefers nothing is undefined."
        )
    return values


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean()
    return centred / np.abs(centred).max()  # squares of very small or large ones would leave the range of floats


def _distance(correlation: float) -> float:
    return float(np.sqrt((1.0 - min(1.0, max(-1.0, correlation))) / 2.0))
