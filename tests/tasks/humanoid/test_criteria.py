"""The criteria against labels given from frames alone, and the committed record of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from reasons import CONDITION_NAMES
from vlm_rewards.tasks.builtin import CRITERIA, GOALS
from vlm_rewards.tasks.humanoid.body import CONDITIONS, MARGINS, PoseCriterion, measure_state
from vlm_rewards.tasks.humanoid.model import VELOCITIES, shared_model
from vlm_rewards.tasks.task import get_task, make_task_env

DOCS = Path(__file__).parents[3] / "docs"
LABELS = DOCS / "measurements" / "humanoid-labels"


@pytest.fixture(scope="module")
def margins() -> dict[str, np.ndarray]:
    with np.load(LABELS / "states.npz", allow_pickle=False) as file:
        states = file["states"].astype(np.float64)
    found = {pose: [] for pose in MARGINS}
    for state in states:
        body = measure_state(state)
        for pose, margin in MARGINS.items():
            found[pose].append(margin(body))
    return {pose: np.array(values) for pose, values in found.items()}


def labels(name: str = "labels") -> dict[str, np.ndarray]:
    with (LABELS / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {pose: np.array([row[pose] == "1" for row in rows]) for pose in MARGINS}


def test_every_pose_has_a_task_a_sentence_and_a_criterion() -> None:
    assert set(MARGINS) == set(GOALS) == set(CRITERIA)


@pytest.mark.parametrize("pose", MARGINS)
def test_criterion_and_labels_agree_on_97_of_100_states(margins: dict[str, np.ndarray], pose: str) -> None:
    said = labels()[pose]
    assert len(said) == 400
    held = margins[pose] >= 0
    assert (held == said).mean() >= 0.97
    assert (held & said).sum() > said.sum() / 2  # a criterion that never holds would agree, too, on rare poses


def test_labels_are_the_raters_where_they_agree() -> None:
    one, other, both = labels("rater-a"), labels("rater-b"), labels()
    differing = 0
    for pose, said in both.items():
        same = one[pose] == other[pose]
        assert (said == one[pose])[same].all()
        differing += int((~same).sum())
    assert differing == 48


def test_record_and_page_say_what_the_criteria_do(margins: dict[str, np.ndarray]) -> None:
    record = json.loads((DOCS / "measurements" / "criteria.json").read_text())
    page = (DOCS / "evidence-humanoid.md").read_text()
    said = labels()
    for pose, row in record["agreement"].items():
        held = margins[pose] >= 0
        assert row["agreement"] == pytest.approx((held == said[pose]).mean(), abs=1e-4)
        assert (row["held"], row["labelled"]) == (int(held.sum()), int(said[pose].sum()))
        assert (
            f"| {pose} | {row['labelled']} | {row['held']} | {row['both']} | {row['agreement']:.2%} | "
            f"{row['raters_agree']:.2%} |"
        ) in page


def test_a_standing_pose_includes_those_that_are_taken_standing(margins: dict[str, np.ndarray]) -> None:
    for pose in ("arms-raised", "hands-on-hips", "arms-crossed", "one-leg"):
        assert (margins[pose] <= margins["standing"]).all()
    assert not ((margins["kneeling"] > 0) & (margins["lotus"] > 0)).any()


def test_the_task_judges_the_simulators_present_state() -> None:
    env = make_task_env(get_task("standing"), 32)
    try:
        env.reset(seed=0)
        outcomes = []
        for _ in range(100):
            _, _, terminated, truncated, info = env.step(np.zeros(17))
            outcomes.append(info["criterion"])
    finally:
        env.close()
    assert not terminated
    assert truncated
    assert outcomes[5]
    assert not outcomes[-1]  # nobody holds it up: it has collapsed
    assert info["is_success"] == (np.mean(outcomes) >= 0.5)


def test_the_criterion_survives_the_way_to_a_worker() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(PoseCriterion("splits"))) == PoseCriterion("splits")


def test_every_condition_has_a_name_of_its_own():
    body = measure_state(np.append(shared_model().model.qpos0, np.zeros(VELOCITIES)))
    assert CONDITION_NAMES.keys() == CONDITIONS.keys()
    for pose, conditions in CONDITIONS.items():
        names = CONDITION_NAMES[pose]
        assert len(names) == len(set(names)) == len(conditions(body))
    standing = dict(zip(CONDITION_NAMES["one-leg"], CONDITIONS["one-leg"](body), strict=True))
    assert [name for name, value in standing.items() if value < 0] == ["a foot lifted"]
