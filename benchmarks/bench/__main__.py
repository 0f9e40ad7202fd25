"""``make bench``."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from bench.measurement import Measurement
from bench.report import measure, record_of, table_of
from bench.settings import QUICK, BenchSettings
from vlm_rewards.errors import InvalidInputError, VLMRewardsError
from vlm_rewards.files import write_atomically


@dataclass(frozen=True)
class _Arguments:
    """Measure how fast each stage of a run is here, beside the common way of computing VLM rewards.

    The common way: every simulator draws with its own renderer at its own size,
    raw frames are kept for the rollout, resized in fp32 with bicubic
    interpolation and embedded once it is over; then the learner learns. Both
    run in turn with the same encoder, algorithm, simulators and updates.
    """

    settings: Annotated[BenchSettings, tyro.conf.OmitArgPrefixes] = dataclasses.field(default_factory=BenchSettings)
    """What is measured."""
    quick: bool = False
    """Measure little, to see whether all works; takes a minute and says little about speed."""
    json: bool = False
    """Print the record as JSON instead of a table."""
    out: Path | None = None
    """File to write the record to, too."""


def main(arguments: list[str]) -> int:
    """Measure, or say what is wrong."""
    try:
        return _measure(arguments)
    except VLMRewardsError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2


def _measure(arguments: list[str]) -> int:
    chosen = tyro.cli(_Arguments, prog="python -m bench", args=arguments)
    settings = _quick(chosen.settings) if chosen.quick else chosen.settings
    if chosen.out is not None and not chosen.out.parent.is_dir():
        raise InvalidInputError(f"out must lie in a folder that exists, got {str(chosen.out)!r}.")
    progress = Console(stderr=True)
    measurements: list[Measurement] = []
    for measurement in measure(settings):
        measurements.append(measurement)
        progress.print(f"{measurement.name}: {measurement.median:,.4g} {measurement.unit}", style="dim", markup=False)
    record = record_of(measurements, settings, _command(arguments))
    text = json.dumps(record, indent=2)
    if chosen.out is not None:
        write_atomically(chosen.out, (text + "\n").encode())
    if chosen.json:
        print(text)
    else:
        Console().print(table_of(record))
    return 0


def _command(arguments: list[str]) -> str:
    """What to type for the same measurement."""
    return f"make bench ARGS={shlex.quote(shlex.join(arguments))}" if arguments else "make bench"


def _quick(settings: BenchSettings) -> BenchSettings:
    """What the user changed stays."""
    usual = BenchSettings()
    given = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != getattr(usual, field.name)
    }
    return dataclasses.replace(QUICK, **given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
