"""``vlm-rewards evaluate RUN``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from vlm_rewards.cli.common import load_reward, print_evaluation
from vlm_rewards.cli.judge_run import evaluate_run, record_video
from vlm_rewards.errors import check_count
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.run_folder import RunFolder, find_snapshot


@dataclass(frozen=True)
class _Arguments:
    """Run a trained agent with deterministic actions on fresh seeds."""

    run: tyro.conf.Positional[Path]
    """Folder that `vlm-rewards train` wrote."""
    episodes: int = 100
    """How many episodes."""
    seed: int = 1_000_000
    """Seeds the episodes; far from the seeds that `train` derives its own from."""
    snapshot: str | None = None
    """File name inside the run's checkpoints; default: the best by VLM return."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps": where encoder and policy run."""
    video: bool = True
    """Record a video."""
    json: bool = False
    """Print JSON instead of a table."""


def main(arguments: list[str]) -> int:
    """Evaluate a run."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards evaluate", args=arguments)
    console = Console(quiet=chosen.json)
    run = RunFolder.open(chosen.run)
    check_count("episodes", chosen.episodes)
    seed = derive_seed(chosen.seed, "evaluate")
    snapshot = find_snapshot(run, chosen.snapshot).name
    config = dataclasses.replace(run.read_config(), device=chosen.device)
    reward = load_reward(config, console)
    summary, policy = evaluate_run(
        run, config, reward, episodes=chosen.episodes, seed=seed, console=console, snapshot=snapshot
    )
    if chosen.video:
        summary["video"] = record_video(run, config, policy, snapshot, seed)
    if chosen.json:
        print(json.dumps(summary, indent=2))
        return 0
    print_evaluation(console, summary, heading=f"{chosen.run}, snapshot {summary['snapshot']}")
    if summary["video"]:
        console.print(f"video:  {run.path / summary['video']}", markup=False, soft_wrap=True)
    return 0
