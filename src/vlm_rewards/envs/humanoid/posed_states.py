"""Humanoid states that no policy had to reach: posed, on the way from pose to pose, and settled by physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm_rewards.envs.humanoid.model import HumanoidModel
from vlm_rewards.envs.humanoid.poses import FAMILIES, Family, draw_pose, ground

_TRANSITION, _SETTLED = 0.2, 0.5
_HOLD, _FALL = (4, 30), (2, 20)  # environment steps of 15 ms, without the second number


@dataclass(frozen=True)
class PosedState:
    """A state and where it comes from."""

    state: np.ndarray
    """``qpos`` and ``qvel``, float64 ``[47]``."""
    origin: str
    """Family or families, and what was done to it."""


def draw_state(rng: np.random.Generator, body: HumanoidModel, families: tuple[Family, ...] = FAMILIES) -> PosedState:
    """Draw a state: a fifth lie between two poses, and half of all are settled.

    Settled means that physics has gone on, with the pose held (a robot that
    leans falls as a whole, one that hovers comes down), or under random torques.

    Args:
        rng: Draws it.
        body: The robot; it is left in that state.
        families: What to draw from, by their weights.
    """
    weights = np.cumsum([family.weight for family in families])
    family = _pick(families, weights, rng)
    positions, origin = draw_pose(family, rng, body), family.name
    if rng.random() < _TRANSITION:
        other = _pick(families, weights, rng)
        positions = between(positions, draw_pose(other, rng, body), rng.uniform(0.15, 0.85), body)
        origin = f"{family.name} to {other.name}"
    body.place(positions)
    if rng.random() < _SETTLED:
        if rng.random() < 0.75:
            body.hold(positions[7:], int(rng.integers(*_HOLD)))
            origin += ", held"
        else:
            body.step(rng.uniform(-0.4, 0.4, 17), int(rng.integers(*_FALL)))
            origin += ", let go"
    return PosedState(body.state(), origin)


def _pick(families: tuple[Family, ...], weights: np.ndarray, rng: np.random.Generator) -> Family:
    return families[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def between(one: np.ndarray, two: np.ndarray, share: float, body: HumanoidModel) -> np.ndarray:
    """A pose on the way from one to another, stood on the floor.

    Args:
        one: ``qpos``, float64 ``[24]``.
        two: Another.
        share: How far on the way, from 0 to 1.
        body: The robot; it is left in the pose.
    """
    positions = one + share * (two - one)
    sign = 1.0 if one[3:7] @ two[3:7] >= 0 else -1.0  # q and -q are the same turn
    turn = (1 - share) * one[3:7] + share * sign * two[3:7]
    positions[3:7] = turn / np.linalg.norm(turn)
    ground(positions, body)
    return positions
