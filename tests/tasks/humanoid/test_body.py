"""Measurements of the body against numbers derived by hand, slow twins and invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vlm_rewards.tasks.humanoid.body import Body, shared_meter
from vlm_rewards.tasks.humanoid.model import JOINTS, POSITIONS, HumanoidModel, clearances, joint_vector, quaternion
from vlm_rewards.tasks.humanoid.poses import FAMILIES, draw_pose, family_of, ground, mirrored
from vlm_rewards.tasks.humanoid.states import between


@pytest.fixture(scope="module")
def robot() -> HumanoidModel:
    return HumanoidModel()


def posed(height: float = 1.4, **angles: float) -> np.ndarray:
    return np.concatenate([[0, 0, height, 1, 0, 0, 0], joint_vector(angles)])


def measured(robot: HumanoidModel, positions: np.ndarray) -> Body:
    robot.place(positions)
    return shared_meter().measure(robot.data)


def test_the_first_state_of_an_episode(robot: HumanoidModel) -> None:
    body = measured(robot, posed())
    # Torso at 1.4; the head's middle 0.19 above it; hands at the shoulders' 0.06, plus -0.18 and +0.18, less 0.04.
    assert (body.chest, body.head) == pytest.approx((1.4, 1.59))
    assert body.hands == pytest.approx([1.42, 1.42])
    # Feet: 1.4 - 0.26 - 0.165 - 0.04 - 0.403 - 0.45 + 0.1 - 0.075, but for a slight built-in tilt of the pelvis.
    assert body.feet == pytest.approx([0.107, 0.107], abs=1e-3)
    assert body.lowest == pytest.approx(body.feet.min())
    assert body.tilt == pytest.approx(0.0)
    assert body.knee_bend == pytest.approx([0.0, 0.0])
    assert body.hand_above_head == pytest.approx([-0.13, -0.13])
    assert body.hand_in_chest == pytest.approx(np.array([[0.36, 0.17, 0.06]] * 2))
    assert not body.forearms_crossed


def test_right_angles_at_the_knees(robot: HumanoidModel) -> None:
    standing, kneeling = posed(), posed(knee=-90)
    ground(standing, robot)
    ground(kneeling, robot)
    body = measured(robot, kneeling)
    assert body.knee_bend == pytest.approx([math.pi / 2] * 2)
    assert body.knees == pytest.approx([0.0, 0.0], abs=0.06)
    assert body.shins[:, 2] == pytest.approx([0.0, 0.0], abs=0.02)
    assert body.foot_front == pytest.approx([-0.35, -0.35], abs=0.02)  # behind the knees by the shin's 0.35
    assert measured(robot, standing).pelvis - body.pelvis == pytest.approx(0.35, abs=0.06)


def test_lying_turned_over_and_upside_down(robot: HumanoidModel) -> None:
    for pitch, tilt, face_up in ((-90, 90, 1.0), (90, 90, -1.0), (180, 180, 0.0)):
        positions = posed()
        positions[3:7] = quaternion(0.0, math.radians(pitch), 0.0)
        body = measured(robot, positions)
        assert math.degrees(body.tilt) == pytest.approx(tilt)
        assert body.face_up == pytest.approx(face_up, abs=1e-6)


def test_arms_that_cross_and_arms_that_do_not(robot: HumanoidModel) -> None:
    assert measured(robot, posed(shoulder1=59, shoulder2=28, elbow=-84)).forearms_crossed
    assert not measured(robot, posed(shoulder1=8, shoulder2=45, elbow=-85)).forearms_crossed
    assert measured(robot, posed(shoulder1=-84, shoulder2=21, elbow=-89)).hand_above_head.min() > 0.3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), yaw=st.floats(-math.pi, math.pi), x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_where_it_stands_and_faces_does_not_matter(seed: int, yaw: float, x: float, y: float) -> None:
    robot = HumanoidModel()
    rng = np.random.default_rng(seed)
    positions = draw_pose(FAMILIES[seed % len(FAMILIES)], rng, robot)
    moved = positions.copy()
    moved[:2] = x, y
    turned = Rotation.from_euler("z", yaw) * Rotation.from_quat(positions[3:7], scalar_first=True)
    moved[3:7] = turned.as_quat(scalar_first=True)
    here, there = measured(robot, positions), measured(robot, moved)
    for name in ("lowest", "head", "pelvis", "tilt", "knees", "feet", "hands", "knee_out", "foot_front", "balance"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), abs=1e-6), name
    assert there.hand_in_pelvis == pytest.approx(here.hand_in_pelvis, abs=1e-6)


@pytest.mark.parametrize("family", [family.name for family in FAMILIES[::4]])
def test_a_mirrored_pose_measures_the_same_the_other_way_round(robot: HumanoidModel, family: str) -> None:
    rng = np.random.default_rng(3)
    positions = draw_pose(family_of(family), rng, robot)
    positions[3:7] = 1, 0, 0, 0
    other = positions.copy()
    other[7:] = mirrored(positions[7:])
    one, two = measured(robot, positions), measured(robot, other)
    for name in ("knees", "feet", "hands", "knee_out", "hand_in_chest", "hand_above_head", "knee_bend"):
        assert getattr(two, name) == pytest.approx(getattr(one, name)[::-1], abs=1e-6), name
    assert mirrored(other[7:]) == pytest.approx(positions[7:])


def test_the_lowest_point_of_capsules_and_spheres(robot: HumanoidModel) -> None:
    positions = draw_pose(family_of("lunging"), np.random.default_rng(0), robot)
    robot.place(positions)
    model, data = robot.model, robot.data
    for geom in range(1, model.ngeom):
        axis, half = data.geom_xmat[geom].reshape(3, 3)[:, 2], model.geom_size[geom, 1]
        half = half if model.geom_type[geom] == 3 else 0.0
        ends = [data.geom_xpos[geom] + sign * half * axis for sign in (-1, 1)]
        slow = min(end[2] for end in ends) - model.geom_size[geom, 0]
        assert clearances(model, data, np.array([geom]))[0] == pytest.approx(slow)


def test_quaternions_are_scipys() -> None:
    roll, pitch, yaw = 0.3, -1.1, 2.0
    expected = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_quat(scalar_first=True)
    assert quaternion(roll, pitch, yaw) == pytest.approx(expected)


def test_angles_without_a_side_are_of_both(robot: HumanoidModel) -> None:
    vector = joint_vector({"hip_y": -40, "shoulder1": 30, "left_knee": -20})
    named = dict(zip(JOINTS, np.degrees(vector), strict=True))
    assert (named["right_hip_y"], named["left_hip_y"]) == pytest.approx((-40, -40))
    assert (named["right_shoulder1"], named["left_shoulder1"]) == pytest.approx((30, -30))
    assert (named["right_knee"], named["left_knee"]) == pytest.approx((0, -20))
    assert tuple(robot.model.joint(index).name for index in range(1, robot.model.njnt)) == JOINTS


def test_a_held_pose_comes_to_rest_on_the_floor(robot: HumanoidModel) -> None:
    positions = posed(1.5, hip_y=-5, knee=-10)
    robot.place(positions)
    robot.hold(positions[7:], 40)
    assert robot.lowest() == pytest.approx(0.0, abs=0.01)
    assert np.abs(robot.data.qpos[7:] - positions[7:]).max() < math.radians(20)


def test_the_way_between_two_poses(robot: HumanoidModel) -> None:
    one, two = posed(), posed(knee=-90)
    middle = between(one, two, 0.5, robot)
    assert np.degrees(middle[[10, 13]]) == pytest.approx([0, -45])
    assert robot.lowest() == pytest.approx(0.0, abs=1e-9)
    two[3:7] *= -1  # the same turn
    assert between(one, two, 0.5, robot)[3:7] == pytest.approx([1, 0, 0, 0])
    assert len(middle) == POSITIONS
