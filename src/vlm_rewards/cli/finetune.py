"""``vlm-rewards finetune``."""

from __future__ import annotations

import tyro
from rich.console import Console

from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.run import run_finetune


def main(arguments: list[str]) -> int:
    """Train an encoder on captioned frames of simulators."""
    config = tyro.cli(FinetuneConfig, prog="vlm-rewards finetune", args=arguments)
    console = Console()
    folder = run_finetune(config, console=console)
    console.print(f"encoder:  {folder}   (use it with --encoder {folder})", soft_wrap=True)
    return 0
