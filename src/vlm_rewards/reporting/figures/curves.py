"""What happened over time: how one or several runs learned, how a video scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_columns
from vlm_rewards.reporting.figures.style import (
    BLUE,
    GREY,
    LINES,
    SERIES,
    UNSEEN,
    VERMILION,
    finish_panel,
    legend_below,
    new_figure,
    save,
    wrap,
)

Columns = Mapping[str, NDArray[np.float64]]

_PANELS = (  # what is drawn, its column in metrics.csv and in snapshots.csv, the axis
    ("vlm_return", "vlm_return_mean", "vlm_return", "VLM return per episode"),
    ("success_rate", "success_rate", "success_rate", "episodes that succeed"),
    ("true_return", "true_return_mean", "true_return", "environment's\nown return"),
)
_SEEN, _NEVER_SEEN = "What the learner maximises", "What the learner never saw, used to judge it only"


@dataclass(frozen=True)
class RunCurve:
    """How a run went."""

    label: str
    """Its name in the legend."""
    colour: int
    """Number of its colour, such as its seed's place among the seeds."""
    line: int
    """Number of its line, such as its setting's."""
    metrics: Columns
    snapshots: Columns
    """Columns of ``metrics.csv`` and of ``snapshots.csv``; there may be none."""


def plot_learning_curve(metrics_csv: str | Path, out: str | Path, *, title: str) -> Path:
    """Draw how a run learned: what it was trained on above, what it was judged by below.

    The snapshots are read from ``snapshots.csv`` in the folder of ``metrics_csv``; without that file only the training
    episodes are drawn. Panels for which there is no number are left out.

    Raises:
        CheckpointError: ``metrics.csv`` is missing or has no ``step`` column.
    """
    path = Path(metrics_csv)
    metrics = read_columns(path)
    if "step" not in metrics:
        raise CheckpointError(f"{path} must have a column 'step', its columns are {list(metrics)}.")
    run = RunCurve("", 0, 0, metrics, read_columns(path.with_name("snapshots.csv")))
    panels = [panel for panel in _PANELS if panel[0] == "vlm_return" or _any_has([run], panel)]
    figure, axes = _panels(len(panels), 1.3, [1.5] + [1.0] * (len(panels) - 1))
    best = _best(run.snapshots)
    for axis, (name, column, snapshot_column, label) in zip(axes, panels, strict=True):
        _draw_training(axis, run.metrics, column, spread=name == "vlm_return")
        _draw_snapshots(axis, run.snapshots, snapshot_column, spread=name == "vlm_return")
        if best is not None:
            axis.axvline(run.snapshots["step"][best], color=GREY, linewidth=0.9, linestyle=":", zorder=1)
            star = "best by VLM return" if name == "vlm_return" else "_best"
            _mark(axis, run.snapshots, snapshot_column, best, VERMILION, star)
        if not axis.has_data():
            axis.text(0.5, 0.5, "no finished episode yet", transform=axis.transAxes, ha="center", color=GREY)
        _label(axis, name, label)
        finish_panel(axis)
    return _finish(figure, axes, out, title)


def plot_runs(runs: Sequence[RunCurve], out: str | Path, *, title: str) -> Path:
    """Draw how several runs went: the VLM return above, what judges it below.

    Snapshots, which act without exploration, are dots on a line, and the training episodes a faint line. A star is the
    snapshot with a run's highest VLM return. Panels for which no run has a number are left out.

    Raises:
        InvalidInputError: There is nothing to draw.
    """
    panels = [panel for panel in _PANELS if _any_has(runs, panel)]
    if not panels:
        raise InvalidInputError("runs must have at least one number to draw, in metrics or snapshots; got none.")
    figure, axes = _panels(len(panels), 1.2 + 0.2 * -(-len(runs) // 3), None)
    for axis, (name, column, snapshot_column, label) in zip(axes, panels, strict=True):
        for run in runs:
            _draw_run(axis, run, column, snapshot_column)
        _label(axis, name, label)
        finish_panel(axis)
        legend = axis.get_legend()
        if legend is not None:
            legend.remove()  # one for the whole figure, below
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    legend_below(figure, handles, columns=3, width=40)
    return _finish(figure, axes, out, title)


def _panels(count: int, rest: float, heights: Sequence[float] | None) -> tuple[Figure, list[Axes]]:
    figure = new_figure(width=8.0, height=rest + 2.1 * count)
    return figure, list(figure.subplots(count, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])


def _finish(figure: Figure, axes: Sequence[Axes], out: str | Path, title: str) -> Path:
    axes[-1].set_xlabel("environment steps")
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.suptitle(wrap(title, 78), fontsize=12)
    return save(figure, out)


def _draw_training(axis: Axes, metrics: Columns, column: str, *, spread: bool) -> None:
    if not _has(metrics, column):
        return
    step, mean = _seen(metrics, column)
    label = "training episodes (mean ± std)" if spread else "training episodes"
    axis.plot(step, mean, color=BLUE, linewidth=1.4, label=label)
    if spread and "vlm_return_std" in metrics:
        std = np.nan_to_num(metrics["vlm_return_std"])[np.isfinite(metrics[column])]
        axis.fill_between(step, mean - std, mean + std, color=BLUE, alpha=0.18, linewidth=0)


def _draw_snapshots(axis: Axes, snapshots: Columns, column: str, *, spread: bool) -> None:
    if not _has(snapshots, column):
        return
    step, value = _seen(snapshots, column)
    looks: dict[str, Any] = {"color": VERMILION, "marker": "o", "markersize": 4, "linewidth": 1.2}
    if spread and "vlm_return_std" in snapshots:
        std = np.nan_to_num(snapshots["vlm_return_std"])[np.isfinite(snapshots[column])]
        label = "snapshots, no exploration (mean ± std)"
        axis.errorbar(step, value, yerr=std, **looks, elinewidth=0.8, capsize=2, label=label)
    else:
        axis.plot(step, value, **looks, label="snapshots, no exploration")


def _draw_run(axis: Axes, run: RunCurve, column: str, snapshot_column: str) -> None:
    style: dict[str, Any] = {"color": SERIES[run.colour % len(SERIES)]}
    style["linestyle"] = LINES[(run.line + run.colour // len(SERIES)) % len(LINES)]
    judged = _has(run.snapshots, snapshot_column)
    if _has(run.metrics, column):
        faint: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.9} if judged else {"linewidth": 1.4}
        axis.plot(*_seen(run.metrics, column), **style, **faint, label="_training" if judged else run.label)
    if judged:
        dots: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.5, "label": run.label}
        axis.plot(*_seen(run.snapshots, snapshot_column), **style, **dots)
        best = _best(run.snapshots)
        if best is not None:
            _mark(axis, run.snapshots, snapshot_column, best, style["color"], "_best")


def _mark(axis: Axes, snapshots: Columns, column: str, best: int, colour: str, label: str) -> None:
    """Star the snapshot with the highest VLM return: the one that a run reports."""
    looks: dict[str, Any] = {"markersize": 14, "markeredgecolor": "black", "markeredgewidth": 0.8, "zorder": 6}
    value = snapshots[column][best] if column in snapshots else math.nan
    axis.plot(snapshots["step"][best], value, "*", color=colour, label=label, **looks)


def _label(axis: Axes, name: str, label: str) -> None:
    axis.set_ylabel(label)
    axis.set_title(_SEEN if name == "vlm_return" else _NEVER_SEEN, loc="left", fontsize=10, color=GREY)
    if name != "vlm_return":
        axis.set_facecolor(UNSEEN)
    if name == "success_rate":
        axis.set_ylim(-0.04, 1.04)
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))


def _any_has(runs: Sequence[RunCurve], panel: tuple[str, str, str, str]) -> bool:
    return any(_has(run.metrics, panel[1]) or _has(run.snapshots, panel[2]) for run in runs)


def _has(table: Columns, column: str) -> bool:
    return "step" in table and column in table and bool(np.isfinite(table[column]).any())


def _seen(table: Columns, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = np.isfinite(table[column])
    return table["step"][known], table[column][known]


def _best(snapshots: Columns) -> int | None:
    return int(np.nanargmax(snapshots["vlm_return"])) if _has(snapshots, "vlm_return") else None


def plot_video_rewards(
    rewards: ArrayLike,
    fps: SupportsFloat,
    out: str | Path,
    *,
    goal: str,
    encoder: str,
    baseline: str | None = None,
    alpha: SupportsFloat | None = None,
) -> Path:
    """Draw the reward of each frame of a video over time: rewards ``[n]``, at least one, ``fps`` a second."""
    values = np.asarray(rewards, dtype=np.float64)
    seconds = np.arange(values.size) / float(fps)
    figure = new_figure(width=8.0, height=3.8)
    panel = figure.subplots()
    panel.plot(seconds, values, color=BLUE, linewidth=1.6, marker="o" if values.size <= 60 else None, markersize=3.5)
    best = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
    panel.plot(seconds[best], values[best], "*", color=VERMILION, markersize=15, markeredgecolor="white", zorder=5)
    panel.annotate(
        f"best: {values[best]:.3f} at {seconds[best]:.2f} s",
        (seconds[best], values[best]),
        xytext=(0, 12),
        textcoords="offset points",
        # A label beside the first or last frames must not leave the axis.
        ha="left" if seconds[best] < 0.2 * seconds[-1] else "right" if seconds[best] > 0.8 * seconds[-1] else "center",
        color=VERMILION,
    )
    panel.margins(y=0.2)
    panel.set_xlabel("time in the video [s]")
    panel.set_ylabel("VLM reward")
    finish_panel(panel)
    facts = [f"encoder: {encoder}"]
    if baseline is not None:
        facts.append(f"baseline: “{baseline}”" + ("" if alpha is None else f", alpha {float(alpha):g}"))
    figure.suptitle(wrap(f"“{goal}”", 78) + "\n" + wrap("; ".join(facts), 100), fontsize=11)
    return save(figure, out)
