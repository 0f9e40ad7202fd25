import numpy as np
import pytest
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv

from vlm_rewards.tasks.mountain_car import (
    MountainCarSimulator,
    draw_mountain_car,
    mountain_car_at_goal,
    mountain_car_rule,
)

BOTH = pytest.mark.parametrize("textured", [False, True])


@pytest.fixture
def simulator():
    env = MountainCarSimulator(image_size=64)
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("seed", range(5))
def test_physics_and_return_are_gymnasiums_until_the_goal(seed):
    original, ours = Continuous_MountainCarEnv(), MountainCarSimulator(32)
    expected, _ = original.reset(seed=seed)
    observation, _ = ours.reset(seed=seed)
    assert (observation == expected).all()
    terminated, steps = False, 0
    while not terminated:
        action = 0.9 * mountain_car_rule(observation)
        expected, reward, terminated, _, _ = original.step(action)
        observation, our_reward, our_end, truncated, _ = ours.step(action)
        assert observation[0] == expected[0]
        assert observation[1] == (0.0 if terminated else expected[1])
        assert our_reward == pytest.approx(reward)
        assert not our_end
        assert not truncated
        steps += 1
    assert our_reward > 99
    assert steps < 200


def test_the_goal_keeps_the_car(simulator):
    simulator.set_state([0.44, 0.05])
    observation, reward, terminated, truncated, _ = simulator.step(np.array([1.0], dtype=np.float32))
    assert reward == pytest.approx(99.9)  # 100 - 0.1 * 1.0 ** 2
    assert observation[0] > 0.45
    assert observation[1] == 0.0
    for force in (-1.0, 0.3, 1.0):
        later, reward, terminated, truncated, _ = simulator.step(np.array([force], dtype=np.float32))
        assert (later == observation).all()
        assert reward == 0.0  # the original's episode has ended, the hundred is paid once
        assert not terminated
        assert not truncated
    assert mountain_car_at_goal(simulator)


def test_a_car_put_at_the_goal_is_kept_but_not_paid(simulator):
    simulator.set_state([0.5, -0.05])
    observation, reward, *_ = simulator.step(np.array([-1.0], dtype=np.float32))
    assert observation.tolist() == [0.5, 0.0]
    assert reward == 0.0


@pytest.mark.parametrize(("position", "there"), [(0.45, True), (np.float32(0.45), True), (0.4499, False), (0.6, True)])
def test_the_goal_begins_at_the_flag(simulator, position, there):
    simulator.set_state([position, 0.0])
    assert simulator.at_goal is there


def test_the_wall_on_the_left_stops_the_car(simulator):
    simulator.set_state([-1.19, -0.07])
    observation, *_ = simulator.step(np.array([-1.0], dtype=np.float32))
    assert observation.tolist() == [np.float32(-1.2), 0.0]
    assert simulator.observation_space.contains(observation)


def test_the_rule_reaches_the_flag_for_a_hundred_seeds():
    env = MountainCarSimulator(32)
    for seed in range(100):
        observation, _ = env.reset(seed=seed)
        for _ in range(200):
            observation, *_ = env.step(mountain_car_rule(observation))
        assert env.at_goal


@BOTH
def test_render_draws_the_state(textured):
    env = MountainCarSimulator(64, textured=textured)
    env.set_state([-0.3, 0.01])
    assert (env.render() == draw_mountain_car(-0.3, 64, textured=textured)).all()
