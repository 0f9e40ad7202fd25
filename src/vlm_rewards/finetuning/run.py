"""`run_finetune`: from settings to a folder with a model, its card and its record.

How a model ranks a task's states: what a fine-tuning must get right for a reward to be of use.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.openclip import count_parameters, resolve_device
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.encoders.trainable import SIZES, TrainableModel, build_tiny, freeze, load_trainable, save_folder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.finetuning.card import model_card
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.dataset import CaptionedStates, captioned_tasks, draw_states
from vlm_rewards.finetuning.trainer import STATE, Keeper, Trainer, load_state
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.tasks.task import Task

Progress: TypeAlias = Callable[[str, int, int, str], object]
"""Told what is being done, how much of it, of how much, and a note: ``("training", 10, 6000, "loss 3.214")``."""

ALPHAS = (0.0, 0.5, 1.0)
_GROUP = 64


def retrieval(encoder: ImageTextEncoder, data: CaptionedStates, rng: np.random.Generator) -> dict[str, float]:
    """How often the right one of (up to) 64 captions, or frames, of one task is nearest.

    It cannot reach 1: most captions are true of several of the 64 states.

    Returns:
        ``picture_to_caption``, ``caption_to_picture`` and ``chance``, each in [0, 1].
    """
    count = len(data.states)
    seen = encoder.embed_images(data.pictures)
    said = encoder.embed_texts(data.captions(np.arange(count), rng))
    forth, back, size = [], [], min(_GROUP, count)
    for start in range(0, count - size + 1, size):
        scores = seen[start : start + size] @ said[start : start + size].T
        forth += (scores.argmax(1) == np.arange(size)).tolist()
        back += (scores.argmax(0) == np.arange(size)).tolist()
    return {
        "picture_to_caption": round(float(np.mean(forth)), 4),
        "caption_to_picture": round(float(np.mean(back)), 4),
        "chance": round(1 / size, 4),
    }


def landscape(encoder: ImageTextEncoder, task: Task) -> dict[str, Any] | None:
    """Reward of the task's own prompts along the axis that its captioner offers.

    Returns:
        Per alpha: where the mean reward is greatest, the range of that place over all other
        coordinates, and the mean reward at some places, scaled to [0, 1]. None if the captioner has
        no ``axis`` method.
    """
    axis_of = getattr(task.captioner, "axis", None)
    if axis_of is None or task.captioner is None:
        return None
    axis = axis_of()
    places, others = axis.states.shape[:2]
    frames = draw_states(task.captioner, axis.states.reshape(places * others, -1), encoder.image_size)
    seen = encoder.embed_images(frames)
    goal, baseline = encoder.embed_texts([task.goal, task.baseline])
    report: dict[str, Any] = {"axis": axis.label, "unit": axis.unit}
    for alpha in ALPHAS:
        rewards = goal_baseline_reward(seen, goal, baseline, alpha).reshape(places, others)
        report[f"alpha {alpha:g}"] = _facts(axis.values, rewards, axis.marks)
    return report


def _facts(values: np.ndarray, rewards: np.ndarray, marks: tuple[float, ...]) -> dict[str, Any]:
    mean = rewards.astype(np.float64).mean(1)
    scaled = (mean - mean.min()) / max(float(np.ptp(mean)), 1e-12)
    best = values[rewards.argmax(0)]
    return {
        "best": round(float(values[mean.argmax()]), 4),
        "best_lowest": round(float(best.min()), 4),
        "best_highest": round(float(best.max()), 4),
        "spread": round(float(np.ptp(mean)), 4),
        "scaled_reward": {f"{mark:g}": round(float(np.interp(mark, values, scaled)), 3) for mark in marks},
    }


RECORD = "training_record.json"
CARD = "MODEL_CARD.md"
_WHERE = ("out", "overwrite", "resume")
"""Settings that do not decide the weights."""


def run_finetune(config: FinetuneConfig, *, progress: Progress = lambda what, done, total, note: None) -> Path:
    """Train an encoder on captioned frames of simulators, and save it.

    Args:
        config: Settings.
        progress: Told of each state that is drawn and each step.

    Returns:
        The folder, which `load_encoder` takes: ``open_clip_config.json``,
        ``open_clip_model.safetensors``, ``MODEL_CARD.md`` and ``training_record.json``.
        As long as the training is not finished it holds ``state.npz``, from which
        `FinetuneConfig.resume` goes on.

    Raises:
        InvalidInputError: A setting breaks a rule, or there is nothing to resume; nothing has been started.
        CheckpointError: The state to resume from is damaged, or of other versions of packages.
        RunFolderError: The state cannot be written, for want of room for example.
    """
    tasks = captioned_tasks(config.tasks)
    device = resolve_device(config.device)
    if config.model not in SIZES:
        parse_source(config.model)  # a name that does not exist leaves no folder behind
    keeper = _prepare_folder(config)
    folder = Path(config.out)
    with _reproducible(config):
        record, trained = _train(config, tasks, device, progress, keeper)
    save_folder(trained, folder)
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(record, tasks), encoding="utf-8")
    keeper.forget()
    return folder


def _train(
    config: FinetuneConfig, tasks: list[Task], device: torch.device, progress: Progress, keeper: Keeper
) -> tuple[dict[str, Any], TrainableModel]:
    """Draw, train and evaluate; the record and the model."""
    started = time.perf_counter()
    trained = _model(config)
    facts = {
        "config": settings_of(config),
        "parameters": {
            "image_tower": count_parameters(trained.model.visual),
            "all": count_parameters(trained.model),
        },
        "device": device.type,
        **provenance(),
        "commit": keeper.commit,
    }
    if keeper.resumed:
        facts["resumed"] = keeper.resumed
    data, held_out = _draw_states(config, tasks, trained.preprocessing.height, progress)
    drawn = time.perf_counter()
    trainer = Trainer(config, trained, data, device)
    saved = None if keeper.earlier is None else keeper.earlier["trainer"]
    done = 0 if saved is None else len(saved["losses"])
    progress("training", done, config.steps, "")
    keeper.start()
    trainer.run(
        lambda loss: progress("training", len(trainer.losses), config.steps, f"loss {loss:.3f}"),
        keep=keeper,
        saved=saved,
    )
    trained_for = keeper.seconds()
    record = {
        "command": command_line(config),
        **facts,
        "seconds": {"drawing": round(drawn - started, 1), "training": round(trained_for, 1)},
        "loss": _curve(trainer.losses),
        "logit_scale": round(float(trained.model.logit_scale.detach().exp()), 3),
        "evaluation": _evaluate(config, trained, tasks, held_out),
    }
    return record, trained


@contextmanager
def _reproducible(config: FinetuneConfig) -> Iterator[None]:
    """Torch's own generator and threads as the settings say, and as they were afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _prepare_folder(config: FinetuneConfig) -> Keeper:
    folder = Path(config.out)
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"out must be a folder, got the file {str(folder)!r}.")
    path, settings = folder / STATE, settings_of(config)
    if config.resume:
        return Keeper(path, settings, load_state(path, settings))
    if path.is_file() and not config.overwrite:
        raise InvalidInputError(
            f"out: the folder {str(folder)!r} holds a training that was broken off; go on with --resume (in Python "
            "resume=True), or pass --overwrite to begin again."
        )
    if folder.is_dir() and any(folder.iterdir()) and not config.overwrite:
        raise InvalidInputError(
            f"out: the folder {str(folder)!r} is not empty; pass --overwrite (in Python overwrite=True) to write "
            "into it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(path, settings)
    keeper.forget()
    return keeper


def _model(config: FinetuneConfig) -> TrainableModel:
    if config.model in SIZES:
        return build_tiny(config.loss, config.model)
    trained = load_trainable(config.model)
    freeze(trained.model, config.freeze, config.unlocked_groups)
    return trained


def _draw_states(
    config: FinetuneConfig, tasks: list[Task], size: int, progress: Progress
) -> tuple[list[CaptionedStates], list[CaptionedStates]]:
    """States to train on, and others to evaluate on, of each task."""
    sets: tuple[list[CaptionedStates], list[CaptionedStates]] = ([], [])
    counts = [(config.states_per_task * config.share(number), config.held_out_states) for number in range(len(tasks))]
    total, drawn = sum(map(sum, counts)), itertools.count(1)

    def advance() -> None:
        progress("drawing states", next(drawn), total, "")

    for number, task in enumerate(tasks):
        for kind, count in enumerate(counts[number]):
            rng = np.random.default_rng([config.seed, 0, number, kind])
            if task.captioner is not None:
                sets[kind].append(CaptionedStates.draw(task.captioner, count, size, rng, advance))
    return sets


def _evaluate(
    config: FinetuneConfig, trained: TrainableModel, tasks: list[Task], held_out: list[CaptionedStates]
) -> dict[str, Any]:
    encoder = trained.encoder()
    report: dict[str, Any] = {}
    for task, states in zip(tasks, held_out, strict=True):
        rng = np.random.default_rng([config.seed, 3])
        report[task.name] = {"retrieval": retrieval(encoder, states, rng), "landscape": landscape(encoder, task)}
    return report


def _curve(losses: list[float], points: int = 40) -> dict[str, list[float]]:
    """The loss as means over equal stretches of the training."""
    parts = np.array_split(np.asarray(losses), min(points, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    return {"step": ends.tolist(), "mean": [round(float(part.mean()), 4) for part in parts]}


def settings_of(config: FinetuneConfig) -> dict[str, Any]:
    """The settings that decide the weights, as they are written to the record."""
    left_out = _WHERE if config.shares else (*_WHERE, "shares")  # older records have none
    return {key: value for key, value in config.to_dict().items() if key not in left_out}


def command_line(config: FinetuneConfig) -> str:
    """The command that makes the same model again, with the settings that are not defaults."""
    words = ["vlm-rewards finetune"]
    for setting in dataclasses.fields(FinetuneConfig):
        value = getattr(config, setting.name)
        if setting.name not in _WHERE and value != setting.default:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"--{setting.name.replace('_', '-')} {shown}")
    return " ".join([*words, "--out FOLDER"])
