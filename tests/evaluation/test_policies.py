"""The policies that have learned nothing."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.evaluation.rollouts import REFERENCE_POLICIES, reference_policy
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.counting import counting_task

TASK = counting_task()
SPACES = [
    gym.spaces.Discrete(5),
    gym.spaces.Discrete(3, start=-1),
    gym.spaces.Box(-2.0, 3.0, (2,)),
    gym.spaces.Box(np.array([-1, 0]), np.array([1, 4]), dtype=np.int64),
]
OBSERVATIONS = np.zeros((50, 3), dtype=np.float32)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_random_actions_are_spread_over_the_space_and_repeatable(space: gym.Space) -> None:
    first = reference_policy("random", TASK, space, seed=1)(OBSERVATIONS)
    assert first.shape == (50, *space.shape)
    assert all(space.contains(action.astype(space.dtype)) for action in first)
    assert len(np.unique(first)) > 2
    np.testing.assert_array_equal(reference_policy("random", TASK, space, seed=1)(OBSERVATIONS), first)
    assert not np.array_equal(reference_policy("random", TASK, space, seed=2)(OBSERVATIONS), first)


def test_random_actions_disturb_nobody_elses() -> None:
    space = gym.spaces.Box(-1.0, 1.0, (2,))
    space.seed(0)
    expected = space.sample()
    space.seed(0)
    reference_policy("random", TASK, space, seed=3)(OBSERVATIONS)
    np.testing.assert_array_equal(space.sample(), expected)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_zero_actions(space: gym.Space) -> None:
    actions = reference_policy("zero", TASK, space)(OBSERVATIONS)
    assert actions.shape == (50, *space.shape)
    assert actions.dtype == space.dtype
    assert not actions.any()


def test_zero_is_refused_where_it_is_no_action() -> None:
    with pytest.raises(InvalidInputError, match=r"no zero action in Discrete\(3, start=1\)"):
        reference_policy("zero", TASK, gym.spaces.Discrete(3, start=1))


def test_the_rule_is_asked_for_every_row() -> None:
    task = dataclasses.replace(TASK, rule=lambda row: int(row[0] > 0))
    observations = np.array([[-1.0], [2.0], [3.0]])
    actions = reference_policy("rule", task, gym.spaces.Discrete(2))(observations)
    assert actions.tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["cartpole", "mountaincar", "mountaincar-textured"])
def test_every_task_of_the_package_has_a_rule(name: str) -> None:
    task = get_task(name)
    simulator = task.simulator(32)
    observation, _ = simulator.reset(seed=0)
    actions = reference_policy("rule", task, simulator.action_space)(np.stack([observation] * 2))
    assert simulator.action_space.contains(actions[1])


def test_refuses_a_rule_that_is_not_there() -> None:
    with pytest.raises(InvalidInputError, match="task 'counting' has no one-line rule"):
        reference_policy("rule", TASK, SPACES[0])


def test_refuses_names_and_spaces_that_it_does_not_know() -> None:
    assert REFERENCE_POLICIES == ("random", "zero", "rule")
    with pytest.raises(UnknownNameError, match=r"unknown policy 'zeros'. Did you mean 'zero'"):
        reference_policy("zeros", TASK, SPACES[0])
    with pytest.raises(InvalidInputError, match="the action space must be Box or Discrete, got MultiBinary"):
        reference_policy("random", TASK, gym.spaces.MultiBinary(2))
