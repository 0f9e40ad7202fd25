"""Names of runs, and folders that stay with one sweep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import CheckpointError, InvalidInputError, WeightsNotFoundError
from vlm_rewards.training.sweep_plan import SweepPlan, read_plan, run_name, write_plan

Planned = Callable[..., SweepPlan]


def names(plan: SweepPlan) -> list[str]:
    return [run.name for run in plan.runs]


def test_names_can_be_read() -> None:
    assert run_name({"alpha": 0.5, "seed": 0}) == "alpha-0.5,seed-0"
    assert run_name({"alpha": 1.0, "algo": "sbx-sac"}) == "alpha-1,algo-sbx-sac"
    prompt = run_name({"goal": "pole vertically upright on top of the cart"})
    assert re.fullmatch(r"goal-pole-vertically-upright-[0-9a-f]{6}", prompt)
    assert re.fullmatch(
        r"encoder-vit-b-32-laion2b-s34b-[0-9a-f]{6}", run_name({"encoder": "ViT-B-32/laion2b_s34b_b79k"})
    )
    assert re.fullmatch(r"goal-[0-9a-f]{6}", run_name({"goal": "棒が立つ"}))
    assert run_name({"goal": "a pole!"}) != run_name({"goal": "a pole?"})


@given(goal=st.text(min_size=1), encoder=st.text(min_size=1), alpha=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_names_are_names_of_folders(goal: str, encoder: str, alpha: float, seed: int) -> None:
    name = run_name({"goal": goal, "baseline": goal, "alpha": alpha, "encoder": encoder, "seed": seed})
    assert re.fullmatch(r"[A-Za-z0-9_.,+-]{1,200}", name)


def test_a_plan_has_the_settings_of_each_run(planned: Planned) -> None:
    plan = planned(grid={"alpha": [0, 1], "seed": [3, 4]}, preset="paper", train=["--steps=90000"])
    assert names(plan) == ["alpha-0,seed-3", "alpha-0,seed-4", "alpha-1,seed-3", "alpha-1,seed-4"]
    assert [(run.config.alpha, run.config.seed) for run in plan.runs] == [(0, 3), (0, 4), (1, 3), (1, 4)]
    assert {(run.config.preset, run.config.steps) for run in plan.runs} == {("paper", 90_000)}
    assert plan.runs[0].arguments == ("cartpole", "--preset=paper", "--alpha=0.0", "--seed=3", "--steps=90000")
    assert not plan.out.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grid": {"alpha": [0.5, 2]}}, "alpha must be a number from 0 to 1, got 2.0"),
        ({"grid": {"algo": ["dqn", "qrdqm"]}}, "unknown algorithm 'qrdqm'. Did you mean 'qrdqn'"),
        ({"grid": {"encoder": ["bundled", "bundle"]}}, "unknown encoder 'bundle'"),
        ({"grid": {"goal": ["pole and cart"]}}, "goal and baseline must differ"),
        ({"runs": [{"alpha": 0.5}, {"seed": 0}]}, "runs must differ, 'alpha-0.5' and 'seed-0' are the same"),
        ({"task": "cartpol", "grid": {"seed": [0]}}, "unknown task 'cartpol'"),
        ({"env_id": "Hopper-v5", "grid": {"seed": [0]}}, "give a task or --env-id, one of them"),
    ],
)
def test_a_plan_with_an_impossible_run_is_refused(planned: Planned, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        planned(**fields)
    with pytest.raises(WeightsNotFoundError, match="there is no folder"):
        planned(grid={"encoder": ["./no/such/model"]})


def test_a_plan_may_grow_and_keeps_its_names(planned: Planned) -> None:
    first = planned(grid={"alpha": [0.5, 1]})
    first.out.mkdir()
    (first.out / ".lock").touch()  # what a sweep leaves that was killed as it began
    write_plan(planned(grid={"alpha": [0.5, 1]}), "vlm-rewards sweep")
    assert read_plan(first.out) == first
    grown = planned(grid={"alpha": [0.5, 1], "seed": [0, 1], "algo": ["dqn", "qrdqn"]})
    assert names(grown)[:3] == ["alpha-0.5", "alpha-0.5,algo-dqn,seed-1", "alpha-0.5,algo-qrdqn,seed-0"]
    assert len(grown.runs) == 8
    write_plan(grown, "vlm-rewards sweep")
    with pytest.raises(InvalidInputError, match=r"a plan may only grow. Run 'alpha-0.5,algo-dqn,seed-1' is not in"):
        planned(grid={"alpha": [0.5, 1]})
    with pytest.raises(InvalidInputError, match="a plan may only grow"):
        write_plan(first, "vlm-rewards sweep")  # planned before the other one was written
    assert read_plan(first.out) == grown


def test_other_settings_are_named(planned: Planned) -> None:
    plan = planned(grid={"seed": [0]})
    plan.out.mkdir()
    write_plan(plan, "vlm-rewards sweep")
    with pytest.raises(InvalidInputError, match="Run 'seed-0' is not in this one: steps was 24000 and is now 9000"):
        planned(grid={"seed": [0]}, train=["--steps=9000"])


def test_folders_that_hold_something_else_are_refused(planned: Planned) -> None:
    plan = planned(grid={"seed": [0]})
    plan.out.mkdir()
    with pytest.raises(InvalidInputError, match="out must be a folder that `vlm-rewards sweep` wrote"):
        read_plan(plan.out)
    (plan.out / "thesis.tex").touch()
    with pytest.raises(InvalidInputError, match="is in use and holds no sweep"):
        planned(grid={"seed": [0]})
    for text in ("{", '{"runs": [{}]}', '{"runs": 3}'):
        (plan.out / "plan.json").write_text(text)
        with pytest.raises(CheckpointError, match="plan"):
            planned(grid={"seed": [0]})
