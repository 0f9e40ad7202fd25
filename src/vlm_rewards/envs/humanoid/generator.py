"""The states that a pose's reward is judged on: visited by policies, or posed; half of them goals."""

from __future__ import annotations

import numpy as np

from vlm_rewards.envs.humanoid.body import measure_state, shared_meter
from vlm_rewards.envs.humanoid.criteria import MARGINS
from vlm_rewards.envs.humanoid.model import shared_model
from vlm_rewards.envs.humanoid.posed_states import draw_state
from vlm_rewards.envs.humanoid.visited import visited_states
from vlm_rewards.envs.tasks import GeneratedStates
from vlm_rewards.errors import InvalidInputError, check_count, unknown_name

SOURCES = ("visited", "posed")
_MOST_POSES = 200_000


class PoseStates:
    """Generates states of one pose.

    Args:
        pose: One of `vlm_rewards.envs.humanoid.criteria.MARGINS`.
    """

    sources: tuple[str, ...] = SOURCES

    def __init__(self, pose: str) -> None:
        self.pose = pose

    def generate(self, source: str, count: int, seed: int) -> GeneratedStates:
        """Generate states, half of them goals, always the same for a seed.

        Args:
            source: ``"visited"``: by random policies and by those of `policies`; ``"posed"``: families of poses,
                transitions between them and what physics makes of them (`posed_states`).
            count: How many.
            seed: In ``[0, 2**32)``.

        Raises:
            UnknownNameError: There is no such source.
            InvalidInputError: There are not so many goal states to be had.
        """
        if source not in SOURCES:
            raise unknown_name("states", source, SOURCES)
        check_count("count", count, least=2)
        if source == "posed":
            states, groups, origins = self._posed(count, seed)
        else:
            visited = visited_states(self.pose, count, seed)
            states, groups = visited.states, visited.episodes
            origins = tuple(visited.origins[episode] for episode in groups.tolist())
        return GeneratedStates(states, groups, judge_all(states), origins)

    def _posed(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        rng = np.random.default_rng([seed, 1])
        robot = shared_model()
        meter = shared_meter()
        wanted = {True: count // 2, False: count - count // 2}
        states, origins = [], []
        for _ in range(_MOST_POSES):
            drawn = draw_state(rng, robot)
            robot.refresh()
            kind = MARGINS[self.pose](meter.measure(robot.data)) >= 0
            if wanted[kind]:
                wanted[kind] -= 1
                states.append(drawn.state)
                origins.append(drawn.origin)
            if not any(wanted.values()):
                return np.stack(states), np.arange(count), tuple(origins)
        raise InvalidInputError(
            f"count must be at most {2 * (count // 2 - wanted[True])} for pose {self.pose!r}, got {count}: "
            f"{_MOST_POSES:,} poses had no more goal states."
        )


def judge_all(states: np.ndarray) -> dict[str, np.ndarray]:
    """Every criterion of every state.

    Args:
        states: ``qpos`` and ``qvel``, float64 ``[n 47]``.

    Returns:
        By pose, bool ``[n]``.
    """
    held = {pose: np.zeros(len(states), dtype=bool) for pose in MARGINS}
    for row, state in enumerate(states):
        body = measure_state(state)
        for pose, margin in MARGINS.items():
            held[pose][row] = margin(body) >= 0
    return held
