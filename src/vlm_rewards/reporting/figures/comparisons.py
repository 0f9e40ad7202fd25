"""Several runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter
from numpy.typing import NDArray

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.figures.style import (
    GREY,
    LINES,
    SERIES,
    UNSEEN,
    finish_panel,
    legend_below,
    new_figure,
    save,
    wrap,
)

_PANELS = (  # what is drawn, its column in metrics.csv and in snapshots.csv, the axis
    ("vlm_return", "vlm_return_mean", "vlm_return", "VLM return per episode"),
    ("success_rate", "success_rate", "success_rate", "episodes that succeed"),
    ("true_return", "true_return_mean", "true_return", "environment's\nown return"),
)
_SEEN, _NEVER_SEEN = "What the learner maximises", "What the learner never saw, used to judge it only"


@dataclass(frozen=True)
class RunCurve:
    """How a run went, to be drawn beside others."""

    label: str
    """Its name in the legend."""
    colour: int
    """Number of its colour, such as its seed's place among the seeds."""
    line: int
    """Number of its line, such as its setting's."""
    metrics: Mapping[str, NDArray[np.float64]]
    """Columns of ``metrics.csv``; there may be none."""
    snapshots: Mapping[str, NDArray[np.float64]]
    """Columns of ``snapshots.csv``; there may be none."""


def plot_runs(runs: Sequence[RunCurve], out: str | Path, *, title: str) -> Path:
    """Draw how several runs went: the VLM return above, what judges it below.

    Snapshots, which act without exploration, are dots on a line, and the
    training episodes a faint line. A star is the snapshot with a run's highest
    VLM return. Panels for which no run has a number are left out.

    Args:
        runs: At least one that has a number.
        out: The frame to write; its suffix chooses the format.
        title: Heading.

    Returns:
        ``out`` as a path.

    Raises:
        InvalidInputError: There is nothing to draw.
    """
    panels = [
        panel for panel in _PANELS if any(_has(run.metrics, panel[1]) or _has(run.snapshots, panel[2]) for run in runs)
    ]
    if not panels:
        raise InvalidInputError("runs must have at least one number to draw, in metrics or snapshots; got none.")
    legend_rows = -(-len(runs) // 3)
    figure = new_figure(width=8.0, height=1.2 + 2.1 * len(panels) + 0.2 * legend_rows)
    axes: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0])
    for axis, (name, column, snapshot_column, label) in zip(axes, panels, strict=True):
        for run in runs:
            _draw(axis, run, column, snapshot_column)
        _label(axis, name, label)
        finish_panel(axis)
        legend = axis.get_legend()
        if legend is not None:
            legend.remove()  # one for the whole figure, below
    axes[-1].set_xlabel("environment steps")
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    legend_below(figure, handles, columns=3, width=40)
    figure.suptitle(wrap(title, 78), fontsize=12)
    return save(figure, out)


def _draw(axis: Axes, run: RunCurve, column: str, snapshot_column: str) -> None:
    style: dict[str, Any] = {"color": SERIES[run.colour % len(SERIES)]}
    style["linestyle"] = LINES[(run.line + run.colour // len(SERIES)) % len(LINES)]
    judged, trained = _has(run.snapshots, snapshot_column), _has(run.metrics, column)
    if trained:
        step, value = _seen(run.metrics, column)
        faint: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.9} if judged else {"linewidth": 1.4}
        axis.plot(step, value, **style, **faint, label="_training" if judged else run.label)
    if judged:
        step, value = _seen(run.snapshots, snapshot_column)
        axis.plot(step, value, **style, marker="o", markersize=3.5, linewidth=1.5, label=run.label)
        best = _best(run.snapshots)
        if best is not None:
            x, y = run.snapshots["step"][best], run.snapshots[snapshot_column][best]
            looks: dict[str, Any] = {"markersize": 13, "markeredgecolor": "black", "markeredgewidth": 0.7, "zorder": 6}
            axis.plot(x, y, "*", color=style["color"], label="_best", **looks)


def _label(axis: Axes, name: str, label: str) -> None:
    axis.set_ylabel(label)
    axis.set_title(_SEEN if name == "vlm_return" else _NEVER_SEEN, loc="left", fontsize=10, color=GREY)
    if name != "vlm_return":
        axis.set_facecolor(UNSEEN)
    if name == "success_rate":
        axis.set_ylim(-0.04, 1.04)
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))


def _has(table: Mapping[str, NDArray[np.float64]], column: str) -> bool:
    return "step" in table and column in table and bool(np.isfinite(table[column]).any())


def _seen(table: Mapping[str, NDArray[np.float64]], column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = np.isfinite(table[column])
    return table["step"][known], table[column][known]


def _best(snapshots: Mapping[str, NDArray[np.float64]]) -> int | None:
    return int(np.nanargmax(snapshots["vlm_return"])) if _has(snapshots, "vlm_return") else None
