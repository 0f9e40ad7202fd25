"""The settings of runs: what tells them apart, what is not usual, and what all seeds of one amount to."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm_rewards.errors import InvalidInputError, VLMRewardsError
from vlm_rewards.evaluation.statistics import interquartile_mean, stratified_bootstrap_interval
from vlm_rewards.reporting.gathering import Run
from vlm_rewards.training.algorithms import ALGORITHMS, get_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

RESAMPLES = 10_000
"""Of the bootstrap over seeds."""

# Settings that make no other experiment, and settings that say what the run is about rather than how.
_OF_NO_ACCOUNT = {"seed", "n_workers", "device", "task_file", "watch", "watch_goal", "watch_baseline", "watch_encoder"}
_NO_CHOICE = {"task", "preset", "seed", "task_file", "task_file_sha256", "algorithm.name"}
_SHOWN_DIFFERENCES = 4


@dataclass(frozen=True)
class Setting:
    """All runs of one setting."""

    label: str
    """The algorithm, and what tells this setting from the task's others."""
    runs: tuple[Run, ...]
    """Every run, those without an evaluation too."""
    success: dict[str, Any]
    """Success rates of the seeds that were evaluated, as `aggregate` says; none without a criterion or evaluation."""
    true_return: dict[str, Any]
    """Returns under the environment's own reward."""
    vlm_return: dict[str, Any]
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
    """Group the runs of a task by all that decides what they learn, except the seed; in the order of first runs."""
    groups: dict[str, list[Run]] = {}
    for run, identity in zip(runs, identities(runs), strict=True):
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(run)
    labels = _labels([json.loads(identity) for identity in groups])
    scores = ("success_rate", "true_return", "vlm_return")
    return tuple(
        Setting(label, tuple(group), *(_aggregate(group, name) for name in scores))
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
    """What makes runs the same experiment: all settings but the seed, and the encoder's weights."""
    own = [str(run.record["encoder"].get("weights_sha256") or "") for run in runs]
    names = [str(run.config.get("encoder")) for run in runs]
    told: list[dict[str, Any]] = []
    for run, digest, name in zip(runs, own, names, strict=True):
        # A run that has left no record says nothing of its weights; where all others with that encoder had the same,
        # so had this one.
        others = {other for other, its in zip(own, names, strict=True) if other and its == name}
        digest = digest or (others.pop() if len(others) == 1 else "")
        kept = {key: value for key, value in settings_in_full(run).items() if key not in _OF_NO_ACCOUNT}
        told.append({**kept, "weights": digest[:12]})
    return told


def _aggregate(runs: Sequence[Run], name: str) -> dict[str, Any]:
    said = [run.evaluation[name] for run in runs if run.evaluation is not None]
    values = [float(value) for value in said if value is not None]
    return aggregate(values if np.isfinite(values).all() else [])  # what is no number, the run's own row shows


def aggregate(seeds: Sequence[float]) -> dict[str, Any]:
    """What the seeds of a setting amount to.

    Returns:
        ``seeds``, their ``mean`` and ``iqm`` (interquartile mean; of fewer than four seeds the mean), None where there
        is no seed, and ``mean_interval_95`` and ``iqm_interval_95`` (bootstrap over seeds), None where there is one.
    """
    summary: dict[str, Any] = {"seeds": list(seeds)}
    for name, statistic in (("mean", np.mean), ("iqm", interquartile_mean)):
        summary[name] = float(statistic(seeds)) if len(seeds) else None
        enough = len(seeds) > 1
        interval = stratified_bootstrap_interval([seeds], statistic, resamples=RESAMPLES) if enough else None
        summary[f"{name}_interval_95"] = None if interval is None else list(interval)
    return summary


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


def settings_rows(run: Run) -> list[tuple[str, str]]:
    """Every setting of a run and its value, as text."""
    return [(name, _text(value)) for name, value in settings_in_full(run).items()]


def differences(run: Run) -> tuple[str, list[tuple[str, str, str]]]:
    """Compare the settings of a run to what it would have had, had nobody said anything.

    Returns:
        What was compared to, in words, and the name, the value and the usual value of each setting that is another.
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
    learning = dataclasses.asdict(get_algorithm(algorithm).config()) if algorithm in ALGORITHMS.names() else {}
    kept = {name: value for name, value in values.items() if value is not dataclasses.MISSING}
    return flat({**kept, "algorithm": learning, "seed": 0})


def _text(value: Any) -> str:
    """A value as JSON, so that lists and tuples, of a file and of this process, are the same; a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
