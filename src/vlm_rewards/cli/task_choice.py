"""Which task a command is about: a name, a Python file, or an environment's id. It decides every other default."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar, cast

import tyro

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.task import Task, list_tasks
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import start_settings, task_of

_HELP = ("-h", "--help")
_USAGE = """usage: vlm-rewards {verb} TASK [...]
       vlm-rewards {verb} FILE.py[:TASK] [...]
       vlm-rewards {verb} --env-id ID --goal SENTENCE --baseline SENTENCE [--cameras ...] [...]

Tasks: {tasks}.
`vlm-rewards {verb} TASK --help` lists every setting.
"""
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class TaskChoice:
    """What decides every other setting's default, read before the others are."""

    preset: str | None = None
    """Name of a preset."""
    algo: str | None = None
    """Name of an algorithm."""
    resume: str | None = None
    """Folder of a run."""
    env_id: str | None = None
    """Gymnasium's id of an environment."""
    goal: str | None = None
    """What the state should look like."""
    baseline: str | None = None
    """What any state looks like."""
    encoder: str | None = None
    """Name of an encoder."""
    task: tyro.conf.Suppress[str | None] = None
    """Name of a task, ``FILE.py`` or ``FILE.py:TASK``: the first argument, if it is no flag."""
    rest: tyro.conf.Suppress[tuple[str, ...]] = ()
    """All arguments but the task."""

    @property
    def nothing(self) -> bool:
        """Whether no task was named, and so help is wanted; refused where there are other arguments."""
        if self.task is not None or self.env_id is not None:
            return False
        if self.rest and self.rest[0] not in _HELP:
            names = ", ".join(list_tasks())
            raise InvalidInputError(f"the task must come first, got {self.rest[0]!r}. Choices: {names}.")
        return True

    def start(self) -> TrainConfig:
        """The settings that this choice starts from."""
        environment, prompts = None, {"goal": self.goal, "baseline": self.baseline}
        if self.env_id is not None:
            # The environment's own flags: its kind of actions decides the algorithm, and so the other flags.
            environment = _known(EnvironmentConfig, self.rest)
            if any(argument in _HELP for argument in self.rest):
                prompts = {name: prompt or f"the {name}" for name, prompt in prompts.items()}
        chosen = {"name": self.preset, "algorithm": self.algo, "encoder": self.encoder}
        return start_settings(self.task, environment, **prompts, **chosen)

    @property
    def words(self) -> str:
        """What was chosen, as a usage line shows it."""
        return self.task or "--env-id ID"


def read_choice(arguments: Sequence[str]) -> TaskChoice:
    """Take out of the arguments what decides every other setting's default."""
    task = arguments[0] if arguments and not arguments[0].startswith("-") else None
    rest = tuple(arguments[1:] if task else arguments)
    return dataclasses.replace(_known(TaskChoice, rest), task=task, rest=rest)


def _known(kind: type[Settings], arguments: Sequence[str]) -> Settings:
    """Read the flags of a dataclass and pass over all others, the wish for help too."""
    return tyro.cli(kind, args=list(arguments), return_unknown_args=True, add_help=False)[0]


@dataclass(frozen=True)
class AboutTask(Generic[Settings]):
    """A command about a task that trains nothing."""

    task: Task
    """The task."""
    config: TrainConfig
    """What training it would start from: prompts, alpha, encoder."""
    settings: Settings
    """The command's own."""


def read_about_task(verb: str, arguments: Sequence[str], kind: type[Settings]) -> AboutTask[Settings] | None:
    """Read the arguments of a command that is about a task, named, in a file, or an environment by its id.

    None where no task was named, and help has been printed.
    """
    choice = read_choice(arguments)
    if choice.nothing:
        print(_USAGE.format(verb=verb, tasks=", ".join(list_tasks())))
        return None
    for name in ("preset", "algo", "resume"):
        if getattr(choice, name) is not None:
            raise InvalidInputError(f"{verb} takes no --{name}: no agent is trained.")
    config, both = choice.start(), cast("Any", kind)
    name = "environment" if config.environment is not None else "humanoid"
    simulator: Any = getattr(config, name)
    if simulator is not None:  # beside the command's own settings: how the simulator is drawn
        part = Annotated[type(simulator), tyro.conf.OmitArgPrefixes, tyro.conf.arg(help="How the simulator is drawn.")]
        fields = [("simulator", part, field(default=simulator))]
        more: Any = {"bases": (kind,), "namespace": {"__doc__": kind.__doc__}, "frozen": True}
        both = dataclasses.make_dataclass(kind.__name__, fields, **more)
    settings: Any = tyro.cli(both, prog=f"vlm-rewards {verb} {choice.words}", args=list(choice.rest))
    if simulator is not None:
        config = dataclasses.replace(config, **{name: settings.simulator})
    return AboutTask(task_of(config), config, settings)
