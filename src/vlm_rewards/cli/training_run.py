"""What `train` does once its settings are known, and `train --resume` with the settings of a run."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vlm_rewards.cli.common import captioned_for, load_held_out, load_reward, print_evaluation
from vlm_rewards.cli.judge_run import evaluate_run, record_video, selection_evaluator
from vlm_rewards.errors import InvalidInputError, VLMRewardsError
from vlm_rewards.reporting.figures.curves import plot_learning_curve
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.runner import TrainingOutcome, train
from vlm_rewards.training.watch import watched_against


@dataclass(frozen=True)
class RunOptions:
    """What does not change what is learned."""

    overwrite: bool = False
    """Replace a run that is there already."""
    video: bool = True
    """Record a video of the best snapshot."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, each replacing the one before; 0 is before every rollout, inf on Ctrl-C alone."""
    keep_state: bool = False
    """Keep the last checkpoint, replay buffer and all, when the run is complete."""


def run_training(
    config: TrainConfig,
    run_dir: Path,
    options: RunOptions,
    command: str,
    *,
    resume: bool = False,
    other_versions: bool = False,
) -> int:
    """Train, evaluate the best snapshot, draw the curve, record the video.

    Args:
        config: The settings.
        run_dir: The run's folder.
        options: What does not change what is learned.
        command: As it was typed, for the record.
        resume: Go on with the run in ``run_dir``.
        other_versions: Resume although packages have changed.

    Returns:
        The exit code: 130 after Ctrl-C.
    """
    console = Console()
    if not resume:
        RunFolder(run_dir).check_free(overwrite=options.overwrite)  # before a model is loaded or fetched
    watched_against(config, task_of(config))
    reward = load_reward(config, console)
    held_out = load_held_out(config, reward, console)
    _announce(console, config, run_dir)
    try:
        with selection_evaluator(task_of(config), reward, config) as evaluate:
            outcome = train(
                config,
                run_dir,
                reward,
                evaluate,
                held_out=held_out,
                overwrite=options.overwrite,
                resume=resume,
                other_versions=other_versions,
                checkpoint_seconds=options.checkpoint_seconds,
                console=console,
                command=command,
            )
    except VLMRewardsError:
        if not resume and RunFolder(run_dir).state.is_file():  # what was there before has been removed by now
            console.print(_advice(run_dir), markup=False, soft_wrap=True)
        raise
    _draw_curve(outcome.run, config)
    if outcome.interrupted:
        steps = f"interrupted after {outcome.record['steps']:,} steps; what was learned is in {run_dir}"
        console.print(steps, markup=False, soft_wrap=True)
        console.print(_advice(run_dir), markup=False, soft_wrap=True)
        return 130
    return _finish(console, outcome, config, reward, options)


def check_resumable(run_dir: Path) -> TrainConfig:
    """Read the settings of a run that may be resumed.

    Raises:
        InvalidInputError: There is no run, or it is complete.
        CheckpointError: Its settings are damaged.
    """
    run = RunFolder.open(run_dir)
    config = run.read_config()
    if _is_complete(run):
        raise InvalidInputError(f"run {str(run_dir)!r} is complete; there is nothing to resume.")
    return config


def _is_complete(run: RunFolder) -> bool:
    try:
        return "evaluation" in json.loads(run.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _advice(run_dir: Path) -> str:
    return f"go on with: vlm-rewards train --resume {run_dir}"


def _draw_curve(run: RunFolder, config: TrainConfig) -> None:
    if len(run.metrics.read_text(encoding="utf-8").splitlines()) > 1:  # an early Ctrl-C leaves the header alone
        plot_learning_curve(run.metrics, run.curve, title=f'{config.task}: "{config.goal}" (seed {config.seed})')


def _finish(
    console: Console,
    outcome: TrainingOutcome,
    config: TrainConfig,
    reward: FrameReward,
    options: RunOptions,
) -> int:
    run, record = outcome.run, outcome.record
    seed = derive_seed(config.seed, "evaluate")
    started = time.time()
    evaluation, policy = evaluate_run(
        run, config, reward, episodes=config.evaluation_episodes, seed=seed, console=console
    )
    record["captioned"] = captioned_for([record["encoder"]], task_of(config))
    record["evaluation"] = evaluation
    record["seconds"]["evaluation"] = round(time.time() - started, 2)
    run.write_json(run.record, record)  # before the video, which may fail
    if options.video:
        evaluation["video"] = record_video(run, config, policy, evaluation["snapshot"], seed)
        run.write_json(run.record, record)
    if not options.keep_state:
        run.drop_state()
    _report(console, run, record, config)
    return 0


def _report(console: Console, run: RunFolder, record: dict[str, Any], config: TrainConfig) -> None:
    evaluation = record["evaluation"]
    print_evaluation(console, evaluation, heading=f"{config.task}, seed {config.seed}, best snapshot by VLM return")
    console.print(f"training took {record['seconds']['training']:.0f} s")
    for label, path in (("record", run.record), ("curve", run.curve), ("video", evaluation.get("video"))):
        if path:
            shown = run.path / str(path) if label == "video" else path
            console.print(f"{label + ':':<8}{shown}", markup=False, soft_wrap=True)


def _announce(console: Console, config: TrainConfig, run_dir: Path) -> None:
    budget = update_budget(config)
    sentences = f'"{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})'
    console.print(f"task      {config.task}: {sentences}", markup=False)
    console.print(
        f"plan      {config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators, "
        f"{budget.updates:,} updates, each transition used {budget.replay_ratio:.1f} times"
    )
    console.print(f"run       {run_dir}", markup=False, soft_wrap=True)
