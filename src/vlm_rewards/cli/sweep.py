"""``vlm-rewards sweep TASK``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line, say
from vlm_rewards.cli.train import RunOptions, read_settings
from vlm_rewards.errors import InvalidInputError, RunFolderError, VLMRewardsError, check_count
from vlm_rewards.reporting.sweeps import number, percent, with_interval, write_summary
from vlm_rewards.training.config import update_budget
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.sweep import RunStatus, execute, status_of
from vlm_rewards.training.sweep_plan import (
    SWEPT,
    PlannedRun,
    SweepPlan,
    SweepRequest,
    make_plan,
    read_plan,
    read_sweep_file,
    write_plan,
)

_USAGE = """usage: vlm-rewards sweep TASK --out DIR [--alpha X ...] [--seed N ...] [...] [-- ARGUMENTS OF TRAIN]
       vlm-rewards sweep FILE.py[:TASK] --out DIR [...]
       vlm-rewards sweep --env-id ID --goal SENTENCE ... --baseline SENTENCE ... --out DIR [...]
       vlm-rewards sweep --file FILE.json
       vlm-rewards sweep --out DIR --summary-only

`vlm-rewards sweep --help` lists every setting.
"""
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
    """Sentences: what the state should look like."""
    baseline: _Words = None
    """Sentences: what any state looks like."""
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
    if not typed:
        print(_USAGE, end="")
        return 2
    chosen = tyro.cli(_Arguments, prog="vlm-rewards sweep", args=typed)
    check_count("jobs", chosen.jobs)
    request = _request(chosen, train)
    if request.out is None:
        raise InvalidInputError("out must name the sweep's folder: the same command goes on there. Give --out.")
    console, command, out = Console(), command_line("sweep", arguments), Path(request.out)
    there = chosen.summary_only and not (request.grid or request.runs)
    plan = read_plan(out) if there else make_plan(request, out, read_settings)
    statuses = [status_of(plan, run) for run in plan.runs]  # refuses folders that hold other runs
    if chosen.dry_run:
        _print_plan(console, plan, statuses)
        return 0
    with _locked(plan):
        if chosen.summary_only:
            return _print_summary(console, plan, write_summary(plan, command))
        write_plan(plan, command)
        return _execute(console, plan, chosen.jobs, _resume_options(request.train), command)


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


@contextlib.contextmanager
def _locked(plan: SweepPlan) -> Iterator[None]:
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"out {str(plan.out)!r} cannot be made: {error.strerror or error}.") from None
    with RunFolder(plan.out).locked():
        try:
            yield
        except OSError as error:
            if isinstance(error, VLMRewardsError):
                raise
            raise RunFolderError(f"the sweep's folder {str(plan.out)!r} can no longer be written: {error}.") from error


def _execute(console: Console, plan: SweepPlan, jobs: int, resume_options: Sequence[str], command: str) -> int:
    def started(run: PlannedRun, before: RunStatus) -> None:
        say(console, f"{'start' if before.state == 'new' else 'go on':<9} {run.name}")

    def ended(run: PlannedRun, now: RunStatus, seconds: float) -> None:
        runs = write_summary(plan, command)["runs"]
        complete = f"[{sum(run['state'] == 'complete' for run in runs)} of {len(runs)} complete]"
        say(console, f"{now.state:<9} {run.name} ({seconds:.0f} s): {_outcome(plan, run, now)} {complete}")

    write_summary(plan, command)
    try:
        execute(plan, jobs=jobs, resume_options=resume_options, started=started, ended=ended)
    except KeyboardInterrupt:
        write_summary(plan, command)
        say(console, "interrupted; the same command goes on")
        return _INTERRUPTED
    return _print_summary(console, plan, write_summary(plan, command))


def _outcome(plan: SweepPlan, run: PlannedRun, status: RunStatus) -> str:
    if status.record is None:
        return f"{status.last_words}; all that it said is in {plan.log(run)}"
    evaluation = status.record["evaluation"]
    success = evaluation["success_rate"]
    text = "" if success is None else f"success {percent(success)} %, "
    text += f"true return {number(evaluation['true_return'])}"
    return text if status.last_words is None else f"{text}; without a video, {status.last_words}"


def _print_plan(console: Console, plan: SweepPlan, statuses: Sequence[RunStatus]) -> None:
    warnings: dict[str, None] = {}
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
