"""How far rewards are from the truth: over alpha, over the size of the encoder, and as histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator

from vlm_rewards.reporting.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    finish_panel,
    legend_below,
    new_figure,
    save,
    series,
    wrap,
)

UNRELATED = float(np.sqrt(0.5))
"""EPIC distance of rewards that have nothing to do with each other."""

_PAPER_AXES = (0.3, 0.7)  # of the paper's figure 4b
_FEW_PANELS = 12


def plot_epic_over_alpha(judged: Mapping[str, Any], out: str | Path, *, title: str) -> Path:
    """Draw EPIC distances over alpha, a curve an encoder and pair of prompts: the paper's figure 4a."""
    figure = new_figure(width=8.0, height=4.6)
    panel = figure.subplots()
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for row in judged["rows"]:
        curves.setdefault(_name(judged, row), []).append(row)
    for number, (label, rows) in enumerate(curves.items()):
        rows = sorted(rows, key=lambda row: row["alpha"])
        alphas, low, high = ([row[name] for row in rows] for name in ("alpha", "epic_low", "epic_high"))
        looks = series(number)
        panel.plot(alphas, [row["epic"] for row in rows], **looks, marker="o", markersize=4, label=label)
        if len(curves) <= 4:
            panel.fill_between(alphas, low, high, color=looks["color"], alpha=0.15, linewidth=0)
    _mark_unrelated(panel)
    panel.set_xlim(-0.03, 1.03)
    panel.set_xlabel("alpha, strength of the baseline")
    panel.set_ylabel(_label(judged))
    finish_panel(panel)
    band = "; bands: " + judged["interval"] if len(curves) <= 4 else ""
    figure.suptitle(wrap(title, 78) + "\n" + wrap(f"lower is better: 0 agrees, 1 is opposite{band}", 95), fontsize=11)
    _move_legend_below(figure, panel, len(curves))
    return save(figure, out)


def plot_epic_over_parameters(judged: Mapping[str, Any], out: str | Path, *, title: str, alpha: float) -> Path:
    """Draw EPIC distances at ``alpha`` over the encoders' parameters, on a logarithmic axis: the paper's figure 4b."""
    encoders = judged["encoders"]
    rows = [row for row in judged["rows"] if row["alpha"] == alpha]
    figure = new_figure(width=8.0, height=4.6)
    panel = figure.subplots()
    counted = "image_parameters" if all(encoder.get("image_parameters") for encoder in encoders) else "parameters"
    for number, pair in enumerate(judged["prompts"]):
        own = [row for row in rows if row["prompt"] == number]
        own.sort(key=lambda row: encoders[row["encoder"]][counted])
        sizes, epics = [encoders[row["encoder"]][counted] for row in own], [row["epic"] for row in own]
        spans = [[abs(row["epic"] - row[f"epic_{end}"]) for row in own] for end in ("low", "high")]
        name = wrap(f"“{pair['goal']}” and “{pair['baseline']}”", 60) if len(judged["prompts"]) > 1 else None
        panel.errorbar(sizes, epics, yerr=spans, **series(number), marker="o", capsize=3, linewidth=1.4, label=name)
        for row, size in zip(own if number == 0 else (), sizes, strict=False):
            where: dict[str, Any] = {"textcoords": "offset points", "xytext": (6, 8), "fontsize": 8}
            panel.annotate(str(encoders[row["encoder"]]["name"]), (size, row["epic"]), **where)
    panel.axhspan(*_PAPER_AXES, color=GREY, alpha=0.06, linewidth=0, zorder=0)
    _mark_unrelated(panel)
    panel.set_xscale("log")
    panel.margins(x=0.12)
    panel.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.xaxis.set_minor_formatter(EngFormatter(sep="", places=0))
    panel.tick_params(axis="x", which="minor", labelsize=7)
    part = "image encoder" if counted == "image_parameters" else "whole model"
    panel.set_xlabel(f"parameters of the {part} (logarithmic)")
    panel.set_ylabel(_label(judged))
    finish_panel(panel)
    note = f"at alpha {alpha:g}; bars: {judged['interval']}; grey: what the paper's axis spans"
    figure.suptitle(wrap(title, 78) + "\n" + wrap(note, 95), fontsize=11)
    return save(figure, out)


def plot_histograms(judged: Mapping[str, Any], out: str | Path, *, title: str) -> Path:
    """Draw how standardised rewards of goal states and of others are distributed: the paper's figure 7."""
    histograms: Sequence[Mapping[str, Any]] = judged["histograms"]
    shown = histograms[:_FEW_PANELS]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(width=6.4 if columns == 1 else 8.4, height=1.0 + 2.7 * rows)
    panels: list[Axes] = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    for number, (panel, histogram) in enumerate(zip(panels, shown, strict=False)):
        edges = np.asarray(histogram["edges"])
        for kind, colour, label in (("other", ORANGE, "other states"), ("goal", BLUE, "goal states")):
            counts = np.asarray(histogram[kind], dtype=np.float64)
            panel.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=0.55, label=label)
        panel.set_title(wrap(_name(judged, histogram), 46), fontsize=9)
        if number + columns >= len(shown):
            panel.set_xlabel("reward, standardised over all states")
            panel.tick_params(labelbottom=True)
        if number % columns == 0:
            panel.set_ylabel("share of the states of a kind")
        finish_panel(panel)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    left_out = len(histograms) - len(shown)
    more = f"; {left_out} more are in the record" if left_out else ""
    figure.suptitle(wrap(title, 62 if columns == 1 else 84) + f"\nat alpha {shown[0]['alpha']:g}{more}", fontsize=11)
    return save(figure, out)


def _name(judged: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What tells an encoder with its prompts from the others."""
    encoders, prompts = judged["encoders"], judged["prompts"]
    names = [str(encoder["name"]) for encoder in encoders]
    name = names[row["encoder"]]
    parts = [name if names.count(name) == 1 else f"{name} ({row['encoder'] + 1})"]
    pair = prompts[row["prompt"]]
    if len({pair["goal"] for pair in prompts}) > 1:
        parts.append(f"“{pair['goal']}”")
    if len({pair["baseline"] for pair in prompts}) > 1:
        parts.append(f"baseline “{pair['baseline']}”")
    return ", ".join(parts)


def _label(judged: Mapping[str, Any]) -> str:
    if judged.get("labels"):
        return f"EPIC distance to the labels of {judged['labels']}"
    return "EPIC distance to the " + ("criterion" if judged["reference"] == "labels" else "true reward")


def _mark_unrelated(panel: Axes) -> None:
    panel.axhline(UNRELATED, color=GREY, linestyle=":", linewidth=1.0, zorder=1)
    place: dict[str, Any] = {"ha": "right", "va": "bottom", "transform": panel.get_yaxis_transform()}
    panel.text(0.998, UNRELATED, "unrelated", fontsize=8, color=GREY, **place)
    panel.set_ylim(0.0, max(0.8, panel.get_ylim()[1]))


def _move_legend_below(figure: Any, panel: Axes, curves: int) -> None:
    """Names may be whole sentences: they do not fit among the curves."""
    legend = panel.get_legend()
    if legend is None or curves <= 1:
        return
    legend.remove()
    handles = {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    columns = 1 if max(map(len, handles)) > 40 else 2
    figure.set_figheight(figure.get_figheight() + 0.2 * curves / columns)
    legend_below(figure, handles, columns=columns, width=95)
