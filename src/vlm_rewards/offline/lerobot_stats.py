"""Statistics that LeRobot keeps of each feature, for the new rewards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vlm_rewards.files import read_json, write_json
from vlm_rewards.offline.lerobot_rows import REWARD, STATE_REWARD, TRUE_REWARD, rewrite

EpisodeRewards: TypeAlias = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Number of an episode to its ``next.reward`` and ``vlm_reward``, each ``[rows]``."""

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def feature_statistics(values: np.ndarray, *, quantiles: bool) -> dict[str, list[Any]]:
    """Statistics of one feature of one number a row, as LeRobot writes them.

    Args:
        values: ``[rows]``.
        quantiles: Whether the dataset has quantiles (newer ones do).
    """
    numbers = np.asarray(values, dtype=np.float64)
    facts: dict[str, list[Any]] = {
        "min": [float(numbers.min())],
        "max": [float(numbers.max())],
        "mean": [float(numbers.mean())],
        "std": [float(numbers.std())],
        "count": [len(numbers)],
    }
    if quantiles:
        facts |= {name: [float(value)] for name, value in _quantiles(numbers).items()}
    return facts


def rewrite_stats_json(source: Path, target: Path, reward: np.ndarray, state_reward: np.ndarray) -> None:
    """Write ``stats.json``, the statistics of the whole dataset, again."""
    write_json(target, _with_statistics(read_json(source), reward, state_reward))


def rewrite_stats_lines(source: Path, target: Path, rewards: EpisodeRewards) -> None:
    """Write ``episodes_stats.jsonl`` of version 2.1 again, a line at a time."""
    with source.open(encoding="utf-8") as old, target.open("w", encoding="utf-8") as new:
        for line in filter(str.strip, old):
            entry = json.loads(line)
            entry["stats"] = _with_statistics(entry["stats"], *rewards(int(entry["episode_index"])))
            new.write(json.dumps(entry) + "\n")


def rewrite_stats_columns(source: Path, target: Path, rewards: EpisodeRewards) -> None:
    """Write a file of ``meta/episodes`` of version 3.0 again: statistics are columns ``stats/FEATURE/NAME``."""
    rewrite(source, target, lambda table, first: _with_columns(table, rewards))


def _with_statistics(stats: dict[str, Any], reward: np.ndarray, state_reward: np.ndarray) -> dict[str, Any]:
    quantiles = any("q01" in facts for facts in stats.values() if isinstance(facts, dict))
    kept = {key: value for key, value in stats.items() if key not in (REWARD, STATE_REWARD)}
    if STATE_REWARD not in stats and REWARD in stats:
        kept[TRUE_REWARD] = stats[REWARD]
    kept[REWARD] = feature_statistics(reward, quantiles=quantiles)
    kept[STATE_REWARD] = feature_statistics(state_reward, quantiles=quantiles)
    return kept


def _with_columns(table: Any, rewards: EpisodeRewards) -> Any:
    import pyarrow as pa

    names = table.column_names
    if not any(name.startswith("stats/") for name in names):
        return table
    quantiles = any(name.endswith("/q01") for name in names)
    if any(name.startswith(f"stats/{STATE_REWARD}/") for name in names):
        table = table.drop_columns([name for name in names if name.split("/")[1:2] in ([REWARD], [STATE_REWARD])])
    else:
        prefix = f"stats/{REWARD}/"
        table = table.rename_columns([name.replace(prefix, f"stats/{TRUE_REWARD}/", 1) for name in names])
    pairs = [rewards(int(index)) for index in table.column("episode_index").to_pylist()]
    for place, feature in enumerate((REWARD, STATE_REWARD)):
        rows = [feature_statistics(pair[place], quantiles=quantiles) for pair in pairs]
        for name in rows[0]:
            kind = pa.int64() if name == "count" else pa.float64()
            table = table.append_column(
                f"stats/{feature}/{name}", pa.array([row[name] for row in rows], pa.list_(kind))
            )
    # The types that the `datasets` library noted are those of the old columns; without them it looks for itself.
    notes = dict(table.schema.metadata or {})
    notes.pop(b"huggingface", None)
    return table.replace_schema_metadata(notes)


def _quantiles(numbers: np.ndarray) -> dict[str, float]:
    return dict(zip(_QUANTILES, np.quantile(numbers, list(_QUANTILES.values())).tolist(), strict=True))
