"""Trains the encoders of a study, those alone that are not there yet.

Which encoders a scaling study compares, and what each will take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vlm_rewards.encoders.loading import check_encoder_name
from vlm_rewards.encoders.sizing import PlannedEncoder, plan_encoder, plan_size
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json
from vlm_rewards.finetuning.config import FROM_SCRATCH, FinetuneConfig
from vlm_rewards.finetuning.run import CARD, RECORD, run_finetune, settings_of
from vlm_rewards.finetuning.trainer import STATE
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

_QUICK_TASKS = ("cartpole", "mountaincar", "mountaincar-textured")
"""Tasks of which thousands of states are drawn in seconds; a study's encoders are trained on them."""
_PICTURES_PER_TASK = 32


@dataclass(frozen=True)
class Budget:
    """What each encoder is trained on; the same for all."""

    steps: int = 400
    """Gradient steps of each encoder that is trained."""
    states_per_task: int = 4_000
    """Captioned states of each task that it is trained on."""
    seed: int = 0
    """Seed of states, captions, weights and order."""


@dataclass(frozen=True)
class PlannedTraining:
    """An encoder that has to be trained before it can be judged."""

    config: FinetuneConfig
    """The settings; ``out`` is the encoder's folder."""

    @property
    def name(self) -> str:
        """Its size, such as ``"tiny-l"``."""
        return self.config.model


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Put the models behind ``"paper"`` in its place.

    Args:
        names: Sizes to train, pretrained models, ``"paper"``; none of them stands for all sizes.

    Raises:
        InvalidInputError: There are fewer than two, or one is named twice.
    """
    expanded = [model for name in names or FROM_SCRATCH for model in (PAPER_MODELS if name == PAPER else (name,))]
    if len(set(expanded)) < len(expanded):
        raise InvalidInputError(f"encoder must be named once each, got {', '.join(expanded)}.")
    if len(expanded) < 2:
        raise InvalidInputError(f"encoder must name at least two to compare, got {', '.join(expanded)}.")
    return tuple(expanded)


def plan_trainings(
    names: Sequence[str], budget: Budget, folder: Path, device: str = "auto", *, task: str = _QUICK_TASKS[0]
) -> list[PlannedTraining]:
    """Plan the trainings, and check the other names.

    Args:
        names: As `expand` gives them.
        budget: The budget of each.
        folder: Each encoder gets a folder of its name in it.
        device: What to train on.
        task: What they are to judge. The humanoid's states take minutes to draw, and so the encoders see them only
            where they are to judge one of its poses.

    Raises:
        VLMRewardsError: A name stands for no model, or a budget breaks a rule.
    """
    planned: list[PlannedTraining] = []
    for name in names:
        if name in FROM_SCRATCH:
            planned.append(PlannedTraining(_config(name, budget, folder / name, device, task)))
        else:
            check_encoder_name(name)
    return planned


def plan_encoders(names: Sequence[str]) -> list[PlannedEncoder]:
    """Describe all of them, without their weights."""
    return [plan_size(name) if name in FROM_SCRATCH else plan_encoder(name) for name in names]


def _config(name: str, budget: Budget, folder: Path, device: str, task: str) -> FinetuneConfig:
    return FinetuneConfig(
        tasks=(*_QUICK_TASKS, task) if task in GOALS else _QUICK_TASKS,
        model=name,
        steps=budget.steps,
        pictures_per_task=_PICTURES_PER_TASK,
        states_per_task=budget.states_per_task,
        seed=budget.seed,
        device=device,
        out=folder,
    )


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
        run_finetune(_or_go_on(training.config))


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
