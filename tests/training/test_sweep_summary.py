"""What the runs of a sweep amount to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.sweeps import summarise, summary_page, write_summary
from vlm_rewards.training.sweep import note_failure, status_of
from vlm_rewards.training.sweep_plan import SweepPlan

Planned = Callable[..., SweepPlan]
Finish = Callable[..., None]


@pytest.fixture
def plan(planned: Planned, finish: Finish) -> SweepPlan:
    """Alpha 0 with 5 seeds done, alpha 1 with 2 done, one failed, one stopped, one new."""
    plan = planned(grid={"alpha": [0, 1], "seed": [0, 1, 2, 3, 4]})
    for run, success in zip(plan.runs, [0.0, 0.2, 0.4, 0.9, 1.0, 0.3, 1.0], strict=False):
        finish(plan, run, success, true=100 * success, vlm=10 + success)
    (plan.out / "logs").mkdir()
    plan.log(plan.runs[7]).write_text("Traceback\nvlm-rewards: error: a disk | is full\n\n")
    note_failure(plan, plan.runs[7], 1, "exit code 1")
    finish(plan, plan.runs[8], 0.5)
    (plan.folder(plan.runs[8]) / "record.json").write_text("{}")  # trained, not yet evaluated
    return plan


def test_all_seeds_count_and_none_is_picked(plan: SweepPlan) -> None:
    record = summarise(plan, "vlm-rewards sweep cartpole")
    zero, one = record["settings"]
    assert (record["kind"], record["score"], record["varied"]) == ("sweep", "success_rate", ["alpha"])
    assert (zero["label"], one["label"]) == ("alpha 0", "alpha 1")
    assert zero["success_rate"]["seeds"] == [0.0, 0.2, 0.4, 0.9, 1.0]
    assert zero["success_rate"]["mean"] == pytest.approx(0.5)
    assert zero["success_rate"]["iqm"] == pytest.approx(0.5)  # (0.2 + 0.4 + 0.9) / 3
    assert zero["true_return"]["iqm"] == pytest.approx(50)
    low, high = zero["success_rate"]["iqm_interval_95"]
    assert 0 < low < 0.3
    assert 0.8 < high <= 1
    assert one["seeds"] == {"planned": [0, 1, 2, 3, 4], "done": [0, 1], "failed": [2], "missing": [3, 4]}
    assert one["success_rate"]["iqm"] == pytest.approx(0.65)
    # Against 0, 0.2, 0.4, 0.9 and 1: 0.3 beats two, 1 beats four and ties once, of ten pairs.
    assert one["improvement"]["probability"] == pytest.approx((2 + 4.5) / 10)
    assert zero["improvement"] is None
    assert [run["state"] for run in record["runs"]][5:] == ["complete", "complete", "failed", "stopped", "new"]
    assert record["runs"][7]["last_words"] == "exit code 1: error: a disk | is full"
    assert json.loads(json.dumps(record)) == record


def test_the_page_says_what_is_missing_and_what_not_to_compare(plan: SweepPlan) -> None:
    page = summary_page(summarise(plan, "vlm-rewards sweep cartpole"))
    lines = page.splitlines()
    assert "10 runs: 7 complete, 1 failed, 2 missing." in lines
    row = next(line for line in lines if line.startswith("| alpha 1 |"))
    assert row.startswith(
        "| alpha 1 | 2 of 5 | 1 failed (seed 2); 2 missing (seed 3, 4) | 65.0 % | 65.0 % (30.0 to 100"
    )
    assert row.endswith("| 10.65 |")
    assert "**With fewer than 3 seeds an interval says little** (the smallest row here has 2)" in page
    assert "VLM returns of different alphas, prompts or encoders are different units: not to be compared" in page
    assert "bundled (in-domain, not zero-shot; weights 0123456789ab)" in page
    failed = "| alpha-1,seed-2 | failed | - | - | - | - | exit code 1: error: a disk &#124; is full |"
    assert failed in lines
    assert sum(line.startswith("| alpha-") for line in lines) == 10


def test_without_a_criterion_the_true_return_is_the_score(planned: Planned, finish: Finish) -> None:
    plan = planned(grid={"alpha": [0, 1], "seed": [0, 1, 2]})
    for number, run in enumerate(plan.runs):
        finish(plan, run, None, true=float(number))
    record = summarise(plan)
    assert (record["score"], record["criterion"]) == ("true_return", None)
    assert record["settings"][1]["improvement"]["probability"] == 1
    assert record["settings"][0]["success_rate"] == {
        "seeds": [],
        "mean": None,
        "mean_interval_95": None,
        "iqm": None,
        "iqm_interval_95": None,
    }
    page = summary_page(record)
    assert "success:" not in page
    assert "fewer than 3 seeds an interval" not in page


def test_one_seed_has_no_interval_and_none_has_no_number(planned: Planned, finish: Finish) -> None:
    plan = planned(runs=[{"goal": "a $5 | pole"}, {"goal": "a pole hanging down"}])
    finish(plan, plan.runs[0], 0.25)
    record = summarise(plan)
    one, none = record["settings"]
    assert (one["success_rate"]["iqm"], one["success_rate"]["iqm_interval_95"]) == (0.25, None)
    assert (none["success_rate"]["iqm"], none["improvement"]) == (None, None)
    row = "| “a &#36;5 &#124; pole” | 1 of 1 | 0 | 25.0 % | 25.0 % (one seed) | 100.0 | 100.0 (one seed) | - | 50.00 |"
    assert row in summary_page(record)


def test_the_files_are_whole_and_nothing_else_is_left(plan: SweepPlan) -> None:
    before = {path.name for path in plan.out.iterdir()}
    record = write_summary(plan, "vlm-rewards sweep cartpole")
    assert {path.name for path in plan.out.iterdir()} - before == {"summary.json", "summary.md", "summary.png"}
    assert json.loads((plan.out / "summary.json").read_text()) == record
    again = write_summary(plan, "vlm-rewards sweep cartpole")
    assert again["settings"] == record["settings"]


def test_a_folder_with_other_settings_is_no_run_of_the_sweep(planned: Planned, finish: Finish, tmp_path: Path) -> None:
    plan = planned(grid={"seed": [0, 1]})
    finish(plan, plan.runs[0], 1.0)
    plan.folder(plan.runs[0]).rename(plan.folder(plan.runs[1]))
    with pytest.raises(InvalidInputError, match="seed-1' must have the settings of the plan; it has others"):
        status_of(plan, plan.runs[1])
