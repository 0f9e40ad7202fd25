"""How the settings of a sweep did: a point and an interval each, and every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from vlm_rewards.reporting.figures.style import (
    BLUE,
    GREY,
    UNSEEN,
    VERMILION,
    finish_panel,
    legend_below,
    new_figure,
    save,
    wrap,
)

_LABEL_WIDTH = 34
_FEW_SEEDS = 3
_SEEDS_BELOW = 0.22  # of a row, under its interval


def plot_sweep(record: Mapping[str, Any], out: str | Path) -> Path:
    """Draw each setting of a sweep: its interquartile mean, the 95 % interval over seeds, and each seed as a dot.

    One panel for success, where the task has a criterion, and one for the true return. VLM returns are not drawn: they
    are no measure to compare settings by.
    """
    rows: Sequence[Mapping[str, Any]] = record["settings"]
    labels = [_label(row) for row in rows]
    scores = ["success_rate", "true_return"] if record["score"] == "success_rate" else ["true_return"]
    lines = sum(max(2, label.count("\n") + 1) for label in labels)
    figure = new_figure(width=3.6 + 3.4 * len(scores), height=1.9 + 0.27 * lines)
    panels: list[Axes] = list(figure.subplots(1, len(scores), sharey=True, squeeze=False)[0])
    handles: dict[str, Any] = {}
    for panel, score in zip(panels, scores, strict=True):
        handles |= _draw(panel, rows, score)
        finish_panel(panel)
        panel.set_ylim(len(rows) - 0.5, -0.5)  # first row on top
        panel.set_yticks(range(len(rows)), labels, fontsize=9)
        panel.grid(visible=False, axis="y")
    if handles:
        legend_below(figure, handles, columns=2, width=95)
    settings = f"{len(rows)} settings" if len(rows) > 1 else "one setting"
    heading = wrap(f"{record['task']}: {settings}, all seeds", 78)
    if min(len(row["seeds"]["done"]) for row in rows) < _FEW_SEEDS:
        heading += f"\nfewer than {_FEW_SEEDS} seeds in a row: its interval says little"
    figure.suptitle(heading, fontsize=12)
    return save(figure, out)


def _draw(panel: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Draw one score of all rows; returns what belongs into the legend."""
    handles: dict[str, Any] = {}
    for position, row in enumerate(rows):
        score = row[name]
        if not score["seeds"]:
            where = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
            panel.text(0.5, position, "no seed is done", color=GREY, fontsize=8, **where)
            continue
        heights = [position + _SEEDS_BELOW] * len(score["seeds"])
        dots: dict[str, Any] = {"color": GREY, "alpha": 0.7, "markersize": 4, "markeredgewidth": 0}
        (handles["each seed"],) = panel.plot(score["seeds"], heights, "o", **dots)
        point, interval = score["iqm"], score["iqm_interval_95"]
        if interval is None:
            (handles["one seed: no interval"],) = panel.plot([point], [position], "o", color=VERMILION, markersize=7)
            continue
        handles["interquartile mean, 95 % interval over seeds"] = panel.errorbar(
            [point],
            [position],
            # Rounding may put the point a hair outside of its interval where all seeds agree.
            xerr=[[max(0.0, point - interval[0])], [max(0.0, interval[1] - point)]],
            fmt="o",
            color=BLUE,
            markersize=7,
            linewidth=2.2,
            capsize=4,
        )
    panel.set_facecolor(UNSEEN)
    panel.set_title("judged by what the learner never saw", loc="left", fontsize=9, color=GREY)
    if name == "success_rate":
        panel.set_xlabel("episodes that succeed")
        panel.set_xlim(-0.04, 1.04)
        panel.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    else:
        panel.set_xlabel("environment's own return")
        panel.margins(x=0.08)
    return handles


def _label(row: Mapping[str, Any]) -> str:
    seeds = row["seeds"]
    done, planned = len(seeds["done"]), len(seeds["planned"])
    count = f"{done} seed{'s' if done != 1 else ''}" if done == planned else f"{done} of {planned} seeds"
    return f"{wrap(row['label'], _LABEL_WIDTH)}\n{count}"
