"""``vlm-rewards evaluate RUN``, and ``vlm-rewards evaluate TASK --policy NAME``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from vlm_rewards.cli.common import ConsoleProgress, command_line, print_evaluation, say
from vlm_rewards.cli.task_choice import read_about_task
from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.evaluation.rollouts import REFERENCE_POLICIES
from vlm_rewards.files import write_atomically
from vlm_rewards.run import Run, baselines_record
from vlm_rewards.tasks.task import list_tasks
from vlm_rewards.training.run_folder import find_snapshot

_POLICIES = (*REFERENCE_POLICIES, "all")


@dataclass(frozen=True)
class _OfRun:
    """Run a trained agent with deterministic actions on fresh seeds.

    `vlm-rewards evaluate TASK --policy random`, zero, rule or all runs policies that learned nothing.
    """

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


@dataclass(frozen=True)
class _OfPolicy:
    """Run the policies that any result is to be compared with: random, zero and the one-line rule."""

    policy: str
    """"random", "zero", "rule", or "all" that the task has."""
    goal: str | None = None
    """What the state should look like; default: the task's prompt."""
    baseline: str | None = None
    """What any state looks like; default: the task's prompt."""
    episodes: int = 100
    """How many episodes of each."""
    seed: int = 0
    """Seeds the episodes and the random actions."""
    encoder: str | None = None
    """Encoder for the VLM return; default: the task's preset."""
    out: Path | None = None
    """File to write the record to, as JSON."""
    json: bool = False
    """Print JSON instead of tables."""


def main(arguments: list[str]) -> int:
    """Evaluate a run, or policies that learned nothing."""
    named = any(argument.partition("=")[0] in ("--policy", "--env-id") for argument in arguments)
    return _evaluate_policies(arguments) if named else _evaluate_run(arguments)


def _evaluate_run(arguments: list[str]) -> int:
    chosen = tyro.cli(_OfRun, prog="vlm-rewards evaluate", args=arguments)
    console = Console(quiet=chosen.json)
    task = chosen.run.suffix.partition(":")[0] == ".py" or str(chosen.run) in list_tasks()
    if task and not chosen.run.is_dir():
        raise InvalidInputError(f"--policy must be given with a task, one of {', '.join(_POLICIES)}, got none.")
    run = Run.open(chosen.run, device=chosen.device, progress=ConsoleProgress(console))
    snapshot = find_snapshot(run.files, chosen.snapshot).name
    evaluation = run.evaluate(chosen.episodes, seed=chosen.seed, snapshot=snapshot)
    summary: dict[str, Any] = {**evaluation.to_dict(), "snapshot": snapshot, "video": None}
    if chosen.video:
        summary["video"] = str(run.record_video(snapshot, evaluation.seed).relative_to(run.folder))
    if chosen.json:
        print(json.dumps(summary, indent=2))
        return 0
    print_evaluation(console, summary, heading=f"{chosen.run}, snapshot {snapshot}")
    if chosen.video:
        say(console, f"video:  {run.folder / summary['video']}")
    return 0


def _evaluate_policies(arguments: list[str]) -> int:
    about = read_about_task("evaluate", arguments, _OfPolicy)
    if about is None:
        return 0
    chosen, task = about.settings, about.task
    if chosen.policy not in _POLICIES:
        raise unknown_name("policy", chosen.policy, _POLICIES)
    if chosen.policy == "rule" and task.rule is None:
        raise InvalidInputError(f"policy must not be 'rule': task {task.name!r} has no one-line rule.")
    all_of_task = [name for name in REFERENCE_POLICIES if name != "rule" or task.rule is not None]
    policies = all_of_task if chosen.policy == "all" else [chosen.policy]
    console = Console(quiet=chosen.json)
    check_count("episodes", chosen.episodes)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
    given = {name: value for name in ("goal", "baseline", "encoder") if (value := getattr(chosen, name)) is not None}
    config = dataclasses.replace(about.config, **given)
    how = {"episodes": chosen.episodes, "seed": chosen.seed, "progress": ConsoleProgress(console)}
    record = {"command": command_line("evaluate", arguments), **baselines_record(config, policies, **how)}
    text = json.dumps(record, indent=2) + "\n"
    if chosen.out is not None:
        write_atomically(chosen.out, text.encode())
    if chosen.json:
        print(text, end="")
    for name, summary in record["policies"].items():
        print_evaluation(console, summary, heading=f"{config.task}, {name}")
    return 0
