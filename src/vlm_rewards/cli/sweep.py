"""``vlm-rewards sweep TASK``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line, say
from vlm_rewards.cli.train import RunOptions, read_settings
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.sweeps import sweep, write_summary
from vlm_rewards.templates import number, percent, with_interval
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.sweep import locked, status_of
from vlm_rewards.training.sweep_plan import SWEPT, SweepPlan, SweepRequest, make_plan, read_plan, read_sweep_file

_INTERRUPTED = 130
_Numbers = Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="X ...")]
_Integers = Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="N ...")]
_Words = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="TEXT ...")]
_Word = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
_File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclass(frozen=True)
class _Arguments:
    """Train a grid of prompts, alphas, encoders, algorithms and seeds, and sum it up over seeds.

    What is not given is the preset's. Everything after `--` goes to each run of `train`. The same command goes on
    with a sweep that was stopped.
    """

    task: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")] = None
    """Name of a task, or FILE.py[:TASK]."""
    env_id: _Word = None
    """A Gymnasium environment in place of a task; needs --goal and --baseline."""
    out: _File = None
    """The sweep's folder: a run folder for each run, logs, and the summary."""
    alpha: _Numbers = None
    """Strengths of the baseline."""
    seed: _Integers = None
    """Seeds; three are few, one says next to nothing."""
    goal: _Words = None
    """Prompts: what the state should look like."""
    baseline: _Words = None
    """Prompts: what any state looks like."""
    form: _Words = None
    """Reward forms."""
    encoder: _Words = None
    """Encoders."""
    algo: _Words = None
    """Algorithms."""
    preset: _Word = None
    """The preset of all runs."""
    file: _File = None
    """JSON file with task, out, grid, runs and train; or CSV file, a run a row."""
    jobs: int = 1
    """Runs at a time. Each takes all cores that it finds: see --n-workers of train."""
    dry_run: bool = False
    """Print the plan, write nothing."""
    summary_only: bool = False
    """Train nothing, write the summary of what is there."""


def main(arguments: list[str]) -> int:
    """Plan, check, train what is not done, sum up."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    typed, train = arguments[:split], arguments[split + 1 :]
    chosen = tyro.cli(_Arguments, prog="vlm-rewards sweep", args=typed)
    request = _request(chosen, train)
    if request.out is None:
        raise InvalidInputError(
            "out must name the sweep's folder: the same command goes on there. Give --out. See sweep --help."
        )
    console, command, out = Console(), command_line("sweep", arguments), Path(request.out)
    if chosen.summary_only and not (request.grid or request.runs):
        plan = read_plan(out)
    else:

        def configure(settings: Any) -> tuple[TrainConfig, list[str]]:
            train = request.arguments(settings)
            return read_settings(train), train

        plan = make_plan(request.combinations(), out, configure)
    if chosen.dry_run:
        return _print_plan(console, plan)
    if chosen.summary_only:
        with locked(plan):
            return _print_summary(console, plan, write_summary(plan, command))
    options, tell = _resume_options(request.train), functools.partial(say, console)
    try:
        record = sweep(plan, jobs=chosen.jobs, resume_options=options, command=command, say=tell)
    except KeyboardInterrupt:
        say(console, "interrupted; the same command goes on")
        return _INTERRUPTED
    return _print_summary(console, plan, record)


def _request(chosen: _Arguments, train: Sequence[str]) -> SweepRequest:
    grid = {name: values for name in SWEPT if (values := getattr(chosen, name)) is not None}
    typed = SweepRequest(
        task=chosen.task,
        env_id=chosen.env_id,
        preset=chosen.preset,
        out=None if chosen.out is None else str(chosen.out),
        grid=grid,
        train=tuple(train),
    )
    return typed if chosen.file is None else read_sweep_file(chosen.file).joined(typed)


def _resume_options(train: Sequence[str]) -> list[str]:
    """The part of the arguments that `train --resume` takes."""
    options, _ = tyro.cli(RunOptions, args=list(train), return_unknown_args=True)
    flags = [] if options.video else ["--no-video"]
    flags += ["--keep-state"] if options.keep_state else []
    return [*flags, f"--checkpoint-seconds={options.checkpoint_seconds}"]


def _print_plan(console: Console, plan: SweepPlan) -> int:
    warnings: dict[str, None] = {}
    statuses = [status_of(plan, run) for run in plan.runs]
    for run, status in zip(plan.runs, statuses, strict=True):
        config, budget = run.config, update_budget(run.config)
        amount = f"{config.algorithm_name.upper()}, {config.steps:,} steps, {budget.updates:,} updates"
        say(console, f"  {run.name}: {amount}; {status.state}")
        if budget.warning:
            warnings[budget.warning] = None
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    seconds = [status.record["seconds"]["training"] for status in statuses if status.record is not None]
    if seconds:
        say(console, f"training took {sum(seconds) / len(seconds):.0f} s a run in the {len(seconds)} complete ones")
    say(console, f"{len(plan.runs)} runs, {len(seconds)} of them complete; nothing was started, nothing written")
    return 0


def _print_summary(console: Console, plan: SweepPlan, record: dict[str, Any]) -> int:
    """Print a line a setting; returns the exit code."""
    score = record["score"]
    form, unit = (percent, " %") if score == "success_rate" else (number, "")
    say(console, f"{score.replace('_', ' ')}, interquartile mean over seeds (95 % interval):")
    for row in record["settings"]:
        seeds = f"{len(row['seeds']['done'])} of {len(row['seeds']['planned'])} seeds"
        say(console, f"  {row['label']}: {with_interval(row[score], 'iqm', form, unit)}, {seeds}")
    say(console, f"summary: {plan.out / 'summary.md'}")
    return 0 if all(run["state"] == "complete" for run in record["runs"]) else 1
