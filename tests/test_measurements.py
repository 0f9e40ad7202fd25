"""The committed measurements hold what the documentation says of them, and what the project promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BENCH: dict[str, Any] = json.loads((DOCS / "measurements" / "bench.json").read_text())
ROWS = {row["name"]: row for row in BENCH["measurements"]}
KILLS: dict[str, Any] = json.loads((DOCS / "measurements" / "kill-and-resume.json").read_text())
HACKING: dict[str, Any] = json.loads((DOCS / "measurements" / "reward-hacking.json").read_text())
DRAWING: dict[str, Any] = json.loads((DOCS / "measurements" / "drawing.json").read_text())
GPU: dict[str, Any] = json.loads((DOCS / "measurements" / "paper-on-a-gpu.json").read_text())
DRAWN = {row["name"]: row for row in DRAWING["measurements"]}


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table() -> list[str]:
    """The lines of the table in docs/speed.md."""
    lines = []
    for row in ROWS.values():
        beside, ratio = row.get("beside"), row.get("ratio")
        cells = [row["name"], row["unit"], number(row["median"])]
        cells += [f"{number(beside['median'])} ({beside['name']})" if beside else ""]
        cells += [f"{ratio['median']:.3g} ({ratio['lowest']:.3g} to {ratio['highest']:.3g})" if ratio else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def test_the_page_on_speed_has_the_numbers_of_the_record() -> None:
    page = (DOCS / "speed.md").read_text().splitlines()
    for line in table():
        assert line in page
    assert BENCH["repeats"] >= 5
    assert "dirty" not in BENCH["commit"]
    assert BENCH["commit"][:7] in "\n".join(page)
    ratio = ROWS["end-to-end, humanoid (kneeling), bundled encoder"]["ratio"]["median"]
    said = f"the kneeling humanoid trains <!-- evidence:kneeling_speed -->{ratio:.0f}<!-- /evidence --> times as fast"
    assert said in (DOCS.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("labelled frames, ViT-B-32 (random weights)", 0.9),
        ("collection and labelling, CartPole, bundled encoder", 4.0),
        ("end-to-end, CartPole, bundled encoder", 2.0),
        ("collection and labelling, humanoid (kneeling), bundled encoder", 8.0),
        ("end-to-end, humanoid (kneeling), bundled encoder", 8.0),
    ],
)
def test_ratios_are_those_that_were_promised(name: str, least: float) -> None:
    assert ROWS[name]["ratio"]["median"] >= least


def test_memory_does_not_grow_with_rollouts() -> None:
    short, long = (row["median"] for name, row in ROWS.items() if name.startswith("peak memory"))
    assert abs(long - short) < 20


def test_no_kill_left_a_trace() -> None:
    assert KILLS["kills"] == 20
    assert len(KILLS["runs"]) == 2
    for run in KILLS["runs"].values():
        assert len(run["kills"]) == 20
        assert not any(kill["differences"] or kill["processes_left"] for kill in run["kills"])


def gpu_rows() -> list[str]:
    """The lines of the table in docs/evidence-gpu.md."""
    ran, planned = GPU["training"], GPU["plan"]["machine"]
    weights = 2 * ran["encoder"]["parameters"]
    return [
        f"| frames that ViT-bigG-14 embeds in a second | {number(GPU['embedding']['median'])} | |",
        f"| steps a second, before learning starts | {number(ran['steps_per_second']['collecting'])} | |",
        f"| steps a second, with updates | {number(ran['steps_per_second']['learning'])} | |",
        f"| GPU memory, weights alone | {gib(GPU['weights_bytes'])} | {gib(weights)} |",
        "| GPU memory of the run, activations and CUDA itself included "
        f"| {gib(ran['gpu_bytes'])} | at least {gib(planned['gpu_needed'])} |",
        "| main memory of the run, pages of the checkpoint's file included "
        f"| {gib(ran['memory_bytes'])} | at least {gib(planned['needed'])} |",
    ]


def gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


def test_the_page_on_real_models_has_the_numbers_of_the_papers_run() -> None:
    page = (DOCS / "evidence-gpu.md").read_text()
    first = page.splitlines().index("| what | measured | planned |") + 2
    assert page.splitlines()[first : first + 6] == gpu_rows()
    assert (GPU["weights"], GPU["architecture"]) == ("random", "ViT-bigG-14")
    assert GPU["machine"]["accelerator"].startswith("NVIDIA H100")
    assert GPU["commit"][:7] in page
    assert f">{1e7 / GPU['training']['steps_per_second']['learning'] / 3600:.1f}<!-- /evidence --> hours" in page


def hacking_row(name: str, run: dict[str, Any]) -> str:
    """A line of the table in docs/evidence-hacking.md."""
    then = run["comparison"]
    course = [f"{then[one + '_before']:.3f} → {then[one + '_now']:.3f}" for one in ("vlm", "reference")]
    alarms = ", ".join(f"{alarm['step']:,}" for alarm in run["alarms"]) or "none"
    return "| " + " | ".join([name, alarms, *course]) + " |"


def test_every_planted_hack_was_noticed_and_nothing_else() -> None:
    planted, ordinary = HACKING["planted"], HACKING["ordinary"]
    assert (len(planted), len(ordinary), HACKING["wrong"]) == (10, 10, [])
    assert [name for name, run in planted.items() if not run["alarms"]] == []
    assert [name for name, run in ordinary.items() if run["alarms"]] == []
    for run in planted.values():
        for alarm in run["alarms"]:
            assert alarm["vlm_now"] > alarm["vlm_before"]
            assert alarm["reference_now"] < 0.9 * alarm["reference_before"]
            # Each alarm has its frames, and all of them are of moments at which the criterion did not hold.
            assert [seen["reference"] for seen in alarm["frames"]] == [0.0] * 8
            assert alarm["picture"] == f"alarms/step_{alarm['step']:010d}.png"
        assert run["comparison"]["vlm_now"] > run["comparison"]["vlm_before"]
        assert run["comparison"]["reference_now"] < run["comparison"]["reference_before"] / 2


def test_the_page_on_reward_hacking_has_the_numbers_of_the_record() -> None:
    page = (DOCS / "evidence-hacking.md").read_text().splitlines()
    runs = {**HACKING["planted"], **HACKING["ordinary"]}
    assert [hacking_row(name, run) for name, run in runs.items()] == [line for line in page if " → " in line]
    assert {run["episodes"] for run in runs.values()} == {96}
    assert HACKING["encoder"]["name"] == "bundled"


def drawing_row(row: dict[str, Any]) -> str:
    """A line of the table in docs/drawing.md."""
    ratio = row.get("ratio")
    beside = f"{ratio['median']:.3g} ({ratio['lowest']:.3g} to {ratio['highest']:.3g})" if ratio else "1"
    cells = [row["name"], row["settings"]["size"], f"{row['median']:.3g}", f"{1000 / row['median']:.3g}", beside]
    return "| " + " | ".join(map(str, cells)) + " |"


def test_the_page_on_drawing_has_the_numbers_of_the_record() -> None:
    page = (DOCS / "drawing.md").read_text()
    lines = page.splitlines()
    first = lines.index("| setting | pixels | frames/s | ms a frame | times the default |") + 2
    assert lines[first : first + len(DRAWN)] == [drawing_row(row) for row in DRAWN.values()]
    assert f"{DRAWING['states']} posed states of Humanoid-v5" in page
    assert f"of {DRAWING['repeats']} runs" in page
    assert DRAWING["commit"][:7] in page
    assert DRAWING["renderer"].split()[0] in page
    for name in ("drawing-steps.png", "drawing-looks.png"):
        assert f"(img/{name})" in page
    assert sum((DOCS / "img" / name).stat().st_size for name in ("drawing-steps.png", "drawing-looks.png")) < 300_000


def ranking_rows() -> list[str]:
    """The lines on rewards in docs/drawing.md."""
    rows = []
    for picture, found in DRAWING["ranking"]["spearman"].items():
        values = list(found.values())
        kneeling = found["a humanoid robot kneeling"]
        rows.append(f"| {picture} | {kneeling:.2f} | {min(values):.2f} to {max(values):.2f} |")
    return rows


def test_the_page_on_drawing_says_what_it_does_to_rewards() -> None:
    page = (DOCS / "drawing.md").read_text()
    lines = page.splitlines()
    first = lines.index(ranking_rows()[0])
    assert lines[first : first + 5] == ranking_rows()
    assert f"{DRAWING['ranking']['states']} posed states" in page
    assert "dirty" not in DRAWING["commit"]


def test_drawing_is_ten_times_as_fast_as_gymnasiums_default() -> None:
    assert DRAWING["repeats"] >= 5
    assert DRAWN["Gymnasium's default"]["settings"]["size"] == 480
    for name in ("realistic textures", "realistic textures, 224 pixels"):
        assert DRAWN[name]["ratio"]["lowest"] >= 10


def test_the_page_on_speed_says_what_labelling_fewer_states_does() -> None:
    page = (DOCS / "speed.md").read_text()
    record = json.loads((DOCS / "measurements" / "label-every.json").read_text())
    assert "dirty" not in record["commit"]
    rows = {row["every"]: row for row in record["rows"]}
    for every in (2, 4, 8):
        row = rows[every]
        cells = (f"{100 * row['pictures']:.0f} %", f"{row['pearson_distance_between']:.3f}")
        assert f"| {every} | {' | '.join(cells)} | {row['error_in_standard_deviations']:.2f} |" in page
        assert abs(row["epic_to_criterion"] - record["epic_to_criterion"]) < 0.01


def reason_row(name: str, run: dict[str, Any]) -> str:
    """A line of the table of failures in docs/poses.md."""
    most, share = next(iter(run["broken"].items()))
    above = [run["goal_above_failure"], run["goal_above_standing"]]
    cells = [name, f"{100 * run['held']:.0f} %", f"{most} ({100 * share:.0f} %)"]
    return "| " + " | ".join(cells + ["-" if one is None else f"{one:.2f}" for one in above]) + " |"


def test_the_page_on_the_poses_says_why_agents_fail() -> None:
    record = json.loads((DOCS / "measurements" / "reasons.json").read_text())
    page = (DOCS / "poses.md").read_text().splitlines()
    assert record["count"] == 1_000
    for name, run in record["rows"].items():
        assert "dirty" not in run["provenance"]["commit"]
        assert reason_row(name, run) in page


def learner_row(name: str, row: dict[str, Any]) -> str:
    """A line of the table of learners in docs/evidence-humanoid.md."""
    curve = row["curve"]
    held = [100 * point["share_of_steps"] for point in curve]
    cells = [name, f"{curve[-1]['steps']:,}", f"{curve[-1]['updates']:,}"]
    cells += [f"{sum(part) / len(part):.0f}" for part in (held, held[-3:])]
    return f"| {' | '.join(cells)} |"


def test_the_page_on_the_humanoid_says_what_each_setting_brought() -> None:
    record = json.loads((DOCS / "measurements" / "learner-settings.json").read_text())
    page = (DOCS / "evidence-humanoid.md").read_text()
    assert (record["pose"], record["charged_seconds"]) == ("standing", 250)
    for name, row in record["rows"].items():
        assert "dirty" not in row["provenance"]["commit"]
        assert [round(point["seconds"] / 25) for point in row["curve"]] == list(range(1, 11))
        assert learner_row(name, row) in page.splitlines()
    alike = ("as the preset", "step size 6e-4", "discount 0.98", "rewards not standardised")
    steps = [record["rows"][name]["curve"][-1]["steps"] for name in alike]
    assert steps[0] == min(steps) >= max(steps) / 1.2  # what the page says of a shared machine
