"""``vlm-rewards scaling TASK``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import command_line, say
from vlm_rewards.cli.judging import RewardOptions, check_out, judge_encoders, print_judged, record_of, write_judged
from vlm_rewards.cli.state_choice import StateOptions, states_of, wanted_states
from vlm_rewards.cli.task_choice import read_about_task
from vlm_rewards.encoders.openclip import resolve_device, resolve_dtype
from vlm_rewards.encoders.sizing import PlannedEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.judging import PromptPair
from vlm_rewards.evaluation.states import StateSet
from vlm_rewards.finetuning.config import FROM_SCRATCH
from vlm_rewards.finetuning.sizes import (
    Budget,
    expand,
    is_trained,
    plan_encoders,
    plan_trainings,
    train,
    training_facts,
)
from vlm_rewards.tasks.task import Task


@dataclass(frozen=True)
class _Arguments:
    """Judge encoders of several sizes on the same states: EPIC over alpha and over parameters, and histograms.

    Those that are trained here, on the same captions and budget, know the simulators: what they show is how size
    matters to encoders in their own domain, not to pretrained ones.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the record, the figures and the montages."""
    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Sizes to train (tiny-xs, tiny, tiny-m, tiny-l), pretrained models, or paper: RN50, ViT-L-14, ViT-H-14 and
    ViT-bigG-14. Default: the four sizes."""
    trained: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the encoders that are trained; those that are there are not trained again. Default: in --out."""
    budget: tyro.conf.OmitArgPrefixes[Budget] = field(default_factory=Budget)
    """What each is trained on."""
    rewards: tyro.conf.OmitArgPrefixes[RewardOptions] = field(default_factory=RewardOptions)
    """Sentences and strengths."""
    source: tyro.conf.OmitArgPrefixes[StateOptions] = field(default_factory=StateOptions)
    """Where the states come from."""
    dry_run: bool = False
    """Check the whole plan without weights and print it: names, sizes, memory, prompts, states. Nothing is written."""


def main(arguments: list[str]) -> int:
    """Train, judge and draw; or check the plan."""
    about = read_about_task("scaling", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, task, console = about.settings, about.task, Console()
    prompts = chosen.rewards.prompts(about)
    names = expand(chosen.encoder)
    check_out(chosen.out)
    folder = chosen.trained or chosen.out / "encoders"
    trainings = plan_trainings(names, chosen.budget, folder, chosen.rewards.device, task=task.name)
    there = {training.name: is_trained(training) for training in trainings}
    states_at = states_of(task, chosen.source)
    if chosen.dry_run:
        planned = plan_encoders(names)
        drawn = {size: states_at.few(size) for size in sorted({one.image_size for one in planned})}
        _check_reference(drawn, chosen.source)
        _print_plan(console, chosen, task, prompts, there, planned, drawn)
        return 0
    train(trainings, console)
    # A relative path without a dot would be taken for the name of a pretrained model.
    loaded = [str((folder / name).absolute()) if name in FROM_SCRATCH else name for name in names]
    judged = judge_encoders(task, loaded, prompts, chosen.rewards, states_at, console)
    states = states_at.last()
    record = record_of("scaling", command_line("scaling", arguments), task, chosen.source, states, judged)
    for encoder, name in zip(record["encoders"], names, strict=True):
        encoder["name"] = name  # the folder's path is of no interest to others
    record["trainings"] = [training_facts(training) for training in trainings]
    print_judged(console, judged, states)
    write_judged(chosen.out, record, judged, states, console)
    return 0


def _print_plan(
    console: Console,
    chosen: _Arguments,
    task: Task,
    prompts: Sequence[PromptPair],
    there: dict[str, bool],
    planned: Sequence[PlannedEncoder],
    drawn: dict[int, StateSet],
) -> None:
    device = resolve_device(chosen.rewards.device)
    dtype = resolve_dtype(chosen.rewards.dtype, device)
    table = Table(box=None, pad_edge=False)
    for head in ("encoder", "weights", "image tower", "pixels", f"in {dtype}"):
        table.add_column(head, no_wrap=True, justify="left" if head == "encoder" else "right")
    for one in planned:
        counts = (f"{count / 1e6:,.1f} M" for count in (one.parameters, one.image_parameters))
        memory = f"{one.memory_bytes(dtype) / 2**30:.2f} GiB"
        table.add_row(one.name, *counts, str(one.image_size), memory)
    console.print(table)
    rewards = len(prompts) * len(chosen.rewards.alpha)
    count, size = wanted_states(task, chosen.source), max(drawn)
    budget = f"{chosen.budget.steps:,} steps on {chosen.budget.states_per_task:,} states a task"
    lines = [
        *(f"{one.name} is to be fetched from {one.origin}" for one in planned if one.origin is not None),
        *(f"{name} is trained already" for name, done in there.items() if done),
        *(f"{name} is to be trained: {budget}" for name, done in there.items() if not done),
        f"device: {device.type}; one encoder is in memory at a time",
        f"states: {count:,} from {drawn[size].facts['generator']}, at {', '.join(map(str, drawn))} pixels, at most "
        f"{count * size**2 * 3 / 2**30:.2f} GiB; {len(drawn[size])} of them were drawn to see that they can be",
        f"rewards: {len(prompts)} pair{'s' if len(prompts) > 1 else ''} of prompts at {len(chosen.rewards.alpha)} "
        f"alphas, {rewards} an encoder",
        *(f"  “{pair.goal}”, baseline “{pair.baseline}”" for pair in prompts),
        f"judged against: {_reference(task, chosen.source, drawn[size])}",
        "nothing was loaded, trained or written",
    ]
    for line in lines:
        say(console, line)


def _reference(task: Task, options: StateOptions, states: StateSet) -> str:
    if options.labels is not None:
        return f"the labels of {options.labels}"
    return f"the criterion: {task.criterion_text}" if states.labels is not None else "the true reward"


def _check_reference(drawn: dict[int, StateSet], options: StateOptions) -> None:
    """There must be something to compare a reward with."""
    states = next(iter(drawn.values()))
    if options.labels is None and states.labels is None and states.true_rewards is None:
        raise InvalidInputError("the states have neither labels nor true rewards: give --labels or other --states.")
