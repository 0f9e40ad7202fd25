"""The settings of a run, those first that are not its preset's."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

from vlm_rewards.errors import VLMRewardsError
from vlm_rewards.reporting.report.runs import Run
from vlm_rewards.reporting.report.seeds import flat, settings_in_full
from vlm_rewards.training.algorithms import ALGORITHMS
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

_NO_CHOICE = frozenset({"task", "preset", "seed", "task_file", "task_file_sha256", "algorithm.name"})
"""Settings that say what the run is about rather than how."""


def settings_rows(run: Run) -> list[tuple[str, str]]:
    """Every setting of a run and its value, as text."""
    return [(name, _text(value)) for name, value in settings_in_full(run).items()]


def differences(run: Run) -> tuple[str, list[tuple[str, str, str]]]:
    """Compare the settings of a run to what it would have had, had nobody said anything.

    Args:
        run: The run.

    Returns:
        What was compared to, in words, and the name, the value and the usual
        value of each setting that is another.
    """
    own, config = settings_in_full(run), run.config
    algorithm = str((config.get("algorithm") or {}).get("name"))
    usual = None
    if not config.get("environment") and not config.get("task_file"):  # nobody's code is run for a report
        usual = _preset(run.task, str(config.get("preset")), algorithm)
    words = f"preset {config.get('preset')} of {run.task}"
    if usual is None:
        words, usual = "the defaults of the package", _defaults(algorithm)
    changed = [
        (name, _text(value), _text(usual[name]) if name in usual else "-")
        for name, value in own.items()
        if name not in _NO_CHOICE and (name not in usual or _text(usual[name]) != _text(value))
    ]
    return words, changed


@functools.lru_cache
def _preset(task: str, name: str, algorithm: str) -> dict[str, Any] | None:
    try:
        return flat(preset(task, name, algorithm).to_dict())
    except VLMRewardsError:  # a task or an algorithm that is not here, or not in this version
        return None


def _defaults(algorithm: str) -> dict[str, Any]:
    values = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    learning = ALGORITHMS.get(algorithm).config().to_dict() if algorithm in ALGORITHMS.names() else {}
    kept = {name: value for name, value in values.items() if value is not dataclasses.MISSING}
    return flat({**kept, "algorithm": learning, "seed": 0})


def _text(value: Any) -> str:
    """A value as JSON, so that lists and tuples, of a file and of this process, are the same; a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
