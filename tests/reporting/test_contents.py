"""The rows of the table of results, and what must be said below it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from report_runs import record
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.reporting.contents import contents, encoder_note, reference_command, tables
from vlm_rewards.reporting.gathering import Gathered, Run, gather
from vlm_rewards.templates import render

SUMMARY = {
    "episodes": 100,
    "successes": 97,
    "success_rate": 0.97,
    "success_interval_95": [0.9155, 0.9897],
    "true_return": 199.2,
    "true_return_std": 1.25,
    "vlm_return": 140.126,
    "vlm_return_std": 0.5,
}
MACHINE = {"processor": "A processor", "cores": 2}
ENCODER = {"name": "bundled", "in_domain": True, "weights_sha256": "0123456789abcdef"}
RUN: dict[str, Any] = {
    "command": "vlm-rewards train cartpole --seed 1",
    "task": "cartpole",
    "seed": 1,
    "encoder": ENCODER,
    "machine": MACHINE,
    "commit": "abc",
    "steps": 60_160,
    "config": {"algorithm": {"name": "dqn"}},
    "seconds": {"training": 170.4},
    "evaluation": SUMMARY,
}
BASELINES: dict[str, Any] = {
    "kind": "baselines",
    "task": "cartpole",
    "seed": 0,
    "encoder": ENCODER,
    "machine": MACHINE,
    "commit": "abc",
    "policies": {"random": {**SUMMARY, "successes": 0, "success_interval_95": [0.0, 0.037]}},
}


def write(folder: Path, *records: dict[str, Any]) -> None:
    for index, told in enumerate(records):
        (folder / f"{9 - index}.json").write_text(json.dumps(told))


def told(folder: Path) -> str:
    """The tables and notes of a folder's records, as Markdown."""
    return render("reporting/templates/tables.md.j2", **tables(gather([folder])))


def cells(folder: Path) -> list[tuple[str, ...]]:
    """The rows of the table of results."""
    rows = tables(gather([folder]))["results"]["rows"]
    return [tuple(cell if isinstance(cell, str) else cell["text"] for cell in row) for row in rows]


def run(name: str = "run", **changes: Any) -> Run:
    return Run(name, "complete", record(**changes))


def test_rows_are_what_the_records_say(tmp_path: Path) -> None:
    write(tmp_path, RUN, BASELINES)
    scores = ("199.2 ± 1.2", "140.13 ± 0.50")
    assert cells(tmp_path) == [  # no record says how often the criterion held, so no column does
        ("cartpole", "random actions", "0/100 (0.0 to 3.7 %)", *scores, "-", "-"),
        ("cartpole", "DQN, seed 1", "97/100 (91.5 to 99.0 %)", *scores, "60,160", "170"),
    ]
    notes = told(tmp_path)
    assert "| cartpole | **DQN, seed 1** |" in notes
    assert "* Encoder: bundled (in-domain, not zero-shot; weights 0123456789ab).\n" in notes
    assert "* Commit: abc.\n* Machine: A processor, 2 cores.\n" in notes


def test_how_long_the_criterion_held_stands_beside_success(tmp_path: Path) -> None:
    held = copy.deepcopy(RUN)
    held["evaluation"] |= {"held_share": 0.8125, "held_last_half": 73}
    write(tmp_path, held, BASELINES)
    assert "| success (95 % interval) | steps held | all of last half |" in told(tmp_path)
    assert [row[3:5] for row in cells(tmp_path)] == [("-", "-"), ("81.2 %", "73/100")]


def test_no_seed_is_left_out_and_failures_are_rows(tmp_path: Path) -> None:
    failed = copy.deepcopy(RUN) | {"seed": 2}
    failed["evaluation"] = {**SUMMARY, "successes": 3, "success_interval_95": [0.01, 0.085]}
    unfinished = {key: value for key, value in RUN.items() if key != "evaluation"} | {"seed": 3}
    write(tmp_path, unfinished, failed, RUN)
    rows = cells(tmp_path)
    assert rows[0][1:3] == ("reference policies", "not among the inputs; make them with")
    assert [row[1] for row in rows[1:]] == ["DQN, seed 1", "DQN, seed 2", "DQN, seed 3"]
    assert [row[2] for row in rows[2:]] == ["3/100 (1.0 to 8.5 %)", "not evaluated (trained for 60,160 steps)"]
    assert "make them with `vlm-rewards evaluate cartpole --policy all" in told(tmp_path)


def test_a_learned_policy_leads_to_its_section(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    (task,) = contents(gather([tmp_path]))[0]["tasks"]
    assert task["results"]["heads"][0] == "policy"
    assert task["results"]["rows"][1][0] == {"text": "DQN, seed 1", "strong": True, "anchor": "run-1"}
    assert task["runs"][0]["anchor"] == "run-1"


def test_reference_policies_of_one_task_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, BASELINES | {"alpha": 0.5}, BASELINES | {"alpha": 1.0}, BASELINES | {"alpha": 0.5})
    assert [row[1] for row in cells(tmp_path)] == ["random actions, alpha 0.5", "random actions, alpha 1.0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": None}, "its task is None"),
        ({"seed": "x"}, "its seed is 'x'"),
        ({"encoder": "bundled"}, "its encoder is 'bundled'"),
        ({"evaluation": 3}, "it has 3 where an object is due"),
        ({"evaluation": {"episodes": 1}}, "it has no vlm_return"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(RUN | change))
    with pytest.raises(CheckpointError, match=message):
        gather([tmp_path / "x.json"])
    with pytest.raises(InvalidInputError, match=f"holds none that is shown.*{message}"):
        gather([tmp_path])


def test_reference_policies_are_made_with_the_sentences_of_the_run() -> None:
    assert reference_command(run()) == "vlm-rewards evaluate cartpole --policy all --out baselines-cartpole.json"
    other = reference_command(run(config={"goal": "it's up", "encoder": "ViT-B-32/openai"}))
    assert "--goal 'it'\"'\"'s up' --baseline 'pole and cart' --encoder ViT-B-32/openai" in other


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (
            {"humanoid": {"textures": "realistic", "camera": "fixed", "full_drawing": False}},
            "cartpole --policy all --out",
        ),
        (
            {"humanoid": {"textures": "original", "camera": "original", "full_drawing": True}},
            "cartpole --policy all --textures original --camera original --full-drawing --out",
        ),
        ({"environment": {"env_id": "Hopper-v5"}}, "--env-id Hopper-v5 --policy all --goal"),
        (
            {"environment": {"env_id": "Hopper-v5", "textures": "realistic", "view": [3.0, 0, 0, 1, 90, -10]}},
            "--env-id Hopper-v5 --policy all --textures realistic --view 3.0 0 0 1 90 -10 --goal",
        ),
    ],
)
def test_reference_policies_are_drawn_like_the_run(config: dict[str, Any], flags: str) -> None:
    assert f"vlm-rewards evaluate {flags} " in reference_command(run(config=config))


@pytest.mark.parametrize(
    ("configs", "rewards"),
    [
        ([{}, {"seed": 1}], 1),
        ([{}, {"alpha": 1.0}], 2),
        ([{"humanoid": {"textures": textures}} for textures in ("original", "realistic")], 2),
    ],
)
def test_returns_of_several_rewards_or_drawings_are_not_to_be_compared(configs: list[Any], rewards: int) -> None:
    runs = [run(str(place), config=config) for place, config in enumerate(configs)]
    text = render("reporting/templates/tables.md.j2", **tables(Gathered(tuple(runs), (), (), ())))
    assert ("cartpole: VLM returns here are of 2 different rewards" in text) == (rewards == 2)


@pytest.mark.parametrize(
    ("encoder", "config", "note"),
    [
        ({"name": "bundled", "in_domain": True}, {}, "in-domain, not zero-shot"),
        ({"name": "bundled"}, {"task_file": "/a.py"}, "trained on frames of other simulators"),
        ({"name": "RN50", "source": "random"}, {}, "random weights: its scores mean nothing"),
        ({"name": "RN50", "in_domain": False, "source": "randomised-trials"}, {}, ""),
    ],
)
def test_encoders_are_flagged(encoder: dict[str, Any], config: dict[str, Any], note: str) -> None:
    assert encoder_note({"encoder": encoder, "config": config}).startswith(note)
    assert bool(encoder_note({"encoder": encoder, "config": config})) == bool(note)


def test_an_encoder_of_other_simulators_is_a_stranger() -> None:
    told = {"encoder": {"name": "mine", "in_domain": True}, "captioned": False}
    assert encoder_note(told).startswith("trained on frames of other simulators")


def test_rewards_that_are_not_swept_are_rows_of_a_judgement(tmp_path: Path) -> None:
    swept = {"encoder": 0, "prompt": 0, "alpha": 0.5, "epic": 0.123}
    told = {"kind": "judge", "encoders": [{"name": "a"}, {"name": "b"}], "prompts": [{}], "rows": [swept]}
    forms = [{"encoder": None, "form": "brightness", "reward": {}, "epic": 0.5}]
    (tmp_path / "judge.json").write_text(json.dumps({**told, "forms": forms}))
    (study,) = contents(gather([tmp_path]))[0]["studies"]
    assert study["heads"] == ["encoder", "alpha", "epic", "form"]
    assert study["rows"] == [["a", "0.5", "0.123", "-"], ["-", "-", "0.5", "brightness"]]


def test_alarms_are_counted() -> None:
    def notes(*runs: Run) -> list[str]:
        text = render("reporting/templates/tables.md.j2", **tables(Gathered(runs, (), (), ())))
        return [line for line in text.splitlines() if "hacking" in line]

    watch = {"reference": "true reward", "alarms": []}
    assert notes(run(watch=None)) == []
    assert notes(run("a", watch={**watch, "alarms": [{}]}), run("b", watch=watch), run("c", watch=None)) == [
        "* Possible reward hacking, a: 1 alarm against the true reward.",
        "* No alarm of reward hacking in the other 1 watched run.",
        "* 1 run has no record of a watch for reward hacking.",
    ]
