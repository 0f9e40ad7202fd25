"""``vlm-rewards dataset TASK``."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import say
from vlm_rewards.cli.state_choice import StateOptions, states_of
from vlm_rewards.cli.task_choice import AboutTask, read_about_task
from vlm_rewards.errors import InvalidInputError, RunFolderError, check_prompt
from vlm_rewards.evaluation.dataset import FACTS, StateDataset, write_folder, write_npz
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.files import read_json
from vlm_rewards.offline.files import check_writable, put_folder
from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.state_access import StateSpace
from vlm_rewards.tasks.task import Task

KIND = "dataset"
"""``kind`` of the facts that a data set carries."""
COUNT = 2_000
"""States of a data set, unless told otherwise."""
_SMALL = 32  # frames of a simulator that is only asked what its state is


@dataclass(frozen=True)
class _Arguments:
    """Write states to judge rewards on as a data set: frames, simulator states, labels, episodes, origins.

    Where the task generates states of its own (the humanoid's poses), all its kinds are written in equal parts, half
    of each goals.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER_OR_FILE")]
    """What to write: a new FILE.npz, or with --format hf a new folder."""
    source: tyro.conf.OmitArgPrefixes[StateOptions] = field(default_factory=lambda: StateOptions(count=COUNT))
    """Where the states come from."""
    goal: str | None = None
    """What the state should look like, for the record; default: the task's sentence."""
    baseline: str | None = None
    """What any state looks like, for the record; default: the task's sentence."""
    size: int = 224
    """Side of the frames in pixels."""
    format: Literal["npz", "hf"] = "npz"
    """npz: one file of numpy arrays. hf: a folder of PNGs with a metadata.jsonl, which Hugging Face's datasets read as
    an image folder."""
    overwrite: bool = False
    """Replace an earlier data set; nothing else is ever replaced."""


def main(arguments: list[str]) -> int:
    """Write a data set of states."""
    about = read_about_task("dataset", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, task = about.settings, about.task
    check_size(chosen.size, "size")
    goal, baseline = _sentences(about)
    check_place(chosen.out, chosen.format, overwrite=chosen.overwrite)
    options = chosen.source
    if not options.states and task.generator is not None:
        options = dataclasses.replace(options, states=task.generator.sources)
    states = states_of(task, options)(chosen.size)
    space = None if states.states is None else _space(task)
    facts: dict[str, Any] = {
        "kind": KIND,
        "command": portable_command(arguments),
        "task": task.name,
        "goal": goal,
        "baseline": baseline,
        "criterion": task.criterion_text,
        "camera": task.camera,
        "size": chosen.size,
        "states": states.facts,
        **provenance(),
    }
    dataset = StateDataset(states, facts, *(() if space is None else (space.names, space.units)))
    try:
        _write(dataset, chosen.out, chosen.format)
    except OSError as error:
        raise RunFolderError(f"out {str(chosen.out)!r} cannot be written: {error.strerror or error}.") from error
    _print(dataset, task, chosen.out)
    return 0


def check_place(out: Path, layout: str, *, overwrite: bool) -> None:
    """Check that a data set can be written, without making anything.

    Args:
        out: Where.
        layout: ``"npz"`` or ``"hf"``.
        overwrite: Whether an earlier data set may be replaced.

    Raises:
        InvalidInputError: The name does not fit the layout, something is there that may not be replaced, or nothing
            can be written there.
    """
    if layout == "npz" and out.suffix != ".npz":
        raise InvalidInputError(f"out must end in .npz with format npz, got {str(out)!r}; --format hf writes a folder.")
    if layout == "hf" and out.suffix == ".npz":
        raise InvalidInputError(f"out must be a folder with format hf, got {str(out)!r}; --format npz writes a file.")
    if out.exists() and not (layout == "hf" and out.is_dir() and not any(out.iterdir())):
        if not (_is_npz(out) if layout == "npz" else _is_folder(out)):
            raise InvalidInputError(f"out {str(out)!r} is in use and holds no data set; it will not be overwritten.")
        if not overwrite:
            raise InvalidInputError(f"out {str(out)!r} exists already; --overwrite replaces it.")
    check_writable(out)


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


def _sentences(about: AboutTask[_Arguments]) -> tuple[str, str]:
    chosen, config = about.settings, about.config
    goal = check_prompt("goal", config.goal if chosen.goal is None else chosen.goal)
    return goal, check_prompt("baseline", config.baseline if chosen.baseline is None else chosen.baseline)


def _space(task: Task) -> StateSpace:
    with open_studio(task, _SMALL) as studio:
        return studio.space


def portable_command(arguments: Sequence[str]) -> str:
    """The command for a record: without where it wrote to, and with the names alone of what lies elsewhere.

    Args:
        arguments: What followed ``vlm-rewards dataset``.
    """
    kept: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument == "--out":
            pending = pending[1:]
        elif not argument.startswith(("--out=", "--overwrite", "--no-overwrite")):
            flag, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
            kept.append(flag + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(["vlm-rewards", "dataset", *kept])


def _write(dataset: StateDataset, out: Path, layout: str) -> None:
    if layout == "npz":
        write_npz(dataset, out)
        return
    final = out.absolute()
    staged = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        put_folder(write_folder(dataset, staged), final)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _print(dataset: StateDataset, task: Task, out: Path) -> None:
    console, states = Console(), dataset.states
    told = f"a state of {len(dataset.state_names)} numbers" if dataset.state_names else "no state: it is not told"
    say(console, f"{len(states):,} states of {task.name} from {states.facts['generator']}; {told}")
    table = Table("label", "goal states", "share", box=None, pad_edge=False)
    own = {} if states.labels is None else {"label": states.labels}
    for name, held in (own | dict(states.all_labels or {})).items():
        table.add_row(name, f"{int(held.sum()):,}", f"{held.mean():.1%}")
    if table.row_count:
        console.print(table)
    else:
        say(console, "no labels: the task has no criterion")
    say(console, str(out))
