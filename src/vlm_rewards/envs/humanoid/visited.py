"""Humanoid states that policies visit: random ones and those of `policies`, with and without noise.

Nothing is drawn and no reward is computed here: which states these are depends
on the seed, the criteria and the physics alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlm_rewards.envs.humanoid.body import shared_meter
from vlm_rewards.envs.humanoid.criteria import MARGINS
from vlm_rewards.envs.humanoid.model import HORIZON, VELOCITIES, shared_model
from vlm_rewards.envs.humanoid.policies import ACTION_LIMIT, PoseNetwork, criterion_networks
from vlm_rewards.envs.humanoid.poses import draw_pose, family_of
from vlm_rewards.errors import InvalidInputError, check_count

_OWN_POSE, _RANDOM = 0.6, 0.15
"""Shares of episodes whose policy wants the pose in question, and whose actions are random; the others want another."""
_POSED_START = 0.4
"""Share of the policies' episodes that begin in the pose that they want, or near it; the others as Gymnasium does. Some
poses are hard to get to, and without these their goals would be few and all alike."""
_NOISE = (0.0, 0.1, 0.3, 0.6)
"""Shares of steps, drawn for each episode, at which the policy's action is replaced by a random one."""
_KEPT_STEPS = 25
"""States of an episode, at random: neighbours look the same."""
_MOST_EPISODES = 6_000


@dataclass(frozen=True)
class VisitedStates:
    """States of one pose's set."""

    states: np.ndarray
    """``qpos`` and ``qvel``: float64 ``[n 47]``."""
    holds: np.ndarray
    """Whether the pose's criterion holds: bool ``[n]``."""
    episodes: np.ndarray
    """Which episode each comes from: int64 ``[n]``."""
    origins: tuple[str, ...]
    """Which policy each episode was run with."""


def visited_states(pose: str, count: int, seed: int) -> VisitedStates:
    """Run episodes until there are enough states, half of them goals.

    Args:
        pose: One of `MARGINS`.
        count: How many states; an even number is best.
        seed: Seeds episodes, policies' noise and the choice.

    Raises:
        InvalidInputError: There is no such pose, or too few goal states were visited in 6,000 episodes.
    """
    if pose not in MARGINS:
        raise InvalidInputError(f"pose must be one of {', '.join(MARGINS)}, got {pose!r}.")
    check_count("count", count, least=2)
    rng = np.random.default_rng([seed, tuple(MARGINS).index(pose)])
    visitor = _Visitor(pose, rng)
    wanted = {True: count // 2, False: count - count // 2}
    found: dict[bool, list[tuple[np.ndarray, int]]] = {True: [], False: []}
    origins: list[str] = []
    while any(len(found[kind]) < wanted[kind] for kind in found):
        if len(origins) == _MOST_EPISODES:
            raise InvalidInputError(
                f"count must be at most {2 * len(found[True])} for pose {pose!r}: policies visited no more goal states "
                f"in {_MOST_EPISODES:,} episodes, got {count}."
            )
        origin, states, holds = visitor.episode()
        for state, kind in zip(states, holds.tolist(), strict=True):
            found[kind].append((state, len(origins)))
        origins.append(origin)
    chosen = []
    for kind, states in found.items():
        rows = rng.choice(len(states), wanted[kind], replace=False)
        chosen += [(states[row], kind) for row in rows.tolist()]
    order = rng.permutation(len(chosen))
    picked = [chosen[place] for place in order.tolist()]
    return VisitedStates(
        np.stack([state for (state, _), _ in picked]),
        np.array([kind for _, kind in picked], dtype=bool),
        np.array([episode for (_, episode), _ in picked], dtype=np.int64),
        tuple(origins),
    )


class _Visitor:
    """Runs episodes for one pose."""

    def __init__(self, pose: str, rng: np.random.Generator) -> None:
        self._pose, self._rng = pose, rng
        self._robot = shared_model()
        self._networks = criterion_networks()

    def episode(self) -> tuple[str, np.ndarray, np.ndarray]:
        """What ran, some of its states ``[n 47]``, and whether the criterion held ``[n]``."""
        rng, robot = self._rng, self._robot
        network, pose, noise, origin = self._policy()
        start = None
        if network is not None and rng.random() < _POSED_START:
            family = family_of(tuple(MARGINS)[pose])
            start, origin = draw_pose(family, rng, robot), f"{origin}, from a pose"
        robot.start(rng, start)
        kept = set(rng.choice(HORIZON, _KEPT_STEPS, replace=False).tolist())
        states, holds = [], []
        for step in range(HORIZON):
            if network is None or rng.random() < noise:
                action = rng.uniform(-ACTION_LIMIT, ACTION_LIMIT, VELOCITIES - 6)
            else:
                action = network.act(np.concatenate([robot.data.qpos[2:], robot.data.qvel]), pose)
            robot.step(action)
            if step in kept:
                state = robot.state()
                robot.refresh()
                states.append(state)
                holds.append(MARGINS[self._pose](shared_meter().measure(robot.data)) >= 0)
        return origin, np.stack(states), np.array(holds, dtype=bool)

    def _policy(self) -> tuple[PoseNetwork | None, int, float, str]:
        rng = self._rng
        mark = rng.random()
        if mark < _RANDOM:
            return None, 0, 0.0, "random actions"
        poses = tuple(MARGINS)
        own = poses.index(self._pose)
        pose = own if mark < _RANDOM + _OWN_POSE else int(rng.integers(len(poses)))
        snapshot = int(rng.integers(len(self._networks)))
        noise = float(rng.choice(_NOISE))
        origin = f"trained on {poses[pose]}, snapshot {snapshot}, {noise:.0%} random actions"
        return self._networks[snapshot], pose, noise, origin
