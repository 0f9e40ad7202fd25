"""Which task a command is about: a name, a Python file, or an environment's id."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import Task, list_tasks
from vlm_rewards.training.algorithms import ALGORITHMS
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import PAPER_TASKS, PRESETS, check_algorithm_name, file_preset, preset, task_of

_HELP = ("-h", "--help")
_USAGE = """usage: vlm-rewards {verb} TASK [...]
       vlm-rewards {verb} FILE.py[:TASK] [...]
       vlm-rewards {verb} --env-id ID --goal SENTENCE --baseline SENTENCE [--cameras ...] [...]

Tasks: {tasks}.
`vlm-rewards {verb} TASK --help` lists every setting.
"""
_EXAMPLES = {
    "goal": "what the state should look like, as in --goal 'a cheetah running'",
    "baseline": "what any state looks like, as in --baseline 'a cheetah'",
}


Settings = TypeVar("Settings")
Simulator = TypeVar("Simulator", EnvironmentConfig, HumanoidConfig)


@dataclass(frozen=True)
class AboutTask(Generic[Settings]):
    """A command about a task that trains nothing."""

    task: Task
    """The task."""
    config: TrainConfig
    """What training it would start from: sentences, alpha, encoder."""
    settings: Settings
    """The command's own."""


def read_about_task(verb: str, arguments: Sequence[str], kind: type[Settings]) -> AboutTask[Settings] | None:
    """Read the arguments of a command that is about a task, named, in a file, or an environment by its id.

    Args:
        verb: The command.
        arguments: What follows it.
        kind: Dataclass of the command's own settings.

    Returns:
        What was asked for; None where no task was named, and help has been printed.

    Raises:
        InvalidInputError: The task cannot be had, or a flag is one of training alone.
    """
    choice = read_choice(arguments)
    if choice.nothing:
        print(_USAGE.format(verb=verb, tasks=", ".join(list_tasks())))
        return None
    for name in ("preset", "algo", "resume"):
        if getattr(choice, name) is not None:
            raise InvalidInputError(f"{verb} takes no --{name}: no agent is trained.")
    config = choice.start()
    if choice.env_id is not None and config.environment is not None:
        prog, given = f"vlm-rewards {verb} --env-id ID", choice.environment_arguments()
        settings, environment = _read_with(config.environment, kind, prog, given)
        config = dataclasses.replace(config, environment=environment)
    elif config.humanoid is not None:
        settings, humanoid = _read_with(config.humanoid, kind, f"vlm-rewards {verb} {choice.task}", choice.rest)
        config = dataclasses.replace(config, humanoid=humanoid)
    else:
        settings = tyro.cli(kind, prog=f"vlm-rewards {verb} {choice.task}", args=choice.rest)
    return AboutTask(task_of(config), config, settings)


def _read_with(
    simulator: Simulator, kind: type[Settings], prog: str, arguments: list[str]
) -> tuple[Settings, Simulator]:
    """Read a command's own settings, and beside them how the simulator is drawn."""
    part = Annotated[type(simulator), tyro.conf.OmitArgPrefixes, tyro.conf.arg(help="How the simulator is drawn.")]
    both: Any = dataclasses.make_dataclass(
        kind.__name__,
        [("simulator", part, field(default=simulator))],
        bases=(kind,),
        namespace={"__doc__": kind.__doc__},
        frozen=True,
    )
    read = tyro.cli(both, prog=prog, args=arguments)
    return read, read.simulator


@dataclass
class TaskChoice:
    """What decides every other setting's default, taken out of the arguments before the others are read."""

    task: str | None = None
    """Name of a task, ``FILE.py`` or ``FILE.py:TASK``."""
    preset: str | None = None
    """Name of a preset."""
    algo: str | None = None
    """Name of an algorithm."""
    resume: str | None = None
    """Folder of a run."""
    env_id: str | None = None
    """Gymnasium's id of an environment."""
    rest: list[str] = field(default_factory=list[str])
    """The other arguments."""

    @property
    def nothing(self) -> bool:
        """Whether no task was named, and so help is wanted.

        Raises:
            InvalidInputError: There are other arguments; the task belongs before them.
        """
        if self.task is not None or self.env_id is not None:
            return False
        if self.rest and self.rest[0] not in _HELP:
            names = ", ".join(list_tasks())
            raise InvalidInputError(f"the task must come first, got {self.rest[0]!r}. Choices: {names}.")
        return True

    def start(self) -> TrainConfig:
        """The settings that this choice starts from.

        Raises:
            InvalidInputError: What was chosen does not exist or does not go together.
        """
        check_algorithm_name(self.algo)
        if self.env_id is not None:
            return self._environment()
        task = str(self.task)
        preset_name = self.preset or default_preset(task, _value("encoder", self.rest))
        file, name = _file_and_name(task)
        if file is not None:
            return file_preset(file, name, preset_name, self.algo)
        return preset(task, preset_name, self.algo)

    def environment_arguments(self) -> list[str]:
        """The arguments with the environment's id among them."""
        return ["--env-id", str(self.env_id), *self.rest]

    def without_help(self) -> list[str]:
        """The same without the wish for help."""
        return [argument for argument in self.environment_arguments() if argument not in _HELP]

    def _environment(self) -> TrainConfig:
        if self.task is not None:
            raise InvalidInputError(f"give a task or --env-id, not both: got {self.task!r} and {self.env_id!r}.")
        if self.preset not in (None, "cpu"):
            raise InvalidInputError(f"preset must be 'cpu' with --env-id, got {self.preset!r}.")
        goal, baseline = (_sentence(name, self.rest) for name in ("goal", "baseline"))
        # The environment's own flags: its kind of actions decides the algorithm, and so the other flags.
        environment, _ = tyro.cli(EnvironmentConfig, args=self.without_help(), return_unknown_args=True)
        task = environment_task(environment, goal=goal, baseline=baseline)
        return preset(task, "cpu", self.algo)


def read_choice(arguments: Sequence[str]) -> TaskChoice:
    """Take out of the arguments what decides every other setting's default.

    Raises:
        InvalidInputError: A flag has no value.
    """
    choice = TaskChoice()
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in ("preset", "algo", "resume", "env_id"):
            if not equals:
                if not pending or pending[0].startswith("--"):
                    raise InvalidInputError(f"{flag} needs a value.{_choices(name)}")
                value = pending.pop(0)
            setattr(choice, name, value)
        elif choice.task is None and not choice.rest and not argument.startswith("-"):
            choice.task = argument
        else:
            choice.rest.append(argument)
    return choice


def default_preset(task: str | None, encoder: str | None) -> str:
    """``"paper"`` where a GPU, a task of the paper and a model to judge it come together, ``"cpu"`` elsewhere.

    Args:
        task: What was named.
        encoder: The encoder that was named. The bundled one, or none, does not ask for the paper's millions of steps.
    """
    import torch

    return "paper" if encoder not in (None, "bundled") and task in PAPER_TASKS and torch.cuda.is_available() else "cpu"


def _file_and_name(task: str) -> tuple[Path | None, str | None]:
    """Split ``FILE.py:TASK``; a name of the registry has no file."""
    match = re.fullmatch(r"(?P<file>.+\.py)(:(?P<name>[^:/\\]*))?", task)
    return (Path(match["file"]).expanduser(), match["name"] or None) if match else (None, None)


def _sentence(name: str, arguments: Sequence[str]) -> str:
    value = _value(name, arguments)
    if value is not None:
        return value
    if any(argument in _HELP for argument in arguments):
        return f"the {name}"
    raise InvalidInputError(f"--env-id needs --{name}: {_EXAMPLES[name]}.")


def _value(name: str, arguments: Sequence[str]) -> str | None:
    """What follows a flag, the first if several do; None without the flag."""
    for position, argument in enumerate(arguments):
        if argument == f"--{name}" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"--{name}="):
            return argument.split("=", 1)[1]
    return None


def _choices(name: str) -> str:
    choices = {"preset": PRESETS, "algo": tuple(ALGORITHMS)}.get(name, ())
    return f" Choices: {', '.join(choices)}." if choices else ""
