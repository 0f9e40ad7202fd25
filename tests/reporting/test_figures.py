"""Figures show the numbers they were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from report_runs import RECORDS, record, run_folder
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.reporting.contents import contents
from vlm_rewards.reporting.figures.curves import RunCurve, plot_learning_curve, plot_runs, plot_video_rewards
from vlm_rewards.reporting.gathering import gather

METRICS = """step,wall_seconds,episodes,vlm_return_mean,vlm_return_std,true_return_mean,success_rate,updates,loss
100,1.0,0,,,,,0,
200,2.0,8,50,5,20,0.0,10,0.5
300,3.0,16,60,6,120,0.25,20,0.4
400,4.0,24,70,7,180,0.75,30,0.3
"""
SNAPSHOTS = """step,vlm_return,vlm_return_std,true_return,success_rate,path
200,55,2,40,0.1,step_200.safetensors
300,90,2,150,0.6,step_300.safetensors
400,80,2,190,1.0,step_400.safetensors
"""


STEPS = np.array([100.0, 200.0, 300.0])
JUDGED = {"step": STEPS, "vlm_return": np.array([1.0, 5.0, 3.0]), "success_rate": np.array([0.0, 0.5, 1.0])}
TRAINED = {"step": STEPS, "vlm_return_mean": np.array([0.0, np.nan, 2.0])}


def lines(panel: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in panel.get_lines()}


def write_run(folder: Path, metrics: str = METRICS, snapshots: str | None = SNAPSHOTS) -> Path:
    (folder / "metrics.csv").write_text(metrics)
    if snapshots is not None:
        (folder / "snapshots.csv").write_text(snapshots)
    return folder / "metrics.csv"


def test_a_learning_curve_shows_training_snapshots_and_what_was_never_seen(tmp_path: Path, drawn: list[Figure]) -> None:
    out = plot_learning_curve(write_run(tmp_path), tmp_path / "new" / "curve.png", title="costs $5 and $6")
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.size[0] == 1200
    seen, success, true = drawn[0].axes
    assert lines(seen)["training episodes (mean ± std)"].tolist() == [[200, 50], [300, 60], [400, 70]]
    assert lines(success)["training episodes"].tolist() == [[200, 0], [300, 0.25], [400, 0.75]]
    assert lines(success)["snapshots, no exploration"].tolist() == [[200, 0.1], [300, 0.6], [400, 1]]
    assert lines(true)["snapshots, no exploration"].tolist() == [[200, 40], [300, 150], [400, 190]]
    assert true.get_xlabel() == "environment steps"
    stars = [
        [line.get_xydata()[0].tolist() for line in p.get_lines() if line.get_marker() == "*"] for p in drawn[0].axes
    ]
    assert stars == [[[300, 90]], [[300, 0.6]], [[300, 150]]]  # the highest VLM return, not the highest success
    assert [panel.get_title(loc="left") for panel in drawn[0].axes] == [
        "What the learner maximises",
        "What the learner never saw, used to judge it only",
        "What the learner never saw, used to judge it only",
    ]


def test_panels_without_numbers_are_left_out(tmp_path: Path, drawn: list[Figure]) -> None:
    metrics = "step,vlm_return_mean,vlm_return_std,true_return_mean,success_rate\n10,1,0,,\n20,2,,,\n3"
    plot_learning_curve(write_run(tmp_path, metrics, snapshots=None), tmp_path / "curve.png", title="t")
    (panel,) = drawn[0].axes
    assert lines(panel)["training episodes (mean ± std)"].tolist() == [[10, 1], [20, 2]]


@pytest.mark.parametrize("snapshots", [None, "step,vlm_return,vlm_return_std,true_return,success_rate,path\n"])
def test_a_run_without_a_finished_episode_still_gets_a_figure(
    snapshots: str | None, tmp_path: Path, drawn: list[Figure]
) -> None:
    header = METRICS.splitlines()[0] + "\n"
    plot_learning_curve(write_run(tmp_path, header, snapshots), tmp_path / "curve.png", title="t")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["no finished episode yet"]


def test_a_missing_or_foreign_metrics_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"metrics\.csv must have a column 'step', its columns are \[\]"):
        plot_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", title="t")
    with pytest.raises(CheckpointError, match=r"must have a column 'step', its columns are \['a', 'b'\]"):
        plot_learning_curve(write_run(tmp_path, "a,b\n1,2\n"), tmp_path / "curve.png", title="t")


def test_video_rewards_are_drawn_over_seconds(tmp_path: Path, drawn: list[Figure]) -> None:
    out = plot_video_rewards(
        [0.1, 0.4, 0.2], 2, tmp_path / "v.png", goal="a cat", encoder="bundled", baseline="a photo", alpha=0.5
    )
    assert out.read_bytes().startswith(b"\x89PNG")
    (panel,) = drawn[0].axes
    first, star = panel.get_lines()
    assert first.get_xydata().tolist() == [[0, 0.1], [0.5, 0.4], [1, 0.2]]
    assert star.get_xydata().tolist() == [[0.5, 0.4]]
    assert panel.texts[0].get_text() == "best: 0.400 at 0.50 s"
    assert panel.get_xlabel() == "time in the video [s]"
    assert drawn[0].get_suptitle() == "“a cat”\nencoder: bundled; baseline: “a photo”, alpha 0.5"


def test_one_frame_is_enough(tmp_path: Path) -> None:
    assert plot_video_rewards([0.1], 25, tmp_path / "v.png", goal="a", encoder="b").is_file()


def test_snapshots_training_and_the_best(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [RunCurve("a", 0, 0, TRAINED, JUDGED), RunCurve("b", 1, 0, TRAINED, {}), RunCurve("c", 2, 0, {}, {})]
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
    _, (figure, *_) = contents(gather([tmp_path]))
    assert figure.content.startswith(b"\x89PNG")
    named = [line for line in drawn[0].axes[0].lines if not str(line.get_label()).startswith("_")]
    assert len({line.get_color() for line in named}) == 3
    assert {line.get_linestyle() for line in named} == {"-"}


def test_a_record_that_came_alone_shows_its_snapshots(drawn: list[Figure]) -> None:
    _, media = contents(gather([RECORDS / "cartpole-0.json"]))
    assert [one.name for one in media] == ["cartpole-runs.png", "cartpole-0-curve.png"]
    assert drawn[1].axes[0].lines[0].get_ydata()[0] == pytest.approx(113.958, abs=1e-3)
