"""Families of poses: the eight of the paper, what comes near them, and what has nothing to do with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlm_rewards.tasks.humanoid.model import HumanoidModel, joint_vector, quaternion

Angles = Mapping[str, float]

ARMS_DOWN: Angles = {"shoulder1": 47, "shoulder2": -40, "elbow": -75}
ARMS_BENT: Angles = {"shoulder1": 0, "shoulder2": 0, "elbow": 0}
ARMS_RAISED: Angles = {"shoulder1": -80, "shoulder2": 15, "elbow": -82}
ARMS_SIDEWAYS: Angles = {"shoulder1": -48, "shoulder2": -34, "elbow": -85}
ARMS_FORWARD: Angles = {"shoulder1": 8, "shoulder2": 45, "elbow": -85}
HANDS_ON_HIPS: Angles = {"shoulder1": 45, "shoulder2": -64, "elbow": -20}
HANDS_ON_CHEST: Angles = {"shoulder1": 35, "shoulder2": -10, "elbow": 45}
ARMS_CROSSED: Angles = {"shoulder1": 59, "shoulder2": 28, "elbow": -84}
ARMS_CROSSED_HIGH: Angles = {"shoulder1": -74, "shoulder2": 59, "elbow": 10}
HANDS_TOGETHER: Angles = {"shoulder1": 5, "shoulder2": 50, "elbow": -25}
HANDS_ON_KNEES: Angles = {"shoulder1": 30, "shoulder2": -5, "elbow": -60}

_ANY_ARMS = (
    ARMS_DOWN,
    ARMS_DOWN,
    ARMS_BENT,
    ARMS_RAISED,
    ARMS_SIDEWAYS,
    ARMS_FORWARD,
    HANDS_ON_HIPS,
    HANDS_ON_CHEST,
    ARMS_CROSSED,
    ARMS_CROSSED_HIGH,
    HANDS_TOGETHER,
)
_UPRIGHT: Angles = {"knee": -6, "hip_y": -2}


@dataclass(frozen=True)
class Family:
    """Poses that resemble each other."""

    name: str
    """What it is called in a record."""
    legs: tuple[Angles, ...] = (_UPRIGHT,)
    """Trunk and legs, one of them; degrees, names as in `joint_vector`."""
    arms: tuple[Angles, ...] = (ARMS_DOWN,)
    """Arms, one of them; some families mix sides."""
    pitch: tuple[float, float] = (0.0, 0.0)
    """Range of the lean forwards, in degrees."""
    roll: tuple[float, float] = (0.0, 0.0)
    """Range of the lean to the side, in degrees."""
    mixed_arms: bool = False
    """Whether the left arm takes its angles from another of `arms`."""
    mirrored: bool = False
    """Whether left and right may be swapped."""
    balanced: bool = False
    """Whether it is leaned until its centre of mass is above what it stands on."""
    lift: tuple[float, float] = (0.0, 0.0)
    """Range of the height above the floor, in m."""
    weight: float = 1.0
    """How often it is drawn, relative to others."""


STANDING = (
    _UPRIGHT,
    dict(knee=-4, hip_y=0, hip_x=-6),
    dict(knee=-20, hip_y=-12),
    dict(knee=-10, hip_y=-8, hip_x=-12),
    dict(right_hip_y=-16, left_hip_y=8, right_knee=-8, left_knee=-10),
)
KNEELING_LEGS = (
    dict(hip_y=0, knee=-88),
    dict(hip_y=-8, knee=-96, hip_x=-8),
    dict(hip_y=-20, knee=-112),
    dict(hip_y=-60, knee=-148, hip_x=-6),
    dict(hip_y=-42, knee=-132, hip_z=-12),
)
# The knee's axis stays nearly level, whatever the hip does: shins cannot be laid across each other. What comes nearest
# to the lotus position is a seat between knees that lie on the floor, far apart, the feet together below.
LOTUS_LEGS = (
    dict(hip_y=-72, hip_z=-56, hip_x=-22, knee=-152),
    dict(hip_y=-62, hip_z=-58, hip_x=-24, knee=-146),
    dict(hip_y=-80, hip_z=-48, hip_x=-20, knee=-156),
    dict(
        right_hip_y=-74,
        right_hip_z=-58,
        right_hip_x=-24,
        right_knee=-154,
        left_hip_y=-64,
        left_hip_z=-50,
        left_hip_x=-22,
        left_knee=-146,
    ),
)
SPLIT_LEGS = (
    dict(hip_y=-84, hip_z=-60, hip_x=-25, knee=-3),
    dict(hip_y=-76, hip_z=-60, hip_x=-25, knee=-5),
    dict(hip_y=-90, hip_z=-52, hip_x=-25, knee=-4),
)
ONE_LEG = (
    dict(right_hip_y=0, right_knee=-6, left_hip_y=-70, left_knee=-80),
    dict(right_hip_y=0, right_knee=-10, left_hip_y=-40, left_knee=-90),
    dict(right_hip_y=2, right_knee=-4, left_hip_y=10, left_knee=-95),
    dict(right_hip_y=0, right_knee=-8, left_hip_y=-85, left_knee=-8),
    dict(right_hip_y=0, right_knee=-8, left_hip_y=-60, left_hip_z=-50, left_knee=-115),
    dict(right_hip_y=-2, right_knee=-6, left_hip_x=-25, left_hip_z=-30, left_hip_y=-25, left_knee=-20),
)
_SQUAT = (dict(hip_y=-95, knee=-130), dict(hip_y=-60, knee=-90), dict(hip_y=-100, knee=-150, hip_x=-15))
_BENT_OVER = (
    dict(abdomen_y=-70, hip_y=-50, knee=-10),
    dict(abdomen_y=-40, hip_y=-80, knee=-15),
    dict(abdomen_y=-60, hip_y=-20, knee=-6),
)
_LUNGE = (
    dict(right_hip_y=-60, right_knee=-70, left_hip_y=12, left_knee=-25),
    dict(right_hip_y=-40, right_knee=-30, left_hip_y=15, left_knee=-6),
)
_HALF_KNEELING = (
    dict(right_hip_y=-88, right_knee=-90, left_hip_y=2, left_knee=-92),
    dict(right_hip_y=-100, right_knee=-110, left_hip_y=-8, left_knee=-100),
)
_SEATED = (
    dict(hip_y=-88, knee=-4),
    dict(hip_y=-95, knee=-60),
    dict(hip_y=-80, hip_z=-20, knee=-10),
    dict(hip_y=-105, knee=-120),
    dict(right_hip_y=-88, right_knee=-5, left_hip_y=-90, left_hip_z=-50, left_hip_x=-20, left_knee=-130),
)
_KNEES_APART = (
    dict(hip_y=-104, hip_z=-56, hip_x=-22, knee=-142),
    dict(hip_y=-100, hip_z=-40, hip_x=-20, knee=-110),
    dict(hip_y=-92, hip_z=-58, hip_x=-24, knee=-90),
)
_FRONT_SPLITS = (
    dict(right_hip_y=-95, right_knee=-4, left_hip_y=18, left_knee=-6),
    dict(right_hip_y=-80, right_knee=-10, left_hip_y=20, left_knee=-30),
)
_ALL_FOURS = (dict(hip_y=-85, knee=-90, abdomen_y=-5), dict(hip_y=-70, knee=-80))
_LYING = (
    dict(knee=-5),
    dict(hip_y=-40, knee=-60),
    dict(hip_y=-15, knee=-20, abdomen_y=-20),
    dict(hip_y=8, knee=-90),
)

FAMILIES: tuple[Family, ...] = (
    Family("kneeling", KNEELING_LEGS, _ANY_ARMS, pitch=(-8, 14), balanced=True, weight=3),
    Family("kneeling, leaning", KNEELING_LEGS, _ANY_ARMS, pitch=(-40, 60), roll=(-25, 25)),
    Family("half kneeling", _HALF_KNEELING, _ANY_ARMS, pitch=(-8, 10), mirrored=True, balanced=True),
    Family("on all fours", _ALL_FOURS, (ARMS_FORWARD, HANDS_TOGETHER, ARMS_BENT), pitch=(70, 95)),
    Family("lotus", LOTUS_LEGS, (*_ANY_ARMS, HANDS_ON_KNEES, HANDS_ON_KNEES), pitch=(-14, 8), mirrored=True, weight=4),
    Family("seated, knees up and apart", _KNEES_APART, (*_ANY_ARMS, HANDS_ON_KNEES), pitch=(-25, 8), mirrored=True),
    Family("lotus, leaning", LOTUS_LEGS, _ANY_ARMS, pitch=(-60, 50), roll=(-35, 35)),
    Family("seated", _SEATED, _ANY_ARMS, pitch=(-35, 15), mirrored=True, weight=1.5),
    Family("splits", SPLIT_LEGS, _ANY_ARMS, pitch=(-12, 20), weight=3),
    Family("splits, leaning", SPLIT_LEGS, _ANY_ARMS, pitch=(-60, 60), roll=(-30, 30)),
    Family("front splits", _FRONT_SPLITS, _ANY_ARMS, pitch=(-5, 30), mirrored=True),
    Family("standing", STANDING, _ANY_ARMS, mixed_arms=True, balanced=True, weight=2),
    Family("standing, arms alike", STANDING, _ANY_ARMS, balanced=True),
    Family("leaning", STANDING, _ANY_ARMS, pitch=(-50, 50), roll=(-40, 40), mixed_arms=True),
    Family("arms raised", STANDING, (ARMS_RAISED,), balanced=True, weight=1.5),
    Family("one arm raised", STANDING, (ARMS_RAISED, ARMS_DOWN, ARMS_SIDEWAYS), mixed_arms=True, balanced=True),
    Family("hands on hips", STANDING, (HANDS_ON_HIPS,), balanced=True, weight=2),
    Family("one hand on the hip", STANDING, (HANDS_ON_HIPS, ARMS_DOWN), mixed_arms=True, balanced=True),
    Family("hands on the chest", STANDING, (HANDS_ON_CHEST, HANDS_TOGETHER), balanced=True),
    Family("arms crossed", STANDING, (ARMS_CROSSED, ARMS_CROSSED, ARMS_CROSSED_HIGH), balanced=True, weight=2),
    Family(
        "arms half crossed",
        STANDING,
        (ARMS_CROSSED, ARMS_CROSSED_HIGH, HANDS_TOGETHER, ARMS_FORWARD),
        mixed_arms=True,
        balanced=True,
    ),
    Family("one leg", ONE_LEG, _ANY_ARMS, mirrored=True, mixed_arms=True, balanced=True, weight=1.5),
    Family("one leg, leaning", ONE_LEG, _ANY_ARMS, pitch=(-40, 40), roll=(-30, 30), mirrored=True),
    Family("squatting", _SQUAT, _ANY_ARMS, pitch=(0, 25), balanced=True),
    Family("bent over", _BENT_OVER, _ANY_ARMS, pitch=(0, 20), balanced=True),
    Family("lunging", _LUNGE, _ANY_ARMS, mirrored=True, balanced=True, mixed_arms=True),
    Family("lying on the back", _LYING, _ANY_ARMS, pitch=(-110, -70), mixed_arms=True),
    Family("lying on the front", _LYING, _ANY_ARMS, pitch=(70, 110), mixed_arms=True),
    Family("lying on the side", _LYING, _ANY_ARMS, pitch=(-30, 30), roll=(70, 110), mirrored=True),
    Family("falling", (*STANDING, *_SQUAT, *_LUNGE), _ANY_ARMS, pitch=(-80, 80), roll=(-50, 50), lift=(0.0, 0.2)),
    Family("in the air", (*STANDING, *KNEELING_LEGS, *SPLIT_LEGS), _ANY_ARMS, pitch=(-15, 15), lift=(0.06, 0.5)),
)
"""All families; which are goals of which task, the criteria say."""

_JITTER = np.array([8, 8, 6] + [4, 7, 8, 9] * 2 + [10, 10, 12] * 2, dtype=np.float64)  # degrees, in the order of JOINTS
_SYMMETRIC = 0.5
"""Share of poses whose legs jitter alike."""


def family_of(pose: str) -> Family:
    """A family by its name; by a task's name, the one that its goals are drawn from, near misses included."""
    return next(family for family in FAMILIES if family.name == pose.replace("-", " "))


def draw_pose(family: Family, rng: np.random.Generator, body: HumanoidModel) -> np.ndarray:
    """Draw a pose of a family, ``qpos``, float64 ``[24]``; the body is left in it, at rest on the floor."""
    joints = _joints(family, rng)
    # How far a pose is from its family's model: most near, some far.
    width = rng.choice([0.5, 1.0, 2.0], p=[0.45, 0.4, 0.15])
    jitter = rng.normal(0.0, np.radians(_JITTER))
    if rng.random() < _SYMMETRIC:
        jitter[7:11] = jitter[3:7]  # or hardly any pose would have both knees on the floor
    joints = np.clip(joints + jitter * width, body.low, body.high)
    turn = np.radians([rng.uniform(*family.roll) + rng.normal(0, 3), rng.uniform(*family.pitch) + rng.normal(0, 3)])
    if family.mirrored and rng.random() < 0.5:
        joints, turn[0] = mirrored(joints), -turn[0]
    yaw = rng.normal(0, math.radians(22)) if rng.random() < 0.85 else rng.uniform(-math.pi, math.pi)
    place = rng.normal(0.0, 0.15, 2)
    positions = np.concatenate([place, [1.0], quaternion(float(turn[0]), float(turn[1]), yaw), joints])
    ground(positions, body)
    if family.balanced:
        _balance(positions, turn, yaw, body)
    positions[2] += rng.uniform(*family.lift)
    body.place(positions)
    return positions


def ground(positions: np.ndarray, body: HumanoidModel) -> None:
    """Lower or lift ``qpos``, float64 ``[24]``, in place until the robot touches the floor; it is left in the pose."""
    body.place(positions)
    positions[2] -= body.lowest()
    body.place(positions)


def mirrored(joints: np.ndarray) -> np.ndarray:
    """Angles of `JOINTS`, float64 ``[17]``, with left and right swapped."""
    swapped = joints.copy()
    swapped[[0, 2]] *= -1  # abdomen_z and abdomen_x
    swapped[3:7], swapped[7:11] = joints[7:11], joints[3:7]
    swapped[11:14], swapped[14:17] = joints[14:17], joints[11:14]
    swapped[[11, 12, 14, 15]] *= -1  # shoulders turn the other way
    return swapped


def _joints(family: Family, rng: np.random.Generator) -> np.ndarray:
    legs = family.legs[rng.integers(len(family.legs))]
    arms = family.arms[rng.integers(len(family.arms))]
    joints = joint_vector({**legs, **arms})
    if family.mixed_arms:
        other = joint_vector(family.arms[rng.integers(len(family.arms))])
        joints[14:17] = other[14:17]
    return joints


def _balance(positions: np.ndarray, turn: np.ndarray, yaw: float, body: HumanoidModel) -> None:
    """Lean the whole robot until its centre of mass is above the middle of what touches the floor."""
    for _ in range(4):
        away = body.data.subtree_com[1] - body.support_centre()
        turned = np.array([[math.cos(yaw), math.sin(yaw)], [-math.sin(yaw), math.cos(yaw)]]) @ away[:2]
        height = max(float(body.data.subtree_com[1, 2]), 0.2)
        turn[1] -= math.atan2(turned[0], height)
        turn[0] += math.atan2(turned[1], height)
        turn[:] = np.clip(turn, -0.9, 0.9)
        positions[3:7] = quaternion(float(turn[0]), float(turn[1]), yaw)
        ground(positions, body)
