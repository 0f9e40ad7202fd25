"""Simulators put into states: the frame and the verdict are of exactly that state."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch._dynamo  # noqa: F401 - before anything is drawn in this process

from vlm_rewards.errors import InvalidInputError, UnknownNameError, WorkerError
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.mountain_car import draw_mountain_car
from vlm_rewards.tasks.rendering import FrameRenderer
from vlm_rewards.tasks.state_access import StateSpace, StateStudio, interpolate
from vlm_rewards.tasks.task import Task, get_task, make_task_env
from vlm_rewards.testing.counting import counting_task

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


def task_of(env_id: str) -> Task:
    return environment_task(EnvironmentConfig(env_id), goal="a goal", baseline="a baseline")


def alone(task: Task, set_state: Callable[[Any], None], size: int) -> np.ndarray:
    """The slow twin: a fresh simulator, put into one state by hand."""
    env = make_task_env(task, size)
    env.reset(seed=5)
    set_state(env.unwrapped)
    picture = FrameRenderer(env, size).render()
    env.close()
    return picture


def test_cartpole_shows_and_judges_the_state_that_was_asked_for() -> None:
    limit = math.radians(12)
    states = np.array(
        [[0, 0, 0, 0], [2.39, 3, limit, 1], [-1, 0, -limit - 1e-9, 0], [-2.4, 0, 0, 0], [1, 0, math.pi, 9]]
    )
    with open_studio(get_task("cartpole"), 48) as studio:
        frames, labels = studio.show(states)
        space = studio.space
    for frame, state in zip(frames, states, strict=True):
        np.testing.assert_array_equal(frame, draw_cartpole(state[0], state[2], 48))
    assert labels is not None
    assert labels.tolist() == [True, True, False, False, False]
    assert space.names == ("cart_position", "cart_velocity", "pole_angle", "pole_velocity")
    assert [space.unit(name) for name in space.names] == ["m", "m/s", "rad", "rad/s"]
    assert space.low.tolist() == [-2.4, -math.inf, -math.pi, -math.inf]
    assert space.high.tolist() == [2.4, math.inf, math.pi, math.inf]
    assert space.bounded().tolist() == [True, False, True, False]
    assert (np.abs(space.start) <= 0.05).all()


@pytest.mark.parametrize("textured", [False, True])
def test_mountain_car_shows_and_judges_the_state_that_was_asked_for(textured: bool) -> None:
    states = np.array([[-1.2, 0.07], [-0.5, 0.0], [0.449, -0.07], [0.45, 0.0], [0.6, 0.0]])
    with open_studio(get_task("mountaincar-textured" if textured else "mountaincar"), 64) as studio:
        frames, labels = studio.show(states)
        space = studio.space
    for frame, (position, _) in zip(frames, states, strict=True):
        np.testing.assert_array_equal(frame, draw_mountain_car(position, 64, textured=textured))
    assert labels is not None
    assert labels.tolist() == [False, False, False, True, True]
    assert (space.names, space.units, space.unit("position")) == (("position", "velocity"), (), "")
    assert space.bounded().all()
    assert (space.low.tolist(), space.high.tolist()) == ([-1.2, -0.07], [0.6, 0.07])
    assert -0.6 <= space.start[0] <= -0.4


def test_a_state_does_not_depend_on_those_before_it() -> None:
    rng = np.random.default_rng(0)
    states = np.column_stack([rng.uniform(-2, 2, 150), np.zeros(150), rng.uniform(-3, 3, 150), np.zeros(150)])
    with open_studio(get_task("cartpole"), 32) as studio:  # more than are sent at a time
        frames, labels = studio.show(states)
        backwards, labels_backwards = studio.show(states[::-1])
    np.testing.assert_array_equal(backwards, frames[::-1])
    assert labels is not None
    assert labels_backwards is not None
    assert labels_backwards.tolist() == labels[::-1].tolist()
    assert labels.tolist() == (np.abs(states[:, 2]) <= math.radians(12)).tolist()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0"])
def test_classic_environments(env_id: str) -> None:
    task = task_of(env_id)
    with open_studio(task, 64) as studio:
        space = studio.space
        states = np.stack([space.start, space.start + 0.3, space.start])
        frames, labels = studio.show(states)
    assert labels is None
    assert space.names == tuple(f"state{index}" for index in range(len(space.start)))
    for frame, state in zip(frames, states, strict=True):
        np.testing.assert_array_equal(frame, alone(task, lambda env, to=state: setattr(env, "state", to), 64))
    assert (frames[0] != frames[1]).any()


def test_bounds_of_classic_environments_are_those_of_their_observations() -> None:
    with open_studio(task_of("CartPole-v1"), 32) as studio:
        assert studio.space.high.tolist() == pytest.approx([4.8, math.inf, math.radians(24), math.inf])
        assert studio.space.low.tolist() == [-value for value in studio.space.high.tolist()]
    with open_studio(task_of("Pendulum-v1"), 32) as studio:  # whose observation is another vector
        assert not studio.space.bounded().any()


def test_a_mujoco_environment() -> None:
    task = task_of("Hopper-v5")
    with open_studio(task, 64) as studio:
        space = studio.space
        fallen, bent = space.start.copy(), space.start.copy()
        fallen[[space.index("rootz"), space.index("rooty")]] = 0.2, 1.5
        bent[space.index("leg_joint")] = -2.0
        states = np.stack([space.start, fallen, bent, space.start])
        frames, labels = studio.show(states)
    joints = ("rootx", "rootz", "rooty", "thigh_joint", "leg_joint", "foot_joint")
    assert space.names == (*joints, *(f"{joint}.velocity" for joint in joints))
    assert space.units == ("m", "m", *["rad"] * 4, "m/s", "m/s", *["rad/s"] * 4)
    assert space.bounded().tolist() == [False] * 3 + [True] * 3 + [False] * 6
    degrees = np.degrees([space.low[3:6], space.high[3:6]])  # as in hopper.xml
    np.testing.assert_allclose(degrees, [[-150, -150, -45], [0, 0, 45]], atol=1e-9)
    assert labels is None
    for frame, state in zip(frames, states, strict=True):
        twin = alone(task, lambda env, to=state: env.set_state(to[:6], to[6:]), 64)
        np.testing.assert_array_equal(frame, twin)
    assert len({frame.tobytes() for frame in frames}) == 3


def test_free_joints_have_seven_positions_and_six_velocities() -> None:
    with open_studio(task_of("Ant-v5"), 32) as studio:
        space = studio.space
    assert space.names[:8] == (*(f"root.{part}" for part in ("x", "y", "z", "qw", "qx", "qy", "qz")), "hip_1")
    assert space.names[15:22] == (*(f"root.{part}" for part in ("vx", "vy", "vz", "wx", "wy", "wz")), "hip_1.velocity")
    assert [space.unit(f"root.{part}") for part in ("z", "qw", "vz", "wx")] == ["m", "", "m/s", "rad/s"]
    assert space.start.shape == space.low.shape == (15 + 14,)
    assert np.flatnonzero(space.bounded()).tolist() == list(range(7, 15))


class Dial(gym.Env[np.ndarray, int]):
    """A simulator of somebody else's: it has a state, and says nothing more of it."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self, size: int) -> None:
        self.size, self.state = size, np.zeros(3)

    def set_state(self, state: np.ndarray) -> None:
        if state[0] > 255:
            raise InvalidInputError("state of Dial must be at most 255.")
        self.state = np.array(state)

    def reset(self, **arguments: Any) -> Any:
        super().reset(**arguments)
        self.state = self.np_random.integers(10, 20, 3).astype(float)
        return np.zeros(2, dtype=np.float32), {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        return np.full((self.size, self.size, 3), self.state, dtype=np.uint8)


DIAL = Task("dial", "red", "any", Dial, 10, criterion=lambda env: bool(env.unwrapped.state[0] > 100))


def test_a_simulator_that_has_a_state_and_set_state() -> None:
    with open_studio(DIAL, 32, seed=1) as studio:
        frames, labels = studio.show(np.array([[1.0, 2, 3], [200, 100, 50]]))
        space = studio.space
    assert frames[:, 5, 5].tolist() == [[1, 2, 3], [200, 100, 50]]
    assert labels is not None
    assert labels.tolist() == [False, True]
    assert space.names == ("state0", "state1", "state2")
    assert not space.bounded().any()
    with open_studio(DIAL, 32, seed=1) as studio:
        np.testing.assert_array_equal(studio.space.start, space.start)
    with open_studio(DIAL, 32, seed=2) as studio:
        assert (studio.space.start != space.start).any()


def test_simulators_without_a_state_are_refused() -> None:
    for task, name in ((counting_task(), "CountingEnv"), (task_of("FrozenLake-v1"), "FrozenLakeEnv")):
        with (
            pytest.raises(
                InvalidInputError, match=f"{name} cannot be put into a state: give it `state` and `set_state"
            ),
            open_studio(task, 32),
        ):
            pass
    with pytest.raises(InvalidInputError, match="CountingEnv cannot be put into a state"):
        StateStudio(counting_task(), 32)


def test_states_of_another_shape_are_refused_and_the_studio_goes_on() -> None:
    with open_studio(DIAL, 32) as studio:
        for states in (np.zeros((2, 4)), np.zeros(3), np.zeros((0, 3)), np.full((1, 3), np.nan)):
            message = (
                r"states must be finite numbers of shape \[n 3\], n at least 1, for state0, state1, state2; got shape"
            )
            with pytest.raises(InvalidInputError, match=message):
                studio.show(states)
        assert studio.show(np.ones((1, 3)))[0].shape == (1, 32, 32, 3)
        with pytest.raises(WorkerError, match="state of Dial must be at most 255"):
            studio.show(np.full((1, 3), 256.0))


def test_unknown_dimensions_suggest_near_names() -> None:
    space = StateSpace(("cart_position", "pole_angle"), np.zeros(2), np.ones(2), np.zeros(2), ("m", "rad"))
    assert space.index("pole_angle") == 1
    for asked in (space.index, space.unit):
        with pytest.raises(UnknownNameError, match=r"unknown state dimension 'angle'. Did you mean 'pole_angle'"):
            asked("angle")


def test_interpolate() -> None:
    line = interpolate([0, 1, -2], (1, 1, 2), 5)
    assert line.tolist() == [[0, 1, -2], [0.25, 1, -1], [0.5, 1, 0], [0.75, 1, 1], [1, 1, 2]]
    with pytest.raises(InvalidInputError, match="two states must be equally long, got 2 and 3 numbers"):
        interpolate([0, 1], [0, 1, 2], 3)
    with pytest.raises(InvalidInputError, match=r"states must be finite, got \[0.0, nan\] and \[0.0, 1.0\]"):
        interpolate([0, math.nan], [0, 1], 3)
    with pytest.raises(InvalidInputError, match="points must be an int of at least 2, got 1"):
        interpolate([0], [1], 1)
