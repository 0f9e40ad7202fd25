"""Runs that differ in nothing but their seeds, taken together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.statistics import interquartile_mean, stratified_bootstrap_interval
from vlm_rewards.reporting.report.runs import Run
from vlm_rewards.training.config import TrainConfig

_OF_NO_ACCOUNT = frozenset(
    {"seed", "n_workers", "device", "task_file", "watch", "watch_goal", "watch_baseline", "watch_encoder"}
)
"""Settings that make no other experiment."""
_SHOWN_DIFFERENCES = 4


@dataclass(frozen=True)
class Aggregate:
    """One number of several seeds."""

    values: tuple[float, ...]
    """The seeds' own, at least one."""
    iqm: float
    """Interquartile mean; of fewer than four seeds the mean."""
    mean: float
    """Mean."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the interquartile mean over seeds; None for a single seed."""


@dataclass(frozen=True)
class Setting:
    """All runs of one setting."""

    label: str
    """The algorithm, and what tells this setting from the task's others."""
    runs: tuple[Run, ...]
    """Every run, those without an evaluation too."""
    success: Aggregate | None
    """Success rates of the seeds that were evaluated; None without a criterion or an evaluation."""
    true_return: Aggregate | None
    """Returns under the environment's own reward."""
    vlm_return: Aggregate | None
    """Returns under the VLM's reward."""

    @property
    def evaluated(self) -> int:
        """How many of the runs were evaluated."""
        return sum(run.evaluation is not None for run in self.runs)

    @property
    def repeated_seeds(self) -> tuple[int, ...]:
        """Seeds that occur more than once, and so count more than once."""
        seeds = [run.seed for run in self.runs]
        return tuple(sorted({seed for seed in seeds if seeds.count(seed) > 1}))


def settings_of(runs: Sequence[Run]) -> tuple[Setting, ...]:
    """Group the runs of a task by all that decides what they learn, except the seed.

    Args:
        runs: Of one task.

    Returns:
        The settings, in the order of their first runs.
    """
    groups: dict[str, list[Run]] = {}
    for run, identity in zip(runs, identities(runs), strict=True):
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(run)
    labels = _labels([json.loads(identity) for identity in groups])
    return tuple(
        Setting(
            label,
            tuple(group),
            *(_aggregate(group, name) for name in ("success_rate", "true_return", "vlm_return")),
        )
        for label, group in zip(labels, groups.values(), strict=True)
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, ``{"algorithm.gamma": 0.99}``."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out.update(flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return out


def settings_in_full(run: Run) -> dict[str, Any]:
    """Every setting of a run, flat; those that a record of an older version lacks have their defaults."""
    try:
        return flat(TrainConfig.from_dict(run.config).to_dict())
    except InvalidInputError:  # of another version, or of an extra that is not here
        return flat(run.config)


def identities(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What makes runs the same experiment: all settings but the seed, and the encoder's weights.

    A run that has left no record says nothing of its weights; where all others
    with that encoder had the same, so had this one.
    """
    weights: dict[str, set[str]] = {}
    for run in runs:
        weights.setdefault(str(run.config.get("encoder")), set()).update(_weights(run))
    told: list[dict[str, Any]] = []
    for run in runs:
        known = weights[str(run.config.get("encoder"))]
        own = _weights(run) or (known if len(known) == 1 else set())
        kept = {name: value for name, value in settings_in_full(run).items() if name not in _OF_NO_ACCOUNT}
        told.append({**kept, "weights": "".join(own)[:12]})
    return told


def _weights(run: Run) -> set[str]:
    digest = run.record["encoder"].get("weights_sha256")
    return {str(digest)} if digest else set()


def _aggregate(runs: Sequence[Run], name: str) -> Aggregate | None:
    said = [run.evaluation[name] for run in runs if run.evaluation is not None]
    values = [float(value) for value in said if value is not None]
    if not values or not np.isfinite(values).all():  # a return that is no number: the run's own row shows it
        return None
    interval = stratified_bootstrap_interval([values]) if len(values) > 1 else None
    return Aggregate(tuple(values), interquartile_mean(values), float(np.mean(values)), interval)


def _labels(identities: Sequence[dict[str, Any]]) -> list[str]:
    labels: list[str] = []
    for own in identities:
        alike = [other for other in identities if other.get("algorithm.name") == own.get("algorithm.name")]
        differing = [
            name
            for name in own
            if name != "algorithm.name"
            and any(other.get(name) != own[name] for other in (alike if name.startswith("algorithm.") else identities))
        ]
        told = [_difference(name, own[name]) for name in differing[:_SHOWN_DIFFERENCES]]
        if len(differing) > _SHOWN_DIFFERENCES:
            told.append(f"and {len(differing) - _SHOWN_DIFFERENCES} more")
        label = ", ".join([str(own.get("algorithm.name", "?")).upper(), *told])
        labels.append(label if label not in labels else f"{label} ({labels.count(label) + 1})")
    return labels


def _difference(name: str, value: Any) -> str:
    if name == "goal":
        return f"“{value}”"
    if name == "baseline":
        return f"baseline “{value}”"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.rsplit('.', 1)[-1].replace('_', ' ')} {shown}"
