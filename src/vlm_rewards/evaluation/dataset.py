"""States in files: frames with labels to fill in, or a data set that others can read, as arrays or as images."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.states import StateSet, check_new, numbered_names, open_studio
from vlm_rewards.files import read_json, sync_folder, write_atomically, write_json
from vlm_rewards.media import write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.task import Task
from vlm_rewards.templates import render


def dataset_card(
    facts: Mapping[str, Any], row: Mapping[str, Any], state_names: Sequence[str], state_units: Sequence[str]
) -> str:
    """The card, as Markdown with a YAML header, of states as their facts, a row and their dimensions tell."""
    units = state_units or [""] * len(state_names)
    dimensions = list(zip(state_names, units, strict=True))
    return render("evaluation/dataset_card.md.j2", facts=facts, columns=list(row), dimensions=dimensions)


FACTS = "facts.json"
"""File at the top of a data set's folder that says what it is; a folder without it is not ours."""
TRAIN = Path("data") / "train"
"""Where the frames of a folder lie, and their ``metadata.jsonl``."""
KIND = "dataset"
"""``kind`` of the facts that a data set carries."""
DATASET_STATES = 2_000
"""States of a data set, unless told otherwise."""
LAYOUTS = ("npz", "hf", "png")
"""How states are written: `write_npz`, `write_folder`, `write_states`."""
_SMALL = 32  # pixels of a simulator that is only asked what its state is


def check_place(out: Path, layout: str, *, overwrite: bool) -> None:
    """Check that states may be written where they are to go, without making anything.

    Args:
        out: Where.
        layout: One of `LAYOUTS`.
        overwrite: Whether an earlier data set may be replaced.

    Raises:
        InvalidInputError: The name does not fit the layout, or something is there that may not be replaced.
    """
    if (layout == "npz") != (out.suffix == ".npz"):
        wanted = "end in .npz" if layout == "npz" else "be a folder"
        raise InvalidInputError(f"save_states must {wanted} with format {layout}, got {str(out)!r}.")
    if layout == "png":
        check_new("save_states", out)
    elif out.exists() and not (layout == "hf" and out.is_dir() and not any(out.iterdir())):
        if not (_is_npz(out) if layout == "npz" else _is_folder(out)):
            raise InvalidInputError(
                f"save_states {str(out)!r} is in use and holds no data set; it will not be overwritten."
            )
        if not overwrite:
            raise InvalidInputError(f"save_states {str(out)!r} exists already; --overwrite replaces it.")


def _is_npz(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return "facts" in arrays.files and "picture" in arrays.files
    except Exception:  # whatever numpy and zipfile say of a file that is none
        return False


def _is_folder(path: Path) -> bool:
    try:
        return read_json(path / FACTS).get("kind") == KIND
    except Exception:
        return False


def state_dataset(states: StateSet, task: Task, *, command: str, goal: str, baseline: str) -> StateDataset:
    """Make a data set of states: with what they are, and what their simulator calls the numbers of a state.

    Args:
        states: The states.
        task: Their task.
        command: What made them (see `portable_command`).
        goal: What the state should look like.
        baseline: What any state looks like.
    """
    facts: dict[str, Any] = {
        "kind": KIND,
        "command": command,
        "task": task.name,
        "goal": goal,
        "baseline": baseline,
        "criterion": task.criterion_text,
        "camera": task.camera,
        "size": states.frames.shape[1],
        "states": states.facts,
        **provenance(),
    }
    if states.states is None:
        return StateDataset(states, facts)
    with open_studio(task, _SMALL) as studio:
        return StateDataset(states, facts, studio.space.names, studio.space.units)


def portable_command(verb: str, arguments: Sequence[str]) -> str:
    """The command for a data set: without where it wrote to, and with the names alone of what lies elsewhere.

    Args:
        verb: Of ``vlm-rewards``.
        arguments: What followed it.
    """
    kept: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument == "--save-states":
            pending = pending[1:]
        elif not argument.startswith(("--save-states=", "--overwrite", "--no-overwrite")):
            flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
            kept.append(flag + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(["vlm-rewards", verb, *kept])


@dataclass(frozen=True)
class StateDataset:
    """States and what they are."""

    states: StateSet
    """The states."""
    facts: dict[str, Any]
    """JSON-able: task, criterion, command, how the states were drawn, provenance."""
    state_names: tuple[str, ...] = ()
    """Dimensions of the simulator's state, as many as ``states.states`` has columns; empty where it is not known."""
    state_units: tuple[str, ...] = ()
    """Their units, such as ``"rad"``; empty texts where there is none, and none at all where nobody said."""

    def __post_init__(self) -> None:
        width = 0 if self.states.states is None else self.states.states.shape[1]
        if len(self.state_names) != width or len(self.state_units) not in (0, width):
            raise InvalidInputError(
                f"state_names and state_units must be as many as the numbers of a state, {width}, "
                f"got {len(self.state_names)} and {len(self.state_units)}."
            )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Criteria whose labels are known beside the task's own."""
        return tuple(self.states.all_labels or ())


def write_npz(dataset: StateDataset, path: Path) -> Path:
    """Write a data set as one compressed file of arrays, whole or not at all; nothing in it is pickled.

    Args:
        dataset: The states.
        path: Name of the file; folders are made.

    Returns:
        ``path``. It has ``picture`` (uint8 ``[n size size 3]``), ``group`` (int64 ``[n]``), ``facts`` (JSON), and what
        is known of ``label`` (bool ``[n]``), ``labels`` (bool ``[n c]``) with ``label_names``, ``state`` (float64
        ``[n k]``) with ``state_names`` and ``state_units``, ``true_reward`` (float64 ``[n]``) and ``origin`` (text).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **_arrays(dataset))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


def _arrays(dataset: StateDataset) -> dict[str, Any]:
    states = dataset.states
    arrays: dict[str, Any] = {"picture": states.frames, "group": states.groups}
    single = {"label": states.labels, "true_reward": states.true_rewards, "state": states.states}
    arrays |= {name: values for name, values in single.items() if values is not None}
    if states.states is not None:
        arrays |= {
            "state_names": np.array(dataset.state_names),
            "state_units": np.array(dataset.state_units, dtype="U"),
        }
    if states.all_labels:
        arrays["labels"] = np.stack(list(states.all_labels.values()), axis=1)
        arrays["label_names"] = np.array(dataset.label_names)
    if states.origins:
        arrays["origin"] = np.array(states.origins)
    return {**arrays, "facts": np.array(json.dumps(dataset.facts))}


def write_folder(dataset: StateDataset, folder: Path) -> Path:
    """Write a data set as ``datasets.load_dataset("imagefolder", data_dir=folder)`` reads it.

    Args:
        dataset: The states.
        folder: New or empty; made if it does not exist. Files that are in the way are replaced.

    Returns:
        ``folder``, with the frames and ``metadata.jsonl`` in ``data/train``, ``README.md`` and `FACTS`.
    """
    train = folder / TRAIN
    for name, frame in zip(numbered_names(0, len(dataset.states)), dataset.states.frames, strict=True):
        write_png(frame, train / name)
    lines = [json.dumps(row, allow_nan=False) + "\n" for row in _rows(dataset)]
    write_atomically(train / "metadata.jsonl", "".join(lines).encode())
    card = dataset_card(dataset.facts, next(_rows(dataset)), dataset.state_names, dataset.state_units)
    write_atomically(folder / "README.md", card.encode())
    state = {"state_names": list(dataset.state_names), "state_units": list(dataset.state_units)}
    write_json(folder / FACTS, {**dataset.facts, **(state if dataset.state_names else {})})
    return folder


def _rows(dataset: StateDataset) -> Iterator[dict[str, Any]]:
    """What is known of each state: Python's own numbers, and None for those that JSON does not have."""
    states = dataset.states
    for index, name in enumerate(numbered_names(0, len(states))):
        row: dict[str, Any] = {"file_name": name}
        if states.labels is not None:
            row["label"] = bool(states.labels[index])
        row |= {f"label_{criterion}": bool(held[index]) for criterion, held in (states.all_labels or {}).items()}
        if states.states is not None:
            row["state"] = [_finite(value) for value in states.states[index].tolist()]
        if states.true_rewards is not None:
            row["true_reward"] = _finite(float(states.true_rewards[index]))
        row["group"] = int(states.groups[index])
        if states.origins:
            row["origin"] = states.origins[index]
        yield row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
