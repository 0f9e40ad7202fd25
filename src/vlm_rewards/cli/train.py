"""``vlm-rewards train TASK``, and ``vlm-rewards train --resume RUN``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from vlm_rewards import run as front
from vlm_rewards.cli.common import ConsoleProgress, command_line, print_evaluation, say
from vlm_rewards.cli.dry_run import print_dry_run
from vlm_rewards.cli.task_choice import TaskChoice, read_choice
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.run import Run
from vlm_rewards.tasks.any_env import EnvironmentConfig, termination_warning
from vlm_rewards.tasks.task import list_tasks
from vlm_rewards.training.algorithms import ALGORITHMS
from vlm_rewards.training.checkpoints import check_interval
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import PRESETS, task_of
from vlm_rewards.training.run_folder import RunFolder

_USAGE = """usage: vlm-rewards train TASK [--preset {presets}] [--algo NAME] [--run-dir DIR] [--overwrite] [...]
       vlm-rewards train TASK [...] --dry-run [--json]
       vlm-rewards train FILE.py[:TASK] [...]
       vlm-rewards train --env-id ID --goal SENTENCE --baseline SENTENCE [...]
       vlm-rewards train --resume RUN

Tasks: {tasks}.
Algorithms: {algorithms}.
`vlm-rewards train TASK --help` lists every setting with the preset's value.
"""
_INTERRUPTED = 130


@dataclass(frozen=True)
class ResumeOptions:
    """What does not change what is learned, and may change when a run goes on."""

    video: bool = True
    """Record a video of the best snapshot."""
    checkpoint_seconds: float = 60.0
    """Seconds between checkpoints, each replacing the one before; 0 is before every rollout, inf on Ctrl-C alone."""
    keep_state: bool = False
    """Keep the last checkpoint, replay buffer and all, when the run is complete."""


@dataclass(frozen=True)
class RunOptions(ResumeOptions):
    """What does not change what is learned."""

    overwrite: bool = False
    """Replace a run that is there already."""


@dataclass(frozen=True)
class _Arguments:
    """Train an agent on a task from its prompt."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]
    """The settings."""
    options: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """What does not change what is learned."""
    run_dir: Path | None = None
    """Folder of the run; default: runs/TASK-SEED-TIME."""
    preset: str | None = None
    """Settings to start from, "cpu" or "paper"; default: "paper" with a GPU and a pretrained encoder, else "cpu"."""
    algo: str | None = None
    """Another algorithm than the preset's, by its name or as MODULE:ATTRIBUTE."""
    dry_run: bool = False
    """Check the whole plan and print it: model, shapes, updates, memory. Nothing is loaded, trained or written."""
    json: bool = False
    """Print the plan of --dry-run as JSON."""


@dataclass(frozen=True)
class _EnvironmentArguments(_Arguments):
    """Train an agent in a Gymnasium environment from a prompt."""

    environment: tyro.conf.OmitArgPrefixes[EnvironmentConfig] = field(kw_only=True)
    """The environment."""


@dataclass(frozen=True)
class _Resume(ResumeOptions):
    """Go on with a run from its last checkpoint. All settings are the run's own."""

    resume: Path = Path()
    """The run's folder."""
    other_versions: bool = False
    """Go on although packages have other versions; the result is no longer that of a run that never stopped."""


def main(arguments: list[str]) -> int:
    """Train, evaluate the best snapshot, draw the curve, record the video."""
    choice, console, command = read_choice(arguments), Console(), command_line("train", arguments)
    if choice.resume is not None:
        return _resume(choice, console, command)
    if choice.nothing:
        algorithms = ", ".join(ALGORITHMS.names())
        print(_USAGE.format(presets=",".join(PRESETS), tasks=", ".join(list_tasks()), algorithms=algorithms))
        return 0 if arguments else 2
    chosen = _read(choice)
    if chosen.json and not chosen.dry_run:
        raise InvalidInputError("json must be left out without --dry-run: what a run did is in its record.json.")
    if chosen.config.environment is not None and (warning := termination_warning(task_of(choice.start()))):
        ConsoleProgress(Console(stderr=chosen.json)).say(warning, warning=True)
    if chosen.dry_run:
        check_interval(chosen.options.checkpoint_seconds)
        if chosen.run_dir is not None:
            RunFolder(chosen.run_dir).check_free(overwrite=chosen.options.overwrite)
        return print_dry_run(chosen.config, as_json=chosen.json)
    options, progress = dataclasses.asdict(chosen.options), ConsoleProgress(console)
    run = front.train(config=chosen.config, run_dir=chosen.run_dir, progress=progress, command=command, **options)
    return _report(console, run)


def read_settings(arguments: list[str]) -> TrainConfig:
    """Arguments of `train` to settings."""
    return _read(read_choice(arguments)).config


def _read(choice: TaskChoice) -> _Arguments:
    start = choice.start()
    default = _Arguments(config=start)
    if start.environment is not None:
        default = _EnvironmentArguments(config=start, environment=start.environment)
    kind: Any = Annotated[type(default), tyro.conf.AvoidSubcommands, tyro.conf.SuppressFixed]
    prog = f"vlm-rewards train {choice.words} --preset {start.preset}"
    chosen = tyro.cli(kind, prog=prog, default=default, args=list(choice.rest))
    if isinstance(chosen, _EnvironmentArguments):
        config = dataclasses.replace(chosen.config, environment=chosen.environment)
        return dataclasses.replace(chosen, config=config)
    return chosen


def _resume(choice: TaskChoice, console: Console, command: str) -> int:
    for name in ("task", "preset", "algo", "env_id"):
        value = getattr(choice, name)
        if value is not None:
            said = name.replace("_", "-")
            raise InvalidInputError(f"--resume goes on with the run's own settings; leave out the {said} {value!r}.")
    if any(argument.partition("=")[0] in ("--dry-run", "--json") for argument in choice.rest):
        raise InvalidInputError("--dry-run plans a run that has not begun; leave out --resume, or --dry-run.")
    chosen = dataclasses.asdict(tyro.cli(_Resume, prog="vlm-rewards train --resume RUN", args=list(choice.rest)))
    run = Run.open(chosen.pop("resume"), progress=ConsoleProgress(console))
    return _report(console, run.resume(command=command, **chosen))


def _report(console: Console, run: Run) -> int:
    if run.interrupted:
        return _INTERRUPTED
    record, config = run.record, run.config
    heading = f"{config.task}, seed {config.seed}, best snapshot by VLM return"
    print_evaluation(console, record["evaluation"], heading=heading)
    say(console, f"training took {record['seconds']['training']:.0f} s")
    for label, path in (("record", run.files.record), ("curve", run.files.curve), ("video", run.video)):
        if path is not None:
            say(console, f"{label + ':':<8}{path}")
    return 0
