"""The figures of judgements, landscapes and sweeps show the numbers of their records."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from PIL import Image

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import write_json
from vlm_rewards.reporting.figures import epic
from vlm_rewards.reporting.figures.landscapes import SHOWN, plot_landscape, shown_places
from vlm_rewards.reporting.figures.records import draw_figures, title_of
from vlm_rewards.reporting.figures.style import domain_note
from vlm_rewards.reporting.figures.sweeps import plot_sweep
from vlm_rewards.reporting.page import report


def row(encoder: int, alpha: float, epic: float) -> dict[str, Any]:
    ends = {"epic_low": epic - 0.05, "epic_high": epic + 0.05}
    return {"encoder": encoder, "prompt": 0, "alpha": alpha, "epic": epic, **ends, "auroc": 0.9, "spearman": 0.5}


def histogram(encoder: int) -> dict[str, Any]:
    told = {"encoder": encoder, "prompt": 0, "alpha": 0.5}
    return {**told, "edges": [-1.0, 0.0, 1.0], "goal": [1, 3], "other": [8, 2]}


JUDGED = {
    "kind": "judge",
    "task": "cartpole",
    "captioned": True,
    "reference": "labels",
    "focus": 0.5,
    "interval": "95 % bootstrap over episodes",
    "states": {"states": 5000, "generator": "rule"},
    "encoders": [
        {"name": "large", "parameters": 9_000_000, "image_parameters": 4_000_000, "in_domain": True},
        {"name": "small", "parameters": 6_000_000, "image_parameters": 1_000_000, "in_domain": True},
    ],
    "prompts": [{"goal": "costs $5", "baseline": "costs"}],
    "alphas": [0.0, 0.5],
    "rows": [row(0, 0.0, 0.3), row(0, 0.5, 0.2), row(1, 0.0, 0.6), row(1, 0.5, 0.5)],
    "histograms": [histogram(0), histogram(1)],
}
LANDSCAPE = {
    "kind": "landscape",
    "task": "cartpole",
    "captioned": True,
    "goal": "up",
    "baseline": "pole",
    "dimension": "pole_angle",
    "unit": "rad",
    "values": np.linspace(-np.pi, np.pi, 5).round(5).tolist(),
    "goal_states": [False, False, True, False, False],
    "alphas": [0.0, 1.0],
    "encoders": [{"name": "bundled", "in_domain": True}],
    "rewards": [[[0.1, 0.2, 0.5, 0.3, 0.1], [0.0, 4.0, 2.0, 1.0, 0.0]]],
}


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(record), **changes}


def curves(figure: Figure) -> dict[str, list[list[float]]]:
    lines = figure.axes[0].get_lines()
    return {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in lines}


def points(figure: Figure) -> list[list[float]]:
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    return np.asarray(line.get_xydata()).tolist()


def test_a_judgement_has_three_figures(tmp_path: Path, drawn: list[Figure]) -> None:
    paths = draw_figures(JUDGED, tmp_path, "bundled")
    names = ["bundled-epic-over-alpha.png", "bundled-epic-over-parameters.png", "bundled-histograms.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
    over_alpha, over_parameters, histograms = drawn
    found = curves(over_alpha)
    assert found["large"] == [[0.0, 0.3], [0.5, 0.2]]
    assert found["small"] == [[0.0, 0.6], [0.5, 0.5]]
    assert over_alpha.axes[0].get_ylabel() == "EPIC distance to the criterion"
    assert [text.get_text() for text in over_alpha.axes[0].texts] == ["unrelated"]
    assert points(over_parameters) == [[1_000_000, 0.5], [4_000_000, 0.2]]  # at the focus, smallest first
    assert over_parameters.axes[0].get_xscale() == "log"
    assert over_parameters.axes[0].get_xlabel() == "parameters of the image encoder (logarithmic)"
    patches = [patch for patch in histograms.axes[0].patches if isinstance(patch, StepPatch)]
    assert [patch.get_data().values.tolist() for patch in patches] == [[0.8, 0.2], [0.25, 0.75]]  # others, goal
    for figure in drawn:
        assert "not zero-shot" in " ".join(figure.get_suptitle().split())
        assert "\\$5" in figure.get_suptitle()


def test_one_encoder_has_no_size_to_compare(tmp_path: Path) -> None:
    one = changed(JUDGED, encoders=JUDGED["encoders"][:1], rows=JUDGED["rows"][:2], histograms=[histogram(0)])
    names = [path.name for path in draw_figures(one, tmp_path, "")]
    assert names == ["epic-over-alpha.png", "histograms.png"]


@pytest.mark.parametrize(
    ("changes", "figures", "label"),
    [
        ({"labels": "mine.csv"}, 3, "labels of mine.csv"),
        ({"reference": "true_reward", "histograms": []}, 2, "true reward"),
    ],
)
def test_what_is_compared_with_is_said(
    tmp_path: Path, drawn: list[Figure], changes: dict[str, Any], figures: int, label: str
) -> None:
    assert len(draw_figures(changed(JUDGED, **changes), tmp_path, "")) == figures
    assert drawn[0].axes[0].get_ylabel() == f"EPIC distance to the {label}"


def test_models_without_the_count_of_their_image_tower_are_drawn_whole(tmp_path: Path, drawn: list[Figure]) -> None:
    encoders = [{"name": "a", "parameters": 10}, {"name": "b", "parameters": 100, "image_parameters": 50}]
    record = changed(JUDGED, encoders=encoders)
    epic.plot_epic_over_parameters(record, tmp_path / "x.png", title=title_of(record), alpha=0.5)
    assert drawn[0].axes[0].get_xlabel() == "parameters of the whole model (logarithmic)"
    assert [x for x, _ in points(drawn[0])] == [10, 100]
    assert "not zero-shot" not in drawn[0].get_suptitle()


def test_many_prompts_have_names_of_their_own(tmp_path: Path, drawn: list[Figure]) -> None:
    pairs = [{"goal": f"goal {number}", "baseline": "b"} for number in range(14)]
    rows = [{**row(0, 0.5, 0.1 + number / 50), "prompt": number} for number in range(14)]
    shown = [{**histogram(0), "prompt": number} for number in range(14)]
    encoders = [{"name": "a", "parameters": 10}]
    record = changed(JUDGED, prompts=pairs, rows=rows, histograms=shown, encoders=encoders, alphas=[0.5])
    draw_figures(record, tmp_path, "")
    names = [name for name in curves(drawn[0]) if name.startswith("a,")]
    assert names == [f"a, “goal {number}”" for number in range(14)]
    assert "2 more are in the record" in drawn[1].get_suptitle()


def test_a_landscape_is_scaled_and_marked(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_landscape(LANDSCAPE, tmp_path / "landscape.png", [np.zeros((8, 8, 3), np.uint8)] * SHOWN)
    (panel,) = [axis for axis in drawn[0].axes if axis.get_xlabel()]
    assert panel.get_xlabel() == "pole_angle [degrees]"
    lines = [np.asarray(line.get_xydata()) for line in panel.get_lines()]
    wholes = [line for line in lines if len(line) == 5]
    np.testing.assert_allclose(wholes[0][:, 0], [-180, -90, 0, 90, 180], atol=1e-3)
    np.testing.assert_allclose(wholes[0][:, 1], [0.0, 0.25, 1.0, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(wholes[1][:, 1], [0.0, 1.0, 0.5, 0.25, 0.0], atol=1e-9)
    stars = [line[0].round(2).tolist() for line in lines if len(line) == 1]
    assert stars == [[0.0, 1.0], [-90.0, 1.0]]
    (goal,) = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
    assert (goal.get_x(), goal.get_width()) == (pytest.approx(-45, abs=0.01), pytest.approx(90, abs=0.01))
    assert panel.get_xticks()[0] == -180
    assert panel.get_xticks()[-1] == 180


def test_a_landscape_without_a_criterion_or_pictures(tmp_path: Path, drawn: list[Figure]) -> None:
    two = [*LANDSCAPE["encoders"], {"name": "other"}]
    rewards = LANDSCAPE["rewards"] * 2
    plot_landscape(
        changed(LANDSCAPE, goal_states=None, unit="", encoders=two, rewards=rewards), tmp_path / "landscape.png"
    )
    assert len(drawn[0].axes) == 2
    assert not [patch for axis in drawn[0].axes for patch in axis.patches]
    assert drawn[0].axes[-1].get_xlabel() == "pole_angle"
    assert "no criterion to mark" in " ".join(drawn[0].get_suptitle().split())
    assert "2 encoders" in drawn[0].get_suptitle()


@pytest.mark.parametrize(
    ("in_domain", "captioned", "note"),
    [
        ([True, True], True, "trained on this simulator, not zero-shot"),
        ([True, None], True, "some trained on this simulator, not zero-shot"),
        ([True], False, "trained on other simulators: means little here"),
        ([None, False], False, ""),
    ],
)
def test_who_knew_the_simulator_is_said(in_domain: list[bool | None], captioned: bool, note: str) -> None:
    assert domain_note({"encoders": [{"in_domain": one} for one in in_domain], "captioned": captioned}) == note


def test_shown_states_are_spread_evenly() -> None:
    assert shown_places(181) == [0, 30, 60, 90, 120, 150, 180]
    assert shown_places(2) == [0, 0, 0, 0, 1, 1, 1]


def test_figures_are_drawn_of_records_by_name(tmp_path: Path) -> None:
    for folder, record in (("one", JUDGED), ("two", LANDSCAPE)):
        (tmp_path / folder).mkdir()
        write_json(tmp_path / folder / f"{record['kind']}.json", record)
    written = report([tmp_path / "one", tmp_path / "two"], figures=tmp_path / "out")
    kinds = ("epic-over-alpha", "epic-over-parameters", "histograms")
    assert [path.name for path in written.files] == [*(f"one-{kind}.png" for kind in kinds), "two.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in written.files)
    (tmp_path / "a" / "one").mkdir(parents=True)
    write_json(tmp_path / "a" / "one" / "judge.json", changed(JUDGED, task="other"))
    with pytest.raises(InvalidInputError, match="records must have names of their own, got one, one"):
        report([tmp_path / "one", tmp_path / "a"], figures=tmp_path / "out")
    write_json(tmp_path / "bench.json", {"kind": "bench"})
    with pytest.raises(
        InvalidInputError, match=r"kind 'bench', which a report does not show. Choices: runs, baselines"
    ):
        report([tmp_path / "bench.json"], figures=tmp_path / "out")


def test_incomplete_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the record is incomplete: KeyError 'rows'"):
        draw_figures({key: value for key, value in JUDGED.items() if key != "rows"}, tmp_path, "")


def score(seeds: list[float], iqm: float | None, interval: list[float] | None) -> dict[str, Any]:
    return {"seeds": seeds, "iqm": iqm, "iqm_interval_95": interval}


def setting(label: str, planned: int, success: dict[str, Any], true: dict[str, Any]) -> dict[str, Any]:
    seeds = {"planned": list(range(planned)), "done": list(range(len(true["seeds"])))}
    return {"label": label, "seeds": seeds, "success_rate": success, "true_return": true}


THREE = setting("alpha 0", 3, score([0.1, 0.5, 0.9], 0.5, [0.1, 0.9]), score([10, 50, 90], 50, [10, 90]))
ONE = setting("“costs $5 and $6”", 3, score([0.25], 0.25, None), score([25], 25, None))
NONE = setting("alpha 1", 2, score([], None, None), score([], None, None))
SWEEP = {"kind": "sweep", "task": "cartpole", "score": "success_rate", "settings": [THREE, ONE, NONE]}


def test_a_point_an_interval_and_every_seed(tmp_path: Path, drawn: list[Figure]) -> None:
    out = plot_sweep(SWEEP, tmp_path / "sweep.png")
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
    plot_sweep({**SWEEP, "score": "true_return", "settings": [THREE]}, tmp_path / "sweep.png")
    (panel,) = drawn[0].axes
    assert panel.get_xlabel() == "environment's own return"
    assert drawn[0].get_suptitle() == "cartpole: one setting, all seeds"


def test_nothing_done(tmp_path: Path, drawn: list[Figure]) -> None:
    assert plot_sweep({**SWEEP, "settings": [NONE]}, tmp_path / "sweep.png").is_file()
    assert not drawn[0].legends
