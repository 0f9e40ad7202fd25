"""What both ways do: a task, an algorithm and as many simulators, for CartPole and for the kneeling humanoid."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from bench.common_simulators import build_cartpole, build_humanoid
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import OffPolicyConfig, PPOConfig, algorithm_name, build_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset, task_of

_REPLAY_ROWS = 20_000


@dataclass(frozen=True)
class Workload:
    """What is trained, the same in both ways but for how it is simulated, drawn and labelled."""

    name: str
    """In the names of measurements, such as ``"CartPole"``."""
    task: Task
    """The task as we simulate and draw it."""
    common: Callable[[], gym.Env[Any, Any]]
    """Builds one simulator of the common way, with the same steps, episodes and observations; is sent to processes."""
    algorithm: OffPolicyConfig
    """Settings of the algorithm."""
    n_envs: int
    """Simulators."""
    updates: bool = True
    """Whether it learns; otherwise it collects and labels alone."""
    alpha: float = 0.5
    """Strength of the baseline prompt."""
    chunk_frames: int = 256
    """Frames that our encoder is given in one go."""
    label_every: int = 1
    """Which states of an episode our way renders; the common way takes all."""

    @property
    def rollout(self) -> int:
        """Transitions between two rounds of updates."""
        return self.n_envs * self.algorithm.train_freq

    def reward(self, encoder: OpenCLIPEncoder) -> VLMReward:
        """The reward of the task."""
        return VLMReward(encoder, goal=self.task.goal, baseline=self.task.baseline, alpha=self.alpha)

    def model(self, venv: VecEnv, *, seed: int, device: str) -> Any:
        """The algorithm on simulators."""
        model: Any = build_algorithm(self.algorithm, venv, seed=seed, device=device)
        if not self.updates:
            model.gradient_steps = 0  # which no setting may be
        return model

    def facts(self) -> dict[str, Any]:
        """What decides how fast it is. JSON-able."""
        return {
            "simulators": self.n_envs,
            "rollout": self.rollout,
            "updates_per_rollout": self.algorithm.gradient_steps if self.updates else 0,
            "algorithm": algorithm_name(self.algorithm),
            "batch_size": self.algorithm.batch_size,
            "label_every": self.label_every,
        }


def cartpole(n_envs: int, train_freq: int, *, updates: bool) -> Workload:
    """CartPole as its ``cpu`` preset has it, learning from the first rollout on or not at all.

    Args:
        n_envs: Simulators.
        train_freq: Steps of each in a rollout.
        updates: Whether to learn, with as many updates a transition as the preset has.
    """
    config = preset("cartpole")
    common = functools.partial(build_cartpole, task_of(config).horizon)
    return _workload("CartPole", config, common, n_envs, train_freq, updates=updates)


def kneeling(n_envs: int, *, updates: bool) -> Workload:
    """The kneeling humanoid as its ``cpu`` preset has it, learning from the first rollout on or not at all.

    Args:
        n_envs: Simulators.
        updates: Whether to learn, with as many updates a transition as the preset has.
    """
    config = preset("kneeling")
    compact = config.humanoid is not None and config.humanoid.observations == "compact"
    common = functools.partial(build_humanoid, task_of(config).horizon, compact=compact)
    train_freq = _off_policy(config).train_freq
    return _workload("humanoid (kneeling)", config, common, n_envs, train_freq, updates=updates)


def _workload(
    name: str,
    config: TrainConfig,
    common: Callable[[], gym.Env[Any, Any]],
    n_envs: int,
    train_freq: int,
    *,
    updates: bool,
) -> Workload:
    algorithm = _off_policy(config)
    each = algorithm.gradient_steps / (config.n_envs * algorithm.train_freq) if algorithm.gradient_steps > 0 else 1
    settled = dataclasses.replace(
        algorithm,
        learning_starts=1,
        buffer_size=_REPLAY_ROWS,
        train_freq=train_freq,
        gradient_steps=max(1, round(each * n_envs * train_freq)),
    )
    return Workload(
        name, task_of(config), common, settled, n_envs, updates, config.alpha, config.chunk_frames, config.label_every
    )


def _off_policy(config: TrainConfig) -> OffPolicyConfig:
    if isinstance(config.algorithm, PPOConfig):
        raise TypeError(f"the preset of {config.task} must learn from a replay buffer, not with {config.algorithm!r}")
    return config.algorithm
