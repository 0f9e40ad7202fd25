"""What all figures have in common.

Figures are made without pyplot, hence without a display, a global state or a
window. Colours are those of Okabe and Ito, which stay apart for colour-blind eyes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B6B6B"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
"""Colours of curves, in order; more curves than colours begin again with another line."""
LINES = ("-", "--", ":", "-.")
UNSEEN = "#F6F4EE"
"""Background of the panels that the learner never saw."""

_STYLE: dict[str, Any] = {"dpi": 150, "facecolor": "white", "metadata": {"Software": None}}


def series(number: int) -> dict[str, Any]:
    """Colour and line of the n-th curve."""
    return {"color": SERIES[number % len(SERIES)], "linestyle": LINES[number // len(SERIES) % len(LINES)]}


def domain_note(record: Mapping[str, Any]) -> str:
    """What is to be known of encoders that were trained on simulators; empty where none was."""
    if not any(encoder.get("in_domain") for encoder in record["encoders"]):
        return ""
    if not record.get("captioned"):  # captions were made for other simulators than that of the task
        return "trained on other simulators: means little here"
    every = all(encoder.get("in_domain") for encoder in record["encoders"])
    return ("" if every else "some ") + "trained on this simulator, not zero-shot"


def finish_panel(panel: Axes) -> None:
    """Give a panel its grid, its frame and, if it has names, its legend."""
    panel.grid(visible=True, color="#DDDDDD", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    if panel.get_yscale() == "linear":
        panel.yaxis.set_major_locator(MaxNLocator(nbins=6))
    if panel.get_legend_handles_labels()[1]:
        panel.legend(fontsize=8, framealpha=0.9, loc="best")


def legend_below(figure: Figure, handles: Mapping[str, Any], *, columns: int, width: int) -> None:
    """Give a figure one legend for all of its panels, below them; ``width`` is in letters."""
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "fontsize": 8, "frameon": False}
    figure.legend(list(handles.values()), [wrap(label, width) for label in handles], **place)


def wrap(text: str, width: int) -> str:
    """Break a text into lines, and keep dollar signs from starting mathematics."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)).replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sides in inches, of 150 pixels each."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: str | Path) -> Path:
    """Write a figure; the suffix chooses the format."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, **_STYLE)
    return path
