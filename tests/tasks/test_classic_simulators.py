"""What both classic simulators hold to: Gymnasium's interface, seeds, restored states, refusals."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.cartpole import CartPoleSimulator, draw_cartpole
from vlm_rewards.tasks.mountain_car import MountainCarSimulator, draw_mountain_car

TEXTURED = partial(MountainCarSimulator, textured=True)
PUSHES = [np.array([force], dtype=np.float32) for force in (0.37, -0.6, 0.37)]
PLAYED = pytest.mark.parametrize(("build", "actions"), [(CartPoleSimulator, [0, 1, 1]), (MountainCarSimulator, PUSHES)])
DRAWN = pytest.mark.parametrize(
    "draw",
    [
        lambda position, size: draw_cartpole(position, 0.3, size),
        partial(draw_mountain_car, textured=False),
        partial(draw_mountain_car, textured=True),
    ],
)


@pytest.mark.parametrize("build", [CartPoleSimulator, MountainCarSimulator, TEXTURED])
@pytest.mark.filterwarnings("ignore:.*A Box observation space.*infinity")
@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")
def test_gymnasium_accepts_it(build: Callable[[int], gym.Env[Any, Any]]) -> None:
    check_env(build(64))


@PLAYED
@pytest.mark.parametrize(
    "ask", [lambda env, action: env.step(action), lambda env, _: env.render(), lambda env, _: env.state]
)
def test_nothing_works_before_the_first_reset(build: Any, actions: list[Any], ask: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        ask(build(32), actions[0])


@PLAYED
def test_same_seed_same_episode_also_after_pickling(build: Any, actions: list[Any]) -> None:
    simulator = build(64)
    simulator.reset(seed=0)
    twin = pickle.loads(pickle.dumps(simulator))
    assert (simulator.reset(seed=7)[0] == twin.reset(seed=7)[0]).all()
    for action in actions * 2:
        assert (simulator.step(action)[0] == twin.step(action)[0]).all()
    assert (simulator.reset()[0] == twin.reset()[0]).all()


@PLAYED
def test_a_restored_state_goes_on_bit_for_bit(build: Any, actions: list[Any]) -> None:
    simulator, twin = build(64), build(64)
    simulator.reset(seed=0)
    for action in actions * 10:
        simulator.step(action)
    before = simulator.state
    twin.set_state(before)
    simulator.state[0] = 1.0  # a copy
    assert (simulator.state == before).all()
    for action in actions[:1] * 100:
        assert (simulator.step(action)[0] == twin.step(action)[0]).all()
        assert (simulator.state == twin.state).all()
    assert (simulator.render() == twin.render()).all()


@pytest.mark.parametrize(
    ("build", "method", "values", "message"),
    [
        (CartPoleSimulator, "step", (2, -1, 0.5, np.array([1])), "must be 0 or 1, got"),
        (MountainCarSimulator, "step", (0.5, [0.1, 0.2], [math.inf]), "array of one finite number"),
        (
            CartPoleSimulator,
            "set_state",
            ([0, 0, 0], [0, 0, np.nan, 0], [2.5, 0, 0, 0], [[0, 0, 0, 0]]),
            "4 finite numbers with a position within",
        ),
        (
            MountainCarSimulator,
            "set_state",
            ([0.0], [0.7, 0.0], [-1.3, 0.0], [0.0, 0.08], [np.nan, 0.0]),
            r"position within \[-1.2, 0.6\] and a velocity within",
        ),
    ],
)
def test_actions_and_states_that_are_refused(build: Any, method: str, values: tuple[Any, ...], message: str) -> None:
    simulator = build(32)
    simulator.reset(seed=0)
    for value in values:
        with pytest.raises(InvalidInputError, match=message):
            getattr(simulator, method)(value)


@DRAWN
def test_a_frame_is_not_shared_with_the_next(draw: Callable[[float, int], np.ndarray]) -> None:
    expected = draw(0.0, 64).copy()
    draw(0.0, 64)[...] = 0
    assert (draw(0.0, 64) == expected).all()


@DRAWN
def test_frames_that_are_refused(draw: Callable[[float, int], np.ndarray]) -> None:
    with pytest.raises(InvalidInputError, match="must be finite, got inf"):
        draw(math.inf, 96)
    with pytest.raises(InvalidInputError, match="at least 32 pixels, got 31"):
        draw(0.0, 31)
