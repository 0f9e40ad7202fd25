"""What a task must be, the registry, and how episodes are judged."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.tasks.task import (
    Task,
    any_step,
    every_step,
    get_task,
    half_of_steps,
    list_tasks,
    make_task_env,
    register_task,
)
from vlm_rewards.testing.counting import CountingEnv, counting_task


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
    with pytest.raises(UnknownNameError, match=r"unknown task 'xyzzy'. Choices: arms-crossed, .*, cartpole, "):
        get_task("xyzzy")


def run(env, seed: int) -> list[tuple[bool, bool, dict]]:
    env.reset(seed=seed)
    steps = []
    while True:
        _, _, terminated, truncated, info = env.step(0)
        steps.append((terminated, truncated, info))
        if terminated or truncated:
            return steps


@pytest.mark.parametrize(
    ("horizon", "length", "end"), [(4, 9, (False, True)), (4, 3, (True, False)), (3, 3, (True, True))]
)
def test_the_horizon_truncates_and_the_simulator_terminates(horizon: int, length: int, end: tuple[bool, bool]) -> None:
    env = make_task_env(counting_task(horizon=horizon, lengths=(length, length), ending="terminate"), 32)
    assert [step[:2] for step in run(env, 0)] == [(False, False)] * (min(horizon, length) - 1) + [end]


def test_the_horizon_is_counted_anew_in_every_episode() -> None:
    env = make_task_env(counting_task(horizon=5, lengths=(9, 9)), 32)
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    assert len(run(env, 1)) == 5


def test_true_reward_is_the_simulators_own() -> None:
    env = make_task_env(counting_task(horizon=3, lengths=(9, 9)), 32)
    assert [info["true_reward"] for _, _, info in run(env, 0)] == [1.0, 2.0, 3.0]


def at_least_three(env: CountingEnv) -> bool:
    return env.count >= 3


# The criterion holds on steps 3 and 4 of 4: on half of them, on some, not on all.
@pytest.mark.parametrize(("rule", "verdict"), [(None, False), (any_step, True), (half_of_steps, True)])
def test_the_verdict_comes_at_the_end_by_the_rule(rule, verdict: bool) -> None:
    task = dataclasses.replace(counting_task(horizon=4, lengths=(9, 9)), criterion=at_least_three)
    env = make_task_env(task if rule is None else dataclasses.replace(task, episode_rule=rule), 32)
    infos = [info for _, _, info in run(env, 0)]
    assert [info["criterion"] for info in infos] == [False, False, True, True]
    assert ["is_success" in info for info in infos] == [False, False, False, True]
    assert infos[-1]["is_success"] is verdict


def test_an_episodes_success_is_not_the_next_ones() -> None:
    env = make_task_env(counting_task(horizon=3, lengths=(9, 9)), 32)
    verdicts = []
    for seed in range(12):
        infos = [info for _, _, info in run(env, seed)]
        assert infos[-1]["is_success"] is (env.unwrapped.episode % 2 == 0)
        verdicts.append(infos[-1]["is_success"])
        env.reset(seed=99)
        env.step(0)  # an episode that is left unfinished counts for nothing
    assert {(True, False), (False, True)} <= set(itertools.pairwise(verdicts))


def test_without_a_criterion_nobody_judges() -> None:
    env = make_task_env(dataclasses.replace(counting_task(), criterion=None), 32)
    info = run(env, 0)[-1][2]
    assert "criterion" not in info
    assert "is_success" not in info


@pytest.mark.parametrize("size", [31, 0, -1, True])
def test_refuses_pictures_too_small_to_see(size: int) -> None:
    with pytest.raises(InvalidInputError, match=f"image_size must be an int of at least 32 pixels, got {size}"):
        make_task_env(counting_task(), size)
