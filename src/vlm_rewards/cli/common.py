"""What several verbs need: how a job's progress and its results appear on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text


def command_line(verb: str, arguments: Sequence[str]) -> str:
    """The command as it was typed, for a record."""
    return shlex.join(["vlm-rewards", verb, *arguments])


def say(console: Console, text: str) -> None:
    """Print a line as it is: nothing in it is markup, and it is not broken to the width of the screen."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class ConsoleProgress:
    """The `Progress` of a job in the terminal: warnings in yellow, a bar or a spinner where it is no file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Progress | Status | None = None

    def say(self, text: str, *, warning: bool = False) -> None:
        """Tell something, in one line."""
        style = "yellow" if warning else "dim" if text.startswith("note: ") else None
        told = f"warning: {text}" if warning else text
        self._console.print(told, style=style, markup=False, highlight=False, soft_wrap=True)

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage."""
        self.stop()
        if total is None:
            self._shown = self._console.status(stage)
        else:
            self._shown = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                TextColumn("{task.fields[note]}"),
                console=self._console,
                refresh_per_second=2,
            )
            self._shown.add_task(stage, total=total, note="")
        self._shown.start()

    def advance(self, done: int, note: str = "") -> None:
        """So many parts of the stage are done, in all."""
        if isinstance(self._shown, Progress):
            self._shown.update(self._shown.task_ids[0], completed=done, note=note)

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._shown is not None:
            self._shown.stop()


def print_evaluation(console: Console, evaluation: dict[str, Any], *, heading: str) -> None:
    """Print an evaluation as a small table."""
    console.print(Text(heading, style="italic"))  # as a table's title it would be broken to the table's width
    table = Table(show_header=False, box=None)
    table.add_row("episodes", str(evaluation["episodes"]))
    if evaluation.get("success_rate") is not None:
        low, high = evaluation["success_interval_95"]
        rate = f"{evaluation['success_rate']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        table.add_row("success rate", rate)
    if evaluation.get("held_share") is not None:
        table.add_row("criterion held", f"on {evaluation['held_share']:.1%} of the steps")
        kept = evaluation["held_last_half"]
        table.add_row("", f"on all of the last half in {kept} of {evaluation['episodes']} episodes")
    table.add_row("VLM return", f"{evaluation['vlm_return']:.2f} ± {evaluation['vlm_return_std']:.2f}")
    table.add_row("true return", f"{evaluation['true_return']:.2f} ± {evaluation['true_return_std']:.2f}")
    console.print(table)
