"""Which states a command judges rewards on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import CheckpointError, InvalidInputError, check_count
from vlm_rewards.evaluation.rollouts import PolicyFunction
from vlm_rewards.evaluation.states import (
    GENERATED_STATES,
    GENERATORS,
    STATES,
    Policies,
    StateSet,
    equal_parts,
    generated_states,
    named_policies,
    numbered_names,
    pictured_states,
    read_labels,
    uniform_states,
    visited_states,
)
from vlm_rewards.files import read_json
from vlm_rewards.media import expand_paths
from vlm_rewards.seeding import check_seed
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.run_folder import RunFolder, load_policy

RECIPE = "states.json"
"""File beside the frames of states that says how to draw the same again."""

_FEW = 4  # states of each source that are drawn to see that they can be


@dataclass(frozen=True)
class StateOptions:
    """Where states come from."""

    states: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FROM ...")] = ()
    """uniform (within the bounds of the state), random (random actions), rule (the task's one-line rule, with shares of
    random actions from none to all), visited or posed (the humanoid's poses: what policies of every quality visit, or
    families of poses; half of them goals), the folder of a run (all of its policies), or a folder of images (all of
    them). Default: visited, or else rule, or else random."""
    count: int | None = None
    """How many states, in equal parts from each source but folders of images. Default: 5,000; 2,000 for the
    humanoid's poses, since goals of some are rarely visited."""
    state_seed: int = 0
    """Seeds them."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Labels in place of the criterion's, with the columns file (or index) and label; states without one are dropped.
    --save-states of judge writes the file to fill in."""


def wanted_states(task: Task, options: StateOptions) -> int:
    """How many states are asked for, or else the task's default."""
    if options.count is not None:
        return options.count
    return STATES if task.generator is None else GENERATED_STATES


@dataclass(frozen=True)
class _Source:
    """A place that states come from."""

    draw: Callable[[int, int], StateSet]
    """States of a size of frame, as many as said."""
    count: int
    """How many are wanted."""
    least: int = _FEW
    """How many it takes to see that it works."""
    files: tuple[str, ...] = ()
    """Names of its frames, where it is a folder of them."""


class ChosenStates:
    """The states that were asked for, drawn when they are needed; made by `states_of`."""

    def __init__(
        self, sources: Sequence[_Source], labels: dict[str, bool] | None, file: Path | None, recipe: dict[str, Any]
    ) -> None:
        self._sources = sources
        self._labels = labels
        self._file = file
        self._last: tuple[int, StateSet] | None = None  # encoders of one size follow each other as a rule
        self.recipe = recipe

    def __call__(self, size: int) -> StateSet:
        """Draw the states.

        Args:
            size: Side of the frames in pixels.
        """
        if self._last is None or self._last[0] != size:
            self._last = None  # before there are more: thousands of frames are some GB
            states = StateSet.joined([source.draw(size, source.count) for source in self._sources])
            if self._labels is not None and self._file is not None:
                states = states.relabelled(self._labels, self._file.name)
            self._last = size, states
        return self._last[1]

    def few(self, size: int) -> StateSet:
        """Draw a few states from each source, to see that it can be done; labels of a file are not looked at.

        Args:
            size: Side of the frames in pixels.
        """
        return StateSet.joined([source.draw(size, min(source.least, source.count)) for source in self._sources])

    def last(self) -> StateSet:
        """The states as they were drawn last.

        Raises:
            InvalidInputError: They have not been drawn.
        """
        if self._last is None:
            raise InvalidInputError("the states have not been drawn yet.")
        return self._last[1]


def states_of(task: Task, options: StateOptions) -> ChosenStates:
    """Check where states are to come from; draw them later, for any size of frame.

    Args:
        task: The task.
        options: What was asked for.

    Returns:
        The states for a size of frame; those drawn last are kept.

    Raises:
        InvalidInputError: There is no such source, it is of another task, or labels are not of these states.
    """
    if task.cameras > 1:
        raise InvalidInputError(
            f"cameras must be one where rewards are judged, got {task.cameras}: judge each by itself, with --cameras."
        )
    names = options.states or (_default(task),)
    if len(set(names)) < len(names):
        raise InvalidInputError(f"states must be named once each, got {', '.join(names)}.")
    count = wanted_states(task, options)
    check_count("count", count, least=2 * len(names))
    check_seed(options.state_seed)
    shares = equal_parts(count, len(names))
    sources = [_source(task, name, share, options) for name, share in zip(names, shares, strict=True)]
    recipe = {"task": task.name, "states": list(names), "count": count, "state_seed": options.state_seed}
    labels = None
    if options.labels is not None:
        labels = read_labels(options.labels)
        _check_labels(options.labels, labels, sources, recipe)
    return ChosenStates(sources, labels, options.labels, recipe)


def _default(task: Task) -> str:
    if task.generator is not None:
        return task.generator.sources[0]
    return "rule" if task.rule is not None else "random"


def _check_labels(file: Path, labels: dict[str, bool], sources: Sequence[_Source], recipe: dict[str, Any]) -> None:
    """Labels of other states would be taken for those of these without a word: they have nothing but numbers."""
    beside = file.parent / RECIPE
    if beside.is_file() and not any(source.files for source in sources):
        written = read_json(beside)
        differing = [
            f"{key} {written.get(key)!r} instead of {recipe[key]!r}"
            for key in recipe
            if written.get(key) != recipe[key]
        ]
        if differing:
            raise InvalidInputError(f"labels {str(file)!r} are of other states: {', '.join(differing)}.")
    known: list[str] = []
    for source in sources:
        known += source.files or numbered_names(len(known), source.count)
    places = set(known)
    strangers = [name for name in labels if name not in places]
    if strangers:
        raise InvalidInputError(f"labels {str(file)!r} must be of the {len(known):,} states, got {strangers[0]!r}.")


def _source(task: Task, name: str, count: int, options: StateOptions) -> _Source:
    seed = options.state_seed
    if name == "uniform":
        return _Source(lambda size, count: uniform_states(task, count, seed=seed, size=size), count)
    if task.generator is not None and name in task.generator.sources:
        return _Source(lambda size, count: generated_states(task, name, count, seed=seed, size=size), count, 2 * _FEW)
    if name in GENERATORS:
        policies, least = named_policies(name, task), 2 * _FEW
    elif not Path(name).is_dir():
        raise InvalidInputError(
            f"states must be {', '.join((*GENERATORS, *_own(task)))}, the folder of a run or a folder of images; "
            f"got {name!r}."
        )
    elif (Path(name) / "config.json").is_file():
        policies, least = _policies_of(task, Path(name))
        check_count("count", count, least=least)
    else:
        return _pictures(Path(name), options)
    return _Source(lambda size, count: visited_states(task, policies, count, seed=seed, size=size), count, least)


def _own(task: Task) -> tuple[str, ...]:
    return () if task.generator is None else task.generator.sources


def _pictures(folder: Path, options: StateOptions) -> _Source:
    if options.labels is None:
        raise InvalidInputError(
            f"states from the frames of {str(folder)!r} need --labels: nobody knows what they show."
        )
    files = tuple(file.name for file in expand_paths([folder]))
    return _Source(lambda size, _: pictured_states(folder, size), len(files), files=files)


def _policies_of(task: Task, folder: Path) -> tuple[Policies, int]:
    """Every snapshot of a run, from the first, that can do nothing, to the last; and how many there are."""
    run = RunFolder(folder)
    config = run.read_config()
    if config.task != task.name:
        raise InvalidInputError(f"states from run {str(folder)!r} are of task {config.task!r}, not of {task.name!r}.")
    snapshots = sorted(path.name for path in run.checkpoints.glob("*.safetensors"))
    if not snapshots:
        raise CheckpointError(f"run {str(folder)!r} has no snapshot yet.")

    def build(venv: RenderedVecEnv, seed: int) -> Sequence[PolicyFunction]:
        return [load_policy(run, config, venv, snapshot) for snapshot in snapshots]

    return Policies(f"run {folder.name}", build), max(2, len(snapshots))
