"""``vlm-rewards train TASK --dry-run``: the plan of a run on the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import say
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.training.algorithms import PPOConfig
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.plan import plan_training
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.watch import REFERENCES

_DEVICES = {"cuda": "on CUDA", "cpu": "on the CPU"}
_MARGIN = 11
_Plan = dict[str, Any]


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
    plan = plan_training(config, task_of(config))
    if as_json:
        print(json.dumps(plan, indent=2))
    else:
        _print_plan(Console(), config, plan)
    if plan["refusals"]:
        raise InvalidInputError(" ".join(plan["refusals"]))
    return 0


def _print_plan(console: Console, config: TrainConfig, plan: _Plan) -> None:
    sections = {
        "task": [f'{config.task}: "{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})'],
        "model": _model(plan["encoder"], config.reward.form),
        "held-out": _model(plan["held_out"], "") if plan["held_out"] else [],
        "shapes": _shapes(plan),
        "plan": _updates(config, plan),
        "snapshots": _snapshots(config, plan["snapshots"]),
        "frames": [_frames(plan["frames"])],
        "memory": _memory(plan),
        "fit": _fit(plan),
    }
    for label, lines in sections.items():
        for index, line in enumerate(lines):
            say(console, f"{label if index == 0 else '':<{_MARGIN}}{line}")
    if plan["updates"]["warning"]:
        console.print(f"warning: {plan['updates']['warning']}", style="yellow", markup=False, soft_wrap=True)
    if plan["paper"]:
        _print_paper(console, plan["paper"])
    say(console, "nothing was loaded, trained or written")


def _model(encoder: _Plan | None, form: str) -> list[str]:
    if encoder is None:
        return [f"none: the reward form {form!r} scores frames without an encoder"]
    name, facts = encoder["name"], encoder["facts"]
    if facts is None:
        return [f"{name}: it cannot be planned, {encoder['unknown']}", *_precisions(encoder)]
    tag, named, origin = encoder["tag"], encoder["architecture"], facts["origin"]
    named = named if tag is None else f"{named} with the weights {tag}"
    return [
        named if named == name or tag is not None else f"{name}: {named}",
        f"{_millions(facts['parameters'])} parameters, {_millions(facts['image_parameters'])} of them in the image "
        "tower",
        f"frames of {facts['image_size']} px, embeddings of {facts['embedding_dim']:,} numbers, prompts of at most "
        f"{facts['context_length']} tokens",
        "its weights are on this machine" if origin is None else f"its weights will come from {origin}",
        *_precisions(encoder),
    ]


def _precisions(encoder: _Plan) -> Iterator[str]:
    for kind, precision in encoder["precision"].items():
        if precision is None:
            yield f"{_DEVICES[kind]}: its dtype is not to be had there"
            continue
        weights = precision["weight_bytes"]
        size = "" if weights is None else f", {_bytes(weights)} of weights"
        yield f"{_DEVICES[kind]}: {precision['dtype']}{size}, at most {precision['batch_size']} frames at once"


def _shapes(plan: _Plan) -> list[str]:
    shapes, size = plan["shapes"], plan["shapes"]["frame_size"]
    frame = f"frame uint8 [n {' '.join(map(str, shapes['frame']))}], as drawn by a simulator that was tried"
    lines = [
        f"observation {_space(shapes['observation'])}; action {_space(shapes['action'])}; "
        f"episodes of {plan['horizon']} steps",
        frame if size is not None else f"{frame} at {shapes['frame'][1]} px: the size that the reward wants is unknown",
    ]
    if shapes["embedding"]:
        batches = (
            f"[{one['batch_size']} 3 {size} {size}] {one['dtype']} {_DEVICES[kind]}"
            for kind, one in plan["encoder"]["precision"].items()
            if one is not None
        )
        lines.append(f"batch for the encoder {', '.join(batches)}; embeddings float32 [n {shapes['embedding'][0]}]")
    kind, stored = _stored(plan)
    row = ", ".join(f"{name} {_array(one)}" for name, one in shapes["row"].items())
    return [*lines, f"{kind} row {row}: {stored['row_bytes']:,} bytes"]


def _updates(config: TrainConfig, plan: _Plan) -> list[str]:
    budget, watched = plan["updates"], plan["watched_against"]
    steps, each = budget["vector_steps_in_a_round"], budget["updates_in_a_round"]
    begun = "" if isinstance(config.algorithm, PPOConfig) else f" beyond step {config.algorithm.learning_starts:,}"
    return [
        f"{config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators: "
        f"{budget['rounds']:,} rollouts of {steps:,} vector steps",
        f"{budget['updates']:,} updates, {each:,} after each rollout{begun} ({each / steps:.3g} per vector step); "
        f"each transition is used {budget['replay_ratio']:.1f} times",
        f"standardised on the first {config.standardise:,} rewards" if config.standardise else "rewards stay raw",
        f"watched against the {REFERENCES[watched]}" if watched else "not watched for reward hacking",
    ]


def _snapshots(config: TrainConfig, taken: list[int]) -> list[str]:
    between = "" if len(taken) < 3 else f", about every {config.steps // config.snapshots:,}"
    return [
        f"{len(taken)}, the first after {min(taken):,} steps{between}, the last after {max(taken):,}",
        f"each is run for {config.selection_episodes} episodes; the best by VLM return for "
        f"{config.evaluation_episodes} at the end",
    ]


def _frames(frames: dict[str, int]) -> str:
    resets = f"{frames['after_resets']:,} after resets, " if frames["after_resets"] else ""
    return (
        f"{frames['total']:,} will be scored: {frames['training']:,} in training, {resets}{frames['selection']:,} to "
        f"choose a snapshot, {frames['evaluation']:,} to evaluate it"
    )


def _memory(plan: _Plan) -> list[str]:
    memory, (kind, stored) = plan["memory"], _stored(plan)
    frames, learner = memory["frames"], memory["learner"]
    flight = "frames in flight: not known, as their size is not"
    if frames is not None:
        flight = (
            f"frames in flight: {' x '.join(map(str, frames['shape']))} (slots x simulators x height x width x 3) = "
            f"{frames['nbytes']:,} bytes, {_bytes(frames['nbytes'])}; {_bytes(frames['selection_nbytes'])} more to "
            "compare snapshots"
        )
    networks = ", ".join(f"{name} {count:,}" for name, count in learner["networks"].items())
    return [
        flight,
        f"{kind}: {stored['rows']:,} rows x {stored['row_bytes']:,} bytes = {stored['nbytes']:,} bytes, "
        f"{_bytes(stored['nbytes'])}{', as it fills' if kind == 'replay' else ''}",
        f"learner: {learner['parameters']:,} numbers ({networks}), with Adam's moments {_bytes(learner['nbytes'])}",
        f"simulators: {plan['machine']['workers']} processes of at least {_bytes(memory['worker'])} each",
    ]


def _fit(plan: _Plan) -> list[str]:
    machine = plan["machine"]
    free, gpu = f"{_bytes(machine['available'])} are free here", machine["gpu_needed"]
    verdict = f"not known, as the encoder's size is not; {free}"
    if machine["needed"] is not None:
        fits = machine["fits"] and not plan["refusals"]
        own = "apart once loaded" if machine["device"] == "cuda" else "included"
        verdict = (
            f"{'it fits this machine' if fits else 'IT DOES NOT FIT this machine'}: at least "
            f"{_bytes(machine['needed'])} of memory are needed, encoder and learner {own}, and {free}"
        )
    ring = machine["ring_free"]
    where = "" if ring is None else f"{machine['ring_folder']}, where {_bytes(ring)} are free"
    here = machine["gpu_available"]
    return [
        verdict,
        *([f"the frames in flight will lie in {where}"] if where else []),
        f"on a GPU, encoder and learner take {'memory that is not known' if gpu is None else _bytes(gpu)}, and "
        f"activations come on top; {'none is used here' if here is None else f'{_bytes(here)} are free here'}",
    ]


def _print_paper(console: Console, paper: list[_Plan]) -> None:
    same = sum(one["same"] for one in paper)
    say(console, f"{'paper':<{_MARGIN}}{same} of the {len(paper)} settings that it names are the same here")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("setting", "paper", "here", ""):
        table.add_column(head, overflow="fold")
    for one in paper:
        table.add_row(one["name"], _value(one["paper"]), _value(one["here"]), "" if one["same"] else "differs")
    console.print(table, markup=False, highlight=False)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stored(plan: _Plan) -> tuple[str, _Plan]:
    kind = "replay" if "replay" in plan["memory"] else "rollout"
    return kind, plan["memory"][kind]


def _space(space: _Plan) -> str:
    if not space["space"].startswith("Box"):
        return space["space"]
    kind = f"{space['dtype']} {space['shape']}"
    return f"{kind} in [{space['low']:.4g}, {space['high']:.4g}]" if "low" in space else kind


def _array(kind: _Plan) -> str:
    return f"{kind['dtype']} {kind['shape']}" if kind["shape"] else kind["dtype"]


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 2**10:,.2f} KiB"
