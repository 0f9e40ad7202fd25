"""States in files: written to be labelled by people, read with the labels that people gave."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vlm_rewards.envs import letterbox
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.states import StateSet, numbered_names
from vlm_rewards.media import expand_paths, read_frames
from vlm_rewards.montage import write_png

LABELS = "labels.csv"
"""File that `write_states` writes beside the pictures, to be filled in."""

_YES, _NO = frozenset({"1", "true", "yes", "goal"}), frozenset({"0", "false", "no", "other"})


def pictured_states(folder: Path, size: int) -> StateSet:
    """Pictures of a folder as states, each an episode of its own.

    Args:
        folder: Holds pictures of any size; they are letterboxed.
        size: Side of the pictures in pixels.

    Raises:
        InvalidInputError: There are fewer than two pictures, or one cannot be read.
    """
    files = expand_paths([folder])
    if len(files) < 2:
        raise InvalidInputError(f"folder {str(folder)!r} must hold at least two pictures, got {len(files)}.")
    frames = np.stack([letterbox(next(iter(read_frames(file))).pixels, size) for file in files])
    names = tuple(file.name for file in files)
    facts = {"generator": f"pictures of {folder.name}", "seed": None, "states": len(files)}
    return StateSet(frames, None, None, np.arange(len(files)), facts, names, origins=names)


def write_states(states: StateSet, folder: Path) -> Path:
    """Write states as pictures, with a file of labels that waits to be filled in.

    Args:
        states: The states.
        folder: New or empty; made if it does not exist.

    Returns:
        The file of labels, with the columns ``file``, ``label`` (empty) and, where the task has a criterion,
        ``criterion``.

    Raises:
        InvalidInputError: There is something in the folder.
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
    """Check that a folder is new or empty.

    Args:
        field: What it is for, as the message names it.
        folder: The folder.

    Raises:
        InvalidInputError: There is something in it, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError(f"{field} must be a new or empty folder, got {str(folder)!r}.")


def read_labels(path: Path) -> dict[str, bool]:
    """Read which states show the goal.

    Args:
        path: CSV with a header and the columns ``file`` (as `write_states` names them; or ``index``, the number of a
            state) and ``label`` (1, true, yes or goal; 0, false, no or other; empty where nobody has looked yet).

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
    if key is None or "label" not in columns:
        raise InvalidInputError(f"labels {str(path)!r} must have the columns file (or index) and label, got {columns}.")
    found: dict[str, bool] = {}
    for number, row in enumerate(rows, start=2):
        text = (row["label"] or "").strip().lower()
        if not text:
            continue
        if text not in _YES | _NO:
            raise InvalidInputError(f"labels {str(path)!r}, line {number}: label must be 1 or 0, got {text!r}.")
        name = _name(key, (row[key] or "").strip(), f"labels {str(path)!r}, line {number}")
        if found.setdefault(name, text in _YES) != (text in _YES):
            raise InvalidInputError(f"labels {str(path)!r}, line {number}: {name} has another label above.")
    return found


def _name(key: str, value: str, where: str) -> str:
    if key == "file":
        return Path(value).name
    if not value.isdecimal():
        raise InvalidInputError(f"{where}: index must be the number of a state, got {value!r}.")
    return numbered_names(int(value), 1)[0]
