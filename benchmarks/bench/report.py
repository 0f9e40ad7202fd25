"""All stages in order, their record and their table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rich.table import Table

from bench import pipelines, stages
from bench.measurement import Measurement
from bench.random_checkpoint import write_random_checkpoint
from bench.settings import BenchSettings
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.provenance import provenance

_BUNDLED = "bundled encoder"


def measure(settings: BenchSettings) -> Iterator[Measurement]:
    """Measure what the settings name, one after another.

    Models of open_clip get random weights, written to a temporary checkpoint
    and loaded as any other; their names say so.

    Yields:
        Each measurement as soon as it is done.
    """
    bundled = load_encoder("bundled")
    if "drawing" in settings.stages:
        yield from stages.drawing(settings, (bundled.image_size, 224))
    if "preprocessing" in settings.stages:
        yield stages.preprocessing(settings, bundled, f"{_BUNDLED}, {bundled.image_size} px")
    if "embedding" in settings.stages:
        yield stages.embedding(settings, bundled, _BUNDLED)
    yield from _with_random_weights(settings)
    if "updates" in settings.stages:
        yield from stages.updates(settings)
    if "collection" in settings.stages:
        yield from pipelines.collection(settings, bundled, _BUNDLED)
    if "end-to-end" in settings.stages:
        yield from pipelines.end_to_end(settings, bundled, _BUNDLED)
    if "memory" in settings.stages:
        yield from pipelines.memory(settings)


def _with_random_weights(settings: BenchSettings) -> Iterator[Measurement]:
    wanted: dict[str, Callable[[BenchSettings, OpenCLIPEncoder, str], Measurement]] = {
        "preprocessing": stages.preprocessing,
        "embedding": stages.embedding,
        "collection": pipelines.labelled_frames,
    }
    functions = [function for stage, function in wanted.items() if stage in settings.stages]
    for architecture in settings.architectures if functions else ():
        encoder = load_random(architecture)
        label = f"{architecture} (random weights)"
        for function in functions:
            if function is not pipelines.labelled_frames or architecture == settings.architectures[-1]:
                yield function(settings, encoder, label)


def load_random(architecture: str) -> OpenCLIPEncoder:
    """An encoder of open_clip with random weights, loaded from a checkpoint that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vlm-rewards-bench-") as folder:
        return load_encoder(write_random_checkpoint(architecture, folder))


def record_of(measurements: Sequence[Measurement], settings: BenchSettings, command: str | None) -> dict[str, Any]:
    """A JSON-able record: every run of every measurement, settings, versions, commit and machine."""
    return {
        "kind": "bench",
        "command": command,
        "repeats": settings.repeats,
        "torch_threads": torch.get_num_threads(),
        "measurements": [measurement.to_dict() for measurement in measurements],
        **provenance(),
    }


def table_of(record: dict[str, Any]) -> Table:
    """The record as a table: medians, and in brackets the lowest and highest of the runs.

    Args:
        record: From `record_of`, or read from its file.
    """
    table = Table(title=f"medians of {record['repeats']} (lowest to highest)", title_justify="left")
    table.add_column("what")
    table.add_column("unit")
    table.add_column("vlm-rewards", justify="right")
    table.add_column("beside", justify="right")
    table.add_column("ratio", justify="right")
    for row in record["measurements"]:
        beside = row.get("beside")
        table.add_row(
            row["name"],
            row["unit"],
            _with_range(row),
            "" if beside is None else f"{beside['name']}\n{_with_range(beside)}",
            "" if beside is None else _with_range(row["ratio"]),
        )
    return table


def _with_range(values: dict[str, Any]) -> str:
    if len(values["runs"]) == 1:
        return _short(values["median"])
    return f"{_short(values['median'])} ({_short(values['lowest'])} to {_short(values['highest'])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
