"""``vlm-rewards tasks``."""

from __future__ import annotations

import json
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from vlm_rewards.tasks.task import get_task, list_tasks


@dataclass(frozen=True)
class _Arguments:
    """List the tasks."""

    json: bool = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """List the tasks."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards tasks", args=arguments)
    tasks = [get_task(name) for name in list_tasks()]
    if chosen.json:
        keys = ("name", "goal", "baseline", "horizon", "criterion_text")
        print(json.dumps([{key: getattr(task, key) for key in keys} for task in tasks], indent=2))
        return 0
    table = Table("task", "goal", "baseline", "steps", "an episode succeeds when")
    for task in tasks:
        table.add_row(task.name, task.goal, task.baseline, str(task.horizon), task.criterion_text)
    Console().print(table)
    return 0
