"""MountainCar: physics until the goal are Gymnasium's, and both of its looks show the state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv

from vlm_rewards.tasks.canvas import _master
from vlm_rewards.tasks.mountain_car import (
    MountainCarSimulator,
    _textured_parts,
    draw_mountain_car,
    mountain_car_at_goal,
    mountain_car_rule,
    road_height,
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


SIZES = [64, 96, 224]


def red(frame):
    r, g, b = np.moveaxis(frame.astype(int), 2, 0)
    return (r > 150) & (g < 90) & (b < 90)


def yellow(frame):
    r, g, b = np.moveaxis(frame.astype(int), 2, 0)
    return (np.minimum(r, g) - b > 90) & (r > 180) & (g > 170)


def moving(position, size, *, textured):
    """Pixels that the car covers: what differs from a frame with the car elsewhere."""
    elsewhere = -1.1 if position > -0.5 else 0.2
    frames = [draw_mountain_car(p, size, textured=textured).astype(int) for p in (position, elsewhere)]
    covered = np.abs(frames[0] - frames[1]).sum(axis=2) > 0
    half = size // 2
    covered[:, half:] &= position > -0.3
    covered[:, :half] &= position <= -0.3
    return covered


def box(mask):
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("size", SIZES)
def test_the_textured_car_at_the_goal_is_next_to_the_yellow_flag(size):
    frame = draw_mountain_car(0.45, size, textured=True)
    flag_top, flag_bottom, flag_left, flag_right = box(yellow(frame))
    car_top, _, car_left, car_right = box(red(frame))
    assert yellow(frame).sum() > 0.004 * size**2
    assert flag_top < flag_bottom <= car_top  # the car does not hide the flag
    assert car_left < flag_left < car_right  # and stands at its pole
    assert max(car_top - flag_bottom, 0) < 0.1 * size
    assert flag_right < size - 1


@pytest.mark.parametrize("size", SIZES)
def test_the_textured_car_in_the_valley_is_far_from_the_flag(size):
    frame = draw_mountain_car(-math.pi / 6, size, textured=True)
    car_top, _, _, car_right = box(red(frame))
    _, flag_bottom, flag_left, _ = box(yellow(frame))
    assert car_top - flag_bottom > 0.3 * size
    assert flag_left - car_right > 0.2 * size


def test_the_peak_is_a_peak_in_the_picture():
    # The terrain's silhouette at the goal is higher than at the right border, which lies beyond the peak.
    assert road_height(0.5236) > road_height(0.45) > road_height(-1.36 + 2.3) + 0.25


@pytest.mark.parametrize("size", SIZES)
def test_the_original_has_a_black_car_and_an_olive_flag(size):
    frame = draw_mountain_car(0.45, size, textured=False)
    r, g, b = np.moveaxis(frame.astype(int), 2, 0)
    assert ((r - b > 60) & (g - b > 60)).sum() >= 1
    assert (frame.max(axis=2) < 40).sum() >= 5
    assert (frame == 255).all(axis=2).mean() > 0.8


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_the_car_moves_to_the_right_with_its_position(size, textured):
    columns = [
        np.nonzero(moving(p, size, textured=textured))[1].mean() for p in (-1.2, -0.9, -0.6, -0.1, 0.2, 0.4, 0.6)
    ]
    assert (np.diff(columns) > 0).all()


@BOTH
@pytest.mark.parametrize("size", [96, 224])  # in smaller frames a pixel is wider than the margin
@pytest.mark.parametrize("position", [-1.2, 0.6])
def test_the_whole_car_is_seen_at_both_ends(size, position, textured):
    top, bottom, left, right = box(moving(position, size, textured=textured))
    assert min(top, left) > 0
    assert max(bottom, right) < size - 1


@BOTH
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("position", [-1.0, -0.5, 0.0, 0.44])
def test_a_small_step_changes_the_picture_a_little(size, position, textured):
    still = draw_mountain_car(position, size, textured=textured).astype(int)
    change = [np.abs(draw_mountain_car(position + d, size, textured=textured) - still).sum() for d in (0.002, 0.02)]
    assert 0 < change[0] < change[1]


def test_the_original_is_symmetric_where_the_road_is():
    # The valley's bottom lies at -pi / 6; the flag is the only thing that breaks the symmetry of the road around it.
    size, middle = 200, (-math.pi / 6 + 1.3) / 2.0 * 200
    left = draw_mountain_car(-math.pi / 6 - 0.2, size, textured=False)
    right = draw_mountain_car(-math.pi / 6 + 0.2, size, textured=False)
    darkness = [(255 - f[:, :150, 0].astype(float)).sum(axis=0) for f in (left, right)]
    columns = np.arange(150) + 0.5
    off_centre = [(d * (columns - middle)).sum() for d in (darkness[0] - darkness[1], darkness[1] - darkness[0])]
    assert off_centre[0] < 0 < off_centre[1]
    assert darkness[0].sum() == pytest.approx(darkness[1].sum(), rel=0.01)


def test_the_landscape_is_the_same_in_every_process():
    before = draw_mountain_car(-0.5, 64, textured=True)
    _textured_parts.cache_clear()
    _master.cache_clear()  # a new process starts with nothing painted
    assert (draw_mountain_car(-0.5, 64, textured=True) == before).all()


def test_the_landscape_is_blue_above_and_rock_below():
    frame = draw_mountain_car(-0.5, 64, textured=True).astype(float)
    sky, ground = frame[:8].mean(axis=(0, 1)), frame[-8:].mean(axis=(0, 1))
    assert sky[2] > sky[0] + 40
    assert abs(ground[0] - ground[2]) < 40
    assert ground.mean() < 160 < sky.mean()


def test_sizes_show_the_same_scene():
    small = draw_mountain_car(0.1, 96, textured=True).astype(float)
    large = draw_mountain_car(0.1, 192, textured=True).astype(float).reshape(96, 2, 96, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - large).mean() < 3
