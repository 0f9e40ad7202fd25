"""``vlm-rewards train TASK --dry-run``: the plan of a run on the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import say
from vlm_rewards.encoders.sizing import PlannedEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.rollouts import plan_rollouts
from vlm_rewards.training.algorithms import PPOConfig
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.plan import ASSUMED_SIZE, EncoderPlan, TrainingPlan, plan_training
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.watch import REFERENCES

_DEVICES = {"cuda": "on CUDA", "cpu": "on the CPU"}
_MARGIN = 11


def print_dry_run(config: TrainConfig, *, as_json: bool) -> int:
    """Check the plan of a run and print it.

    Args:
        config: The run's settings.
        as_json: As JSON.

    Returns:
        The exit code, 0.

    Raises:
        VLMRewardsError: Training would end before it began. Where this machine's memory is the reason, the plan has
            been printed.
    """
    plan = plan_training(config, task_of(config), plan_rollouts)
    console = Console()
    if as_json:
        print(json.dumps(plan.to_dict(), indent=2))
    else:
        _print_plan(console, plan)
    if plan.refusals:
        raise InvalidInputError(" ".join(plan.refusals))
    return 0


def _print_plan(console: Console, plan: TrainingPlan) -> None:
    for label, lines in _sections(plan):
        for index, line in enumerate(lines):
            say(console, f"{label if index == 0 else '':<{_MARGIN}}{line}")
    if plan.budget.warning:
        console.print(f"warning: {plan.budget.warning}", style="yellow", markup=False, soft_wrap=True)
    if plan.paper:
        _print_paper(console, plan)
    say(console, "nothing was loaded, trained or written")


def _sections(plan: TrainingPlan) -> Iterator[tuple[str, list[str]]]:
    config = plan.config
    yield "task", [f'{config.task}: "{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})']
    yield "model", _model(plan.encoder)
    if plan.held_out is not None:
        yield "held-out", _model(plan.held_out)
    yield "shapes", _shapes(plan)
    yield "plan", _updates(plan)
    yield "snapshots", _snapshots(plan)
    yield "pictures", _pictures(plan)
    yield "memory", _memory(plan)
    yield "fit", _fit(plan)


def _model(encoder: EncoderPlan) -> list[str]:
    facts = encoder.facts
    if facts is None:
        return [f"{encoder.name}: it cannot be planned, {encoder.unknown}", *_precisions(encoder)]
    named = encoder.architecture if encoder.tag is None else f"{encoder.architecture} with the weights {encoder.tag}"
    return [
        named if named == encoder.name or encoder.tag is not None else f"{encoder.name}: {named}",
        f"{_millions(facts.parameters)} parameters, {_millions(facts.image_parameters)} of them in the image tower",
        f"frames of {facts.image_size} px, embeddings of {facts.embedding_dim:,} numbers, sentences of at most "
        f"{facts.context_length} tokens",
        _origin(facts),
        *_precisions(encoder),
    ]


def _origin(facts: PlannedEncoder) -> str:
    return "its weights are on this machine" if facts.origin is None else f"its weights will come from {facts.origin}"


def _precisions(encoder: EncoderPlan) -> Iterator[str]:
    for kind, precision in encoder.precision.items():
        if precision is None:
            yield f"{_DEVICES[kind]}: its dtype is not to be had there"
            continue
        size = "" if precision.weight_bytes is None else f", {_bytes(precision.weight_bytes)} of weights"
        yield f"{_DEVICES[kind]}: {precision.dtype}{size}, at most {precision.batch_size} frames at once"


def _shapes(plan: TrainingPlan) -> list[str]:
    simulator, facts = plan.simulator, plan.encoder.facts
    frame = " ".join(map(str, simulator.frame_shape))
    lines = [
        f"observation {_space(simulator.observation_space)}; action {_space(simulator.action_space)}; "
        f"episodes of {plan.horizon} steps",
        f"frame uint8 [n {frame}], as drawn by a simulator that was tried",
    ]
    if facts is None:
        lines[1] += f" at {ASSUMED_SIZE} px: the encoder's size is not known"
    else:
        size = facts.image_size
        batches = (
            f"[{one.batch_size} 3 {size} {size}] {one.dtype} {_DEVICES[kind]}"
            for kind, one in plan.encoder.precision.items()
            if one is not None
        )
        lines.append(f"batch for the encoder {', '.join(batches)}; embeddings float32 [n {facts.embedding_dim}]")
    row = ", ".join(f"{name} {_kind(kind)}" for name, kind in plan.stored.row.items())
    lines.append(f"{plan.stored.kind} row {row}: {plan.stored.row_bytes:,} bytes")
    return lines


def _updates(plan: TrainingPlan) -> list[str]:
    config, budget = plan.config, plan.budget
    each = f"{budget.updates_in_a_round / plan.vector_steps:.3g} per vector step"
    begun = "" if isinstance(config.algorithm, PPOConfig) else f" beyond step {config.algorithm.learning_starts:,}"
    return [
        f"{config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators: {budget.rounds:,} "
        f"rollouts of {plan.vector_steps:,} vector steps",
        f"{budget.updates:,} updates, {budget.updates_in_a_round:,} after each rollout{begun} ({each}); "
        f"each transition is used {budget.replay_ratio:.1f} times",
        f"standardised on the first {config.standardise:,} rewards" if config.standardise else "rewards stay raw",
        f"watched against the {REFERENCES[plan.watched]}" if plan.watched else "not watched for reward hacking",
    ]


def _snapshots(plan: TrainingPlan) -> list[str]:
    config, taken = plan.config, plan.snapshots
    between = "" if len(taken) < 3 else f", about every {config.steps // config.snapshots:,}"
    return [
        f"{len(taken)}, the first after {min(taken):,} steps{between}, the last after {max(taken):,}",
        f"each is run for {config.selection_episodes} episodes; the best by VLM return for "
        f"{config.evaluation_episodes} at the end",
    ]


def _pictures(plan: TrainingPlan) -> list[str]:
    frames = plan.pictures
    resets = f"{frames.after_resets:,} after resets, " if frames.after_resets else ""
    batches = (
        f"{frames.batches[kind]:,} batches of at most {one.batch_size} {_DEVICES[kind]}"
        for kind, one in plan.encoder.precision.items()
        if one is not None
    )
    return [
        f"{frames.total:,} will be embedded: {frames.training:,} in training, {resets}{frames.selection:,} to "
        f"choose a snapshot, {frames.evaluation:,} to evaluate it",
        f"in {frames.chunks:,} chunks: {', '.join(batches)}",
    ]


def _memory(plan: TrainingPlan) -> list[str]:
    frames, stored, learner, machine = plan.frames, plan.stored, plan.learner, plan.machine
    if frames is None:
        flight = ["frames in flight: not known, as the encoder's frame size is not"]
    else:
        shape = " x ".join(map(str, frames.shape))
        flight = [
            f"frames in flight: {shape} (slots x simulators x height x width x 3) = {frames.nbytes:,} bytes, "
            f"{_bytes(frames.nbytes)}; {_bytes(frames.selection_nbytes)} more to compare snapshots"
        ]
    networks = ", ".join(f"{name} {count:,}" for name, count in learner.networks.items())
    filling = ", as it fills" if stored.kind == "replay" else ""
    return [
        *flight,
        f"{stored.kind}: {stored.rows:,} rows x {stored.row_bytes:,} bytes = {stored.nbytes:,} bytes, "
        f"{_bytes(stored.nbytes)}{filling}",
        f"learner: {learner.parameters:,} numbers ({networks}), with Adam's moments {_bytes(learner.nbytes)}",
        f"simulators: {machine.workers} processes of at least {_bytes(plan.simulator.worker_bytes)} each",
    ]


def _fit(plan: TrainingPlan) -> list[str]:
    machine = plan.machine
    free = f"{_bytes(machine.available)} are free here"
    if machine.needed is None:
        verdict = f"not known, as the encoder's size is not; {free}"
    else:
        fits = "it fits this machine" if machine.fits and not plan.refusals else "IT DOES NOT FIT this machine"
        own = "apart once loaded" if machine.device == "cuda" else "included"
        verdict = (
            f"{fits}: at least {_bytes(machine.needed)} of memory are needed, encoder and learner {own}, and {free}"
        )
    lines = [verdict]
    if machine.ring_free is not None:
        lines.append(
            f"the frames in flight will lie in {machine.ring_folder}, where {_bytes(machine.ring_free)} are free"
        )
    gpu = "memory that is not known" if machine.gpu_needed is None else _bytes(machine.gpu_needed)
    here = "none is used here" if machine.gpu_available is None else f"{_bytes(machine.gpu_available)} are free here"
    return [*lines, f"on a GPU, encoder and learner take {gpu}, and activations come on top; {here}"]


def _print_paper(console: Console, plan: TrainingPlan) -> None:
    same = sum(one.same for one in plan.paper)
    say(console, f"{'paper':<{_MARGIN}}{same} of the {len(plan.paper)} settings that it names are the same here")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("setting", "paper", "here", ""):
        table.add_column(head, overflow="fold")
    for one in plan.paper:
        table.add_row(one.name, _value(one.paper), _value(one.here), "" if one.same else "differs")
    console.print(table, markup=False, highlight=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _space(space: gym.Space[Any]) -> str:
    if not isinstance(space, gym.spaces.Box):
        return str(space)
    kind = f"{space.dtype} {list(space.shape)}"
    low, high = float(np.min(space.low)), float(np.max(space.high))
    return f"{kind} in [{low:.4g}, {high:.4g}]" if np.isfinite([low, high]).all() else kind


def _kind(kind: np.dtype[Any]) -> str:
    return f"{kind.base} {list(kind.shape)}" if kind.shape else str(kind)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 2**10:,.2f} KiB"
