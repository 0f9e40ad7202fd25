"""A reward over a line of states, at several strengths of the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlm_rewards.arrays import Frame
from vlm_rewards.reporting.figures.style import GREEN, GREY, domain_note, finish_panel, new_figure, save, wrap

SHOWN = 7
"""Frames of states above the curves."""

_SEVERAL_ALPHAS = 6
_NEARLY = 0.01  # degrees that a whole turn may lack where it was rounded for the record


def plot_landscape(record: Mapping[str, Any], out: str | Path, frames: Sequence[Frame] = ()) -> Path:
    """Draw rewards along a line of states, a curve an alpha: the paper's figure 2.

    Each curve is scaled to [0, 1], as rewards at different alphas have different ranges. A star is its greatest value;
    where the criterion holds, the ground is green. ``frames`` are of `SHOWN` states that are evenly spread over the
    line, or none.
    """
    encoders: Sequence[Mapping[str, Any]] = record["encoders"]
    strip = 1.25 if len(frames) else 0.0
    figure = new_figure(width=8.0, height=1.3 + strip + 3.2 * len(encoders))
    panels = _grid(figure, len(encoders), strip, frames)
    angle = record["unit"] == "rad"
    values = np.degrees(record["values"]) if angle else np.asarray(record["values"], dtype=np.float64)
    for number, (panel, encoder) in enumerate(zip(panels, encoders, strict=True)):
        _draw(panel, record, number, values)
        if len(encoders) > 1:
            panel.set_title(str(encoder["name"]), loc="left", fontsize=10, color=GREY)
    unit = "degrees" if angle else record["unit"]
    panels[-1].set_xlabel(f"{record['dimension']} [{unit}]" if unit else record["dimension"])
    if angle:
        turns = np.arange(np.ceil((values[0] - _NEARLY) / 45) * 45, values[-1] + _NEARLY, 45)
        panels[-1].set_xticks(turns) if len(turns) > 2 else None
    figure.suptitle(_heading(record), fontsize=11)
    return save(figure, out)


def shown_places(count: int) -> list[int]:
    """Numbers of the states whose frames are shown, of so many."""
    return np.linspace(0, count - 1, SHOWN).round().astype(int).tolist()


def _grid(figure: Figure, rows: int, strip: float, frames: Sequence[Frame]) -> list[Axes]:
    if not len(frames):
        return list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[strip, 3.2 * rows + 0.4])[:, 0]
    for axis, frame in zip(top.subplots(1, SHOWN), frames, strict=True):
        axis.imshow(frame, interpolation="antialiased")
        axis.set_xticks([])
        axis.set_yticks([])
    return list(below.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


def _draw(panel: Axes, record: Mapping[str, Any], encoder: int, values: np.ndarray) -> None:
    form = record["encoders"][encoder].get("form")  # of a reward that has one curve alone
    alphas: Sequence[float] = record["alphas"] if form is None else [0.5]
    colours = colormaps["viridis"]
    named = alphas if len(alphas) <= _SEVERAL_ALPHAS else [alphas[i] for i in range(0, len(alphas), 2)]
    for alpha, rewards in zip(alphas, record["rewards"][encoder], strict=True):
        raw = np.asarray(rewards, dtype=np.float64)
        scaled = (raw - raw.min()) / max(float(np.ptp(raw)), 1e-12)
        colour = colours(0.92 * (1.0 - alpha))
        label = form or (f"alpha {alpha:g}" if alpha in named else f"_{alpha:g}")
        panel.plot(values, scaled, color=colour, linewidth=1.4, label=label)
        best = int(scaled.argmax())
        panel.plot(values[best], 1.0, "*", color=colour, markersize=10, markeredgecolor="black", markeredgewidth=0.5)
    for start, end in _stretches(record["goal_states"], values):
        panel.axvspan(start, end, color=GREEN, alpha=0.16, linewidth=0, zorder=0)
    panel.set_ylabel("reward, each curve scaled\nto its own range")
    panel.set_xlim(float(values[0]), float(values[-1]))
    panel.margins(y=0.08)
    finish_panel(panel)
    panel.legend(fontsize=7, framealpha=0.9, loc="center left", bbox_to_anchor=(1.0, 0.5), title_fontsize=8)


def _stretches(goal: Sequence[bool] | None, values: np.ndarray) -> list[tuple[float, float]]:
    """Beginnings and ends of what the criterion holds on, half a step further on each side."""
    if goal is None:
        return []
    edges = np.concatenate([[values[0]], (values[1:] + values[:-1]) / 2, [values[-1]]])
    marks = np.diff(np.concatenate([[0], np.asarray(goal, dtype=int), [0]]))
    starts, ends = np.flatnonzero(marks == 1), np.flatnonzero(marks == -1)
    return [(float(edges[start]), float(edges[end])) for start, end in zip(starts, ends, strict=True)]


def _heading(record: Mapping[str, Any]) -> str:
    names = {str(encoder["name"]) for encoder in record["encoders"]}
    who = f"encoder {names.pop()}" if len(names) == 1 else f"{len(names)} encoders"
    note = domain_note(record)
    who += f" ({note})" if note else ""
    marked = "green: goal states" if record["goal_states"] is not None else "no criterion to mark"
    first = wrap(f"{record['task']}: “{record['goal']}”, baseline “{record['baseline']}”", 84)
    return f"{first}\n" + wrap(f"{who}; {marked}; stars: maxima", 100)
