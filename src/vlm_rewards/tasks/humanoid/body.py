"""Table 2 of the paper as measurements: when a state of the humanoid fulfils each of the eight poses.

A criterion is a list of *conditions*, each a difference divided by how much of it
makes a clear case. It holds where all are 0 or above. The least of them is the
criterion's *margin*; below 0 it says how far off the state is.

The thresholds were set after 400 states had been labelled from their frames
alone (``docs/measurements/humanoid-labels``), and are held against those labels.

What can be measured of a humanoid's state: heights, angles, contacts, in SI units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.tasks.humanoid.model import POSITIONS, clearances, shared_model

TOUCH = 0.025
"""Greatest height in m at which a part counts as touching the floor."""

SIDES = ("right", "left")


@dataclass(frozen=True)
class Body:
    """A humanoid in one state. Pairs are right, then left; directions are unit vectors in the world."""

    lowest: float
    """Height of the lowest part above the floor, in m."""
    head: float
    """Height of the middle of the head, in m; 1.59 at the start of an episode."""
    chest: float
    """Height of the middle of the upper trunk, in m; 1.4 at the start."""
    pelvis: float
    """Height of the lowest point of the pelvis, in m; 0.88 at the start."""
    trunk_low: float
    """Height of the lowest point of chest, waist and head, in m."""
    tilt: float
    """Angle between the upper trunk's axis and the vertical, in rad: 0 upright, pi/2 lying, more upside down."""
    lean: tuple[float, float]
    """Horizontal part of the trunk's axis along the robot's front and its left, in [-1, 1]."""
    face_up: float
    """Vertical part of the chest's front: 1 on the back, -1 on the front."""
    heading: np.ndarray
    """Where the pelvis faces, without the vertical part: float64 ``[2]``."""
    knees: np.ndarray
    """Height of the lowest point of each knee, in m: float64 ``[2]``."""
    feet: np.ndarray
    """Height of the lowest point of each foot, in m: float64 ``[2]``."""
    hands: np.ndarray
    """Height of the lowest point of each hand, in m: float64 ``[2]``."""
    knee_bend: np.ndarray
    """Angle at each knee, in rad; 0 is stretched: float64 ``[2]``."""
    shins: np.ndarray
    """Direction from each knee to the foot: float64 ``[2 3]``."""
    legs: np.ndarray
    """Direction from each hip to the foot: float64 ``[2 3]``."""
    knee_out: np.ndarray
    """How far each knee lies outwards of its hip, across the heading, in m: float64 ``[2]``."""
    foot_out: np.ndarray
    """The same as `knee_out` of each foot."""
    foot_front: np.ndarray
    """How far each foot lies before its hip, along the heading, in m: float64 ``[2]``."""
    hand_in_chest: np.ndarray
    """Each hand seen from the chest, in m: forward, outward (away from the middle), up: float64 ``[2 3]``."""
    elbow_in_chest: np.ndarray
    """The same of each elbow."""
    hand_in_pelvis: np.ndarray
    """Each hand seen from the pelvis, in m: forward, outward, up: float64 ``[2 3]``."""
    hand_above_head: np.ndarray
    """How far each hand is above the middle of the head, in m: float64 ``[2]``."""
    hands_apart: float
    """Distance between the hands, in m."""
    forearms_crossed: bool
    """Whether the forearms cross as seen from before the chest."""
    balance: float
    """Horizontal distance of the centre of mass from the middle of what touches the floor, in m."""

    @property
    def foot_lift(self) -> float:
        """How far the higher foot is above what counts as lifted, in m.

        That is 14 cm, and up to 6 cm more where it is set forward: a step lifts a foot already.
        """
        lifted = int(self.feet.argmax())
        before = float(self.foot_front[lifted] - self.foot_front[1 - lifted])
        return float(self.feet[lifted]) - (0.14 + 0.06 * float(np.clip(before / 0.4, 0.0, 1.0)))

    @property
    def leg_spread(self) -> float:
        """Angle between the legs, from hip to foot, in rad."""
        return _angle(self.legs[0] @ self.legs[1])


class BodyMeter:
    """Measures states of one ``mujoco.MjModel`` of Humanoid-v5, edited or not."""

    def __init__(self, model: Any) -> None:
        self._model = model

        def geoms(*names: str) -> np.ndarray:
            return np.array([model.geom(name).id for name in names])

        self._all = np.flatnonzero(model.geom_bodyid > 0)
        self._trunk = geoms("torso1", "head", "uwaist", "lwaist")
        self._parts = geoms("head", "torso1", "butt")
        self._hands, self._feet = geoms("right_hand", "left_hand"), geoms("right_foot", "left_foot")
        self._thighs = geoms("right_thigh1", "left_thigh1")
        self._hip_bodies = np.array([model.body(f"{side}_thigh").id for side in SIDES])
        self._knee_bodies = np.array([model.body(f"{side}_shin").id for side in SIDES])
        self._elbow_bodies = np.array([model.body(f"{side}_lower_arm").id for side in SIDES])
        self._torso, self._pelvis = model.body("torso").id, model.body("pelvis").id
        self._knees = np.array([model.joint(f"{side}_knee").qposadr[0] for side in SIDES])

    def measure(self, data: Any) -> Body:
        """Measure what is in ``mujoco.MjData``, its kinematics and centres of mass being up to date."""
        model = self._model
        places, bodies = data.geom_xpos, data.xpos
        torso, pelvis = data.xmat[self._torso].reshape(3, 3), data.xmat[self._pelvis].reshape(3, 3)
        heights = clearances(model, data, self._all)
        by_geom = np.full(model.ngeom, np.inf)
        by_geom[self._all] = heights
        heading, side = _level_axes(pelvis)
        hips, knees, feet = bodies[self._hip_bodies], bodies[self._knee_bodies], places[self._feet]
        hands, elbows = places[self._hands], bodies[self._elbow_bodies]
        outward = np.array([-side, side])  # right is on the right
        trunk = torso[:, 2]
        front, left = np.append(heading, 0.0), np.append(side, 0.0)
        touching = self._all[heights < max(heights.min(), 0.0) + TOUCH]
        level = np.stack([heading, side], axis=1)  # the robot's own axes: where it faces must not matter
        contact, mass = places[touching, :2] @ level, data.subtree_com[self._torso, :2] @ level
        hand_in_chest = _seen_from(hands, bodies[self._torso], torso)
        elbow_in_chest = _seen_from(elbows, bodies[self._torso], torso)
        return Body(
            lowest=float(heights.min()),
            head=float(places[self._parts[0], 2]),
            chest=float(places[self._parts[1], 2]),
            pelvis=float(by_geom[self._parts[2]]),
            trunk_low=float(by_geom[self._trunk].min()),
            tilt=_angle(trunk[2]),
            lean=(float(trunk @ front), float(trunk @ left)),
            face_up=float(torso[2, 0]),
            heading=heading,
            knees=_knee_heights(model, data, self._thighs, knees),
            feet=by_geom[self._feet],
            hands=by_geom[self._hands],
            knee_bend=-data.qpos[self._knees],
            shins=_unit(feet - knees),
            legs=_unit(feet - hips),
            knee_out=((knees - hips)[:, :2] * outward).sum(axis=1),
            foot_out=((feet - hips)[:, :2] * outward).sum(axis=1),
            foot_front=(feet - hips)[:, :2] @ heading,
            hand_in_chest=hand_in_chest,
            elbow_in_chest=elbow_in_chest,
            hand_in_pelvis=_seen_from(hands, bodies[self._pelvis], pelvis),
            hand_above_head=hands[:, 2] - places[self._parts[0], 2],
            hands_apart=float(np.linalg.norm(hands[0] - hands[1])),
            forearms_crossed=_crossed(elbow_in_chest, hand_in_chest),
            balance=float(np.linalg.norm(mass - (contact.min(axis=0) + contact.max(axis=0)) / 2)),
        )


@lru_cache(maxsize=1)
def shared_meter() -> BodyMeter:
    """One meter for every humanoid of this process: edited or not, their shapes are the same."""
    return BodyMeter(shared_model().model)


def measure(env: gym.Env[Any, Any]) -> Body:
    """Measure the present state of a simulator, as a criterion of one's own does.

    Args:
        env: What `vlm_rewards.tasks.humanoid.model.build_humanoid` built, wrapped or not.

    Returns:
        What was measured.
    """
    # A step leaves kinematics 3 ms behind its positions. Brought up to date in the simulator itself, they would change
    # what Gymnasium computes its own reward from.
    data: Any = env.unwrapped.data  # pyright: ignore[reportAttributeAccessIssue]
    return measure_state(np.concatenate([data.qpos, data.qvel]))


def measure_state(state: np.ndarray) -> Body:
    """Put the shared robot into a state (``qpos`` and ``qvel``, float64 ``[47]``) and measure it."""
    robot = shared_model()
    robot.place(state[:POSITIONS], state[POSITIONS:])
    return shared_meter().measure(robot.data)


def _knee_heights(model: Any, data: Any, thighs: np.ndarray, knees: np.ndarray) -> np.ndarray:
    """Height of the lowest point of the lower end of each thigh and of the joint itself."""
    axes = data.geom_xmat[thighs].reshape(-1, 3, 3)[:, :, 2]
    signs = np.sign(((knees - data.geom_xpos[thighs]) * axes).sum(axis=1))  # towards the end that is nearer to the knee
    ends = data.geom_xpos[thighs] + model.geom_size[thighs, 1:2] * (axes * signs[:, None])
    return np.minimum(ends[:, 2] - model.geom_size[thighs, 0], knees[:, 2] - _KNEE_RADIUS)


_KNEE_RADIUS = 0.049


def _seen_from(points: np.ndarray, origin: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """A pair of points in a body's frame: forward, outward, up."""
    local = (points - origin) @ axes
    local[0, 1] *= -1  # the right one's outward is to the right
    return local


def _crossed(elbows: np.ndarray, hands: np.ndarray) -> bool:
    """Whether the lines from elbow to hand meet, seen from before the chest (outward and up)."""
    flat = np.array([[-1.0, 1.0], [1.0, 1.0]])
    a, b = elbows[0, 1:] * flat[0], hands[0, 1:] * flat[0]
    c, d = elbows[1, 1:] * flat[1], hands[1, 1:] * flat[1]

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def _level_axes(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frame's front and left without their vertical parts; the head's end of one face down, the feet's face up."""
    front = frame[:2, 0]
    if np.linalg.norm(front) < 0.3:
        front = frame[:2, 2] * -np.sign(frame[2, 0])
    front = front / max(float(np.linalg.norm(front)), 1e-9)
    return front, np.array([-front[1], front[0]])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _angle(cosine: float) -> float:
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


Conditions = Callable[[Body], tuple[float, ...]]
Margin = Callable[[Body], float]


def _standing(b: Body) -> tuple[float, ...]:
    return (
        (b.head - 1.25) / 0.1,  # m; 1.48 with straight legs on the floor
        (b.pelvis - 0.58) / 0.1,  # m; 0.77 with straight legs
        (0.72 - b.tilt) / 0.25,  # rad: 41 degrees
        (1.0 - float(b.knee_bend.min())) / 0.3,  # rad: one of the legs is straighter than 57 degrees
        (0.4 - b.balance) / 0.15,  # m
        (0.12 - b.lowest) / 0.1,  # m above the floor
    )


def _kneeling(b: Body) -> tuple[float, ...]:
    return (
        (0.22 - float(b.knees.max())) / 0.1,
        (0.18 - float(b.knees.mean())) / 0.1,
        (0.65 - b.tilt) / 0.25,
        (float(b.knee_bend.min()) - 1.0) / 0.3,
        (b.trunk_low - 0.25) / 0.1,
        (0.42 - b.balance) / 0.15,
        (0.15 - b.lowest) / 0.1,
        -min(_lotus(b)),  # seated cross-legged is not kneeling
    )


def _lotus(b: Body) -> tuple[float, ...]:
    return (
        (0.27 - b.pelvis) / 0.1,
        (0.3 - float(b.knees.max())) / 0.1,
        (float(b.knee_out.min()) - 0.12) / 0.08,
        (0.2 - float(np.abs(b.foot_out).max())) / 0.1,
        (float(b.foot_front.mean()) + 0.06) / 0.05,  # at most 6 cm behind the hips
        (0.8 - b.tilt) / 0.25,
    )


def _arms_raised(b: Body) -> tuple[float, ...]:
    return (*_standing(b), (float(b.hand_above_head.min()) - 0.05) / 0.1)


def _splits(b: Body) -> tuple[float, ...]:
    return (
        (0.25 - b.pelvis) / 0.1,
        (0.55 - float(b.knee_bend.max())) / 0.3,  # rad: 31 degrees
        (b.leg_spread - 1.4) / 0.3,  # rad: 80 degrees, of the 127 that the hips allow
        (float(b.foot_out.min()) - 0.38) / 0.15,
        (1.0 - b.tilt) / 0.3,
    )


def _hands_on_hips(b: Body) -> tuple[float, ...]:
    forward, outward, up = b.hand_in_pelvis.T
    return (
        *_standing(b),
        (0.14 - float(np.abs(up - 0.06).max())) / 0.08,
        (0.3 - float(outward.max())) / 0.08,
        (0.2 - float(np.abs(forward).max())) / 0.08,
        (float(b.elbow_in_chest[:, 1].min()) - 0.24) / 0.04,
    )


def _arms_crossed(b: Body) -> tuple[float, ...]:
    return (
        *_standing(b),
        (-0.05 - float(b.hand_in_chest[:, 1].max())) / 0.06,  # each hand past the middle
        (float(b.hand_in_chest[:, 0].min()) - 0.1) / 0.06,  # before the chest
        0.3 if b.forearms_crossed else -0.3,
    )


def _one_leg(b: Body) -> tuple[float, ...]:
    return (*_standing(b), b.foot_lift / 0.1)


CONDITIONS: dict[str, Conditions] = {
    "kneeling": _kneeling,
    "lotus": _lotus,
    "standing": _standing,
    "arms-raised": _arms_raised,
    "splits": _splits,
    "hands-on-hips": _hands_on_hips,
    "arms-crossed": _arms_crossed,
    "one-leg": _one_leg,
}
"""Conditions by task."""


def _least(conditions: Conditions) -> Margin:
    return lambda body: min(conditions(body))


MARGINS: dict[str, Margin] = {pose: _least(conditions) for pose, conditions in CONDITIONS.items()}
"""Margins by task."""


@dataclass(frozen=True)
class PoseCriterion:
    """The criterion of a task: whether the present state of its simulator is the pose."""

    pose: str
    """One of `MARGINS`."""

    def __call__(self, env: gym.Env[Any, Any]) -> bool:
        """Measure the unwrapped simulator and judge."""
        return MARGINS[self.pose](measure(env)) >= 0
