# pyright: reportUnnecessaryIsInstance=false
"""A task's episodes: the horizon, the criterion on every step, the verdict at the end.

What a task is, and the registry of tasks that users extend.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count, check_prompt
from vlm_rewards.registry import Registry
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.captions import PAPER_GOALS
from vlm_rewards.tasks.rendering import configure_headless

SimulatorFactory: TypeAlias = Callable[[int], gym.Env[Any, Any]]
"""Builds a simulator that renders ``rgb_array`` for frames of the given side in pixels.

It has no time limit and does not terminate early; `make_task_env` adds the horizon.
"""

Criterion: TypeAlias = Callable[[gym.Env[Any, Any]], bool]
"""Says of an unwrapped simulator whether its *present* state fulfils the task."""

EpisodeRule: TypeAlias = Callable[[np.ndarray], bool]
"""Says of the criterion's values (bool ``[steps]``) whether the episode succeeded."""

Policy: TypeAlias = Callable[[Any], Any]
"""Observation to action, the one-line rule that a task is compared with."""


class _Captioner(Protocol):
    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a state (float64 ``[k]``) that covers what policies can visit."""
        ...

    def caption(self, state: np.ndarray, rng: np.random.Generator) -> str:
        """One true sentence about the state, with random wording."""
        ...


@runtime_checkable
class StateCaptioner(_Captioner, Protocol):
    """Makes captioned frames of a task's states, for `vlm-rewards finetune`."""

    def draw(self, state: np.ndarray, size: int) -> Frame:
        """Frame of the state, exactly as the simulator would render it: uint8 ``[size size 3]``."""
        ...


@runtime_checkable
class SimulatedCaptioner(_Captioner, Protocol):
    """The same for states that nothing but a simulator can draw."""

    def simulators(self) -> Sequence[SimulatorFactory]:
        """What draws the states: simulators that can be put into one (`vlm_rewards.tasks.state_access.StateStudio`)."""
        ...

    def split(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the simulators draws each of the states (int64 ``[n]``), and what to put it into (``[n k]``)."""
        ...


Captioner: TypeAlias = StateCaptioner | SimulatedCaptioner
"""Either kind."""


@dataclass(frozen=True)
class GeneratedStates:
    """States to judge a reward on, not drawn yet."""

    states: np.ndarray
    """What to put the simulator into (`vlm_rewards.tasks.state_access.StateStudio`): float64 ``[n k]``."""
    groups: np.ndarray
    """int64 ``[n]``: states with the same number come from one episode, and are no independent draws."""
    labels: Mapping[str, np.ndarray]
    """Criteria by name, the task's own among them: bool ``[n]`` each."""
    origins: tuple[str, ...]
    """Where each comes from, ``n`` short texts."""


@runtime_checkable
class StateGenerator(Protocol):
    """Generates states of a task that is worth judging on others than those of random actions."""

    sources: tuple[str, ...]
    """Names of the kinds of states; the first is what rewards are judged on unless told otherwise."""

    def generate(self, source: str, count: int, seed: int) -> GeneratedStates:
        """Generate states, always the same for a seed.

        Args:
            source: One of `sources`.
            count: How many.
            seed: In ``[0, 2**32)``.

        Raises:
            InvalidInputError: There are not so many to be had.
        """
        ...


def every_step(steps: np.ndarray) -> bool:
    """Episode rule: the criterion holds on every step."""
    return bool(steps.size > 0 and steps.all())


def any_step(steps: np.ndarray) -> bool:
    """Episode rule: the criterion holds on at least one step."""
    return bool(steps.any())


def half_of_steps(steps: np.ndarray) -> bool:
    """Episode rule: the criterion holds on at least half of the steps (the paper's rule)."""
    return bool(steps.size > 0 and steps.mean() >= 0.5)


@dataclass(frozen=True)
class Task:
    """A sentence, a simulator and a way to tell success.

    The criterion judges; it is never seen by the learner.
    """

    name: str
    """Name in the registry and on the command line."""
    goal: str
    """What the state should look like."""
    baseline: str
    """What any state looks like; sharpens the goal (eq. 3)."""
    simulator: SimulatorFactory
    """Builds the simulator for a frame size. Must be importable or picklable by value."""
    horizon: int
    """Steps after which an episode is truncated."""
    criterion: Criterion | None = None
    """Whether the present state fulfils the task; None where nobody can say."""
    episode_rule: EpisodeRule = every_step
    """How the criterion's steps add up to a successful episode."""
    criterion_text: str = ""
    """The criterion and the rule in words, for reports."""
    camera: str = "side"
    """Which view is drawn, for reports."""
    cameras: int = 1
    """How many frames of each state ``render()`` returns; more than one come as uint8 ``[cameras h w 3]``."""
    rule: Policy | None = None
    """A one-line hand-written policy to compare with; None where there is none."""
    captioner: Captioner | None = None
    """Makes captioned frames for `vlm-rewards finetune`; None where there is none."""
    generator: StateGenerator | None = None
    """Generates states to judge rewards on; None where policies or bounds have to do."""
    dimension: str | None = None
    """Name of the state dimension along which `vlm-rewards judge --along default` draws the reward."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Anything else worth writing to the record (JSON-able)."""

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise InvalidInputError(f"task name must be letters, digits, '-' and '_', got {self.name!r}.")
        check_count(f"cameras of task {self.name!r}", self.cameras)
        if isinstance(self.horizon, bool) or not isinstance(self.horizon, int) or self.horizon < 1:
            raise InvalidInputError(
                f"horizon of task {self.name!r} must be an int of at least 1, got {self.horizon!r}."
            )
        for prompt_field in ("goal", "baseline"):
            check_prompt(f"{prompt_field} of task {self.name!r}", getattr(self, prompt_field))


TASKS: Registry[Task] = Registry(
    "task",
    "vlm_rewards.tasks",
    dict.fromkeys((*PAPER_GOALS, "mountaincar-textured"), "vlm_rewards.tasks.builtin"),
    is_value=lambda value: isinstance(value, Task),
)
"""All tasks. An entry point of a package is called like its task, and brings it or a function that returns it."""
_from_file: list[Task] | None = None
"""What the user's file that is running has registered."""


def register_task(task: Task, *, replace: bool = False) -> Task:
    """Add a task to the registry.

    Args:
        task: The task.
        replace: Whether a task of the same name may be replaced.

    Returns:
        The task, so that the call can be an assignment.

    Raises:
        InvalidInputError: A task of that name exists and ``replace`` is False.
    """
    if _from_file is not None:
        _from_file.append(task)
    return TASKS.register(task.name, task, replace=replace or _from_file is not None)


@contextlib.contextmanager
def replacing_tasks() -> Generator[list[Task]]:
    """While a file of the user's runs: it may be run again, so its tasks replace their former selves.

    Yields:
        The tasks registered meanwhile, in order.
    """
    global _from_file
    _from_file = []
    try:
        yield _from_file
    finally:
        _from_file = None


def get_task(name: str) -> Task:
    """Look a task up by its name, or by ``module:attribute``; installed packages' tasks are known, too.

    Raises:
        UnknownNameError: No such task; the message names the nearest ones.
        InvalidInputError: What a module or package brings cannot be loaded, or is no task of that name.
    """
    task = TASKS.get(name)
    if not isinstance(task, Task):
        raise InvalidInputError(f"task {name!r} must be a Task or a function that returns one, got {task!r}.")
    if task.name != name and ":" not in name:
        raise InvalidInputError(f"the entry point of task {task.name!r} must be called like it, got {name!r}.")
    return task


def list_tasks() -> list[str]:
    """Names of all registered tasks and of those that installed packages bring, sorted."""
    return TASKS.names()


class TaskEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """Adds a task's horizon and criterion to its simulator.

    Reaching the horizon truncates, it does not terminate. Every step's info has
    ``true_reward`` (the simulator's own reward) and, where the task has a
    criterion, ``criterion`` (bool: the present state fulfils it). The last
    step's info has ``is_success`` (bool: the task's episode rule), which
    belongs to that episode alone.

    Args:
        env: The simulator, without a time limit of its own.
        task: The task whose horizon and criterion apply.
    """

    def __init__(self, env: gym.Env[Any, Any], task: Task) -> None:
        super().__init__(env)
        self.task = task
        self._outcomes: list[bool] = []
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; nothing of the last one's verdict remains."""
        self._outcomes = []
        self._steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step and judge the state it leads to."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        truncated = truncated or self._steps >= self.task.horizon
        # A simulator's own verdict is not the task's.
        info = {**{key: value for key, value in info.items() if key != "is_success"}, "true_reward": float(reward)}
        if self.task.criterion is not None:
            self._outcomes.append(bool(self.task.criterion(self.env.unwrapped)))
            info["criterion"] = self._outcomes[-1]
            if terminated or truncated:
                info["is_success"] = bool(self.task.episode_rule(np.asarray(self._outcomes, dtype=bool)))
        return observation, float(reward), bool(terminated), bool(truncated), info


def make_task_env(task: Task, image_size: int) -> TaskEpisode:
    """Build one simulator of a task, with its horizon and criterion.

    Args:
        task: The task.
        image_size: Side in pixels of the square frame that the simulator is
            asked to draw. One that cannot renders what it can; `FrameRenderer`
            letterboxes that.

    Returns:
        A Gymnasium environment with ``render_mode="rgb_array"``.

    Raises:
        InvalidInputError: ``image_size`` is not an int of at least 32.
    """
    check_size(image_size, "image_size")
    configure_headless()
    return TaskEpisode(task.simulator(image_size), task)
