"""What happened over time: how a run learned, how a video scores."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.reporting.figures.style import BLUE, GREY, UNSEEN, VERMILION, finish_panel, new_figure, save, wrap


@dataclass(frozen=True)
class _Table:
    """A CSV file of numbers, one array a column; what is not there is NaN."""

    columns: dict[str, NDArray[np.float64]]
    rows: int

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns.get(name, np.full(self.rows, np.nan))

    def has(self, name: str) -> bool:
        return bool(np.isfinite(self[name]).any())


def plot_learning_curve(metrics_csv: str | Path, out: str | Path, *, title: str) -> Path:
    """Draw how a run learned: what it was trained on above, what it was judged by below.

    The snapshots are read from ``snapshots.csv`` in the folder of
    ``metrics_csv``; without that file only the training episodes are drawn.
    Panels for which there is no number are left out.

    Args:
        metrics_csv: A run's ``metrics.csv``.
        out: The frame to write; its suffix chooses the format.
        title: Heading, such as the task and its sentence.

    Returns:
        ``out`` as a path.

    Raises:
        CheckpointError: ``metrics.csv`` is missing or has no ``step`` column.
    """
    metrics_path = Path(metrics_csv)
    metrics = _read_table(metrics_path)
    snapshots_path = metrics_path.with_name("snapshots.csv")
    snapshots = _read_table(snapshots_path) if snapshots_path.is_file() else _Table({}, 0)
    judged = [name for name in ("success_rate", "true_return") if _either_has(metrics, snapshots, name)]

    figure = new_figure(width=8.0, height=3.4 + 2.1 * len(judged))
    panels: list[Axes] = list(
        figure.subplots(1 + len(judged), 1, sharex=True, squeeze=False, height_ratios=[1.5] + [1.0] * len(judged))[:, 0]
    )
    _draw_vlm_return(panels[0], metrics, snapshots)
    for panel, name in zip(panels[1:], judged, strict=True):
        _draw_judgement(panel, metrics, snapshots, name)
    _mark_best(panels, ["vlm_return", *judged], snapshots)
    for panel in panels:
        finish_panel(panel)
    panels[-1].set_xlabel("environment steps")
    panels[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.suptitle(wrap(title, 78), fontsize=12)
    return save(figure, out)


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
    """Draw the reward of each frame of a video over time.

    Args:
        rewards: ``[n]`` with ``n >= 1``, one reward a frame.
        fps: Frames a second of the video, positive.
        out: The frame to write; its suffix chooses the format.
        goal: The goal prompt.
        encoder: Name of the encoder.
        baseline: The baseline prompt, if there was one.
        alpha: Strength of the baseline, if there was one.

    Returns:
        ``out`` as a path.

    Raises:
        InvalidInputError: There is no frame, or the frame rate is not positive.
    """
    values, rate = np.asarray(rewards, dtype=np.float64), float(fps)
    if values.ndim != 1 or values.size == 0:
        raise InvalidInputError(f"rewards must have shape [n] with n >= 1, got {values.shape}.")
    if not (math.isfinite(rate) and rate > 0):
        raise InvalidInputError(f"fps must be positive, got {rate!r}.")
    seconds = np.arange(values.size) / rate

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
        ha=_side(seconds[best], seconds[-1]),
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


def _draw_vlm_return(panel: Axes, metrics: _Table, snapshots: _Table) -> None:
    step, mean = metrics["step"], metrics["vlm_return_mean"]
    if metrics.has("vlm_return_mean"):
        seen = np.isfinite(mean)
        spread = np.nan_to_num(metrics["vlm_return_std"])
        panel.plot(step[seen], mean[seen], color=BLUE, linewidth=1.4, label="training episodes (mean ± std)")
        low, high = (mean - spread)[seen], (mean + spread)[seen]
        panel.fill_between(step[seen], low, high, color=BLUE, alpha=0.18, linewidth=0)
    if snapshots.has("vlm_return"):
        panel.errorbar(
            snapshots["step"],
            snapshots["vlm_return"],
            yerr=np.nan_to_num(snapshots["vlm_return_std"]),
            color=VERMILION,
            marker="o",
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            capsize=2,
            label="snapshots, no exploration (mean ± std)",
        )
    if not panel.has_data():
        panel.text(0.5, 0.5, "no finished episode yet", transform=panel.transAxes, ha="center", color=GREY)
    panel.set_ylabel("VLM return per episode")
    panel.set_title("What the learner maximises", loc="left", fontsize=10, color=GREY)


def _draw_judgement(panel: Axes, metrics: _Table, snapshots: _Table, name: str) -> None:
    metrics_name = "true_return_mean" if name == "true_return" else name
    for table, column, colour, marker, label in (
        (metrics, metrics_name, BLUE, None, "training episodes"),
        (snapshots, name, VERMILION, "o", "snapshots, no exploration"),
    ):
        seen = np.isfinite(table[column])
        if seen.any():
            panel.plot(
                table["step"][seen], table[column][seen], color=colour, marker=marker, ms=4, linewidth=1.3, label=label
            )
    panel.set_facecolor(UNSEEN)
    if name == "success_rate":
        panel.set_ylabel("episodes that succeed")
        panel.set_ylim(-0.04, 1.04)
        panel.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    else:
        panel.set_ylabel("environment's\nown return")
    panel.set_title("What the learner never saw, used to judge it only", loc="left", fontsize=10, color=GREY)


def _mark_best(panels: list[Axes], names: list[str], snapshots: _Table) -> None:
    """Star the snapshot with the highest VLM return in every panel: the one that a run reports."""
    if not snapshots.has("vlm_return"):
        return
    best = int(np.nanargmax(snapshots["vlm_return"]))
    step = snapshots["step"][best]
    for panel, name in zip(panels, names, strict=True):
        panel.axvline(step, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
        panel.plot(
            step,
            snapshots[name][best],
            "*",
            color=VERMILION,
            markersize=16,
            markeredgecolor="black",
            markeredgewidth=0.8,
            zorder=6,
            label="best by VLM return" if panel is panels[0] else None,
        )


def _read_table(path: Path) -> _Table:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; a run folder has one once the first episode has ended.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = [name for name in reader.fieldnames or [] if name != "path"]
    if "step" not in names:
        raise CheckpointError(f"{path} must have a column 'step', its columns are {names}.")
    return _Table({name: np.array([_number(row[name]) for row in rows], dtype=float) for name in names}, len(rows))


def _number(cell: str | None) -> float:
    """A cell as a number; an empty or unfinished one is NaN, as the last line of a killed run can be."""
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def _either_has(metrics: _Table, snapshots: _Table, name: str) -> bool:
    return metrics.has("true_return_mean" if name == "true_return" else name) or snapshots.has(name)


def _side(position: float, end: float) -> str:
    """Alignment that keeps a label beside ``position`` within an axis from 0 to ``end``."""
    if position < 0.2 * end:
        return "left"
    return "right" if position > 0.8 * end else "center"
