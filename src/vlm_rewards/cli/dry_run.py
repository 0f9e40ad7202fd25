"""``vlm-rewards train TASK --dry-run``: the plan of a run on the screen."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import say
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.training.algorithms import OffPolicyConfig
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.plan import plan_training
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
    plan = plan_training(config, task_of(config))
    if as_json:
        print(json.dumps(plan, indent=2))
    else:
        _print_plan(Console(), config, plan)
    if plan["refusals"]:
        raise InvalidInputError(" ".join(plan["refusals"]))
    return 0


def _print_plan(console: Console, config: TrainConfig, plan: dict[str, Any]) -> None:
    without = [f"no encoder: the reward form {config.reward.form!r} scores frames without one"]
    taken = plan["snapshots"]
    sections = {
        "task": [f'{config.task}: "{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})'],
        "model": _model(plan["encoder"]) if plan["encoder"] else without,
        "held-out": _model(plan["held_out"]) if plan["held_out"] else [],
        "shapes": [
            *(f"{name}: {_shape(plan['shapes'][name])}" for name in ("observation", "action")),
            f"frame: uint8 {plan['shapes']['frame']}, as a simulator that was tried drew it; "
            f"the reward wants {plan['shapes']['frame_size'] or 'an unknown number of'} px",
            f"row: {', '.join(f'{name} {_shape(part)}' for name, part in plan['shapes']['row'].items())}",
        ],
        "plan": _updates(config, plan),
        "snapshots": [
            f"{len(taken)}, the first after {min(taken):,} steps, the last after {max(taken):,}; each is run for "
            f"{config.selection_episodes} episodes, the best by VLM return for {config.evaluation_episodes} at the end"
        ],
        "frames": [f"to be scored: {_pairs(plan['frames'])}"],
        "memory": [f"{part}: {_value(facts, 'bytes')}" for part, facts in plan["memory"].items()],
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


def _model(encoder: dict[str, Any]) -> list[str]:
    name, facts = encoder["name"], encoder["facts"]
    if facts is None:
        lines = [f"{name}: it cannot be planned, {encoder['unknown']}"]
    else:
        origin = facts["origin"]
        told = {key: value for key, value in facts.items() if key not in ("name", "origin")}
        weights = "are on this machine" if origin is None else f"will come from {origin}"
        lines = [f"{name}; its weights {weights}", _pairs(told)]
    for kind, precision in encoder["precision"].items():
        lines.append(f"{_DEVICES[kind]}: {_pairs(precision) if precision else 'its dtype is not to be had there'}")
    return lines


def _updates(config: TrainConfig, plan: dict[str, Any]) -> list[str]:
    budget, watched = plan["updates"], plan["watched_against"]
    steps, each = budget["vector_steps_in_a_round"], budget["updates_in_a_round"]
    begun = (
        f" beyond step {config.algorithm.learning_starts:,}" if isinstance(config.algorithm, OffPolicyConfig) else ""
    )
    return [
        f"{config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators, episodes of "
        f"{plan['horizon']} steps: {budget['rounds']:,} rollouts of {steps:,} vector steps",
        f"{budget['updates']:,} updates, {each:,} after each rollout{begun} ({each / steps:.3g} per vector step); "
        f"each transition is used {budget['replay_ratio']:.1f} times",
        f"standardised on the first {config.standardise:,} rewards" if config.standardise else "rewards stay raw",
        f"watched against the {REFERENCES[watched]}" if watched else "not watched for reward hacking",
    ]


def _fit(plan: dict[str, Any]) -> list[str]:
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
    where = f"frames in flight will lie in {machine['ring_folder']}, where {_bytes(ring)} are free; " if ring else ""
    here = machine["gpu_available"]
    return [
        verdict,
        f"{where}simulators in {machine['workers']} processes",
        f"on a GPU, encoder and learner take {'memory that is not known' if gpu is None else _bytes(gpu)}, and "
        f"activations come on top; {'none is used here' if here is None else f'{_bytes(here)} are free here'}",
    ]


def _print_paper(console: Console, paper: list[dict[str, Any]]) -> None:
    same = sum(one["same"] for one in paper)
    say(console, f"{'paper':<{_MARGIN}}{same} of the {len(paper)} settings that it names are the same here")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("setting", "paper", "here", ""):
        table.add_column(head, overflow="fold")
    for one in paper:
        table.add_row(one["name"], _value(one["paper"]), _value(one["here"]), "" if one["same"] else "differs")
    console.print(table, markup=False, highlight=False)


def _pairs(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value(value, name)}" for name, value in facts.items())


def _value(value: Any, name: str = "") -> str:
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, list | tuple):
        return (" x " if isinstance(value, list) else " ").join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,} ({_bytes(value)})" if name.endswith("bytes") else f"{value:,}"
    if value is None and name:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shape(space: dict[str, Any]) -> str:
    if not space.get("space", "Box").startswith("Box"):
        return space["space"]
    text = f"{space['dtype']} {space['shape']}" if space["shape"] else space["dtype"]
    return f"{text} in [{space['low']:.4g}, {space['high']:.4g}]" if "low" in space else text


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 2**10:,.2f} KiB"
