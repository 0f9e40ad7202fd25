"""The figure of a sweep shows the numbers of its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from saved_figures import saved_by
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.figures import sweeps
from vlm_rewards.reporting.figures.sweeps import plot_sweep


def score(seeds: list[float], iqm: float | None, interval: list[float] | None) -> dict[str, Any]:
    return {"seeds": seeds, "iqm": iqm, "iqm_interval_95": interval}


def row(label: str, planned: int, success: dict[str, Any], true: dict[str, Any]) -> dict[str, Any]:
    seeds = {"planned": list(range(planned)), "done": list(range(len(true["seeds"])))}
    return {"label": label, "seeds": seeds, "success_rate": success, "true_return": true}


THREE = row("alpha 0", 3, score([0.1, 0.5, 0.9], 0.5, [0.1, 0.9]), score([10, 50, 90], 50, [10, 90]))
ONE = row("“costs $5 and $6”", 3, score([0.25], 0.25, None), score([25], 25, None))
NONE = row("alpha 1", 2, score([], None, None), score([], None, None))
RECORD = {"kind": "sweep", "task": "cartpole", "score": "success_rate", "settings": [THREE, ONE, NONE]}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, newest last."""
    return saved_by(monkeypatch, sweeps)


def test_a_point_an_interval_and_every_seed(tmp_path: Path, drawn: list[Figure]) -> None:
    out = plot_sweep(RECORD, tmp_path / "sweep.png")
    with Image.open(out) as image:
        assert image.format == "PNG"
    success, true = drawn[0].axes
    for panel, scale in ((success, 1), (true, 100)):
        points = [np.asarray(line.get_xydata()) for line in panel.get_lines()]
        seeds = next(xy for xy in points if len(xy) == 3)
        assert seeds[:, 0].tolist() == pytest.approx([0.1 * scale, 0.5 * scale, 0.9 * scale])
        assert set(seeds[:, 1]) == {0.22}
        assert any(xy.tolist() == [[pytest.approx(0.5 * scale), 0]] for xy in points)
        bars = [c for c in panel.collections if isinstance(c, LineCollection)]
        (bar,) = (segment for collection in bars for segment in collection.get_segments())  # one seed has none
        assert bar.tolist() == [[pytest.approx(0.1 * scale), 0], [pytest.approx(0.9 * scale), 0]]
        assert [text.get_text() for text in panel.texts] == ["no seed is done"]
    assert success.get_ylim() == (2.5, -0.5)
    labels = [label.get_text() for label in success.get_yticklabels()]
    assert labels == ["alpha 0\n3 seeds", "“costs \\$5 and \\$6”\n1 of 3 seeds", "alpha 1\n0 of 2 seeds"]
    assert "fewer than 3 seeds in a row: its interval says little" in drawn[0].get_suptitle()
    (legend,) = drawn[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["each seed", "interquartile mean, 95 % interval over seeds", "one seed: no interval"]


def test_without_a_criterion_there_is_one_panel(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_sweep({**RECORD, "score": "true_return", "settings": [THREE]}, tmp_path / "sweep.png")
    (panel,) = drawn[0].axes
    assert panel.get_xlabel() == "environment's own return"
    assert drawn[0].get_suptitle() == "cartpole: one setting, all seeds"


def test_nothing_done_and_other_records(tmp_path: Path, drawn: list[Figure]) -> None:
    assert plot_sweep({**RECORD, "settings": [NONE]}, tmp_path / "sweep.png").is_file()
    assert not drawn[0].legends
    with pytest.raises(InvalidInputError, match="record must be of the kind 'sweep', got 'bench'"):
        plot_sweep({"kind": "bench"}, tmp_path / "sweep.png")
