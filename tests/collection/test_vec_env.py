"""The vector environment: frames, flags and seeds, compared with a slow twin in this process; and a probe."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.collection.vec_env import RenderedVecEnv, count_rendered, probe_simulator
from vlm_rewards.errors import InvalidInputError, WorkerError
from vlm_rewards.seeding import episode_seed
from vlm_rewards.tasks.task import make_task_env
from vlm_rewards.testing.counting import CountingEnv, counting_task
from vlm_rewards.testing.point import PointEnv, point_task

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test

TASK = counting_task(lengths=(2, 9), horizon=7)
SLOTS = 3


@pytest.fixture(scope="module")
def venv() -> Iterator[RenderedVecEnv]:
    venv = RenderedVecEnv(TASK, 5, image_size=32, n_workers=2, slots=SLOTS)
    yield venv
    venv.close()


def twin_episodes(seed: int, simulator: int, actions: np.ndarray) -> Iterator[dict[str, Any]]:
    """What one simulator does, step by step, with nothing clever in between."""
    env = make_task_env(TASK, 32)
    episode = 0
    env.reset(seed=episode_seed(seed, simulator, episode))
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        row = {"picture": env.render(), "reached": observation.copy(), "observation": observation.copy()}
        row |= {"done": terminated or truncated, "cut": truncated and not terminated, "true_reward": reward, **info}
        if row["done"]:
            episode += 1
            row["observation"] = env.reset(seed=episode_seed(seed, simulator, episode))[0].copy()
        yield row


def record(venv: RenderedVecEnv, seed: int, actions: np.ndarray) -> list[Any]:
    venv.seed(seed)
    steps: list[Any] = [venv.reset()]
    for row in actions:
        steps.append((*venv.step(row), venv.last_frames()))
    return steps


def test_is_what_a_twin_in_one_process_does(venv: RenderedVecEnv, rng: np.random.Generator) -> None:
    actions = rng.integers(0, 3, (60, 5))
    steps = record(venv, 11, actions)[1:]
    endings = set()
    for simulator in range(5):
        for (observations, rewards, dones, infos, frames), twin in zip(
            steps, twin_episodes(11, simulator, actions[:, simulator]), strict=True
        ):
            info = infos[simulator]
            np.testing.assert_array_equal(frames[simulator], twin["picture"])
            np.testing.assert_array_equal(observations[simulator], twin["observation"])
            assert rewards[simulator] == 0, "the learner must not see the simulator's reward"
            assert info["true_reward"] == twin["true_reward"]
            assert info["criterion"] == twin["criterion"]
            assert dones[simulator] == twin["done"]
            assert info.get("is_success") == twin.get("is_success")
            assert ("is_success" in info) == twin["done"]
            if twin["done"]:
                np.testing.assert_array_equal(info["terminal_observation"], twin["reached"])
                assert info["TimeLimit.truncated"] == twin["cut"]
                endings.add((twin["cut"], info["is_success"]))
            else:
                assert "terminal_observation" not in info
    assert len(endings) == 4, "all of terminated/truncated, succeeded/failed must have been seen"


def test_only_some_states_are_rendered(rng: np.random.Generator) -> None:
    actions = rng.integers(0, 3, (40, 3))
    sparse = RenderedVecEnv(TASK, 3, image_size=32, n_workers=2, slots=41, render_every=3)
    try:
        sparse.seed(11)
        sparse.reset()
        taken = [(sparse.rendered, venv_step[2]) for row in actions if (venv_step := sparse.step(row))]
        for simulator in range(3):
            step = 0
            for number, twin in enumerate(twin_episodes(11, simulator, actions[:, simulator])):
                step += 1
                due = step == 1 or step % 3 == 0 or twin["done"]
                rendered, dones = taken[number]
                assert dones[simulator] == twin["done"]
                assert rendered[simulator] == due
                # Every step has a slot of its own here, which holds zeros where nothing was drawn.
                shown = sparse.ring.frames[number, simulator]
                np.testing.assert_array_equal(shown, twin["picture"] if due else np.zeros_like(shown))
                step = 0 if twin["done"] else step
    finally:
        sparse.close()


def test_tickets_number_the_pictures(venv: RenderedVecEnv) -> None:
    venv.reset()
    before = venv.steps_taken
    for step in range(4):
        infos = venv.step(np.zeros(5, dtype=int))[3]
        assert [info["frame_ticket"] for info in infos] == list(range((before + step) * 5, (before + step + 1) * 5))
    np.testing.assert_array_equal(np.stack(venv.get_images()), venv.last_frames())


def assert_same(first: list[Any], second: list[Any]) -> None:
    np.testing.assert_array_equal(first[0], second[0])
    for one, other in zip(first[1:], second[1:], strict=True):
        for part in (0, 1, 2, 4):
            np.testing.assert_array_equal(one[part], other[part])
        for left, right in zip(one[3], other[3], strict=True):
            assert {key: str(value) for key, value in left.items() if key != "frame_ticket"} == {
                key: str(value) for key, value in right.items() if key != "frame_ticket"
            }


def test_same_seed_same_episodes_whoever_hosts_them(venv: RenderedVecEnv, rng: np.random.Generator) -> None:
    actions = rng.integers(0, 3, (25, 5))
    first = record(venv, 5, actions)
    assert_same(first, record(venv, 5, actions))
    other = RenderedVecEnv(TASK, 5, image_size=32, seed=5, n_workers=1)
    try:
        assert len(other.worker_pids) == 1
        assert_same(first, [other.reset(), *((*other.step(row), other.last_frames()) for row in actions)])
    finally:
        other.close()
    assert not np.array_equal(first[0], record(venv, 6, actions[:1])[0])


def test_reset_without_a_new_seed_goes_on_to_new_episodes(venv: RenderedVecEnv) -> None:
    venv.seed(9)
    first, second = venv.reset(), venv.reset()
    assert not np.array_equal(first, second)
    venv.seed(9)
    np.testing.assert_array_equal(venv.reset(), first)
    np.testing.assert_array_equal(venv.reset(), second)
    assert venv.seed() == [9] * 5
    np.testing.assert_array_equal(venv.reset(), first)


def test_attributes_and_methods_of_simulators(venv: RenderedVecEnv) -> None:
    venv.seed(1)
    observations = venv.reset()
    assert venv.get_attr("count") == [0] * 5
    assert venv.get_attr("episode", [1, 3]) == [round(observations[1, 0] * 4096), round(observations[3, 0] * 4096)]
    venv.set_attr("mark", "x", indices=[4])
    assert venv.get_attr("mark", 4) == ["x"]
    assert venv.env_method("has_wrapper_attr", "mark") == [False, False, False, False, True]
    assert venv.env_is_wrapped(gym.Wrapper) == [False] * 5
    assert venv.render_mode == "rgb_array"


def test_an_attribute_that_is_not_there_ends_nothing(venv: RenderedVecEnv) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        venv.get_attr("nonsense")
    assert venv.has_attr("count")
    assert not venv.has_attr("nonsense")
    venv.reset()


def test_an_unfinished_step_is_not_taken_for_the_next(venv: RenderedVecEnv) -> None:
    venv.seed(2)
    expected = venv.reset()
    venv.step_async(np.zeros(5, dtype=int))  # and Ctrl-C before step_wait
    with pytest.raises(WorkerError, match=r"interrupted before its reply came; call reset\(\) first"):
        venv.step_async(np.zeros(5, dtype=int))
    with pytest.raises(WorkerError, match="interrupted"):
        venv.get_attr("count")
    venv.seed(2)
    np.testing.assert_array_equal(venv.reset(), expected)
    assert venv.step(np.zeros(5, dtype=int))[0].shape == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_envs": True}, "n_envs must be an int of at least 1, got True"),
        ({"image_size": 31}, "image size must be an int of at least 32 pixels, got 31"),
        ({"render_every": 0}, "render_every must be an int of at least 1, got 0"),
        ({"n_workers": 0}, "n_workers must be an int of at least 1, got 0"),
    ],
)
def test_refuses_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        RenderedVecEnv(TASK, **arguments)


def test_refuses_callables_that_are_none_or_too_few() -> None:
    with pytest.raises(InvalidInputError, match="a sequence of callables that build simulators, got \\[\\]"):
        RenderedVecEnv([])
    with pytest.raises(InvalidInputError, match="n_envs must be left out or equal the 2 callables, got 3"):
        RenderedVecEnv([CountingEnv, CountingEnv], 3)


def test_there_is_no_picture_before_the_first_step() -> None:
    other = RenderedVecEnv([CountingEnv], image_size=32)
    try:
        other.reset()
        with pytest.raises(InvalidInputError, match="no frame before the first step"):
            other.last_frames()
        assert len(other.worker_pids) == 1
    finally:
        other.close()


class Spaced(CountingEnv):
    """Claims other spaces."""

    def __init__(self, **spaces: gym.Space[Any]) -> None:
        super().__init__()
        for name, space in spaces.items():
            setattr(self, name, space)


UNBOUNDED = gym.spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.parametrize(
    ("spaces", "workers", "message"),
    [
        ([{"action_space": UNBOUNDED}], 1, r"the action space must be bounded, got Box\(-inf, inf"),
        ([{}, {"action_space": gym.spaces.Discrete(4)}], 1, "all simulators must have the same .*spaces, got .*4"),
        ([{}, {"action_space": gym.spaces.Discrete(4)}], 2, "all simulators must have the same .*spaces, got .*4"),
    ],
)
def test_refuses_spaces_that_cannot_be_learned_in(
    spaces: list[dict[str, gym.Space[Any]]], workers: int, message: str
) -> None:
    factories = [lambda own=own: Spaced(**own) for own in spaces]
    with pytest.raises(InvalidInputError, match=message):
        RenderedVecEnv(factories, image_size=32, n_workers=workers)


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
