"""The fakes of other tests, which must not be wrong themselves."""

from __future__ import annotations

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.task import make_task_env
from vlm_rewards.testing.counting import CountingEnv, DelayedReward, counting_label, counting_reward, counting_task
from vlm_rewards.testing.point import PointEnv, brightness_reward, darkness_reward, point_task


@given(st.integers(0, 4095), st.integers(0, 4095))
def test_pictures_and_observations_say_the_same_number(episode: int, count: int) -> None:
    env = CountingEnv()
    env.reset(seed=0)
    env.episode, env.count = episode, count - 1
    observation = env.step(1)[0]
    expected = np.float32((episode * 4096 + count) / 2**24)
    assert counting_reward(env.render()[None]).tolist() == [expected]
    assert counting_label(observation).item() == expected


def test_one_picture_by_hand() -> None:
    env = CountingEnv()
    env.episode, env.count = 0x123, 0x456
    assert env.render()[0, 0].tolist() == [0x12, 0x34, 0x56]


def test_episodes_depend_on_the_seed_alone_and_have_many_lengths() -> None:
    lengths = []
    for seed in range(40):
        runs = []
        for action in (0, 2):
            env = CountingEnv(lengths=(3, 9))
            env.reset(seed=seed)
            steps = [env.step(action)]
            while not (steps[-1][2] or steps[-1][3]):
                steps.append(env.step(action))
            runs.append((env.episode, len(steps), steps[-1][2], steps[-1][3]))
        assert runs[0] == runs[1]
        lengths.append(runs[0][1])
    assert set(lengths) == set(range(3, 10))


def test_a_torn_picture_is_noticed() -> None:
    picture = CountingEnv().render()
    picture[5, 5, 1] += 1
    with pytest.raises(InvalidInputError, match="must have one colour: was it read while it was written"):
        counting_reward(picture[None])


@pytest.mark.parametrize("lengths", [(0, 3), (4, 3), (1, 4096)])
def test_refuses_lengths_that_cannot_be(lengths: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match=r"lengths must be ordered and from 1 to 4095, got \("):
        CountingEnv(lengths=lengths)


@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_tasks_can_be_pickled_and_run(actions: str) -> None:
    for task in (counting_task(actions=actions), point_task(actions=actions)):
        env = make_task_env(pickle.loads(pickle.dumps(task)), 32)
        env.reset(seed=0)
        assert isinstance(env.action_space, {"discrete": gym.spaces.Discrete, "box": gym.spaces.Box}[actions])
        info = env.step(env.action_space.sample())[4]
        assert "criterion" in info


@pytest.mark.filterwarnings("ignore::UserWarning")  # the checker's remarks on style
@pytest.mark.parametrize("env", [PointEnv(), PointEnv(actions="box")])
def test_the_point_follows_gymnasiums_rules(env: gym.Env) -> None:
    check_env(env, skip_render_check=True)


def test_the_counter_breaks_one_of_them_on_purpose() -> None:
    env = CountingEnv()
    assert env.reset(seed=0)[0] is env.step(0)[0], "else a forgotten copy would not be found out"


def test_the_point_moves_and_stays_on_its_line() -> None:
    env = PointEnv(actions="box")
    env.reset(seed=0)
    env.position = 0.5
    assert env.step(np.array([0.5]))[0].tolist() == [0.625]
    assert env.step(np.array([1.0]))[0].tolist() == [0.875]
    assert env.step(np.array([1.0]))[0].tolist() == [1.0]
    assert brightness_reward(env.render()[None]).tolist() == [1.0]
    assert darkness_reward(env.render()[None]).tolist() == [0.0]


def test_a_delayed_reward_is_the_reward() -> None:
    frames = np.stack([CountingEnv().render()] * 3)
    delayed = DelayedReward(counting_reward, 0.001)
    np.testing.assert_array_equal(delayed(frames), counting_reward(frames))
    assert delayed.batches == [3]
