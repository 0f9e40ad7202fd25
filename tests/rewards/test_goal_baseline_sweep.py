"""Many prompts and strengths at once are what one by one they are, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, goal_baseline_sweep

ALPHAS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)
DTYPES = st.sampled_from([np.float16, np.float32, np.float64])


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 40),
    dim=st.integers(2, 96),
    pairs=st.integers(1, 6),
    alphas=ALPHAS,
    dtype=DTYPES,
)
def test_equals_one_by_one_bit_for_bit(
    seed: int, n: int, dim: int, pairs: int, alphas: list[float], dtype: type[np.floating]
) -> None:
    rng = np.random.default_rng(seed)
    images, goals, baselines = (unit_rows(rng, count, dim).astype(dtype) for count in (n, pairs, pairs))
    swept = goal_baseline_sweep(images, goals, baselines, alphas)
    assert (swept.shape, swept.dtype) == ((pairs, len(alphas), n), np.float32)
    for rows, goal, baseline in zip(swept, goals, baselines, strict=True):
        for rewards, alpha in zip(rows, alphas, strict=True):
            assert rewards.tobytes() == goal_baseline_reward(images, goal, baseline, alpha).tobytes()


def test_many_pictures_too(rng: np.random.Generator) -> None:
    # Enough for BLAS and numpy to cut them into blocks.
    images, goals, baselines = (unit_rows(rng, count, 512).astype(np.float32) for count in (3_001, 5, 5))
    alphas = np.linspace(0, 1, 11)
    swept = goal_baseline_sweep(images, goals, baselines, alphas)
    for i, j in ((0, 0), (2, 5), (4, 10)):
        expected = goal_baseline_reward(images, goals[i], baselines[i], alphas[j])
        assert swept[i, j].tobytes() == expected.tobytes()


def test_numbers_derived_by_hand() -> None:
    # As in test_goal_baseline: 9/16 at 1/2, 3/4 at 1, the cosine 0 at 0. The other way round d only changes its sign
    # and v = x - b: the same numbers. Baseline and image the same: d = v = (1, -1), all along, 1 - 1/2 * 2 = 0.
    one, two, three = np.eye(3)
    swept = goal_baseline_sweep([three], [one, two, one], [two, one, three], [0, 0.5, 1])
    assert swept[:, :, 0].tolist() == [[0, 9 / 16, 0.75], [0, 9 / 16, 0.75], [0, 0, 0]]


def test_one_alpha_may_be_a_number() -> None:
    eye = np.eye(2)
    assert goal_baseline_sweep(eye, eye[:1], eye[1:], 0.5).tolist() == [[[1, 0]]]
    assert goal_baseline_sweep(eye, eye[:1], eye[1:], np.float32(1)).shape == (1, 1, 2)
    assert goal_baseline_sweep(eye, eye[:1], eye[1:], np.empty(0)).shape == (1, 0, 2)


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        ([0.5, 1.5], r"alpha must be in \[0, 1\], got 1.5"),
        ([float("nan")], r"alpha must be in \[0, 1\], got nan"),
        ([0.5, True], r"alpha must be a number in \[0, 1\], got True"),
    ],
)
def test_bad_alphas_are_refused(alphas: list[float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        goal_baseline_sweep(np.eye(2), [[1, 0]], [[0, 1]], alphas)


def test_bad_embeddings_are_refused() -> None:
    eye = np.eye(3)
    cases = [
        (eye, eye[:2], eye[2:], "goals and baselines must be equally many, got 2 and 1"),
        (eye, eye[:1], eye[:1], "goal and baseline must differ: eq. 3 needs the line"),
        (eye, eye[:2], eye[[1, 1]], "goal and baseline must differ"),
        (eye, 2 * eye, eye, "goals must have unit norm .* got a norm of 2"),
        (eye, eye, 0 * eye, "baselines must have unit norm .* got a norm of 0"),
        (eye, eye[0], eye[1:2], r"goals must be embeddings of shape \[n d\], got shape \(3,\). Use goals\[None\]"),
        (eye, eye[:1], np.eye(2)[:1], "baselines must have the goal's dimension 3, got 2"),
        (np.eye(2), eye[:1], eye[1:2], "images must have the goal's dimension 3, got 2"),
        (np.full((1, 3), np.nan), eye[:1], eye[1:2], "images must be finite"),
    ]
    for images, goals, baselines, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            goal_baseline_sweep(images, goals, baselines, [0.5])
