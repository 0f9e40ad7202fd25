"""``vlm-rewards train TASK``."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from vlm_rewards.cli import resume
from vlm_rewards.cli.common import command_line
from vlm_rewards.cli.dry_run import print_dry_run
from vlm_rewards.cli.task_choice import TaskChoice, read_choice
from vlm_rewards.cli.training_run import RunOptions, run_training
from vlm_rewards.errors import InvalidInputError
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


@dataclass(frozen=True)
class _Arguments:
    """Train an agent on a task from its sentence."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]
    """The settings."""
    options: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """What does not change what is learned."""
    run_dir: Path | None = None
    """Folder of the run; default: runs/TASK-SEED-TIME."""
    dry_run: bool = False
    """Check the whole plan and print it: model, shapes, updates, memory. Nothing is loaded, trained or written."""
    json: bool = False
    """Print the plan of --dry-run as JSON."""


@dataclass(frozen=True)
class _EnvironmentArguments(_Arguments):
    """Train an agent in a Gymnasium environment from a sentence."""

    environment: tyro.conf.OmitArgPrefixes[EnvironmentConfig] = field(kw_only=True)
    """The environment."""


def main(arguments: list[str]) -> int:
    """Train, evaluate the best snapshot, draw the curve, record the video."""
    choice = read_choice(arguments)
    if choice.resume is not None:
        return _resume(choice)
    if choice.nothing:
        print(_USAGE.format(presets=",".join(PRESETS), tasks=", ".join(list_tasks()), algorithms=", ".join(ALGORITHMS)))
        return 0 if arguments else 2
    chosen = _task_arguments(choice) if choice.env_id is None else _environment_arguments(choice)
    config = chosen.config
    if chosen.json and not chosen.dry_run:
        raise InvalidInputError("json must be left out without --dry-run: what a run did is in its record.json.")
    if chosen.dry_run:
        check_interval(chosen.options.checkpoint_seconds)
        if chosen.run_dir is not None:
            RunFolder(chosen.run_dir).check_free(overwrite=chosen.options.overwrite)
        return print_dry_run(config, as_json=chosen.json)
    run_dir = chosen.run_dir or Path("runs") / f"{config.task}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    return run_training(config, run_dir, chosen.options, command_line("train", arguments))


def _resume(choice: TaskChoice) -> int:
    for name in ("task", "preset", "algo", "env_id"):
        value = getattr(choice, name)
        if value is not None:
            said = name.replace("_", "-")
            raise InvalidInputError(f"--resume goes on with the run's own settings; leave out the {said} {value!r}.")
    if any(argument.partition("=")[0] in ("--dry-run", "--json") for argument in choice.rest):
        raise InvalidInputError("--dry-run plans a run that has not begun; leave out --resume, or --dry-run.")
    return resume.main(str(choice.resume), choice.rest)


def _task_arguments(choice: TaskChoice) -> _Arguments:
    start = choice.start()
    return _parse(_Arguments(config=start), f"{choice.task} --preset {start.preset}", choice.rest)


def _environment_arguments(choice: TaskChoice) -> _Arguments:
    start = choice.start()
    default = _EnvironmentArguments(config=start, environment=start.environment)  # pyright: ignore[reportArgumentType]
    chosen = _parse(default, "--env-id ID", choice.environment_arguments())
    warning = termination_warning(task_of(start))
    if warning:
        Console(stderr=chosen.json).print(f"[yellow]warning:[/] {warning}", soft_wrap=True)
    return dataclasses.replace(chosen, config=dataclasses.replace(chosen.config, environment=chosen.environment))


def _parse(default: Any, prog: str, arguments: list[str]) -> Any:
    kind: Any = Annotated[type(default), tyro.conf.AvoidSubcommands, tyro.conf.SuppressFixed]
    return tyro.cli(kind, prog=f"vlm-rewards train {prog}", default=default, args=arguments)
