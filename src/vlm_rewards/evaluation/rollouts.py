"""Runs policies without exploration and says how they did; the policies to compare with, that have learned nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np

from vlm_rewards.collection.episodes import EpisodeLedger, EpisodeSummary
from vlm_rewards.collection.labeller import Labeller, chunk_length
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.evaluation.statistics import wilson_interval
from vlm_rewards.rewards.base import AnyReward, as_frame_reward
from vlm_rewards.tasks.task import Task

PolicyFunction = Callable[[np.ndarray], np.ndarray]
"""Observations ``[n ...]`` to actions ``[n ...]``."""
REFERENCE_POLICIES = ("random", "zero", "rule")


def reference_policy(name: str, task: Task, action_space: gym.Space[Any], *, seed: int = 0) -> PolicyFunction:
    """Build a policy that has learned nothing: observations ``[n ...]`` to actions ``[n ...]``.

    Args:
        name: ``"random"`` (uniform actions), ``"zero"`` (the action 0, or the
            zero vector) or ``"rule"`` (the task's one-line rule).
        task: The task.
        action_space: Its action space.
        seed: Seeds the random actions.
    """
    if name == "random":
        if not isinstance(action_space, gym.spaces.Box | gym.spaces.Discrete):
            raise InvalidInputError(f"the action space must be Box or Discrete, got {action_space!r}.")
        space = copy.deepcopy(action_space)  # with a generator of its own, so that nobody else's samples are disturbed
        space.seed(seed)
        return lambda observations: np.stack([np.asarray(space.sample()) for _ in observations])
    if name == "zero":
        zero = np.zeros(action_space.shape or (), dtype=action_space.dtype)
        if not action_space.contains(zero):
            raise InvalidInputError(f"there is no zero action in {action_space!r}.")
        return lambda observations: np.stack([zero] * len(observations))
    if name == "rule":
        rule = task.rule
        if rule is None:
            raise InvalidInputError(f"task {task.name!r} has no one-line rule.")
        return lambda observations: np.stack([np.asarray(rule(row), dtype=action_space.dtype) for row in observations])
    raise unknown_name("policy", name, REFERENCE_POLICIES)


_CHUNK_FRAMES = 256
SIMULATORS = 16
"""How many run side by side in an evaluation, unless there are fewer episodes."""


@dataclass(frozen=True)
class Evaluation:
    """How a policy did over some episodes."""

    episodes: tuple[EpisodeSummary, ...]
    """The episodes, ordered by simulator and then by time."""
    seed: int
    """Seeded the episodes."""

    @property
    def success_rate(self) -> float | None:
        """Share of the episodes that succeeded; None where the task has no criterion."""
        return self.to_dict()["success_rate"]

    @property
    def vlm_return(self) -> float:
        """Mean over the episodes of the undiscounted sum of rewards."""
        return self.to_dict()["vlm_return"]

    @property
    def true_return(self) -> float:
        """The same of the environment's own reward, which the learner never sees."""
        return self.to_dict()["true_return"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary.

        Returns:
            ``episodes``, ``seed``, means and standard deviations of
            ``vlm_return`` and ``true_return`` (both undiscounted sums over an
            episode), ``episode_length``, and where the task has a criterion
            ``successes``, ``success_rate`` and its 95 % Wilson interval,
            ``held_share`` (mean share of an episode's steps on which the
            criterion held) and ``held_last_half`` (episodes in which it held on
            all of the last half of the steps).
        """
        vlm = [episode.vlm_return for episode in self.episodes]
        true = [episode.true_return for episode in self.episodes]
        summary: dict[str, Any] = {
            "episodes": len(self.episodes),
            "seed": self.seed,
            "vlm_return": float(np.mean(vlm)),
            "vlm_return_std": float(np.std(vlm)),
            "true_return": float(np.mean(true)),
            "true_return_std": float(np.std(true)),
            "episode_length": float(np.mean([episode.length for episode in self.episodes])),
            "successes": None,
            "success_rate": None,
            "success_interval_95": None,
            "held_share": None,
            "held_last_half": None,
        }
        verdicts = [episode.success for episode in self.episodes if episode.success is not None]
        if verdicts:
            summary["successes"] = sum(verdicts)
            summary["success_rate"] = sum(verdicts) / len(verdicts)
            summary["success_interval_95"] = list(wilson_interval(sum(verdicts), len(verdicts)))
        shares = [episode.criterion for episode in self.episodes if episode.criterion is not None]
        if shares:
            summary["held_share"] = float(np.mean(shares))
            summary["held_last_half"] = sum(bool(episode.last_half) for episode in self.episodes)
        return summary


class PolicyEvaluator:
    """Keeps simulators open and runs policies in them; use it in a ``with`` statement.

    Args:
        task: The task.
        reward: Scores the frames of every state visited.
        frame_size: Side of the frames in pixels; default: what the reward wants.
        n_envs: Simulators. The episodes depend on it, as each simulator has
            seeds of its own.
        n_workers: Processes; default: one a core.
    """

    def __init__(
        self,
        task: Task,
        reward: AnyReward,
        *,
        frame_size: int | None = None,
        n_envs: int = SIMULATORS,
        n_workers: int | None = None,
    ) -> None:
        size = as_frame_reward(reward).frame_size if frame_size is None else frame_size
        self._reward = reward
        self.venv = RenderedVecEnv(task, n_envs, image_size=size, n_workers=n_workers)

    def run(self, policy: PolicyFunction, *, episodes: int, seed: int) -> Evaluation:
        """Run a policy over so many episodes.

        Every simulator has a fixed share of the episodes, so that short ones
        are not counted more often than long ones.
        """
        check_count("episodes", episodes)
        venv = self.venv
        share = np.array([len(range(index, episodes, venv.num_envs)) for index in range(venv.num_envs)])
        venv.seed(seed)
        observations = venv.reset()
        chunk_steps = chunk_length(_CHUNK_FRAMES, venv.num_envs, venv.ring.slots)
        labeller = Labeller(self._reward, venv.ring, venv.gate, venv.steps_taken, chunk_steps)
        ledger = EpisodeLedger(venv.num_envs)
        ended = np.zeros(venv.num_envs, dtype=np.int64)
        try:
            while (ended < share).any():
                observations, _, dones, infos = venv.step(policy(cast("np.ndarray", observations)))
                ledger.observe(dones, infos)
                labeller.submit(venv.steps_taken - 1)
                ended += dones
            finished = ledger.label(*labeller.drain())
        finally:
            labeller.close()
        return Evaluation(_counted(finished, share), seed)

    def close(self) -> None:
        """End the simulators."""
        self.venv.close()

    def __enter__(self) -> PolicyEvaluator:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def rollout_frames(
    policy: PolicyFunction, task: Task, *, episodes: int, seed: int, image_size: int
) -> Iterator[np.ndarray]:
    """Render a policy, for a video: one frame a step, uint8 ``[image_size image_size 3]``."""
    venv = RenderedVecEnv(task, 1, image_size=image_size, seed=seed)
    try:
        observations = venv.reset()
        while episodes > 0:
            observations, _, dones, _ = venv.step(policy(cast("np.ndarray", observations)))
            yield venv.last_frames()[0]
            episodes -= int(dones[0])
    finally:
        venv.close()


def _counted(finished: list[EpisodeSummary], share: np.ndarray) -> tuple[EpisodeSummary, ...]:
    by_simulator: list[list[EpisodeSummary]] = [[] for _ in share]
    for episode in finished:
        if len(by_simulator[episode.simulator]) < share[episode.simulator]:
            by_simulator[episode.simulator].append(episode)
    return tuple(episode for episodes in by_simulator for episode in episodes)
