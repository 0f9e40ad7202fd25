"""What a scaling study compares, and how it must have been trained."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import tyro

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import write_json
from vlm_rewards.finetuning.config import FROM_SCRATCH, FinetuneConfig
from vlm_rewards.finetuning.sizes import (
    PAPER_MODELS,
    expand,
    plan_encoders,
    trained_sizes,
    training_command,
    training_facts,
)

RECORD: dict[str, Any] = {
    "command": "vlm-rewards finetune",
    "commit": "abc",
    "parameters": {"all": 2, "image_tower": 1},
    "seconds": {"training": 3.0},
    "loss": {"mean": [2.0, 1.5]},
    "evaluation": {"cartpole": {"retrieval": {"chance": 0.1}, "landscape": None}},
}


def leave(size: str, folder: Path, **settings: Any) -> None:
    (folder / size).mkdir()
    write_json(folder / size / "training_record.json", {**RECORD, "config": {"model": size, **settings}})
    (folder / size / "MODEL_CARD.md").touch()


def test_names_are_expanded() -> None:
    assert expand(["tiny", "paper"]) == ("tiny", *PAPER_MODELS)
    with pytest.raises(InvalidInputError, match="encoder must be named once each"):
        expand(["paper", PAPER_MODELS[0]])


@pytest.mark.parametrize("size", FROM_SCRATCH)
def test_all_are_trained_on_the_same_and_on_the_humanoid_only_to_judge_it(size: str, tmp_path: Path) -> None:
    quick = ("cartpole", "mountaincar", "mountaincar-textured")
    for task, tasks in {"mountaincar": quick, "Hopper-v5": quick, "lotus": (*quick, "lotus")}.items():
        words = shlex.split(training_command(size, tmp_path, task))
        config = tyro.cli(FinetuneConfig, args=words[2:])
        wanted = {"steps": 400, "states_per_task": 4_000, "pictures_per_task": 32, "tasks": tasks}
        assert config == FinetuneConfig(model=size, out=tmp_path / size, **wanted)


def test_plans_of_both_kinds() -> None:
    assert [one.name for one in plan_encoders(["tiny", "RN50/openai"])] == ["tiny", "RN50/openai"]


def test_what_is_not_trained_is_said_with_its_command(tmp_path: Path) -> None:
    leave("tiny", tmp_path)
    for missing in ("never begun", "broken off"):
        with pytest.raises(InvalidInputError, match="encoder 'tiny-xs' must be trained first") as refused:
            trained_sizes(["tiny", "RN50/openai", "tiny-xs", "tiny-l"], tmp_path, "cartpole")
        commands = str(refused.value).splitlines()[1:]
        assert commands == [f"  {training_command(size, tmp_path, 'cartpole')}" for size in ("tiny-xs", "tiny-l")]
        if missing == "never begun":
            leave("tiny-xs", tmp_path)
            (tmp_path / "tiny-xs" / "MODEL_CARD.md").unlink()  # written last


def test_sizes_must_have_been_trained_alike(tmp_path: Path) -> None:
    leave("tiny-xs", tmp_path, steps=2, device="cpu")
    leave("tiny", tmp_path, steps=2, device="cuda", threads=4)
    assert list(trained_sizes(["tiny-xs", "tiny"], tmp_path, "cartpole")) == ["tiny-xs", "tiny"]
    leave("tiny-m", tmp_path, steps=3)
    with pytest.raises(InvalidInputError, match="trained alike to be compared, the latter has steps 3 instead of 2"):
        trained_sizes(["tiny", "tiny-m"], tmp_path, "cartpole")


def test_facts_of_a_training_are_its_records() -> None:
    facts = training_facts("tiny-xs", RECORD)
    kept = {key: RECORD[key] for key in ("command", "commit", "parameters", "seconds")}
    retrieval = {"cartpole": {"chance": 0.1}}
    assert facts == {"size": "tiny-xs", **kept, "final_loss": 1.5, "retrieval": retrieval}
