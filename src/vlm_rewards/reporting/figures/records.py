"""The figures of a record, drawn when it is written and again at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm_rewards.errors import CheckpointError
from vlm_rewards.reporting.figures.epic import plot_epic_over_alpha, plot_epic_over_parameters, plot_histograms
from vlm_rewards.reporting.figures.landscapes import plot_landscape
from vlm_rewards.reporting.figures.style import domain_note
from vlm_rewards.reporting.figures.sweeps import plot_sweep


def draw_figures(record: Mapping[str, Any], out: Path, stem: str) -> list[Path]:
    """Draw all figures of a record of judge or sweep into a folder, which is made; names begin with ``stem``, if any.

    Raises:
        CheckpointError: Something is missing in it.
    """
    out.mkdir(parents=True, exist_ok=True)
    kind = record.get("kind")
    try:
        if kind == "landscape":
            return [plot_landscape(record, out / f"{stem or kind}.png")]
        if kind == "sweep":
            return [plot_sweep(record, out / f"{stem or kind}.png")]
        return _draw_judgement(record, out, stem)
    except (KeyError, IndexError, TypeError) as error:
        raise CheckpointError(f"the record is incomplete: {type(error).__name__} {error}.") from error


def _draw_judgement(record: Mapping[str, Any], out: Path, stem: str) -> list[Path]:
    if not record["rows"]:
        return []  # rewards that are not swept over alpha are in the record's forms, and have no figure
    title, prefix = title_of(record), f"{stem}-" if stem else ""
    drawn = [plot_epic_over_alpha(record, out / f"{prefix}epic-over-alpha.png", title=title)]
    encoders = record["encoders"]  # of a family that need not say how large they are
    counted = any(all(one.get(key) for one in encoders) for key in ("image_parameters", "parameters"))
    if len(encoders) > 1 and counted:
        path = out / f"{prefix}epic-over-parameters.png"
        drawn.append(plot_epic_over_parameters(record, path, title=title, alpha=record["focus"]))
    if record["histograms"]:
        drawn.append(plot_histograms(record, out / f"{prefix}histograms.png", title=title))
    return drawn


def title_of(record: Mapping[str, Any]) -> str:
    """What was judged on what, and what is to be known before it is believed."""
    states, prompts = record["states"], record["prompts"]
    said = f"“{prompts[0]['goal']}”" if len(prompts) == 1 else f"{len(prompts)} pairs of prompts"
    where = _GENERATORS.get(states["generator"], states["generator"])
    title = f"{record['task']}: {said}, on {states['states']:,} states ({where})"
    note = domain_note(record)
    return f"{title}; {note}" if note else title


_GENERATORS = {
    "uniform": "drawn uniformly",
    "random": "visited by random actions",
    "rule": "visited by the one-line rule with 0 to 100 % random actions",
}
