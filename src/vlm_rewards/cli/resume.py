"""``vlm-rewards train --resume RUN``: go on with a run that was stopped, as if it had not been."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vlm_rewards.cli.common import command_line
from vlm_rewards.cli.training_run import RunOptions, check_resumable, run_training


@dataclass(frozen=True)
class _Arguments:
    """Go on with a run from its last checkpoint. All settings are the run's own."""

    video: bool = True
    """Record a video of the best snapshot."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, each replacing the one before; 0 is before every rollout, inf on Ctrl-C alone."""
    keep_state: bool = False
    """Keep the last checkpoint, replay buffer and all, when the run is complete."""
    other_versions: bool = False
    """Go on although packages have other versions; the result is no longer that of a run that never stopped."""


def main(run: str, rest: list[str]) -> int:
    """Resume a run.

    Args:
        run: The run's folder, as it was typed.
        rest: The other arguments.
    """
    chosen = tyro.cli(_Arguments, prog="vlm-rewards train --resume RUN", args=rest)
    run_dir = Path(run)
    config = check_resumable(run_dir)
    options = RunOptions(video=chosen.video, checkpoint_seconds=chosen.checkpoint_seconds, keep_state=chosen.keep_state)
    command = command_line("train", ["--resume", run, *rest])
    return run_training(config, run_dir, options, command, resume=True, other_versions=chosen.other_versions)
