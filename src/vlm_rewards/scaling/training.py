"""Trains the encoders of a study, those alone that are not there yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.resume import STATE
from vlm_rewards.finetuning.run import CARD, RECORD, run_finetune, settings_of
from vlm_rewards.scaling.plan import PlannedTraining


def is_trained(training: PlannedTraining) -> bool:
    """Whether the encoder is there already, trained with these settings.

    Raises:
        InvalidInputError: Another is there.
        CheckpointError: Its record is damaged.
    """
    folder = Path(training.config.out)
    if not (folder / RECORD).is_file():
        return False
    found, wanted = read_json(folder / RECORD).get("config", {}), _settings(training.config)
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        what = ", ".join(f"{key} {found.get(key)!r} instead of {wanted[key]!r}" for key in differing)
        raise InvalidInputError(
            f"trained {str(folder)!r} holds an encoder that was trained otherwise: {what}. Name another folder."
        )
    return (folder / CARD).is_file()  # written last


def train(trainings: Sequence[PlannedTraining], console: Console) -> None:
    """Train what is not there yet, one encoder after another; what was broken off goes on where it was.

    Args:
        trainings: As planned.
        console: Where progress is shown.

    Raises:
        InvalidInputError: A folder holds something else.
    """
    missing = [training for training in trainings if not is_trained(training)]
    for number, training in enumerate(missing, start=1):
        console.print(f"training {training.name} ({number} of {len(missing)})", markup=False, highlight=False)
        run_finetune(_or_go_on(training.config), console=console)


def training_facts(training: PlannedTraining) -> dict[str, Any]:
    """What the record of a study says of an encoder's training; JSON-able."""
    record = read_json(Path(training.config.out) / RECORD)
    retrieval = {task: told["retrieval"] for task, told in record["evaluation"].items()}
    kept = {key: record[key] for key in ("command", "commit", "parameters", "seconds")}
    return {"size": training.name, **kept, "final_loss": record["loss"]["mean"][-1], "retrieval": retrieval}


def _or_go_on(config: FinetuneConfig) -> FinetuneConfig:
    begun = (Path(config.out) / STATE).is_file()
    return dataclasses.replace(config, resume=True) if begun else config


def _settings(config: FinetuneConfig) -> dict[str, Any]:
    return {key: value for key, value in settings_of(config).items() if key not in ("device", "threads")}
