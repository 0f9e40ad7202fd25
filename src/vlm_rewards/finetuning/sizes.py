"""Encoders of several sizes, trained alike, and the paper's four: what a scaling study compares."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_rewards.encoders.sizing import PlannedEncoder, plan_encoder, plan_size
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json
from vlm_rewards.finetuning.config import FROM_SCRATCH
from vlm_rewards.finetuning.run import CARD, RECORD
from vlm_rewards.tasks.builtin import GOALS

PAPER = "paper"
"""Stands for the four models of the paper's section 4.4."""
PAPER_MODELS = (
    "RN50/openai",
    "ViT-L-14/laion2b_s32b_b82k",
    "ViT-H-14/laion2b_s32b_b79k",
    "ViT-bigG-14/laion2b_s39b_b160k",
)
"""Their names in open_clip, with its weights: OpenAI's for the ResNet, those trained on LAION-2B for the others."""
SIZES_FOLDER = Path("runs/sizes")
"""Where encoders of the sizes `FROM_SCRATCH` are looked for, each in a folder of its name, unless told otherwise."""

_QUICK_TASKS = ("cartpole", "mountaincar", "mountaincar-textured")
"""Tasks of which thousands of states are drawn in seconds; a study's encoders are trained on them."""
_BUDGET = ("--steps", "400", "--states-per-task", "4000", "--pictures-per-task", "32")
"""What each of a study's encoders is trained on."""
_OWN = ("model", "out", "device", "threads", "overwrite", "resume")
"""Settings in which encoders that were trained alike may differ."""


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Put the models behind ``"paper"`` in its place; none may be named twice."""
    expanded = tuple(model for name in names for model in (PAPER_MODELS if name == PAPER else (name,)))
    if len(set(expanded)) < len(expanded):
        raise InvalidInputError(f"encoder must be named once each, got {', '.join(expanded)}.")
    return expanded


def training_command(size: str, folder: Path, task: str) -> str:
    """The command that trains an encoder of a size, one of `FROM_SCRATCH`, as a study of a task needs it.

    The humanoid's states take minutes to draw, and so encoders see them only where they are to judge one of its poses.
    """
    tasks = (*_QUICK_TASKS, task) if task in GOALS else _QUICK_TASKS
    command = ["vlm-rewards", "finetune", "--model", size, *_BUDGET, "--tasks", *tasks, "--out", str(folder / size)]
    return shlex.join(command)


def trained_sizes(names: Sequence[str], folder: Path, task: str) -> dict[str, dict[str, Any]]:
    """Read the training records, by name, of those encoders that are of `FROM_SCRATCH`, each in a folder of its name.

    Refuses one that is not trained yet, which the message says how to do, or not as the others were.
    """
    sizes = [name for name in names if name in FROM_SCRATCH]
    missing = [size for size in sizes if not all((folder / size / file).is_file() for file in (RECORD, CARD))]
    if missing:
        commands = "\n".join(f"  {training_command(size, folder, task)}" for size in missing)
        raise InvalidInputError(f"encoder {missing[0]!r} must be trained first, in {str(folder)!r}:\n{commands}")
    records = {size: read_json(folder / size / RECORD) for size in sizes}
    settings = {
        size: {key: value for key, value in record.get("config", {}).items() if key not in _OWN}
        for size, record in records.items()
    }
    for size in sizes[1:]:
        first, own = settings[sizes[0]], settings[size]
        differing = [
            f"{key} {own.get(key)!r} instead of {first.get(key)!r}" for key in first if own.get(key) != first[key]
        ]
        if differing:
            raise InvalidInputError(
                f"encoders {sizes[0]!r} and {size!r} in {str(folder)!r} must be trained alike to be compared, "
                f"the latter has {', '.join(differing)}."
            )
    return records


def training_facts(size: str, record: dict[str, Any]) -> dict[str, Any]:
    """What the record of a study says of an encoder's training; JSON-able."""
    retrieval = {task: told["retrieval"] for task, told in record["evaluation"].items()}
    kept = {key: record[key] for key in ("command", "commit", "parameters", "seconds")}
    return {"size": size, **kept, "final_loss": record["loss"]["mean"][-1], "retrieval": retrieval}


def plan_encoders(names: Sequence[str]) -> list[PlannedEncoder]:
    """Describe encoders without their weights."""
    return [plan_size(name) if name in FROM_SCRATCH else plan_encoder(name) for name in names]
