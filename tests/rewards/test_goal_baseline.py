"""Equations 2 and 3 against a dense twin, by hand, and by their invariances; many at once as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, goal_baseline_sweep, goal_reward, mean_prompt

ALPHAS = st.floats(0.0, 1.0)
SEEDS = st.integers(0, 2**32 - 1)
DIMENSIONS = st.integers(2, 96)


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dense_twin(images: np.ndarray, goal: np.ndarray, baseline: np.ndarray, alpha: float) -> np.ndarray:
    """Eq. 3 as it is written: the projection on the line as a matrix, one frame at a time."""
    direction = goal - baseline
    onto_line = np.outer(direction, direction) / (direction @ direction)
    rewards = []
    for x in images:
        projected = goal + onto_line @ (x - goal)
        rewards.append(1 - 0.5 * np.sum((alpha * projected + (1 - alpha) * x - goal) ** 2))
    return np.array(rewards)


@given(seed=SEEDS, dim=DIMENSIONS, n=st.integers(1, 5), prompts=st.integers(1, 6), alpha=ALPHAS, single=st.booleans())
def test_equals_the_dense_matrix_twin(seed: int, dim: int, n: int, prompts: int, alpha: float, single: bool) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    images = unit_rows(rng, n, dim).astype(dtype)
    goal = mean_prompt(unit_rows(rng, prompts, dim).astype(dtype))
    baseline = mean_prompt(unit_rows(rng, prompts, dim).astype(dtype))
    expected = dense_twin(*(np.asarray(a, np.float64) for a in (images, goal, baseline)), alpha)
    actual = goal_baseline_reward(images, goal, baseline, alpha)
    assert actual.dtype == np.float32
    assert actual.shape == (n,)
    # Rounding goal and baseline to float32 turns the line between them the more, the closer they are.
    closeness = 1 / min(1.0, float(np.linalg.norm(goal.astype(np.float64) - baseline)))
    np.testing.assert_allclose(actual, expected, atol=1e-6 * closeness, rtol=0)


@given(seed=SEEDS, dim=DIMENSIONS)
def test_alpha_zero_is_equation_two(seed: int, dim: int) -> None:
    images, (goal, baseline) = unit_rows(rng := np.random.default_rng(seed), 4, dim), unit_rows(rng, 2, dim)
    plain = goal_reward(images, goal)
    np.testing.assert_allclose(plain, images @ goal, atol=1e-6, rtol=0)
    np.testing.assert_allclose(goal_baseline_reward(images, goal, baseline, 0.0), plain, atol=2e-7, rtol=0)


def test_number_derived_by_hand() -> None:
    # g = (1, 0, 0), b = (0, 1, 0), x = (0, 0, 1), alpha = 1/2.
    # d = g - b = (1, -1, 0), d.d = 2; v = x - g = (-1, 0, 1), d.v = -1, |v|^2 = 2.
    # along = (d.v)^2 / (d.d) = 1/2; what is left, 2 - 1/2 = 3/2, shrinks by (1 - 1/2)^2 = 1/4 to 3/8.
    # reward = 1 - 1/2 (1/2 + 3/8) = 1 - 7/16 = 9/16.
    goal, baseline, image = np.eye(3)
    assert goal_baseline_reward(image[None], goal, baseline, 0.5)[0] == np.float32(9 / 16)
    # alpha = 1 keeps `along` alone: 1 - 1/4; alpha = 0 is the cosine, 0.
    assert goal_baseline_reward(image[None], goal, baseline, 1)[0] == np.float32(0.75)
    assert goal_baseline_reward(image[None], goal, baseline, 0)[0] == 0.0


@given(seed=SEEDS, dim=st.integers(2, 32), alpha=ALPHAS)
def test_a_common_rotation_changes_nothing(seed: int, dim: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    images, (goal, baseline) = unit_rows(rng, 4, dim), unit_rows(rng, 2, dim)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    before = goal_baseline_reward(images, goal, baseline, alpha)
    after = goal_baseline_reward(images @ rotation, goal @ rotation, baseline @ rotation, alpha)
    np.testing.assert_allclose(after, before, atol=1e-6, rtol=0)


@given(seed=SEEDS, dim=st.integers(4, 32))
def test_alpha_one_sees_only_what_lies_along_goal_minus_baseline(seed: int, dim: int) -> None:
    # Turning the part of x orthogonal to d keeps both |x| = 1 and d.x, so it must not matter; for alpha < 1 it does.
    rng = np.random.default_rng(seed)
    x, goal, baseline, other = unit_rows(rng, 4, dim)
    axis = (goal - baseline) / np.linalg.norm(goal - baseline)
    rest = other - (other @ axis) * axis
    along = x @ axis
    turned = along * axis + np.sqrt(1 - along**2) * rest / np.linalg.norm(rest)
    before, after = (goal_baseline_reward(v[None], goal, baseline, 1.0) for v in (x, turned))
    np.testing.assert_allclose(after, before, atol=1e-6, rtol=0)
    gap = goal_reward(turned[None], goal) - goal_reward(x[None], goal)
    half = goal_baseline_reward(turned[None], goal, baseline, 0.5) - goal_baseline_reward(x[None], goal, baseline, 0.5)
    np.testing.assert_allclose(half, gap / 4, atol=1e-6, rtol=0)  # (1 - alpha)^2 of it is left


@given(seed=SEEDS, dim=DIMENSIONS, alpha=ALPHAS)
def test_the_goal_itself_scores_one_and_nothing_scores_more(seed: int, dim: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    goal, baseline, *others = unit_rows(rng, 8, dim)
    rewards = goal_baseline_reward(np.stack([goal, *others, -goal]), goal, baseline, alpha)
    assert rewards[0] == pytest.approx(1.0, abs=1e-6)
    assert (np.abs(rewards) <= 1 + 1e-6).all()


def test_half_precision_embeddings_keep_alpha_zero_equal_to_equation_two() -> None:
    # A float16 row has a norm of 1 within some 1e-4 only, which would be 100 times the tolerance.
    rng = np.random.default_rng(0)
    images, (goal, baseline) = unit_rows(rng, 64, 512).astype(np.float16), unit_rows(rng, 2, 512).astype(np.float16)
    assert np.abs(np.linalg.norm(images.astype(np.float64), axis=1) - 1).max() > 1e-5
    np.testing.assert_allclose(
        goal_baseline_reward(images, goal, baseline, 0), goal_reward(images, goal), atol=2e-7, rtol=0
    )


@given(seed=SEEDS, dim=DIMENSIONS, copies=st.integers(1, 5))
def test_mean_prompt_is_a_unit_vector_and_ignores_copies(seed: int, dim: int, copies: int) -> None:
    rows = unit_rows(np.random.default_rng(seed), 3, dim)
    mean = mean_prompt(rows)
    assert np.linalg.norm(mean.astype(np.float64)) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(mean_prompt(np.tile(rows, (copies, 1))), mean, atol=1e-6)
    np.testing.assert_allclose(mean_prompt(rows[:1]), rows[0], atol=1e-6)


def test_mean_prompt_by_hand() -> None:
    # The mean of two orthogonal unit vectors is (1/2, 1/2) with norm 1/sqrt(2); normalised again, 1/sqrt(2) each.
    np.testing.assert_allclose(mean_prompt(np.eye(2)), [2**-0.5, 2**-0.5], atol=1e-7)


def test_lists_and_no_pictures_are_fine() -> None:
    assert goal_baseline_reward([[1, 0]], [1, 0], [0, 1], alpha=np.float32(0.5)).tolist() == [1.0]
    assert goal_reward(np.empty((0, 2)), [1, 0]).shape == (0,)


@pytest.mark.parametrize("alpha", [float("nan"), -0.01, 1.01, float("inf"), True])
def test_bad_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match=r"alpha must be .*\[0, 1\], got "):
        goal_baseline_reward(np.eye(2), [1, 0], [0, 1], alpha)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_goal_that_is_the_baseline_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="goal and baseline must differ"):
        goal_baseline_reward(np.eye(2), [1, 0], [1, 0], alpha)


def test_bad_embeddings_are_refused() -> None:
    eye = np.eye(3)
    cases = [
        (eye[0], eye[0], r"images must be embeddings of shape \[n d\], got shape \(3,\). Use images\[None\]"),
        (eye, eye[:2], r"goal must be one embedding of shape \[d\], got shape \(2, 3\). Use mean_prompt"),
        (np.eye(2), eye[0], "images must have the goal's dimension 3, got 2"),
        (2 * eye, eye[0], "images must have unit norm .* got a norm of 2"),
        (0 * eye, eye[0], "images must have unit norm .* got a norm of 0"),
        (eye, 1.002 * eye[0], "goal must have unit norm .* got a norm of 1.002"),
        (np.full((1, 3), np.nan), eye[0], "images must be finite"),
        (eye.astype(bool), eye[0], "images must be an array of real numbers, got dtype bool"),
        ([[1, 0], [1]], eye[0], "images must be an array of real numbers"),
    ]
    for images, goal, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            goal_reward(images, goal)
    with pytest.raises(InvalidInputError, match="baseline must have the goal's dimension 3, got 2"):
        goal_baseline_reward(eye, eye[0], [1, 0], 0.5)


def test_prompts_that_cancel_out_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="the 2 prompts cancel out"):
        mean_prompt([[1, 0], [-1, 0]])
    with pytest.raises(InvalidInputError, match="at least one prompt"):
        mean_prompt(np.empty((0, 4)))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 40),
    dim=st.integers(2, 96),
    pairs=st.integers(1, 6),
    alphas=st.lists(ALPHAS, min_size=1, max_size=12),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_a_sweep_equals_one_by_one_bit_for_bit(
    seed: int, n: int, dim: int, pairs: int, alphas: list[float], dtype: type[np.floating]
) -> None:
    rng = np.random.default_rng(seed)
    images, goals, baselines = (unit_rows(rng, count, dim).astype(dtype) for count in (n, pairs, pairs))
    swept = goal_baseline_sweep(images, goals, baselines, alphas)
    assert (swept.shape, swept.dtype) == ((pairs, len(alphas), n), np.float32)
    for rows, goal, baseline in zip(swept, goals, baselines, strict=True):
        for rewards, alpha in zip(rows, alphas, strict=True):
            assert rewards.tobytes() == goal_baseline_reward(images, goal, baseline, alpha).tobytes()


def test_many_frames_too(rng: np.random.Generator) -> None:
    # Enough for BLAS and numpy to cut them into blocks.
    images, goals, baselines = (unit_rows(rng, count, 512).astype(np.float32) for count in (3_001, 5, 5))
    alphas = np.linspace(0, 1, 11)
    swept = goal_baseline_sweep(images, goals, baselines, alphas)
    for i, j in ((0, 0), (2, 5), (4, 10)):
        expected = goal_baseline_reward(images, goals[i], baselines[i], alphas[j])
        assert swept[i, j].tobytes() == expected.tobytes()


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


def test_bad_embeddings_of_a_sweep_are_refused() -> None:
    eye = np.eye(3)
    cases = [
        (eye, eye[:2], eye[2:], "goals and baselines must be equally many, got 2 and 1"),
        (eye, eye[:1], eye[:1], "goal and baseline must differ: eq. 3 needs the line"),
        (eye, eye[:2], eye[[1, 1]], "goal and baseline must differ"),
        (eye, eye, 0 * eye, "baselines must have unit norm .* got a norm of 0"),
        (eye, eye[0], eye[1:2], r"goals must be embeddings of shape \[n d\], got shape \(3,\). Use goals\[None\]"),
        (eye, eye[:1], np.eye(2)[:1], "baselines must have the goal's dimension 3, got 2"),
    ]
    for images, goals, baselines, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            goal_baseline_sweep(images, goals, baselines, [0.5])
