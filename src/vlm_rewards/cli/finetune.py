"""``vlm-rewards finetune``."""

from __future__ import annotations

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.run import run_finetune


def main(arguments: list[str]) -> int:
    """Train an encoder on captioned frames of simulators."""
    config = tyro.cli(FinetuneConfig, prog="vlm-rewards finetune", args=arguments)
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as shown:
        bars: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int, note: str) -> None:
            if what not in bars:
                bars[what] = shown.add_task(what, total=total, note=note)
            shown.update(bars[what], completed=done, note=note)

        folder = run_finetune(config, progress=progress)
    console.print(f"encoder:  {folder}   (use it with --encoder {folder})", soft_wrap=True)
    return 0
