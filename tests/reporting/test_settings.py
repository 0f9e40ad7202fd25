"""Runs that differ in nothing but their seeds."""

from __future__ import annotations

from typing import Any

import pytest

from report_runs import record
from vlm_rewards.reporting.contents import tables
from vlm_rewards.reporting.gathering import Gathered, Run
from vlm_rewards.reporting.settings import differences, flat, settings_of, settings_rows
from vlm_rewards.templates import render


def run(seed: int, rate: float | None = 1.0, config: dict[str, Any] | None = None) -> Run:
    told = record(seed=seed, config=config or {}, evaluation={"success_rate": rate, "true_return": 100.0 * seed})
    if rate is None:
        told["evaluation"] = None
    return Run(f"run-{seed}", "complete" if told["evaluation"] else "interrupted", told)


def seed_rows(runs: list[Run]) -> list[list[str]]:
    return tables(Gathered(tuple(runs), (), (), ()))["seeds"]["rows"]


def test_an_interquartile_mean_by_hand() -> None:
    runs = [run(seed, rate) for seed, rate in enumerate((0.0, 0.2, 0.6, 1.0))]
    (setting,) = settings_of(runs)
    assert setting.label == "DQN"
    assert setting.success["iqm"] == pytest.approx(0.4)  # the middle two of four
    assert setting.success["mean"] == pytest.approx(0.45)
    ((label, evaluated, success, mean, true, _),) = seed_rows(runs)
    assert (label, evaluated, mean) == ("cartpole: DQN", "4 of 4", "45.0 %, 0.0 to 100.0 %")
    assert success.startswith("40.0 % (")
    assert true.startswith("150.0 (")


def test_what_was_not_evaluated_is_counted_and_said() -> None:
    runs = [run(0, 0.5), run(0, 0.7), run(1, None)]
    success = ["60.0 % (50.0 to 70.0 %)", "60.0 %, 50.0 to 70.0 %"]
    assert seed_rows(runs)[0][:4] == ["cartpole: DQN", "2 of 3", *success]
    notes = render("reporting/templates/tables.md.j2", **tables(Gathered(tuple(runs), (), (), ())))
    assert "An interval from 2 seeds says little" in notes
    assert "1 of 3 runs have no evaluation" in notes
    assert "seed 0 is there more than once" in notes


def test_settings_are_labelled_by_what_differs() -> None:
    algorithm = record()["config"]["algorithm"]
    slow = {"algorithm": {**algorithm, "learning_rate": 1e-4}}
    labels = [setting.label for setting in settings_of([run(0), run(1, config={"alpha": 0.25}), run(2, config=slow)])]
    assert labels == [
        "DQN, learning rate 0.001, alpha 0.5",
        "DQN, learning rate 0.001, alpha 0.25",
        "DQN, learning rate 0.0001, alpha 0.5",
    ]


@pytest.mark.parametrize("config", [{"device": "cpu"}, {"n_workers": 1}, {"watch": "off"}, {"watch_goal": "x"}])
def test_what_changes_nothing_that_is_learned_makes_no_other_setting(config: dict[str, Any]) -> None:
    assert len(settings_of([run(0), run(1, config=config)])) == 1


def test_other_weights_are_another_setting() -> None:
    other = run(1)
    other.record["encoder"]["weights_sha256"] = "f" * 64
    assert [setting.label for setting in settings_of([run(0), other])] == [
        "DQN, weights c8246cb371fa",
        "DQN, weights ffffffffffff",
    ]


def test_a_return_that_is_no_number_has_no_mean() -> None:
    (setting,) = settings_of([run(0, float("nan")), run(1)])
    assert setting.success["iqm"] is None
    assert setting.true_return["iqm"] == 50


def test_only_what_is_not_the_presets_is_a_difference() -> None:
    assert differences(run(3)) == ("preset cpu of cartpole", [])
    changed = differences(run(3, config={"alpha": 0.25, "goal": "other"}))[1]
    assert changed == [("goal", "other", "pole vertically upright on top of the cart"), ("alpha", "0.25", "0.5")]


def test_a_task_of_the_users_own_is_compared_to_the_defaults() -> None:
    words, changed = differences(run(0, config={"task_file": "/nowhere/evil.py"}))
    assert words == "the defaults of the package"
    assert ("steps", "24000", "60000") in changed


def test_settings_of_another_version_are_shown_as_they_are() -> None:
    assert ("from_the_future", "[1]") in settings_rows(run(0, config={"from_the_future": [1]}))


def test_nested_settings_are_one_level() -> None:
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": [2]}) == {"a.b": 1, "a.c.d": None, "e": [2]}
