"""What a scaling study compares, and what it has to train for that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.finetuning import sizes as training
from vlm_rewards.finetuning.config import FROM_SCRATCH
from vlm_rewards.finetuning.sizes import (
    PAPER_MODELS,
    Budget,
    expand,
    is_trained,
    plan_encoders,
    plan_trainings,
    train,
    training_facts,
)

TINY = Budget(steps=2, states_per_task=8, seed=4)


def test_names_are_expanded() -> None:
    assert expand([]) == FROM_SCRATCH
    assert expand(["tiny", "paper"]) == ("tiny", *PAPER_MODELS)
    with pytest.raises(InvalidInputError, match="encoder must be named once each"):
        expand(["paper", PAPER_MODELS[0]])
    with pytest.raises(InvalidInputError, match="at least two to compare, got tiny"):
        expand(["tiny"])


def test_all_are_trained_on_the_same(tmp_path: Path) -> None:
    planned = plan_trainings(["tiny-xs", "RN50/openai", "tiny-l"], TINY, tmp_path, "cpu")
    assert {one.config.device for one in planned} == {"cpu"}
    assert [one.name for one in planned] == ["tiny-xs", "tiny-l"]
    assert [Path(one.config.out) for one in planned] == [tmp_path / "tiny-xs", tmp_path / "tiny-l"]
    assert {(one.config.steps, one.config.states_per_task, one.config.seed) for one in planned} == {(2, 8, 4)}
    with pytest.raises(UnknownNameError, match="'RN51'"):
        plan_trainings(["RN51/openai"], TINY, tmp_path)
    with pytest.raises(InvalidInputError, match="steps must be an int of at least 1, got 0"):
        plan_trainings(["tiny"], Budget(steps=0), tmp_path)


def test_the_humanoid_is_seen_only_by_encoders_that_are_to_judge_it(tmp_path: Path) -> None:
    quick = ("cartpole", "mountaincar", "mountaincar-textured")
    for task, tasks in {"mountaincar": quick, "Hopper-v5": quick, "lotus": (*quick, "lotus")}.items():
        (planned,) = plan_trainings(["tiny"], TINY, tmp_path, task=task)
        assert planned.config.tasks == tasks


def test_plans_of_both_kinds() -> None:
    assert [one.name for one in plan_encoders(["tiny", "RN50/openai"])] == ["tiny", "RN50/openai"]


def test_what_is_trained_already_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_trainings(["tiny-xs", "tiny"], TINY, tmp_path)
    began: list[str] = []

    def fake(config, *, console):
        began.append(config.model)
        folder = Path(config.out)
        folder.mkdir()
        settings = {**training.settings_of(config), "device": "elsewhere"}
        (folder / "training_record.json").write_text(json.dumps({"config": settings}))
        (folder / "MODEL_CARD.md").touch()

    monkeypatch.setattr(training, "run_finetune", fake)
    assert [is_trained(one) for one in planned] == [False, False]
    train(planned[:1], Console(quiet=True))
    train(planned, Console(quiet=True))
    assert began == ["tiny-xs", "tiny"]
    assert [is_trained(one) for one in planned] == [True, True]
    (tmp_path / "tiny" / "MODEL_CARD.md").unlink()  # written last: the training was broken off
    assert not is_trained(planned[1])
    others = plan_trainings(["tiny-xs"], Budget(steps=3, states_per_task=8, seed=4), tmp_path)
    with pytest.raises(InvalidInputError, match=r"was trained otherwise: steps 2 instead of 3. Name another folder"):
        train(others, Console(quiet=True))
    assert began == ["tiny-xs", "tiny"]


def test_a_training_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_trainings(["tiny-xs", "tiny"], TINY, tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / training.STATE).touch()
    asked: dict[str, bool] = {}
    monkeypatch.setattr(training, "run_finetune", lambda config, **_: asked.update({config.model: config.resume}))
    train(planned, Console(quiet=True))
    assert asked == {"tiny-xs": False, "tiny": True}


def test_facts_of_a_training_are_its_records(tmp_path: Path) -> None:
    (planned,) = plan_trainings(["tiny-xs"], TINY, tmp_path)
    record = {
        "command": "vlm-rewards finetune",
        "commit": "abc",
        "parameters": {"all": 2, "image_tower": 1},
        "seconds": {"training": 3.0},
        "loss": {"mean": [2.0, 1.5]},
        "evaluation": {"cartpole": {"retrieval": {"chance": 0.1}, "landscape": None}},
        "config": {},
    }
    (tmp_path / "tiny-xs").mkdir()
    (tmp_path / "tiny-xs" / "training_record.json").write_text(json.dumps(record))
    facts = training_facts(planned)
    assert facts["size"] == "tiny-xs"
    assert facts["final_loss"] == 1.5
    assert facts["retrieval"] == {"cartpole": {"chance": 0.1}}
    assert {key: facts[key] for key in ("command", "commit", "parameters", "seconds")} == {
        key: record[key] for key in ("command", "commit", "parameters", "seconds")
    }
