"""Joins what training and evaluation must not know of each other: a run's policy and its evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from vlm_rewards.evaluation.rollouts import SIMULATORS, PolicyEvaluator, rollout_frames
from vlm_rewards.reporting.videos import write_video
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.run_folder import PolicyFunction, RunFolder, best_snapshot, load_policy
from vlm_rewards.training.runner import Evaluate

_VIDEO_SIZE = 256
_VIDEO_EPISODES = 2
_VIDEO_FPS = 30


@contextlib.contextmanager
def selection_evaluator(task: Task, reward: FrameReward, config: TrainConfig) -> Iterator[Evaluate]:
    """Keep simulators open in which a run's snapshots are compared by VLM return."""
    simulators = min(config.selection_episodes, SIMULATORS)
    with PolicyEvaluator(task, reward, n_envs=simulators, n_workers=config.n_workers) as evaluator:

        def evaluate(policy: PolicyFunction, *, episodes: int, seed: int) -> dict[str, Any]:
            return evaluator.run(policy, episodes=episodes, seed=seed).to_dict()

        yield evaluate


def evaluate_run(
    run: RunFolder,
    config: TrainConfig,
    reward: FrameReward,
    *,
    episodes: int,
    seed: int,
    console: Console,
    snapshot: str | None = None,
) -> tuple[dict[str, Any], PolicyFunction]:
    """Evaluate a snapshot of a run with deterministic actions.

    Args:
        run: The run.
        config: Its settings.
        reward: Scores the frames of the states visited.
        episodes: How many episodes.
        seed: Seeds them; neither training nor selection has used it.
        console: Where notes go.
        snapshot: File name of the snapshot; None is the best by VLM return.

    Returns:
        The evaluation's summary with ``snapshot`` and ``video`` (None as yet), and the policy, for the video.
    """
    chosen = snapshot or best_snapshot(run).path
    simulators = min(episodes, SIMULATORS)
    with (
        console.status(f"evaluating {chosen} over {episodes} episodes"),
        PolicyEvaluator(task_of(config), reward, n_envs=simulators, n_workers=config.n_workers) as evaluator,
    ):
        policy = load_policy(run, config, evaluator.venv, chosen)
        summary = evaluator.run(policy, episodes=episodes, seed=seed).to_dict()
    return {**summary, "snapshot": chosen, "video": None}, policy


def record_video(run: RunFolder, config: TrainConfig, policy: PolicyFunction, snapshot: str, seed: int) -> str:
    """Write a video of the first episodes of a snapshot; returns its path relative to the run."""
    path = run.videos / f"{snapshot.removesuffix('.safetensors')}-seed-{seed}.mp4"
    task = task_of(config)
    frames = rollout_frames(policy, task, episodes=_VIDEO_EPISODES, seed=seed, image_size=_VIDEO_SIZE)
    write_video(frames, path, _VIDEO_FPS)
    return str(path.relative_to(run.path))
