"""Equations 2 and 3 of the paper as pure functions of unit embeddings.

Eq. 2 is the cosine similarity of frame and goal. Eq. 3 first pulls the
frame towards the line L through baseline and goal, so that what the baseline
sentence already says about every frame counts less.

Everything is computed in float64 and returned as float32. Embeddings are
normalised again inside: a row in float16 is a unit vector to three decimals
only, and ``alpha = 0`` gives back eq. 2 for exact unit vectors alone.
"""

from __future__ import annotations

from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Embedding, Rewards, SweptRewards
from vlm_rewards.errors import InvalidInputError

_NORM_TOLERANCE = 1e-3
"""How far a norm may be from 1: the rounding of half precision, not a forgotten normalisation."""

_SMALLEST_DIRECTION = 1e-5
"""Shortest ``goal - baseline`` that has a direction, well above the rounding of float32 unit vectors."""


def goal_reward(images: ArrayLike, goal: ArrayLike) -> Rewards:
    """Cosine similarity of frames and goal (eq. 2).

    Args:
        images: Unit embeddings of the frames, ``[n d]``.
        goal: Unit embedding of the goal prompt, ``[d]``.

    Returns:
        float32 ``[n]`` in [-1, 1].

    Raises:
        InvalidInputError: A shape, a norm or a value breaks these rules.
    """
    goal_vector = _unit_vector(goal, "goal")
    picture_rows = unit_rows(images, "images", dim=goal_vector.size)
    return (picture_rows @ goal_vector).astype(np.float32)


def goal_baseline_reward(images: ArrayLike, goal: ArrayLike, baseline: ArrayLike, alpha: SupportsFloat) -> Rewards:
    """Goal-baseline regularised similarity (eq. 3).

    With ``d = goal - baseline`` and ``v = x - goal``, the matrix of eq. 3 keeps
    the part of ``v`` along ``d`` and shrinks the rest by ``1 - alpha``. Hence

        reward = 1 - 1/2 (along + (1 - alpha)^2 (|v|^2 - along)),   along = (d.v)^2 / (d.d)

    which takes two dot products a frame and never a ``d x d`` matrix.

    Args:
        images: Unit embeddings of the frames, ``[n d]``.
        goal: Unit embedding of the goal prompt, ``[d]``.
        baseline: Unit embedding of the baseline prompt, ``[d]``; not the goal's.
        alpha: Strength in [0, 1]. 0 is eq. 2; 1 keeps only what lies along ``goal - baseline``.

    Returns:
        float32 ``[n]`` in [-1, 1].

    Raises:
        InvalidInputError: A shape, a norm, a value or alpha breaks these rules,
            or goal and baseline coincide, so that no line runs through them.
    """
    strength = check_alpha(alpha)
    goal_vector = _unit_vector(goal, "goal")
    baseline_vector = _unit_vector(baseline, "baseline", dim=goal_vector.size)
    check_direction(goal_vector - baseline_vector)
    picture_rows = unit_rows(images, "images", dim=goal_vector.size)
    return _eq3(picture_rows, goal_vector, baseline_vector, np.array([strength]))[0]


def goal_baseline_sweep(images: ArrayLike, goals: ArrayLike, baselines: ArrayLike, alphas: ArrayLike) -> SweptRewards:
    """Eq. 3 for many prompts and strengths at once; the frames are checked and normalised a single time.

    Args:
        images: Unit embeddings of the frames, ``[n d]``.
        goals: Unit embeddings of goal prompts, ``[p d]``.
        baselines: Unit embeddings of the baseline prompts that go with them, ``[p d]``.
        alphas: Strengths in [0, 1], ``[a]``.

    Returns:
        float32 ``[p a n]``; ``[i, j]`` is ``goal_baseline_reward(images, goals[i], baselines[i], alphas[j])``.

    Raises:
        InvalidInputError: As `goal_baseline_reward`, or goals and baselines are not equally many.
    """
    # As objects, so that a True is not taken for 1.
    strengths = np.array([check_alpha(alpha) for alpha in np.atleast_1d(np.asarray(alphas, dtype=object)).tolist()])
    goal_rows = unit_rows(goals, "goals")
    baseline_rows = unit_rows(baselines, "baselines", dim=goal_rows.shape[1])
    picture_rows = unit_rows(images, "images", dim=goal_rows.shape[1])
    if len(goal_rows) != len(baseline_rows):
        raise InvalidInputError(
            f"goals and baselines must be equally many, got {len(goal_rows)} and {len(baseline_rows)}."
        )
    swept = np.empty((len(goal_rows), len(strengths), len(picture_rows)), dtype=np.float32)
    for rewards, goal, baseline in zip(swept, goal_rows, baseline_rows, strict=True):
        check_direction(goal - baseline)
        rewards[:] = _eq3(picture_rows, goal, baseline, strengths)
    return swept


def _eq3(
    images: NDArray[np.float64], goal: NDArray[np.float64], baseline: NDArray[np.float64], alphas: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Eq. 3 for each alpha, float32 ``[a n]``, of rows that have been checked."""
    # The order of these float64 sums is that of `goal_baseline_reward` and of the sweep alike: another one would differ
    # in the last bits, and a sweep must give what one alpha alone does.
    direction = goal - baseline
    squared_distance = 2.0 - 2.0 * (images @ goal)
    along = (images @ direction - goal @ direction) ** 2 / (direction @ direction)
    rest = (1.0 - alphas[:, None]) ** 2 * (squared_distance - along)
    return (1.0 - 0.5 * (along + rest)).astype(np.float32)


def mean_prompt(embeddings: ArrayLike) -> Embedding:
    """Average unit embeddings of several wordings of one prompt, ``[k d]``, to a unit vector, float32 ``[d]``.

    Without the second normalisation the identities behind eq. 3 break and the
    reward shifts with the number of wordings. Rows that cancel out are refused.
    """
    rows = unit_rows(embeddings, "embeddings")
    if len(rows) == 0:
        raise InvalidInputError("embeddings must hold at least one prompt, got shape " + repr(rows.shape) + ".")
    mean = rows.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < _NORM_TOLERANCE:
        raise InvalidInputError(f"the {len(rows)} prompts cancel out: their mean has norm {length:.2g}.")
    return (mean / length).astype(np.float32)


def check_alpha(alpha: SupportsFloat) -> float:
    """Return alpha as a float; refuse what is no number in [0, 1]."""
    try:
        if isinstance(alpha, (bool, np.bool_, str, bytes)):
            raise TypeError
        value = float(alpha)
    except (TypeError, ValueError):
        raise InvalidInputError(f"alpha must be a number in [0, 1], got {alpha!r}.") from None
    if not 0.0 <= value <= 1.0:  # NaN fails this comparison as well
        raise InvalidInputError(f"alpha must be in [0, 1], got {value!r}.")
    return value


def check_direction(direction: NDArray[np.float64]) -> None:
    """Refuse a goal and a baseline that coincide, whose difference ``goal - baseline``, ``[d]``, has no direction."""
    length = float(np.linalg.norm(direction))
    if length < _SMALLEST_DIRECTION:
        raise InvalidInputError(
            "goal and baseline must differ: eq. 3 needs the line through their embeddings, which are "
            f"{length:.2g} apart. Choose another baseline, or none for the plain similarity (eq. 2)."
        )


def _unit_vector(value: ArrayLike, field: str, dim: int | None = None) -> NDArray[np.float64]:
    vector = _real_array(value, field)
    if vector.ndim != 1:
        hint = " Use mean_prompt for several wordings." if vector.ndim == 2 else ""
        raise InvalidInputError(f"{field} must be one embedding of shape [d], got shape {vector.shape}.{hint}")
    return unit_rows(vector[None], field, dim)[0]


def unit_rows(value: ArrayLike, field: str, dim: int | None = None) -> NDArray[np.float64]:
    """Check unit embeddings ``[n d]`` and return them in float64, normalised again."""
    rows = _real_array(value, field)
    if rows.ndim != 2 or rows.shape[1] == 0:
        hint = f" Use {field}[None] for one." if rows.ndim == 1 else ""
        raise InvalidInputError(f"{field} must be embeddings of shape [n d], got shape {rows.shape}.{hint}")
    if dim is not None and rows.shape[1] != dim:
        raise InvalidInputError(f"{field} must have the goal's dimension {dim}, got {rows.shape[1]}.")
    if not np.isfinite(rows).all():
        raise InvalidInputError(f"{field} must be finite, got NaN or infinity.")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    off = np.abs(norms - 1.0)
    if off.max(initial=0.0) > _NORM_TOLERANCE:
        worst = float(norms[off.argmax(), 0])
        raise InvalidInputError(f"{field} must have unit norm (within {_NORM_TOLERANCE:g}), got a norm of {worst:.6g}.")
    return rows / norms


def _real_array(value: ArrayLike, field: str) -> NDArray[np.float64]:
    try:
        array: NDArray[Any] = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{field} must be an array of real numbers: {error}") from error
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InvalidInputError(f"{field} must be an array of real numbers, got dtype {array.dtype}.")
    return array.astype(np.float64)
