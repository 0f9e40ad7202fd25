"""Rewards along lines of states."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.evaluation.judging import ALPHAS, PromptPair, PromptSweep
from vlm_rewards.evaluation.landscape import POINTS, Landscape, landscape, line_along, line_between
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.rewards.model import ContrastReward
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.state_access import StateSpace
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.fakes import FakeEncoder

SPACE = StateSpace(
    ("x", "v", "angle"),
    np.array([-1.0, -np.inf, -np.pi]),
    np.array([1.0, np.inf, np.pi]),
    np.array([0.25, 0.5, 0.0]),
    ("m", "m/s", "rad"),
)


def direct(encoder, frames):
    return encoder.embed_images(frames)


def test_a_line_along_a_dimension_begins_and_ends_at_its_bounds() -> None:
    line = line_along(SPACE, "x", points=5)
    assert line.states.tolist() == [[x, 0.5, 0.0] for x in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert line.values.tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert (line.label, line.unit, line.fixed) == ("x", "m", {"v": 0.5, "angle": 0.0})


def test_a_line_where_the_user_wants_it() -> None:
    line = line_along(SPACE, "v", low=2, high=4, at={"angle": 3.0}, points=3)
    assert line.states.tolist() == [[0.25, 2.0, 3.0], [0.25, 3.0, 3.0], [0.25, 4.0, 3.0]]
    assert line.fixed == {"x": 0.25, "angle": 3.0}


def test_a_line_between_two_states() -> None:
    line = line_between(SPACE, {"x": -1.0}, {"x": 1.0, "angle": 2.0}, points=3)
    assert line.states.tolist() == [[-1.0, 0.5, 0.0], [0.0, 0.5, 1.0], [1.0, 0.5, 2.0]]
    assert line.values.tolist() == [0.0, 0.5, 1.0]
    assert (line.unit, line.fixed) == ("", {"v": 0.5})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": "v"}, "low is needed: state dimension 'v' has no bounds of its own"),
        ({"dimension": "v", "low": 0.0}, "high is needed"),
        ({"dimension": "x", "low": 0.5, "high": 0.5}, "low must be less than high, got 0.5 and 0.5"),
        ({"dimension": "x", "high": 1.5}, r"state dimension 'x' must be in \[-1, 1\], got 1.5"),
        ({"dimension": "x", "low": float("nan")}, "got nan"),
        ({"dimension": "x", "at": {"angle": 4.0}}, "state dimension 'angle' must be in"),
        ({"dimension": "x", "at": {"x": 0.0}}, "at must not name 'x'"),
        ({"dimension": "x", "points": 1}, "points must be an int of at least 2, got 1"),
    ],
)
def test_lines_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        line_along(SPACE, **arguments)


def test_names_that_are_none() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown state dimension 'angel'. Did you mean 'angle'"):
        line_along(SPACE, "angel")
    with pytest.raises(UnknownNameError, match="'y'"):
        line_between(SPACE, {"y": 1.0}, {})
    with pytest.raises(InvalidInputError, match="the two states must differ"):
        line_between(SPACE, {"x": 0.25}, {})


def test_rewards_along_the_line_are_those_of_its_pictures() -> None:
    task, encoder = get_task("cartpole"), FakeEncoder(image_size=32)
    with open_studio(task, 32) as studio:
        line = line_along(studio.space, "pole_angle", at={"cart_position": 1.0}, points=9)

    def leftmost(frames: np.ndarray) -> np.ndarray:
        return frames[:, :, 0].mean(axis=(1, 2))

    sweep = PromptSweep(encoder, [PromptPair("up", "pole")], (0.0, 0.5))
    contrast = ContrastReward(encoder, goal="up", baseline="pole")
    rewards = {"eq. 3": sweep, "contrast": contrast, "left": leftmost}
    found = landscape(rewards, task, line, embed=direct)
    pictures = np.stack([draw_cartpole(1.0, angle, 32) for angle in line.values])
    np.testing.assert_array_equal(found.frames, pictures)
    goal, baseline = encoder.embed_texts(["up", "pole"])
    for rewards, alpha in zip(found.rewards[0], (0.0, 0.5), strict=True):
        alone = goal_baseline_reward(encoder.embed_images(pictures), goal, baseline, alpha)
        np.testing.assert_allclose(rewards, alone, atol=1e-6)
    np.testing.assert_allclose(found.rewards[1], contrast(pictures)[None], atol=1e-6)
    assert found.rewards[2].shape == (1, 9)  # at the size of a plain function's frames
    assert found.goal is not None
    assert found.goal.tolist() == [False] * 4 + [True] + [False] * 4
    assert [one.get("form") for one in found.encoders] == [None, "contrast", "left"]
    assert [one["name"] for one in found.encoders] == ["fake", "fake", "left"]
    record = found.to_dict()
    assert (record["alphas"], np.shape(record["rewards"][0]), np.shape(record["maxima"][1])) == ([0, 0.5], (2, 9), (1,))


def test_what_cannot_be_seen_has_no_landscape() -> None:
    task = get_task("cartpole")
    with open_studio(task, 32) as studio:
        line = line_along(studio.space, "cart_velocity", low=-1.0, high=1.0, points=3)
    with pytest.raises(InvalidInputError, match="frames of all states are the same: 'cart_velocity' cannot be seen"):
        landscape(lambda frames: frames[:, 0, 0, 0], task, line)


def test_maxima_say_where_and_whether_it_is_the_goal() -> None:
    rewards = np.array([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]], dtype=np.float32)
    line = line_along(SPACE, "x", points=3)
    found = Landscape(
        line, ({},), (0.0, 1.0), (rewards,), np.array([False, True, True]), np.zeros((3, 8, 8, 3), np.uint8)
    )
    assert found.maxima() == [[{"value": 0.0, "goal": True}, {"value": -1.0, "goal": False}]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole", "mountaincar-textured"])
def test_the_bundled_encoders_maxima_lie_at_the_goal(name: str) -> None:
    task, encoder = get_task(name), load_encoder("bundled")
    assert task.dimension is not None
    with open_studio(task, 32) as studio:
        line = line_along(studio.space, task.dimension, points=POINTS)
    found = landscape(PromptSweep(encoder, [PromptPair(task.goal, task.baseline)], ALPHAS), task, line, embed=direct)
    assert [best["goal"] for best in found.maxima()[0]] == [True] * len(ALPHAS)
    assert found.goal is not None
    assert 0.05 < found.goal.mean() < 0.15  # and the goal is a small part of the line
