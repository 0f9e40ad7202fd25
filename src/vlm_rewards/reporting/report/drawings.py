"""The figures that a report draws itself, as PNG."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from vlm_rewards.errors import VLMRewardsError
from vlm_rewards.reporting.figures.comparisons import RunCurve, plot_runs
from vlm_rewards.reporting.figures.curves import plot_learning_curve
from vlm_rewards.reporting.report.reading import read_columns
from vlm_rewards.reporting.report.runs import Run
from vlm_rewards.reporting.report.seeds import Setting

_COLOURS = 256  # of a palette: a third of the size, and no difference to be seen


def runs_figure(settings: Sequence[Setting], title: str) -> bytes | None:
    """Draw all runs of a task.

    Args:
        settings: The runs. What there is more of, settings or seeds, is told apart by colour, the other by line.
        title: Heading.

    Returns:
        The frame; None where no run has a number.
    """
    seeds = sorted({run.seed for setting in settings for run in setting.runs})
    curves: dict[str, RunCurve] = {}
    for number, setting in enumerate(settings):
        for run in setting.runs:
            label = f"{setting.label}, seed\N{NO-BREAK SPACE}{run.seed}"
            label = label if label not in curves else f"{label} ({run.name})"
            places = (seeds.index(run.seed), number)
            colour, line = places if len(seeds) >= len(settings) else places[::-1]
            curves[label] = RunCurve(label, colour, line, read_columns(run.metrics), read_columns(run.snapshots))
    return _drawn(lambda out: plot_runs(list(curves.values()), out, title=title))


def run_figure(run: Run, title: str) -> bytes | None:
    """Draw the learning curve of a run.

    Args:
        run: The run; where its record came without ``metrics.csv``, its snapshots are drawn.
        title: Heading.

    Returns:
        The frame; None where there is no number to draw.
    """
    if run.folder is not None and run.metrics is not None and run.metrics.is_file():
        metrics = run.metrics
        return _drawn(lambda out: plot_learning_curve(metrics, out, title=title))
    curve = RunCurve("snapshots, no exploration", 0, 0, read_columns(run.metrics), read_columns(run.snapshots))
    return _drawn(lambda out: plot_runs([curve], out, title=title))


def _drawn(draw: Callable[[Path], Path]) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = draw(Path(folder) / "figure.png")
        except VLMRewardsError:  # no numbers yet, or a table that was cut off before its first line
            return None
        content = io.BytesIO()
        with Image.open(path) as frame:
            frame.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()
