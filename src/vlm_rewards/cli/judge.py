"""``vlm-rewards judge TASK``."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from vlm_rewards.cli.common import command_line, note_what_encoders_know, warn_of_unknown_words
from vlm_rewards.cli.state_choice import StateOptions, states_of
from vlm_rewards.cli.task_choice import AboutTask, read_about_task
from vlm_rewards.encoders import load_encoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.judging import ALPHAS, Judged, PromptPair, judge, prompt_pairs
from vlm_rewards.evaluation.pictures import write_states
from vlm_rewards.evaluation.states import StateSet
from vlm_rewards.files import write_json
from vlm_rewards.montage import montage, write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.judgements import draw_figures
from vlm_rewards.rewards.goal_baseline import check_alpha

RECORD = "judge.json"
_MANY_ROWS = 40
_SHOWN_STATES = 3


@dataclass(frozen=True)
class _Arguments:
    """Say how far rewards are from the truth, for every encoder, pair of sentences and alpha, before anything is
    trained. Each state is embedded once an encoder, and never again: see `vlm-rewards cache`."""

    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Encoders; default: the task's preset."""
    goal: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """Sentences: what the state should look like; default: the task's."""
    baseline: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """Sentences: what any state looks like; each goes with each goal. Default: the task's."""
    alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar="X ...")] = ALPHAS
    """Strengths of the baseline, 0 to 1."""
    focus: Annotated[float | None, tyro.conf.arg(metavar="X")] = None
    """The strength of histograms, montages and the figure over parameters; default: the one nearest 0.5."""
    source: tyro.conf.OmitArgPrefixes[StateOptions] = field(default_factory=StateOptions)
    """Where the states come from."""
    save_states: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the states as pictures with a labels.csv to fill in, and judge nothing."""
    picture_size: int = 224
    """Side in pixels of the pictures that --save-states writes."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the record, the figures and the montages; default: nothing is written."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""
    json: bool = False
    """Print the record as JSON instead of a table."""


def main(arguments: list[str]) -> int:
    """Judge rewards on a set of states."""
    about = read_about_task("judge", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, task = about.settings, about.task
    states_at = states_of(task, chosen.source)
    if chosen.save_states is not None:
        labels = write_states(states_at(chosen.picture_size), chosen.save_states)
        print(
            f"fill in: {labels}   (then judge with --labels {labels} and the same --states, --count and --state-seed)"
        )
        return 0
    console = Console(quiet=chosen.json)
    prompts, names = _check(about)
    cache = EmbeddingCache()
    make = functools.partial(_load, chosen, prompts, task.captioner is not None, task.name, console)
    encoders = [functools.partial(make, name) for name in names]
    judged = judge(encoders, prompts, chosen.alpha, states_at, embed=cache.embed, focus=chosen.focus)
    states = states_at.last()
    record = {
        "kind": "judge",
        "command": command_line("judge", arguments),
        "task": task.name,
        "criterion": task.criterion_text,
        "states": states.facts,
        "labels": None if chosen.source.labels is None else chosen.source.labels.name,
        **judged.to_dict(),
        **provenance(),
    }
    if chosen.json:
        print(json.dumps(record, indent=2))
    _print(console, record, judged, states)
    console.print(f"embedded {cache.embedded:,} pictures, found {cache.found:,} in the cache", style="dim")
    if chosen.out is not None:
        _write(chosen.out, record, judged, states, console)
    return 0


def _check(about: AboutTask[_Arguments]) -> tuple[tuple[PromptPair, ...], tuple[str, ...]]:
    """Everything that can be wrong before a model is loaded: the prompts, the encoders' names."""
    chosen, config = about.settings, about.config
    prompts = prompt_pairs(chosen.goal or (config.goal,), chosen.baseline or (config.baseline,))
    names = chosen.encoder or (config.encoder,)
    if len(set(names)) < len(names):
        raise InvalidInputError(f"encoder must be named once each, got {', '.join(names)}.")
    for name in names:
        parse_source(name)
    if not chosen.alpha:
        raise InvalidInputError("alpha must have at least one value in [0, 1], got none.")
    for alpha in chosen.alpha:
        check_alpha(alpha)
    if chosen.focus is not None and chosen.focus not in chosen.alpha:
        raise InvalidInputError(f"focus must be one of the alphas {chosen.alpha}, got {chosen.focus!r}.")
    if chosen.out is not None and chosen.out.exists() and not chosen.out.is_dir():
        raise InvalidInputError(f"out must be a folder, got the file {str(chosen.out)!r}.")
    return prompts, names


def _load(
    chosen: _Arguments, prompts: Sequence[PromptPair], captioned: bool, task: str, console: Console, name: str
) -> OpenCLIPEncoder:
    encoder = load_encoder(name, device=chosen.device, dtype=chosen.dtype)
    note_what_encoders_know(encoder, captioned=captioned, task=task, console=console)
    sentences = dict.fromkeys(text for pair in prompts for text in (pair.goal, pair.baseline))
    warn_of_unknown_words(encoder, list(sentences), console)
    return encoder


def _print(console: Console, record: dict[str, Any], judged: Judged, states: StateSet) -> None:
    facts = states.facts
    balance = "no labels" if "goal_share" not in facts else f"{facts['goal_share']:.1%} of them goal states"
    console.print(f"{facts['states']:,} states from {facts['generator']}, {balance}", markup=False, highlight=False)
    several = len(judged.prompts) > 1
    labelled = judged.reference == "labels"
    heads = ["encoder", *(["prompts"] if several else []), "alpha", "EPIC (95 % interval)"]
    table = Table(*heads, "AUROC" if labelled else "Spearman", "highest", "lowest", box=None, pad_edge=False)
    shown = judged.rows if len(judged.rows) <= _MANY_ROWS else [row for row in judged.rows if row.alpha == judged.focus]
    least = min(row.epic.value for row in shown)
    for row in shown:
        epic = f"{row.epic.value:.3f} ({row.epic.low:.3f} to {row.epic.high:.3f})"
        rank = row.spearman if row.auroc is None else row.auroc
        cells = [str(judged.encoders[row.encoder]["name"]), *([str(row.prompt + 1)] if several else [])]
        ends = [" ".join(map(str, which[:_SHOWN_STATES])) for which in (row.highest, row.lowest)]
        style = "bold" if row.epic.value == least and len(shown) > 1 else None
        table.add_row(*cells, f"{row.alpha:g}", epic, f"{rank:.3f}", *ends, style=style)
    console.print(table)
    if several:
        for number, pair in enumerate(judged.prompts, start=1):
            console.print(f"  {number}: “{pair.goal}”, baseline “{pair.baseline}”", markup=False, highlight=False)
    if len(shown) < len(judged.rows):
        console.print(
            f"of {len(judged.rows)} rows those at alpha {judged.focus:g}; --out or --json has all", style="dim"
        )
    against = "the criterion" if labelled else "the true reward"
    console.print(f"EPIC distance to {against}: 0 agrees, 0.707 is unrelated, 1 is opposite", style="dim")


def _write(out: Path, record: dict[str, Any], judged: Judged, states: StateSet, console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RECORD, record)
    written = [out / RECORD, *draw_figures(record, out, "")]
    for row in judged.rows:
        if row.alpha == judged.focus:
            path = out / f"states-{row.encoder + 1}-{row.prompt + 1}.png"
            written.append(write_png(_extremes(judged, states, row.encoder, row.prompt), path))
    for path in written:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def _extremes(judged: Judged, states: StateSet, encoder: int, prompt: int) -> Any:
    row = judged.row(encoder, prompt, judged.focus)
    chosen = [*row.highest, *row.lowest]
    captions = [
        f"{end} {place}: {_verdict(states, index)}\nstate {index}"
        for end, which in (("high", row.highest), ("low", row.lowest))
        for place, index in enumerate(which, start=1)
    ]
    pair = judged.prompts[prompt]
    heading = f"{judged.encoders[encoder]['name']}, alpha {judged.focus:g}, “{pair.goal}”: the highest, then the lowest"
    return montage(states.frames[chosen], captions, columns=6, heading=heading)


def _verdict(states: StateSet, index: int) -> str:
    if states.labels is None:
        return "?"
    return "goal" if states.labels[index] else "other"
