"""Which states a command judges rewards on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlm_rewards.envs import Task
from vlm_rewards.errors import CheckpointError, InvalidInputError, check_count
from vlm_rewards.evaluation.pictures import pictured_states, read_labels
from vlm_rewards.evaluation.rollouts import PolicyFunction
from vlm_rewards.evaluation.states import (
    GENERATORS,
    STATES,
    Policies,
    StateSet,
    named_policies,
    uniform_states,
    visited_states,
)
from vlm_rewards.simulation import PhotographedVecEnv
from vlm_rewards.simulation.seeding import check_seed
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.snapshots import load_policy


@dataclass(frozen=True)
class StateOptions:
    """Where states come from."""

    states: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FROM ...")] = ()
    """uniform (within the bounds of the state), random (random actions), rule (the task's one-line rule with 0 to 100 %
    of random actions), the folder of a run (all of its policies), or a folder of pictures. Default: rule; random where
    there is none."""
    count: int = STATES
    """How many states, in equal parts from each source."""
    state_seed: int = 0
    """Seeds them."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Labels in place of the criterion's, with the columns file (or index) and label; states without one are dropped.
    --save-states of judge writes the file to fill in."""


class ChosenStates:
    """The states that were asked for, drawn when they are needed; made by `states_of`."""

    def __init__(
        self, sources: Sequence[Callable[[int], StateSet]], labels: dict[str, bool] | None, file: Path | None
    ) -> None:
        self._sources = sources
        self._labels = labels
        self._file = file
        self._last: tuple[int, StateSet] | None = None  # encoders of one size follow each other as a rule

    def __call__(self, size: int) -> StateSet:
        """Draw the states.

        Args:
            size: Side of the pictures in pixels.
        """
        if self._last is None or self._last[0] != size:
            self._last = None  # before there are more: thousands of pictures are some GB
            states = StateSet.joined([source(size) for source in self._sources])
            if self._labels is not None and self._file is not None:
                states = states.relabelled(self._labels, self._file.name)
            self._last = size, states
        return self._last[1]

    def last(self) -> StateSet:
        """The states as they were drawn last.

        Raises:
            InvalidInputError: They have not been drawn.
        """
        if self._last is None:
            raise InvalidInputError("the states have not been drawn yet.")
        return self._last[1]


def states_of(task: Task, options: StateOptions) -> ChosenStates:
    """Check where states are to come from; draw them later, for any size of picture.

    Args:
        task: The task.
        options: What was asked for.

    Returns:
        The states for a size of picture; those drawn last are kept.

    Raises:
        InvalidInputError: There is no such source, or it is of another task.
    """
    names = options.states or (("rule" if task.rule is not None else "random"),)
    if len(set(names)) < len(names):
        raise InvalidInputError(f"states must be named once each, got {', '.join(names)}.")
    check_count("count", options.count, least=2 * len(names))
    check_seed(options.state_seed)
    labels = None if options.labels is None else read_labels(options.labels)
    shares = [
        options.count * (number + 1) // len(names) - options.count * number // len(names)
        for number in range(len(names))
    ]
    sources = [_source(task, name, share, options) for name, share in zip(names, shares, strict=True)]

    return ChosenStates(sources, labels, options.labels)


def _source(task: Task, name: str, count: int, options: StateOptions) -> Callable[[int], StateSet]:
    seed = options.state_seed
    if name == "uniform":
        return lambda size: uniform_states(task, count, seed=seed, size=size)
    if name in GENERATORS:
        policies = named_policies(name, task)
    elif not Path(name).is_dir():
        raise InvalidInputError(
            f"states must be {', '.join(GENERATORS)}, the folder of a run or a folder of pictures; got {name!r}."
        )
    elif (Path(name) / "config.json").is_file():
        policies = _policies_of(task, Path(name))
    else:
        folder = Path(name)
        if options.labels is None:
            raise InvalidInputError(f"states from the pictures of {name!r} need --labels: nobody knows what they show.")
        return lambda size: pictured_states(folder, size)
    return lambda size: visited_states(task, policies, count, seed=seed, size=size)


def _policies_of(task: Task, folder: Path) -> Policies:
    """Every snapshot of a run: from the first, that can do nothing, to the last."""
    run = RunFolder(folder)
    config = run.read_config()
    if config.task != task.name:
        raise InvalidInputError(f"states from run {str(folder)!r} are of task {config.task!r}, not of {task.name!r}.")
    snapshots = sorted(path.name for path in run.checkpoints.glob("*.safetensors"))
    if not snapshots:
        raise CheckpointError(f"run {str(folder)!r} has no snapshot yet.")

    def build(venv: PhotographedVecEnv, seed: int) -> Sequence[PolicyFunction]:
        return [load_policy(run, config, venv, snapshot) for snapshot in snapshots]

    return Policies(f"run {folder.name}", build)
