"""One simulator, tried before many are started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.collection.vec_env import count_rendered, probe_simulator
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.testing.point import PointEnv, point_task


def spoilt(spoil: Callable[[Any], None]) -> Callable[[int], gym.Env[Any, Any]]:
    def build(size: int) -> gym.Env[Any, Any]:
        simulator = PointEnv(size)
        spoil(simulator)
        return simulator

    return build


def undrawn(simulator: Any) -> None:
    simulator.render_mode = None


def falling(simulator: Any) -> None:
    simulator.step = lambda action: 1 / 0


def many(simulator: Any) -> None:
    simulator.action_space = gym.spaces.MultiBinary(3)


@given(*[st.integers(1, 40)] * 3)
def test_rendered_states_as_one_counts_them(steps: int, every: int, horizon: int) -> None:
    of_an_episode = [step % horizon + 1 for step in range(steps)]
    counted = sum(step in (1, horizon) or step % every == 0 for step in of_an_episode)
    assert count_rendered(steps, render_every=every, horizon=horizon) == counted


def test_it_is_what_the_task_says() -> None:
    before = set(psutil.Process().children(recursive=True))
    probe = probe_simulator(point_task(actions="box"), 40)
    assert probe.observation_space == gym.spaces.Box(0.0, 1.0, (1,))
    assert probe.action_space == gym.spaces.Box(-1.0, 1.0, (1,))
    assert probe.frame_shape == (40, 40, 3)
    assert 2**20 < probe.worker_bytes < 2**30
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (undrawn, 'render_mode of the environment must be "rgb_array", got None'),
        (falling, r"the simulator of task 'point' cannot be used: (?s:.*)ZeroDivisionError"),
        (many, "the action space must be Box or Discrete"),
    ],
)
def test_what_cannot_be_used_is_refused(spoil: Callable[[Any], None], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        probe_simulator(dataclasses.replace(point_task(), simulator=spoilt(spoil)), 32)
