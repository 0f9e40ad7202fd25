"""``vlm-rewards judge TASK``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line
from vlm_rewards.cli.judging import (
    RewardOptions,
    check_encoders,
    check_out,
    judge_encoders,
    print_judged,
    record_of,
    write_judged,
)
from vlm_rewards.cli.state_choice import RECIPE, StateOptions, states_of
from vlm_rewards.cli.task_choice import read_about_task
from vlm_rewards.errors import check_count
from vlm_rewards.evaluation.states import check_new, write_states
from vlm_rewards.files import write_json


@dataclass(frozen=True)
class _Arguments:
    """Say how far rewards are from the truth, for every encoder, pair of sentences and alpha, before anything is
    trained.

    Each state is embedded once an encoder, and not again by later commands: see `vlm-rewards list cached`.
    """

    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Encoders; default: the task's preset."""
    rewards: tyro.conf.OmitArgPrefixes[RewardOptions] = field(default_factory=RewardOptions)
    """Sentences and strengths."""
    source: tyro.conf.OmitArgPrefixes[StateOptions] = field(default_factory=StateOptions)
    """Where the states come from."""
    save_states: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the states as frames with a labels.csv to fill in, and judge nothing."""
    picture_size: int = 224
    """Side in pixels of the frames that --save-states writes."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the record, the figures and the montages; default: nothing is written."""
    json: bool = False
    """Print the record as JSON instead of a table."""


def main(arguments: list[str]) -> int:
    """Judge rewards on a set of states."""
    about = read_about_task("judge", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, task = about.settings, about.task
    prompts = chosen.rewards.prompts(about)
    names = chosen.encoder or (about.config.encoder,)
    check_encoders(names)
    check_out(chosen.out)
    states_at = states_of(task, chosen.source)
    if chosen.save_states is not None:
        check_count("picture_size", chosen.picture_size, least=16)
        check_new("save_states", chosen.save_states)
        file = write_states(states_at(chosen.picture_size), chosen.save_states)
        write_json(chosen.save_states / RECIPE, states_at.recipe)
        print(f"fill in: {file}   (then judge with --labels {file}, and the same --states, --count and --state-seed)")
        return 0
    console = Console(quiet=chosen.json)
    judged = judge_encoders(task, names, prompts, chosen.rewards, states_at, console)
    states = states_at.last()
    record = record_of("judge", command_line("judge", arguments), task, chosen.source, states, judged)
    if chosen.json:
        print(json.dumps(record, indent=2))
    print_judged(console, judged, states)
    if chosen.out is not None:
        write_judged(chosen.out, record, judged, states, console)
    return 0
