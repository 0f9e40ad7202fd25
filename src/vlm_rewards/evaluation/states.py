"""States to judge a reward on, generated or read from files: each set says where it comes from."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from vlm_rewards.arrays import Frames
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.evaluation.rollouts import PolicyFunction, reference_policy
from vlm_rewards.files import read_json
from vlm_rewards.media import expand_paths, read_frames, write_png
from vlm_rewards.seeding import check_seed, derive_seed
from vlm_rewards.tasks.rendering import letterbox
from vlm_rewards.tasks.state_access import StateMemory, StateSpace, StateStudio
from vlm_rewards.tasks.task import Task

GENERATORS = ("uniform", "random", "rule")
"""Those that need nothing but a task; a run's policies are `visited_states` with `Policies` of the run."""
RANDOM_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of random actions mixed into the one-line rule: policies of every quality, from expert to none."""

STATES = 5_000
"""States of a set, unless told otherwise. With generator "rule" and seed 0 this is the recipe that the project judges
its own encoder on. It was fixed before the encoder was judged for the first time, and stays."""
GENERATED_STATES = 2_000
"""The same where a task generates its states; with states "visited" and seed 0 it is the humanoid's recipe."""

_SIMULATORS = 16
_BATCH = 64  # states drawn a request


@dataclass(frozen=True)
class Policies:
    """Policies whose states are to be visited."""

    name: str
    """What to call them in a record."""
    build: Callable[[RenderedVecEnv, int], Sequence[PolicyFunction]]
    """Makes them for an environment, from a seed; each visits as many states as any other."""
    count: int = 1
    """How many there are, where it is known before they are made."""


@dataclass(frozen=True)
class StateSet:
    """Frames of states with what is known of each."""

    frames: Frames
    """uint8 ``[n size size 3]``."""
    labels: np.ndarray | None
    """Whether the criterion holds, bool ``[n]``; None where the task has none."""
    true_rewards: np.ndarray | None
    """The simulator's own reward of the step that led to each, float64 ``[n]``; None for states that no step led to."""
    groups: np.ndarray
    """int64 ``[n]``: states with the same number come from one episode, and are no independent draws."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """JSON-able: generator, seed, number of states, class balance, episodes."""
    names: tuple[str, ...] = ()
    """What each is called, such as its file; empty: by its number (see `name`)."""
    states: np.ndarray | None = None
    """What the simulator was in, float64 ``[n k]``; None where it cannot tell."""
    all_labels: Mapping[str, np.ndarray] | None = None
    """Criteria of other tasks with the same simulator, and this one's, by name: bool ``[n]`` each; None for none."""
    origins: tuple[str, ...] = ()
    """Where each comes from, ``n`` short texts; empty where nobody said."""

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        """What a state is called: the name of its file, as `write_states` writes it."""
        return self.names[index] if self.names else numbered_names(index, 1)[0]

    def relabelled(self, labels: Mapping[str, bool], source: str) -> StateSet:
        """Keep the states that somebody has labelled, with these labels, by `name`, instead of the criterion's.

        At least two, each of a state; ``source`` is where they come from, for the record.
        """
        places = {self.name(index): index for index in range(len(self))}
        strangers = [name for name in labels if name not in places]
        if strangers:
            raise InvalidInputError(
                f"labels of {source!r} must be of states from {self.name(0)} to {self.name(len(self) - 1)}, "
                f"got {strangers[0]!r}."
            )
        if len(labels) < 2:
            raise InvalidInputError(f"labels of {source!r} must be at least two, got {len(labels)}.")
        kept = np.array(sorted(places[name] for name in labels))
        names = tuple(self.name(index) for index in kept.tolist())
        values = np.array([labels[name] for name in names], dtype=bool)

        rows = {name: getattr(self, name) for name in ("frames", "true_rewards", "groups", "states")}
        return dataclasses.replace(
            self,
            **{name: row if row is None else row[kept] for name, row in rows.items()},
            labels=values,
            facts={**self.facts, "of_states": len(self), "labels_from": source, **_balance(values, kept)},
            names=names,
            all_labels=self.all_labels and {name: held[kept] for name, held in self.all_labels.items()},
            origins=tuple(self.origins[index] for index in kept.tolist()) if self.origins else (),
        )

    @classmethod
    def joined(cls, sets: Sequence[StateSet]) -> StateSet:
        """Put sets of the same size of frame together; what one of them does not know is dropped for all."""
        if not sets:
            raise InvalidInputError("sets must be at least one, got none.")
        if len(sets) == 1:
            return sets[0]
        offsets = np.cumsum([0, *(int(part.groups.max()) + 1 for part in sets[:-1])])
        groups = np.concatenate([part.groups + offset for part, offset in zip(sets, offsets, strict=True)])
        starts = np.cumsum([0, *map(len, sets[:-1])]).tolist()
        every = [part.names or numbered_names(start, len(part)) for part, start in zip(sets, starts, strict=True)]
        names = tuple(name for part in every for name in part) if any(part.names for part in sets) else ()
        if len(set(names)) < len(names):
            raise InvalidInputError("states of several sources must have names of their own: some files share theirs.")
        labels = _concatenated([part.labels for part in sets])
        facts = {"generator": " + ".join(str(part.facts["generator"]) for part in sets), "seed": sets[0].facts["seed"]}
        return cls(
            np.concatenate([part.frames for part in sets]),
            labels,
            _concatenated([part.true_rewards for part in sets]),
            groups,
            facts | _balance(labels, groups) | {"parts": [part.facts for part in sets]},
            names,
            _concatenated([part.states for part in sets]),
            _joined_labels([part.all_labels for part in sets]),
            tuple(text for part in sets for text in part.origins) if all(part.origins for part in sets) else (),
        )


@contextlib.contextmanager
def open_studio(task: Task, size: int, *, seed: int = 0) -> Generator[Studio]:
    """Open a simulator, in a process of its own, that can be put into states and renders them at a size in pixels.

    ``seed`` seeds the episode that ``start`` of the state space is the first state of. Refuses what cannot be put into
    a state.
    """
    factory = functools.partial(StateStudio, task, size, seed)
    venv = RenderedVecEnv([factory], image_size=size, n_workers=1, slots=2, cameras=task.cameras)
    try:
        yield Studio(venv)
    finally:
        venv.close()


class Studio:
    """Draws and judges states; made by `open_studio`."""

    def __init__(self, venv: RenderedVecEnv) -> None:
        self._venv = venv
        self.space: StateSpace = venv.env_method("state_space")[0]

    def show(self, states: np.ndarray) -> tuple[Frames, np.ndarray | None]:
        """Render and judge states, float64 ``[n k]``, n at least 1, k as many as `space` has names.

        Returns:
            Frames, uint8 ``[n size size 3]``, and where the task has a criterion whether it holds, bool ``[n]``.
        """
        names = self.space.names
        if states.ndim != 2 or len(states) == 0 or states.shape[1] != len(names) or not np.isfinite(states).all():
            raise InvalidInputError(
                f"states must be finite numbers of shape [n {len(names)}], n at least 1, for {', '.join(names)}; "
                f"got shape {states.shape}."
            )
        parts = [
            self._venv.env_method("show", states[start : start + _BATCH])[0] for start in range(0, len(states), _BATCH)
        ]
        return np.concatenate([part[0] for part in parts]), _concatenated([part[1] for part in parts])


def uniform_states(task: Task, count: int, *, seed: int, size: int) -> StateSet:
    """States drawn uniformly between the bounds of the simulator's state, which must have some.

    Dimensions without bounds (most velocities) stay as they are at the start of an episode. The states do not depend on
    ``size``, the side of the frames in pixels; nor do those of `generated_states` and `visited_states`.
    """
    check_count("count", count, least=2)
    seed = check_seed(seed)
    rng = np.random.default_rng(seed)
    with open_studio(task, size) as studio:
        space, bounded = studio.space, studio.space.bounded()
        if not bounded.any():
            raise InvalidInputError(
                f"task {task.name!r} has no state dimension with bounds to draw from: {', '.join(space.names)}. "
                "Judge states that policies visit."
            )
        states = np.tile(space.start, (count, 1))
        states[:, bounded] = rng.uniform(space.low[bounded], space.high[bounded], (count, int(bounded.sum())))
        frames, labels = studio.show(states)
    groups = np.arange(count)
    drawn = [name for name, varies in zip(space.names, bounded, strict=True) if varies]
    facts = {"generator": "uniform", "seed": seed, **_balance(labels, groups), "dimensions": drawn}
    return StateSet(frames, labels, None, groups, facts, states=states, origins=("uniform",) * count)


def generated_states(task: Task, source: str, count: int, *, seed: int, size: int) -> StateSet:
    """States of a source of the task's own generator, rendered and judged; refused where there are not so many."""
    check_count("count", count, least=2)
    if task.generator is None:
        raise InvalidInputError(f"task {task.name!r} has no generator of states.")
    generated = task.generator.generate(source, count, check_seed(seed))
    with open_studio(task, size) as studio:
        frames, labels = studio.show(generated.states)
    facts = {"generator": source, "seed": seed, **_balance(labels, generated.groups)}
    facts["episodes"] = len(np.unique(generated.groups))
    return StateSet(
        frames,
        labels,
        None,
        generated.groups,
        facts,
        states=generated.states,
        all_labels=generated.labels,
        origins=tuple(f"{source}: {origin}" for origin in generated.origins),
    )


def visited_states(task: Task, policies: Policies, count: int, *, seed: int, size: int) -> StateSet:
    """States that policies visit, each as many as any other give or take one: a random part of all their steps.

    ``seed`` seeds simulators, policies and the choice.
    """
    check_count("count", count, least=2)
    seed = check_seed(seed)
    simulators = [functools.partial(StateMemory, task, size)] * _SIMULATORS
    seed_of_episodes = derive_seed(seed, "states")
    venv = RenderedVecEnv(simulators, image_size=size, seed=seed_of_episodes, slots=2, cameras=task.cameras)
    try:
        chosen = list(policies.build(venv, derive_seed(seed, "policy")))
        if len(chosen) > count:
            raise InvalidInputError(f"count must be at least one a policy, got {count} for {len(chosen)} policies.")
        shares = equal_parts(count, len(chosen))
        rng = np.random.default_rng(derive_seed(seed, "choice"))
        parts = [_visit(venv, task, policy, share, rng) for policy, share in zip(chosen, shares, strict=True)]
    finally:
        venv.close()
    visited = StateSet.joined(parts)
    facts = {"generator": policies.name, "seed": seed, **_balance(visited.labels, visited.groups)}
    facts |= {"policies": len(chosen), "episodes": len(np.unique(visited.groups))}
    names = [policies.name]
    if len(chosen) > 1:
        names = [f"{policies.name}, policy {number} of {len(chosen)}" for number in range(1, len(chosen) + 1)]
    origins = tuple(name for name, share in zip(names, shares, strict=True) for _ in range(share))
    return dataclasses.replace(visited, facts=facts, origins=origins)


def named_policies(name: str, task: Task) -> Policies:
    """The policies behind ``"random"``, uniform actions, or ``"rule"``, the task's with shares of random actions."""
    if name not in ("random", "rule"):
        raise unknown_name("policies", name, ("random", "rule"))
    if name == "random":
        return Policies(name, lambda venv, seed: [reference_policy("random", task, venv.action_space, seed=seed)])
    if task.rule is None:
        raise InvalidInputError(f"states 'rule' need a one-line rule, and task {task.name!r} has none.")

    def mixed(venv: RenderedVecEnv, seed: int) -> list[PolicyFunction]:
        rule = reference_policy("rule", task, venv.action_space)
        random = reference_policy("random", task, venv.action_space, seed=seed)
        return [_mixture(rule, random, share, np.random.default_rng([seed, 1])) for share in RANDOM_SHARES]

    return Policies(name, mixed)


def _mixture(one: PolicyFunction, two: PolicyFunction, share: float, rng: np.random.Generator) -> PolicyFunction:
    """Takes ``two``'s action in a random share of steps, each simulator by itself."""

    def act(observations: np.ndarray) -> np.ndarray:
        first, second = one(observations), two(observations)
        swap = rng.random(len(observations)) < share
        return np.where(swap.reshape(-1, *[1] * (first.ndim - 1)), second, first)

    return act


def _visit(venv: RenderedVecEnv, task: Task, policy: PolicyFunction, count: int, rng: np.random.Generator) -> StateSet:
    """States of one policy: whole episodes of every simulator are run, and a part of their steps is kept."""
    venv.seed(int(rng.integers(2**32)))
    steps = max(task.horizon, -(-count // venv.num_envs))
    kept = np.zeros((steps, venv.num_envs), dtype=bool)
    kept.flat[rng.choice(kept.size, count, replace=False)] = True
    observations = venv.reset()
    episodes = np.arange(venv.num_envs)
    frames: list[np.ndarray] = []
    labels: list[bool | None] = []
    rewards: list[float] = []
    groups: list[int] = []
    for row in kept:
        observations, _, dones, infos = venv.step(policy(cast("np.ndarray", observations)))
        if row.any():
            frames.append(venv.last_frames()[row])
        for index in np.flatnonzero(row).tolist():
            labels.append(infos[index].get("criterion"))
            rewards.append(float(infos[index]["true_reward"]))
            groups.append(int(episodes[index]))
        episodes[dones] += venv.num_envs
    known = None if task.criterion is None else np.array(labels, dtype=bool)
    facts = {"generator": "", "seed": 0}
    states = _remembered(venv.env_method("take_states"), kept)
    return StateSet(np.concatenate(frames), known, np.array(rewards), np.array(groups), facts, states=states)


def _remembered(told: Sequence[np.ndarray | None], kept: np.ndarray) -> np.ndarray | None:
    """States of the steps that are kept, in the order of their frames: float64 ``[n k]``."""
    states = [part for part in told if part is not None]
    if len(states) < len(told) or len({part.shape for part in states}) > 1:
        return None
    return np.stack(states, axis=1)[kept]


def equal_parts(count: int, parts: int) -> list[int]:
    """Divide a number of states into parts that differ by one at most."""
    return [count * (index + 1) // parts - count * index // parts for index in range(parts)]


def numbered_names(start: int, count: int) -> tuple[str, ...]:
    """Names of ``count`` states that have none but their numbers, as `write_states` names their frames."""
    return tuple(f"state_{index:05d}.png" for index in range(start, start + count))


def _balance(labels: np.ndarray | None, groups: np.ndarray) -> dict[str, Any]:
    facts: dict[str, Any] = {"states": len(groups)}
    if labels is not None:
        facts |= {"goal_states": int(labels.sum()), "goal_share": round(float(labels.mean()), 4)}
    return facts


def _joined_labels(parts: Sequence[Mapping[str, np.ndarray] | None]) -> dict[str, np.ndarray] | None:
    known = [part for part in parts if part is not None]
    names = [name for name in known[0] if all(name in part for part in known)] if len(known) == len(parts) else []
    return {name: np.concatenate([part[name] for part in known]) for name in names} or None


def _concatenated(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


LABELS = "labels.csv"
"""File that `write_states` writes beside the frames, to be filled in."""

_YES, _NO = frozenset({"1", "true", "yes", "goal"}), frozenset({"0", "false", "no", "other"})


def file_states(folder: Path, size: int) -> StateSet:
    """Frames of a folder, at least two of any size, as states, each an episode of its own; they are letterboxed."""
    files = expand_paths([folder])
    if len(files) < 2:
        raise InvalidInputError(f"folder {str(folder)!r} must hold at least two frames, got {len(files)}.")
    frames = np.stack([letterbox(next(iter(read_frames(file))).pixels, size) for file in files])
    names = tuple(file.name for file in files)
    facts = {"generator": f"frames of {folder.name}", "seed": None, "states": len(files)}
    return StateSet(frames, None, None, np.arange(len(files)), facts, names, origins=names)


def write_states(states: StateSet, folder: Path) -> Path:
    """Write states as frames into a new or empty folder, with a file of labels that waits to be filled in.

    Returns:
        The file of labels, with the columns ``file``, ``label`` (empty) and, where the task has a criterion,
        ``criterion``.
    """
    check_new("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    known = states.labels is not None
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "label", *(["criterion"] if known else [])])
        for index, frame in enumerate(states.frames):
            write_png(frame, folder / states.name(index))
            verdict = [int(states.labels[index])] if states.labels is not None else []
            writer.writerow([states.name(index), "", *verdict])
    return folder / LABELS


def check_new(field: str, folder: Path) -> None:
    """Check that a folder is new or empty; ``field`` is what it is for, as the message names it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError(f"{field} must be a new or empty folder, got {str(folder)!r}.")


def read_labels(path: Path, column: str = "label") -> dict[str, bool]:
    """Read which states show the goal.

    Args:
        path: CSV with a header and the columns ``file`` (as `write_states` names them; or ``index``, the number of a
            state) and ``label`` (1, true, yes or goal; 0, false, no or other; empty where nobody has looked yet).
        column: Another column to read in place of ``label``.

    Returns:
        Labels by the name of the file; rows without a label are left out.

    Raises:
        InvalidInputError: It is something else, or a state has two different labels.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"labels {str(path)!r} cannot be read: {error}.") from None
    key = next((name for name in ("file", "index") if name in columns), None)
    if key is None or column not in columns:
        raise InvalidInputError(
            f"labels {str(path)!r} must have the columns file (or index) and {column}, got {columns}."
        )
    found: dict[str, bool] = {}
    for number, row in enumerate(rows, start=2):
        text = (row[column] or "").strip().lower()
        if not text:
            continue
        if text not in _YES | _NO:
            raise InvalidInputError(f"labels {str(path)!r}, line {number}: {column} must be 1 or 0, got {text!r}.")
        name = _name(key, (row[key] or "").strip(), f"labels {str(path)!r}, line {number}")
        if found.setdefault(name, text in _YES) != (text in _YES):
            raise InvalidInputError(f"labels {str(path)!r}, line {number}: {name} has another label above.")
    return found


def goal_files(paths: Sequence[str]) -> tuple[str, ...]:
    """Files that show the goal: of a folder that `write_states` wrote, those labelled so, or else by the criterion."""
    files: list[str] = []
    for path in paths:
        folder = Path(path)
        if not folder.is_dir():
            files.append(path)
            continue
        labels = read_labels(folder / LABELS) or read_labels(folder / LABELS, "criterion")
        goals = [str(folder / name) for name, held in labels.items() if held]
        if not goals:
            raise InvalidInputError(f"goal_pictures {path!r} must have a frame that its labels call a goal, got none.")
        files += goals
    return tuple(files)


def _name(key: str, value: str, where: str) -> str:
    if key == "file":
        return Path(value).name
    if not value.isdecimal():
        raise InvalidInputError(f"{where}: index must be the number of a state, got {value!r}.")
    return numbered_names(int(value), 1)[0]


RECIPE = "states.json"
"""File beside the frames of states that says how to draw the same again."""
_FEW = 4  # states of each source that are drawn to see that they can be


@dataclass(frozen=True)
class _Source:
    """A place that states come from."""

    draw: Callable[[int, int], StateSet]
    """States of a size of frame, as many as said."""
    count: int
    """How many are wanted."""
    least: int = 2 * _FEW
    """How many it takes to see that it works."""
    files: tuple[str, ...] = ()
    """Names of its frames, where it is a folder of them."""


class ChosenStates:
    """States for any size of frame, drawn when they are needed; made by `states_of`."""

    def __init__(self, sources: Sequence[_Source], labels: Path | None, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self._sources = sources
        self._file, self._labels = labels, {} if labels is None else read_labels(labels)
        self._last: tuple[int, StateSet] | None = None  # encoders of one size follow each other as a rule
        if labels is not None:
            self._check_labels(labels)

    def __call__(self, size: int) -> StateSet:
        """Draw the states with frames of a size in pixels; those drawn last are kept."""
        if self._last is None or self._last[0] != size:
            self._last = None  # before there are more: thousands of frames are some GB
            states = StateSet.joined([source.draw(size, source.count) for source in self._sources])
            if self._file is not None:
                states = states.relabelled(self._labels, self._file.name)
            self._last = size, states
        return self._last[1]

    def few(self, size: int) -> StateSet:
        """Draw a few states from each source, to see that it can be done; labels of a file are not looked at."""
        return StateSet.joined([source.draw(size, min(source.least, source.count)) for source in self._sources])

    def last(self) -> StateSet:
        """The states as they were drawn last."""
        if self._last is None:
            raise InvalidInputError("the states have not been drawn yet.")
        return self._last[1]

    def _check_labels(self, file: Path) -> None:
        """Labels of other states would be taken for those of these without a word: they have nothing but numbers."""
        recipe, beside = self.recipe, file.parent / RECIPE
        if beside.is_file() and not any(source.files for source in self._sources):
            written = read_json(beside)
            differing = [
                f"{key} {written.get(key)!r} instead of {recipe[key]!r}"
                for key in recipe
                if written.get(key) != recipe[key]
            ]
            if differing:
                raise InvalidInputError(f"labels {str(file)!r} are of other states: {', '.join(differing)}.")
        known: list[str] = []
        for source in self._sources:
            known += source.files or numbered_names(len(known), source.count)
        strangers = self._labels.keys() - set(known)
        if strangers:
            first = next(name for name in self._labels if name in strangers)
            raise InvalidInputError(f"labels {str(file)!r} must be of the {len(known):,} states, got {first!r}.")


def states_of(
    task: Task,
    sources: Sequence[str] = (),
    *,
    count: int | None = None,
    seed: int = 0,
    labels: Path | None = None,
    policies_of: Callable[[Path], Policies] | None = None,
) -> ChosenStates:
    """Check where states are to come from; draw them later, for any size of frame.

    Args:
        task: The task.
        sources: ``"uniform"``, ``"random"``, ``"rule"``, the task's own generators', the folder of a run, or a folder
            of frames; default: the task's first generator, or else its rule, or else random actions.
        count: How many states, in equal parts from each source but folders of frames; default: `STATES`, or
            `GENERATED_STATES` where the task generates them.
        seed: Seeds them, in ``[0, 2**32)``.
        labels: File of labels in place of the criterion's (see `read_labels`); states without one are dropped.
        policies_of: Reads the policies of a run, whose folder has a ``config.json``; None: runs are no source.

    Returns:
        The states for a size of frame, as `judge` takes them.

    Raises:
        InvalidInputError: There is no such source, it is of another task, or labels are not of these states.
    """
    if task.cameras > 1:
        raise InvalidInputError(
            f"cameras must be one where rewards are judged, got {task.cameras}: judge each by itself, with --cameras."
        )
    own = () if task.generator is None else tuple(task.generator.sources)
    names = tuple(sources) or (own or ("rule" if task.rule is not None else "random",))[:1]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"states must be named once each, got {', '.join(names)}.")
    if count is None:
        count = GENERATED_STATES if own else STATES
    check_count("count", count, least=2 * len(names))
    check_seed(seed)

    def source(name: str, share: int) -> _Source:
        if name == "uniform":
            return _Source(lambda size, count: uniform_states(task, count, seed=seed, size=size), share, _FEW)
        if name in own:
            return _Source(lambda size, count: generated_states(task, name, count, seed=seed, size=size), share)
        if name in GENERATORS:
            policies, least = named_policies(name, task), 2 * _FEW
        elif policies_of is not None and (Path(name) / "config.json").is_file():
            policies = policies_of(Path(name))
            least = max(2, policies.count)
            check_count("count", share, least=least)
        elif Path(name).is_dir():
            return _folder_source(Path(name), labels)
        else:
            known = ", ".join((*GENERATORS, *own))
            raise InvalidInputError(f"states must be {known}, the folder of a run or a folder of images; got {name!r}.")
        return _Source(lambda size, count: visited_states(task, policies, count, seed=seed, size=size), share, least)

    shares = equal_parts(count, len(names))
    recipe = {"task": task.name, "states": list(names), "count": count, "state_seed": seed}
    return ChosenStates([source(*each) for each in zip(names, shares, strict=True)], labels, recipe)


def _folder_source(folder: Path, labels: Path | None) -> _Source:
    if labels is None:
        raise InvalidInputError(
            f"states from the frames of {str(folder)!r} need --labels: nobody knows what they show."
        )
    files = tuple(file.name for file in expand_paths([folder]))
    return _Source(lambda size, _: file_states(folder, size), len(files), _FEW, files)
