"""What a task must be, how episodes are judged, and the registry."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.tasks.task import Task, any_step, every_step, get_task, half_of_steps, list_tasks, register_task
from vlm_rewards.testing.counting import counting_task


@given(st.lists(st.booleans()))
def test_rules_are_what_they_say(steps: list[bool]) -> None:
    values = np.array(steps, dtype=bool)
    assert every_step(values) is (len(steps) > 0 and all(steps))
    assert any_step(values) is any(steps)
    assert half_of_steps(values) is (len(steps) > 0 and 2 * sum(steps) >= len(steps))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "task name must be letters, digits, '-' and '_', got ''"),
        ({"name": "a b"}, "task name must be letters, .*, got 'a b'"),
        ({"name": "../a"}, "task name must be letters"),
        ({"horizon": 0}, "horizon of task 'counting' must be an int of at least 1, got 0"),
        ({"goal": " "}, "goal of task 'counting' must be a sentence that is not empty, got ' '"),
        ({"baseline": ""}, "baseline of task 'counting' must be a sentence that is not empty, got ''"),
    ],
)
def test_refuses_tasks_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        dataclasses.replace(counting_task(), **change)


def test_users_extend_the_registry() -> None:
    mine = register_task(counting_task("mine"))
    assert isinstance(mine, Task)
    assert get_task("mine") is mine
    assert "mine" in list_tasks() == sorted(list_tasks())
    with pytest.raises(InvalidInputError, match="task 'mine' is already registered; pass replace=True to replace it"):
        register_task(counting_task("mine", horizon=3))
    assert get_task("mine") is mine
    other = register_task(counting_task("mine", horizon=3), replace=True)
    assert get_task("mine") is other


def test_unknown_tasks_come_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'cartpol'. Did you mean 'cartpole'"):
        get_task("cartpol")
    with pytest.raises(UnknownNameError, match=r"unknown task 'xyzzy'. Choices: arms-crossed, .*, cartpole, "):
        get_task("xyzzy")
