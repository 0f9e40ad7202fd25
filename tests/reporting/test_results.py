"""The rows of the table of results, and what must be said below it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from vlm_rewards.reporting.report.blocks import Cell
from vlm_rewards.reporting.report.gathering import gather
from vlm_rewards.reporting.report.runs import Run
from vlm_rewards.reporting.results import (
    baselines_command,
    comparability_note,
    encoder_note,
    footnotes,
    result_rows,
    results_table,
    watch_notes,
)

from report_runs import record
from vlm_rewards.errors import CheckpointError, InvalidInputError

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


def cells(folder: Path) -> list[tuple[str, ...]]:
    return [row.cells for row in result_rows(gather([folder]))]


def run(name: str = "run", **changes: Any) -> Run:
    return Run(name, "complete", record(**changes))


def test_rows_are_what_the_records_say(tmp_path: Path) -> None:
    write(tmp_path, RUN, BASELINES)
    scores = ("199.2 ± 1.2", "140.13 ± 0.50")
    assert cells(tmp_path) == [
        ("cartpole", "random actions", "0/100 (0.0 to 3.7 %)", "-", "-", *scores, "-", "-"),
        ("cartpole", "DQN, seed 1", "97/100 (91.5 to 99.0 %)", "-", "-", *scores, "60,160", "170"),
    ]
    assert "steps held" not in results_table(result_rows(gather([tmp_path])), with_task=True).heads
    notes = " ".join(footnotes(gather([tmp_path])))
    assert "Encoder: bundled (in-domain, not zero-shot; weights 0123456789ab)." in notes
    assert "Commit: abc. Machine: A processor, 2 cores." in notes


def test_how_long_the_criterion_held_stands_beside_success(tmp_path: Path) -> None:
    told = copy.deepcopy(RUN)
    told["evaluation"] |= {"held_share": 0.8125, "held_last_half": 73}
    write(tmp_path, told, BASELINES)
    table = results_table(result_rows(gather([tmp_path])), with_task=False)
    assert table.heads[1:4] == ("success (95 % interval)", "steps held", "all of last half")
    assert [row[2:4] for row in table.rows] == [("-", "-"), ("81.2 %", "73/100")]


def test_no_seed_is_left_out_and_failures_are_rows(tmp_path: Path) -> None:
    failed = copy.deepcopy(RUN) | {"seed": 2}
    failed["evaluation"] = {**SUMMARY, "successes": 3, "success_interval_95": [0.01, 0.085]}
    unfinished = {key: value for key, value in RUN.items() if key != "evaluation"} | {"seed": 3}
    write(tmp_path, unfinished, failed, RUN)
    told = cells(tmp_path)
    assert told[0][1:3] == ("baselines", "not among the inputs; make them with")
    assert [row[1] for row in told[1:]] == ["DQN, seed 1", "DQN, seed 2", "DQN, seed 3"]
    assert [row[2] for row in told[2:]] == ["3/100 (1.0 to 8.5 %)", "not evaluated (trained for 60,160 steps)"]


def test_a_learned_policy_stands_out_and_leads_to_its_section(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    table = results_table(result_rows(gather([tmp_path])), with_task=False, anchors={"9": "run-1"})
    assert table.heads[0] == "policy"
    assert table.rows[1][0] == Cell("DQN, seed 1", strong=True, anchor="run-1")
    assert isinstance(table.rows[0][1], Cell)
    assert table.rows[0][1].code.startswith("vlm-rewards baselines cartpole")


def test_baselines_of_one_task_are_told_apart(tmp_path: Path) -> None:
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


def test_baselines_are_made_with_the_sentences_of_the_run() -> None:
    assert baselines_command(run()) == "vlm-rewards baselines cartpole --out baselines-cartpole.json"
    other = baselines_command(run(config={"goal": "it's up", "encoder": "ViT-B-32/openai"}))
    assert "--goal 'it'\"'\"'s up' --baseline 'pole and cart' --encoder ViT-B-32/openai" in other


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        ({"humanoid": {"textures": "realistic", "camera": "fixed", "full_drawing": False}}, "cartpole --out"),
        (
            {"humanoid": {"textures": "original", "camera": "original", "full_drawing": True}},
            "cartpole --textures original --camera original --full-drawing --out",
        ),
        ({"environment": {"env_id": "Hopper-v5"}}, "--env-id Hopper-v5 --goal"),
        (
            {"environment": {"env_id": "Hopper-v5", "textures": "realistic", "view": [3.0, 0, 0, 1, 90, -10]}},
            "--env-id Hopper-v5 --textures realistic --view 3.0 0 0 1 90 -10 --goal",
        ),
    ],
)
def test_baselines_are_drawn_like_the_run(config: dict[str, Any], flags: str) -> None:
    assert f"vlm-rewards baselines {flags} " in baselines_command(run(config=config))


def test_returns_from_pictures_that_are_drawn_otherwise_are_not_to_be_compared() -> None:
    drawn = [run(config={"humanoid": {"textures": textures}}) for textures in ("realistic", "original")]
    note = comparability_note(drawn, [])
    assert note is not None
    assert "2 different rewards" in note


def test_returns_of_several_rewards_are_not_to_be_compared() -> None:
    assert comparability_note([run(), run(seed=1)], []) is None
    note = comparability_note([run(), run(config={"alpha": 1.0})], [])
    assert note is not None
    assert "2 different rewards" in note


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


def test_alarms_are_counted() -> None:
    watch = {"reference": "true reward", "alarms": []}
    assert watch_notes([run(watch=None)]) == []
    assert watch_notes([run("a", watch={**watch, "alarms": [{}]}), run("b", watch=watch), run("c", watch=None)]) == [
        "Possible reward hacking, a: 1 alarm against the true reward.",
        "No alarm of reward hacking in the other 1 watched run.",
        "1 run has no record of a watch for reward hacking.",
    ]
