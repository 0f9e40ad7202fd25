"""States in files: frames with labels to fill in, or a data set that others can read, as arrays or as images."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.states import StateSet, check_new, numbered_names, open_studio
from vlm_rewards.files import read_json, write_atomically, write_json
from vlm_rewards.media import write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.task import Task
from vlm_rewards.templates import render

FACTS = "facts.json"
"""File at the top of a data set's folder that says what it is; a folder without it is not ours."""
TRAIN = Path("data") / "train"
"""Where the frames of a folder lie, and their ``metadata.jsonl``."""
KIND = "dataset"
"""``kind`` of the facts that a data set carries."""
DATASET_STATES = 2_000
"""States of a data set, unless told otherwise."""
_SMALL = 32  # pixels of a simulator that is only asked what its state is


def check_place(out: Path, layout: str, *, overwrite: bool) -> None:
    """Check that states may be written where they are to go, without making anything.

    Layouts are ``npz`` (`write_npz`), ``hf`` (`write_folder`) and ``png`` (`write_states`). Refuses a name that does
    not fit the layout, and to replace what is no data set, or is one without ``overwrite``.
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
    """Make a data set of states: with what they are, and what their simulator calls the numbers of a state."""
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
    """The command for a data set: without where it wrote to, and with the names alone of what lies elsewhere."""
    kept: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument in ("--save-states", "--out"):
            pending = pending[1:]
        elif not argument.startswith(("--save-states=", "--out=", "--overwrite", "--no-overwrite")):
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


def write_npz(dataset: StateDataset, path: Path) -> Path:
    """Write a data set as one compressed file of arrays, whole or not at all; nothing in it is pickled.

    It has ``picture`` (uint8 ``[n size size 3]``), ``group`` (int64 ``[n]``), ``facts`` (JSON), and what is known of
    ``label`` (bool ``[n]``), ``labels`` (bool ``[n c]``) with ``label_names``, ``state`` (float64 ``[n k]``) with
    ``state_names`` and ``state_units``, ``true_reward`` (float64 ``[n]``) and ``origin`` (text).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(content, **_arrays(dataset))
    try:
        write_atomically(path, content.getvalue())
    finally:
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
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
        arrays["label_names"] = np.array(list(states.all_labels))
    if states.origins:
        arrays["origin"] = np.array(states.origins)
    return {**arrays, "facts": np.array(json.dumps(dataset.facts))}


def write_folder(dataset: StateDataset, folder: Path) -> Path:
    """Write a data set as ``datasets.load_dataset("imagefolder", data_dir=folder)`` reads it.

    The folder, which is made, gets frames and ``metadata.jsonl`` in ``data/train``, ``README.md`` and `FACTS`.
    """
    train = folder / TRAIN
    for name, frame in zip(numbered_names(0, len(dataset.states)), dataset.states.frames, strict=True):
        write_png(frame, train / name)
    rows = list(_rows(dataset))
    lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
    write_atomically(train / "metadata.jsonl", "".join(lines).encode())
    units = dataset.state_units or [""] * len(dataset.state_names)
    dimensions = list(zip(dataset.state_names, units, strict=True))
    told = {"facts": dataset.facts, "columns": list(rows[0]), "dimensions": dimensions}
    write_atomically(folder / "README.md", render("evaluation/dataset_card.md.j2", **told).encode())
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
