import math

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.tasks.cartpole import ANGLE_LIMIT, CartPoleSimulator, cartpole_balanced, cartpole_rule, draw_cartpole

SIZES = [32, 96, 224]


@pytest.fixture
def simulator():
    env = CartPoleSimulator(image_size=96)
    env.reset(seed=0)
    return env


def pole_pixels(frame):
    """What is tan, mixed with white at the edges; black, white, grey and the bluish axle are not."""
    return frame[..., 0].astype(int) - frame[..., 2] > 25


def centroid(mask):
    rows, columns = np.nonzero(mask)
    return rows.mean(), columns.mean()


@pytest.mark.parametrize("seed", range(5))
def test_physics_are_gymnasiums_as_long_as_the_original_goes_on(seed):
    original, ours = CartPoleEnv(), CartPoleSimulator(32)
    expected, _ = original.reset(seed=seed)
    observation, _ = ours.reset(seed=seed)
    assert (observation == expected).all()
    actions = np.random.default_rng(seed)
    terminated, steps = False, 0
    while not terminated:
        action = int(actions.integers(2))
        expected, reward, terminated, _, _ = original.step(action)
        observation, our_reward, our_end, truncated, _ = ours.step(action)
        assert (observation == expected).all()
        assert not our_end
        assert not truncated
        assert our_reward == (0.0 if terminated else reward)
        steps += 1
    assert steps > 5


def test_it_goes_on_after_the_pole_has_fallen(simulator):
    angles = []
    for _ in range(400):
        observation, reward, terminated, truncated, info = simulator.step(1)
        assert simulator.observation_space.contains(observation)
        assert not terminated
        assert not truncated
        assert reward in (0.0, 1.0)
        assert info == {}
        angles.append(observation[2])
    assert np.abs(angles).max() > math.pi / 2  # it has swung below the cart


@pytest.mark.parametrize("side", [-1, 1])
def test_the_cart_stops_at_the_end_of_the_track_and_can_leave_it(simulator, side):
    outward, inward = (1, 0) if side > 0 else (0, 1)
    simulator.set_state([side * 2.39, side * 3.0, 0.0, 0.0])
    for _ in range(3):
        simulator.step(outward)
        position, velocity, _, _ = simulator.state
        assert position == side * 2.4
        assert velocity == 0.0
    for _ in range(3):
        simulator.step(inward)
    assert abs(simulator.state[0]) < 2.4


def test_at_the_stop_the_cart_has_left_the_track(simulator):
    simulator.set_state([2.4, 0.0, 0.0, 0.0])
    assert not cartpole_balanced(simulator)
    simulator.set_state([np.nextafter(2.4, 0.0), 0.0, 0.0, 0.0])
    assert cartpole_balanced(simulator)


@pytest.mark.parametrize(
    ("angle", "balanced"), [(0.0, True), (0.209, True), (-0.209, True), (0.21, False), (3.0, False)]
)
def test_balanced_means_within_twelve_degrees(simulator, angle, balanced):
    assert pytest.approx(0.20944, abs=1e-5) == ANGLE_LIMIT  # 12 * 3.14159 / 180
    simulator.set_state([0.0, 0.0, angle, 0.0])
    assert simulator.balanced is balanced


def test_reward_belongs_to_the_state_that_the_step_leads_to(simulator):
    simulator.set_state([0.0, 0.0, 0.209, 1.0])  # 0.209 + 0.02 * 1.0 = 0.229 > 12 degrees = 0.2094
    assert simulator.step(0)[1] == 0.0
    simulator.set_state([0.0, 0.0, 0.219, -1.0])  # 0.219 - 0.02 = 0.199
    assert simulator.step(0)[1] == 1.0


@given(angle=st.floats(-50, 50))
@settings(deadline=None)
def test_any_angle_is_wrapped_to_the_same_direction(angle):
    env = CartPoleSimulator(32)
    env.set_state([0.0, 0.0, angle, 0.0])
    wrapped = env.state[2]
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)


@pytest.mark.parametrize("angle", [math.pi, -math.pi, 3 * math.pi, -3 * math.pi])
def test_straight_down_is_plus_pi_and_lies_in_the_space(simulator, angle):
    simulator.set_state([0.0, 0.0, angle, 0.0])
    assert simulator.state[2] == pytest.approx(math.pi, abs=1e-12)
    assert simulator.observation_space.contains(simulator.state.astype(np.float32))


def test_an_angle_in_range_keeps_all_its_bits(simulator):
    simulator.set_state([0.1, 0.2, 0.30000000000000004, 0.4])
    assert simulator.state.tolist() == [0.1, 0.2, 0.30000000000000004, 0.4]


def test_the_rule_balances_for_a_hundred_seeds():
    env = CartPoleSimulator(32)
    for seed in range(100):
        observation, _ = env.reset(seed=seed)
        for _ in range(200):
            observation, reward, *_ = env.step(cartpole_rule(observation))
            assert reward == 1.0


def test_render_draws_the_state(simulator):
    simulator.set_state([0.7, 9.0, -0.4, 9.0])
    assert (simulator.render() == draw_cartpole(0.7, -0.4, 96)).all()


@pytest.mark.parametrize("size", SIZES)
def test_a_leaning_pole_is_drawn_to_its_side(size):
    upright = centroid(pole_pixels(draw_cartpole(0.0, 0.0, size)))
    right = centroid(pole_pixels(draw_cartpole(0.0, 0.6, size)))
    left = centroid(pole_pixels(draw_cartpole(0.0, -0.6, size)))
    assert left[1] < upright[1] < right[1]
    assert upright[0] < right[0]  # and lower
    assert upright[1] == pytest.approx((size - 1) / 2, abs=0.51)


@settings(max_examples=30, deadline=None)
@given(position=st.floats(-2.4, 2.4), angle=st.floats(-math.pi, math.pi))
def test_the_mirrored_state_is_the_mirrored_picture(position, angle):
    assert (draw_cartpole(position, angle, 64) == draw_cartpole(-position, -angle, 64)[:, ::-1]).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("angle", [0.0, 0.1, 1.0, math.pi])
def test_a_hundredth_of_a_radian_or_a_centimetre_changes_the_picture(size, angle):
    assert (draw_cartpole(0.0, angle, size) != draw_cartpole(0.0, angle + 0.01, size)).any()
    assert (draw_cartpole(0.0, angle, size) != draw_cartpole(0.01, angle, size)).any()


def test_smaller_movements_change_the_picture_less():
    still = draw_cartpole(0.0, 0.1, 96).astype(int)
    change = [np.abs(draw_cartpole(0.0, 0.1 + step, 96) - still).sum() for step in (0.001, 0.01, 0.1)]
    assert 0 < change[0] < change[1] < change[2]


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_cart_is_seen_at_the_stop(size):
    def blackness(position):
        return (255 - draw_cartpole(position, 0.0, size)[..., 1].astype(int)).sum()

    assert blackness(2.4) == pytest.approx(blackness(0.0), rel=0.005)
    assert blackness(-2.4) == pytest.approx(blackness(0.0), rel=0.005)


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_pole_is_seen_when_it_hangs_down(size):
    hanging = np.nonzero(pole_pixels(draw_cartpole(0.0, math.pi, size)))[0]
    assert hanging.max() < size - 1


def test_the_pole_has_gymnasiums_length():
    # 0.96 m above the axle, which is 0.06 m above a track at a quarter of the 5.24 m that are seen.
    frame = draw_cartpole(0.0, 0.0, 480)
    top = np.nonzero(pole_pixels(frame))[0].min()
    assert top == pytest.approx(480 * (1 - 0.25 - 1.02 / 5.24), abs=1.5)
