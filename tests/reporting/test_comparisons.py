"""The figure of several runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from vlm_rewards.reporting.figures.comparisons import RunCurve, plot_runs
from vlm_rewards.reporting.report.drawings import run_figure, runs_figure
from vlm_rewards.reporting.report.gathering import gather
from vlm_rewards.reporting.report.seeds import settings_of

from report_runs import record, run_folder
from saved_figures import saved_by
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.figures import comparisons

STEPS = np.array([100.0, 200.0, 300.0])
SNAPSHOTS = {"step": STEPS, "vlm_return": np.array([1.0, 5.0, 3.0]), "success_rate": np.array([0.0, 0.5, 1.0])}
METRICS = {"step": STEPS, "vlm_return_mean": np.array([0.0, np.nan, 2.0])}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return saved_by(monkeypatch, comparisons)


def test_snapshots_training_and_the_best(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [RunCurve("a", 0, 0, METRICS, SNAPSHOTS), RunCurve("b", 1, 0, METRICS, {}), RunCurve("c", 2, 0, {}, {})]
    plot_runs(runs, tmp_path / "out.png", title="costs $5 and $6")
    vlm, success = drawn[0].axes  # no true return, no panel
    lines = {line.get_label(): line for line in vlm.lines}
    np.testing.assert_array_equal(lines["a"].get_ydata(), [1, 5, 3])
    np.testing.assert_array_equal(lines["_training"].get_xdata(), [100, 300])
    np.testing.assert_array_equal(lines["b"].get_ydata(), [0, 2])
    assert (lines["_best"].get_xdata()[0], lines["_best"].get_ydata()[0]) == (200, 5)
    star = success.lines[-1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (200, 0.5)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "b"]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="at least one number to draw"):
        plot_runs([RunCurve("a", 0, 0, {}, {"step": STEPS})], tmp_path / "out.png", title="")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("settings", "seeds"), [(1, 3), (3, 1)])
def test_what_there_is_more_of_has_the_colours(tmp_path: Path, drawn: list[Figure], settings: int, seeds: int) -> None:
    for setting in range(settings):
        for seed in range(seeds):
            alpha = 0.1 * setting
            run_folder(tmp_path / f"{setting}-{seed}", record(seed=seed, alpha=alpha, config={"alpha": alpha}))
    content = runs_figure(settings_of(gather([tmp_path]).runs), "all")
    assert content is not None
    assert content.startswith(b"\x89PNG")
    named = [line for line in drawn[0].axes[0].lines if not str(line.get_label()).startswith("_")]
    assert len({line.get_color() for line in named}) == 3
    assert {line.get_linestyle() for line in named} == {"-"}


def test_a_record_that_came_alone_shows_its_snapshots(tmp_path: Path, drawn: list[Figure]) -> None:
    (run,) = gather([Path(__file__).parents[2] / "docs" / "records" / "cartpole-0.json"]).runs
    content = run_figure(run, "one")
    assert content is not None
    (tmp_path / "out.png").write_bytes(content)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size[0] == 1_200
    assert drawn[0].axes[0].lines[0].get_ydata()[0] == pytest.approx(113.958, abs=1e-3)
