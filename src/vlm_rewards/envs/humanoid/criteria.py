"""Table 2 of the paper as measurements: when a state of the humanoid fulfils each of the eight poses.

A criterion is a list of *conditions*, each a difference divided by how much of it
makes a clear case. It holds where all are 0 or above. The least of them is the
criterion's *margin*; below 0 it says how far off the state is.

The thresholds were set after 400 states had been labelled from their pictures
alone (``docs/measurements/humanoid-labels``), and are held against those labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.envs.humanoid.body import Body, measure

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

_UPRIGHT = ("head up", "pelvis up", "trunk upright", "a leg straight", "in balance", "on the floor")
CONDITION_NAMES: dict[str, tuple[str, ...]] = {
    "kneeling": (
        "both knees down",
        "knees down on average",
        "trunk upright",
        "knees bent",
        "trunk off the floor",
        "in balance",
        "on the floor",
        "not seated as in lotus",
    ),
    "lotus": ("pelvis down", "knees down", "knees outwards", "feet inwards", "feet not behind", "trunk upright"),
    "standing": _UPRIGHT,
    "arms-raised": (*_UPRIGHT, "hands above the head"),
    "splits": ("pelvis down", "knees straight", "legs spread", "feet outwards", "trunk upright"),
    "hands-on-hips": (*_UPRIGHT, "hands as high as the hips", "hands close", "hands beside", "elbows outwards"),
    "arms-crossed": (*_UPRIGHT, "hands past the middle", "hands before the chest", "forearms crossed"),
    "one-leg": (*_UPRIGHT, "a foot lifted"),
}
"""What each condition of a task asks for, in their order."""


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
        """Measure and judge.

        Args:
            env: The unwrapped simulator.
        """
        return MARGINS[self.pose](measure(env)) >= 0
