"""What commands that judge rewards have in common: their settings, the work, the table and the files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vlm_rewards.arrays import Embeddings, Frame, Frames
from vlm_rewards.cli.common import captioned_for, load_encoder_for, say
from vlm_rewards.cli.state_choice import ChosenStates, StateOptions
from vlm_rewards.cli.task_choice import AboutTask
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.encoders.loading import check_encoder_name
from vlm_rewards.encoders.openclip import resolve_device, resolve_dtype
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.judging import ALPHAS, Judged, PromptPair, judge, prompt_pairs
from vlm_rewards.evaluation.states import StateSet
from vlm_rewards.files import write_json
from vlm_rewards.media import montage, write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.figures.records import draw_figures
from vlm_rewards.rewards.goal_baseline import check_alpha
from vlm_rewards.tasks.task import Task

_MANY_ROWS = 40
_SHOWN_STATES = 3


@dataclass(frozen=True)
class RewardOptions:
    """Which rewards are judged."""

    goal: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """Sentences: what the state should look like; default: the task's."""
    baseline: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """Sentences: what any state looks like; each goes with each goal. Default: the task's."""
    alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar="X ...")] = ALPHAS
    """Strengths of the baseline, 0 to 1."""
    focus: Annotated[float | None, tyro.conf.arg(metavar="X")] = None
    """The strength of histograms, montages and the figure over parameters; default: the one nearest 0.5."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""

    def prompts(self, about: AboutTask[Any]) -> tuple[PromptPair, ...]:
        """Check everything that can be wrong before a model is loaded.

        Args:
            about: The task, with its own sentences.

        Returns:
            The pairs of prompts.

        Raises:
            InvalidInputError: A setting breaks a rule.
        """
        check_alphas(self.alpha)
        if self.focus is not None and self.focus not in self.alpha:
            raise InvalidInputError(f"focus must be one of the alphas {self.alpha}, got {self.focus!r}.")
        resolve_dtype(self.dtype, resolve_device(self.device))
        return prompt_pairs(self.goal or (about.config.goal,), self.baseline or (about.config.baseline,))


def check_alphas(alphas: Sequence[float]) -> None:
    """Check strengths of the baseline.

    Raises:
        InvalidInputError: There is none, or one is not in [0, 1].
    """
    if not alphas:
        raise InvalidInputError("alpha must have at least one value in [0, 1], got none.")
    for alpha in alphas:
        check_alpha(alpha)


def check_encoders(names: Sequence[str]) -> None:
    """Check the names of encoders.

    Raises:
        VLMRewardsError: One is named twice or does not exist.
    """
    if len(set(names)) < len(names):
        raise InvalidInputError(f"encoder must be named once each, got {', '.join(names)}.")
    for name in names:
        check_encoder_name(name)


def check_out(out: Path | None) -> None:
    """Check that a folder can be what it is to be.

    Raises:
        InvalidInputError: It is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise InvalidInputError(f"out must be a folder, got the file {str(out)!r}.")


def judge_encoders(
    task: Task,
    names: Sequence[str],
    prompts: Sequence[PromptPair],
    options: RewardOptions,
    states_at: ChosenStates,
    console: Console,
) -> Judged:
    """Load encoders one after another and judge them on the same states.

    Args:
        task: The task.
        names: What to load.
        prompts: Pairs of prompts.
        options: The rest.
        states_at: The states.
        console: Where notes go.
    """
    sentences = list(dict.fromkeys(text for pair in prompts for text in (pair.goal, pair.baseline)))

    load = functools.partial(load_encoder_for, task, device=options.device, dtype=options.dtype)
    makers = [functools.partial(load, name, sentences, console) for name in names]
    cache = EmbeddingCache()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def embed(encoder: ImageTextEncoder, frames: Frames) -> Embeddings:
            bar = progress.add_task(f"embedding, {encoder.name}", total=len(frames))
            return cache.embed(encoder, frames, lambda count: progress.advance(bar, count))

        judged = judge(makers, prompts, options.alpha, states_at, embed=embed, focus=options.focus)
    console.print(f"embedded {cache.embedded:,} frames, found {cache.found:,} in the cache", style="dim")
    return judged


def record_of(
    kind: str, command: str, task: Task, options: StateOptions, states: StateSet, judged: Judged
) -> dict[str, Any]:
    """All that was judged, JSON-able; figures are drawn from it.

    Args:
        kind: ``"judge"`` or ``"scaling"``.
        command: What was typed.
        task: The task.
        options: Where the states came from.
        states: The states.
        judged: What came out.
    """
    told = judged.to_dict()
    for row in told["rows"] if states.names else ():
        row |= {end: _named(states, row[end]) for end in ("highest", "lowest")}
    return {
        "kind": kind,
        "command": command,
        "task": task.name,
        "criterion": task.criterion_text,
        "camera": task.camera,
        "metadata": dict(task.metadata),
        "captioned": captioned_for(told["encoders"], task),
        "states": states.facts,
        "labels": None if options.labels is None else options.labels.name,
        **told,
        **provenance(),
    }


def print_judged(console: Console, judged: Judged, states: StateSet) -> None:
    """Print a row an encoder, pair of prompts and alpha; where there are too many, those at one alpha."""
    facts = states.facts
    balance = "no labels" if "goal_share" not in facts else f"{facts['goal_share']:.1%} of them goal states"
    say(console, f"{facts['states']:,} states from {facts['generator']}, {balance}")
    several, labelled = len(judged.prompts) > 1, judged.reference == "labels"
    table = Table(box=None, pad_edge=False)
    heads = ["encoder", *(["prompts"] if several else []), "alpha", "EPIC (95 % interval)"]
    for head in [*heads, "AUROC" if labelled else "Spearman", "highest", "lowest"]:
        table.add_column(head, no_wrap=head.startswith("EPIC"), overflow="fold")
    shown = judged.rows if len(judged.rows) <= _MANY_ROWS else [row for row in judged.rows if row.alpha == judged.focus]
    least = min(row.epic.value for row in shown)
    for row in shown:
        epic = f"{row.epic.value:.3f} ({row.epic.low:.3f} to {row.epic.high:.3f})"
        rank = row.spearman if row.auroc is None else row.auroc
        cells = [escape(str(judged.encoders[row.encoder]["name"])), *([str(row.prompt + 1)] if several else [])]
        ends = [" ".join(_named(states, which[:_SHOWN_STATES])) for which in (row.highest, row.lowest)]
        style = "bold" if row.epic.value == least and len(shown) > 1 else None
        table.add_row(*cells, f"{row.alpha:g}", epic, f"{rank:.3f}", *ends, style=style)
    console.print(table)
    if several:
        for number, pair in enumerate(judged.prompts, start=1):
            say(console, f"  {number}: “{pair.goal}”, baseline “{pair.baseline}”")
    if len(shown) < len(judged.rows):
        say(console, f"of {len(judged.rows)} rows those at alpha {judged.focus:g}; the record has all")
    against = "the criterion" if labelled else "the true reward"
    against = f"the labels of {facts['labels_from']}" if "labels_from" in facts else against
    say(console, f"EPIC distance to {against}: 0 agrees, 0.707 is unrelated, 1 is opposite")


def write_judged(out: Path, record: dict[str, Any], judged: Judged, states: StateSet, console: Console) -> None:
    """Write the record, its figures, and a montage of the highest and lowest states of each reward.

    Args:
        out: Folder; made if it does not exist.
        record: As `record_of` says.
        judged: What came out.
        states: The states.
        console: Where the names of the files go.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{record['kind']}.json"
    if path.is_file():  # what an earlier judgement left here: its frames would pass for those of this one
        for pattern in ("epic-over-*.png", "histograms.png", "states-*-*.png"):
            for old in out.glob(pattern):
                old.unlink()
    write_json(path, record)
    written = [path, *draw_figures(record, out, "")]
    for row in judged.rows:
        if row.alpha == judged.focus:
            frame = _extremes(judged, states, row.encoder, row.prompt)
            written.append(write_png(frame, out / f"states-{row.encoder + 1}-{row.prompt + 1}.png"))
    for path in written:
        say(console, str(path))


def _extremes(judged: Judged, states: StateSet, encoder: int, prompt: int) -> Frame:
    row = judged.row(encoder, prompt, judged.focus)
    captions = [
        f"{end} {place}: {_verdict(states, index)}\n{_named(states, [index])[0]}"
        for end, which in (("high", row.highest), ("low", row.lowest))
        for place, index in enumerate(which, start=1)
    ]
    pair = judged.prompts[prompt]
    heading = f"{judged.encoders[encoder]['name']}, alpha {judged.focus:g}, “{pair.goal}”: the highest, then the lowest"
    return montage(states.frames[[*row.highest, *row.lowest]], captions, columns=6, heading=heading)


def _named(states: StateSet, indices: Sequence[int]) -> list[str]:
    """Numbers of states; where they come from files, the files' names."""
    return [states.name(index) if states.names else str(index) for index in indices]


def _verdict(states: StateSet, index: int) -> str:
    if states.labels is None:
        return "?"
    return "goal" if states.labels[index] else "other"
