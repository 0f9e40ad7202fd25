"""Runs whose policy follows a script."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from vlm_rewards.testing.fakes import scored_by
from vlm_rewards.training import runner
from vlm_rewards.training.config import TrainConfig

Script = Callable[[np.ndarray, float, int], np.ndarray]
"""Observations ``[n_envs ...]``, the share of the run that is over, and the step within the episode (all episodes have
the length of the horizon) to actions ``[n_envs ...]``."""


def run_script(
    script: Script, config: TrainConfig, folder: Path, reward: Any, horizon: int, **options: Any
) -> dict[str, Any]:
    """Go through all that a training run does, but for its learning.

    Args:
        script: Chooses the actions, and thereby the states that are visited.
        config: Settings with DQN or SAC; the script takes the place of exploration and updates.
        folder: The run's folder.
        reward: Scores the frames.
        horizon: Steps of an episode.
        **options: As `vlm_rewards.training.runner.learn` takes them.

    Returns:
        The run's record.
    """
    nothing = {"vlm_return": 0.0, "vlm_return_std": 0.0, "true_return": 0.0, "success_rate": None}
    with _following(script, horizon), scored_by(lambda policy, *, episodes, seed: nothing):
        return runner.learn(config, folder, reward, **options).record


@contextlib.contextmanager
def _following(script: Script, horizon: int) -> Iterator[None]:
    def act(model: Any, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> tuple[Any, Any]:
        step = model.num_timesteps // n_envs % horizon
        actions = np.asarray(script(model._last_obs, model.num_timesteps / model._total_timesteps, step))
        stored = model.policy.scale_action(actions) if isinstance(model, SAC) else actions
        return actions, stored

    with contextlib.ExitStack() as stack:
        for owner, name, replacement in (
            (OffPolicyAlgorithm, "_sample_action", act),
            (DQN, "train", lambda model, gradient_steps, batch_size=0: None),
            (SAC, "train", lambda model, gradient_steps, batch_size=0: None),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, replacement)
        yield
