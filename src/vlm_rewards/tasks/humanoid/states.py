"""States of the humanoid to judge a reward on: posed families, and what policies of every quality visit."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.tasks.humanoid.body import MARGINS, measure_state, shared_meter
from vlm_rewards.tasks.humanoid.model import HORIZON, VELOCITIES, HumanoidModel, shared_model
from vlm_rewards.tasks.humanoid.poses import FAMILIES, Family, draw_pose, family_of, ground
from vlm_rewards.tasks.task import GeneratedStates

WEIGHTS = Path(__file__).with_name("policies.npz")
ACTION_LIMIT = 0.4
"""Greatest torque command of Humanoid-v5's motors."""


class PoseNetwork:
    """A deterministic policy for all poses: a network with ReLU layers and a tanh at the end.

    Args:
        layers: Weights ``[out in]`` and biases ``[out]`` of each layer, first to last. The input is a compact
            observation (45 numbers), then a 1 at the pose's place among zeros.
    """

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._layers = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]
        self.poses = self._layers[0][0].shape[1] - OBSERVED

    def act(self, observation: np.ndarray, pose: int) -> np.ndarray:
        """Action in [-0.4, 0.4], float64 ``[17]``, towards a pose from a compact observation, float64 ``[45]``."""
        wanted = np.zeros(self.poses)
        wanted[pose] = 1.0
        values = np.concatenate([observation, wanted])
        for weight, bias in self._layers[:-1]:
            values = np.maximum(weight @ values + bias, 0.0)
        weight, bias = self._layers[-1]
        return ACTION_LIMIT * np.tanh(weight @ values + bias)


OBSERVED = 45
"""Numbers in a compact observation."""


@lru_cache(maxsize=1)
def criterion_networks() -> tuple[PoseNetwork, ...]:
    """The networks that come with the package, from little to fully trained."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        snapshots = sorted({name.split("/")[0] for name in file.files})
        depth = len(file.files) // (2 * len(snapshots))
        return tuple(
            PoseNetwork([(file[f"{one}/{layer}/weight"], file[f"{one}/{layer}/bias"]) for layer in range(depth)])
            for one in snapshots
        )


_TRANSITION, _SETTLED = 0.2, 0.5
_HOLD, _FALL = (4, 30), (2, 20)  # environment steps of 15 ms, without the second number


def draw_state(
    rng: np.random.Generator, body: HumanoidModel, families: tuple[Family, ...] = FAMILIES
) -> tuple[np.ndarray, str]:
    """Draw a state: a fifth lie between two poses, and half of all are settled.

    Settled means that physics has gone on, with the pose held (a robot that
    leans falls as a whole, one that hovers comes down), or under random torques.
    The body is left in the state.

    Returns:
        ``qpos`` and ``qvel``, float64 ``[47]``; and the family or families, with what was done to it.
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
    return body.state(), origin


def _pick(families: tuple[Family, ...], weights: np.ndarray, rng: np.random.Generator) -> Family:
    return families[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def between(one: np.ndarray, two: np.ndarray, share: float, body: HumanoidModel) -> np.ndarray:
    """A pose (``qpos``, float64 ``[24]``) a share of the way from one to another; the body is left standing in it."""
    positions = one + share * (two - one)
    sign = 1.0 if one[3:7] @ two[3:7] >= 0 else -1.0  # q and -q are the same turn
    turn = (1 - share) * one[3:7] + share * sign * two[3:7]
    positions[3:7] = turn / np.linalg.norm(turn)
    ground(positions, body)
    return positions


_OWN_POSE, _RANDOM = 0.6, 0.15
"""Shares of episodes whose policy wants the pose in question, and whose actions are random; the others want another."""
_POSED_START = 0.4
"""Share of the policies' episodes that begin in the pose that they want, or near it; the others as Gymnasium does. Some
poses are hard to get to, and without these their goals would be few and all alike."""
_NOISE = (0.0, 0.1, 0.3, 0.6)
"""Shares of steps, drawn for each episode, at which the policy's action is replaced by a random one."""
_KEPT_STEPS = 25
"""States of an episode, at random: neighbours look the same."""
_MOST_EPISODES, _MOST_POSES = 6_000, 200_000
_Found: TypeAlias = tuple[np.ndarray, np.ndarray, tuple[str, ...]]
"""States ``[n 47]``, the episode that each comes from ``[n]``, and their origins."""


class PoseStates:
    """Generates states of one pose.

    Args:
        pose: One of `vlm_rewards.tasks.humanoid.body.MARGINS`.

    Raises:
        UnknownNameError: There is no such pose.
    """

    sources: tuple[str, ...] = ("visited", "posed")

    def __init__(self, pose: str) -> None:
        if pose not in MARGINS:
            raise unknown_name("pose", pose, MARGINS)
        self.pose = pose

    def generate(self, source: str, count: int, seed: int) -> GeneratedStates:
        """Generate states, half of them goals, always the same for a seed.

        Args:
            source: ``"visited"``: by random policies and by those of `criterion_networks`; ``"posed"``: families of
                poses, transitions between them and what physics makes of them.
            count: How many, at least 2.
            seed: In ``[0, 2**32)``.

        Raises:
            UnknownNameError: There is no such source.
            InvalidInputError: There are not so many goal states to be had.
        """
        if source not in self.sources:
            raise unknown_name("states", source, self.sources)
        check_count("count", count, least=2)
        states, groups, origins = self._posed(count, seed) if source == "posed" else self._visited(count, seed)
        return GeneratedStates(states, groups, judge_all(states), origins)

    def _posed(self, count: int, seed: int) -> _Found:
        rng = np.random.default_rng([seed, 1])
        robot = shared_model()
        wanted = {True: count // 2, False: count - count // 2}
        states, origins = [], []
        for _ in range(_MOST_POSES):
            state, origin = draw_state(rng, robot)
            robot.refresh()
            kind = self._holds(robot)
            if wanted[kind]:
                wanted[kind] -= 1
                states.append(state)
                origins.append(origin)
            if not any(wanted.values()):
                return np.stack(states), np.arange(count), tuple(origins)
        raise InvalidInputError(
            f"count must be at most {2 * (count // 2 - wanted[True])} for pose {self.pose!r}, got {count}: "
            f"{_MOST_POSES:,} poses had no more goal states."
        )

    def _visited(self, count: int, seed: int) -> _Found:
        """Run episodes until there are enough states of either kind."""
        rng = np.random.default_rng([seed, tuple(MARGINS).index(self.pose)])
        wanted = {True: count // 2, False: count - count // 2}
        found: dict[bool, list[tuple[np.ndarray, int, str]]] = {True: [], False: []}
        episodes = 0
        while any(len(found[kind]) < wanted[kind] for kind in found):
            if episodes == _MOST_EPISODES:
                raise InvalidInputError(
                    f"count must be at most {2 * len(found[True])} for pose {self.pose!r}: policies visited no more "
                    f"goal states in {_MOST_EPISODES:,} episodes, got {count}."
                )
            origin, visited = self._episode(rng)
            for state, kind in visited:
                found[kind].append((state, episodes, origin))
            episodes += 1
        chosen: list[tuple[np.ndarray, int, str]] = []
        for kind, candidates in found.items():
            chosen += [candidates[row] for row in rng.choice(len(candidates), wanted[kind], replace=False).tolist()]
        states, groups, origins = zip(*[chosen[place] for place in rng.permutation(len(chosen)).tolist()], strict=True)
        return np.stack(states), np.array(groups, dtype=np.int64), origins

    def _episode(self, rng: np.random.Generator) -> tuple[str, list[tuple[np.ndarray, bool]]]:
        """What ran, and some of its states with whether the criterion held."""
        robot = shared_model()
        network, pose, noise, origin = self._policy(rng)
        start = None
        if network is not None and rng.random() < _POSED_START:
            start, origin = draw_pose(family_of(tuple(MARGINS)[pose]), rng, robot), f"{origin}, from a pose"
        robot.start(rng, start)
        kept = set(rng.choice(HORIZON, _KEPT_STEPS, replace=False).tolist())
        visited = []
        for step in range(HORIZON):
            if network is None or rng.random() < noise:
                action = rng.uniform(-ACTION_LIMIT, ACTION_LIMIT, VELOCITIES - 6)
            else:
                action = network.act(np.concatenate([robot.data.qpos[2:], robot.data.qvel]), pose)
            robot.step(action)
            if step in kept:
                state = robot.state()
                robot.refresh()
                visited.append((state, self._holds(robot)))
        return origin, visited

    def _policy(self, rng: np.random.Generator) -> tuple[PoseNetwork | None, int, float, str]:
        mark = rng.random()
        if mark < _RANDOM:
            return None, 0, 0.0, "random actions"
        poses, networks = tuple(MARGINS), criterion_networks()
        pose = poses.index(self.pose) if mark < _RANDOM + _OWN_POSE else int(rng.integers(len(poses)))
        snapshot = int(rng.integers(len(networks)))
        noise = float(rng.choice(_NOISE))
        return (
            networks[snapshot],
            pose,
            noise,
            f"trained on {poses[pose]}, snapshot {snapshot}, {noise:.0%} random actions",
        )

    def _holds(self, robot: HumanoidModel) -> bool:
        return MARGINS[self.pose](shared_meter().measure(robot.data)) >= 0


def judge_all(states: np.ndarray) -> dict[str, np.ndarray]:
    """Every criterion of every state, float64 ``[n 47]``: by pose, bool ``[n]``."""
    bodies = [measure_state(state) for state in states]
    return {pose: np.array([margin(body) >= 0 for body in bodies], dtype=bool) for pose, margin in MARGINS.items()}
