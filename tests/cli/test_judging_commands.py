"""``judge`` and ``figures`` as a user meets them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.cli import main
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.encoders.trainable import build_tiny, save_folder
from vlm_rewards.evaluation.epic import pearson_distance
from vlm_rewards.evaluation.states import named_policies, visited_states
from vlm_rewards.evaluation.statistics import auroc
from vlm_rewards.files import write_json
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.task import get_task

GOAL = "a car at the peak of the mountain, next to the yellow flag"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_REWARDS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.slow
def test_judge_says_what_the_functions_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("judge", "cartpole", "--count", 60, "--alpha", 0, 0.7, "--out", out) == 0
    said = capsys.readouterr().out
    record = read(out / "judge.json")
    task, encoder = get_task("cartpole"), load_encoder("bundled")
    states = visited_states(task, named_policies("rule", task), 60, seed=0, size=encoder.image_size)
    goal, baseline = encoder.embed_texts([task.goal, task.baseline])
    for row, alpha in zip(record["rows"], (0.0, 0.7), strict=True):
        rewards = goal_baseline_reward(encoder.embed_images(states.frames), goal, baseline, alpha)
        assert row["epic"] == pytest.approx(pearson_distance(rewards, states.labels), abs=1e-4)
        assert row["auroc"] == pytest.approx(auroc(rewards, states.labels), abs=1e-4)
        assert row["highest"][0] == int(rewards.argmax())
        assert f"{row['epic']:.3f} ({row['epic_low']:.3f} to {row['epic_high']:.3f})" in said
    assert record["states"] == states.facts
    assert record["command"].startswith("vlm-rewards judge cartpole --count 60")
    assert record["focus"] == 0.7
    assert {path.name for path in out.iterdir()} == {
        "judge.json",
        "epic-over-alpha.png",
        "histograms.png",
        "states-1-1.png",
    }
    assert "embedded 60 frames" in said
    assert "is in-domain, not zero-shot" in " ".join(said.split())
    assert run("judge", "cartpole", "--count", 60, "--json") == 0
    again = json.loads(capsys.readouterr().out)  # nothing but JSON
    assert len(again["rows"]) == 11
    assert again["rows"][0] == record["rows"][0]


@pytest.mark.slow
def test_the_second_time_nothing_is_embedded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("judge", "mountaincar", "--count", 30, "--states", "uniform") == 0
    embedded: list[int] = []
    embed = OpenCLIPEncoder.embed_images
    monkeypatch.setattr(
        OpenCLIPEncoder, "embed_images", lambda self, frames: (embedded.append(len(frames)), embed(self, frames))[1]
    )
    goals = ("a car", GOAL, "a flag")
    assert (
        run("judge", "mountaincar", "--count", 30, "--states", "uniform", "--goal", *goals, "--baseline", "hill") == 0
    )
    assert embedded == [1]  # what tells the length of an embedding
    said = capsys.readouterr().out
    assert "embedded 0 frames, found 30" in said
    assert f"  2: “{GOAL}”, baseline “hill”" in said


@pytest.mark.slow
def test_people_label_states_and_the_rest_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ("--states", "random", "uniform", "--count", 20, "--state-seed", 5)
    folder = tmp_path / "states"
    assert run("judge", "mountaincar-textured", *source, "--save-states", folder, "--size", 64) == 0
    assert f"--labels {folder / 'labels.csv'}" in capsys.readouterr().out
    with Image.open(folder / "state_00019.png") as image:
        assert image.size == (64, 64)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"state_{index:05d}.png" for index in range(20)]
    for index, row in enumerate(rows):
        row["label"] = "" if index % 4 == 3 else str(int(index % 2 == 0))
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    labels = folder / "labels.csv"
    assert run("judge", "mountaincar-textured", *source, "--labels", labels, "--out", tmp_path / "out") == 0
    record = read(tmp_path / "out" / "judge.json")
    assert record["labels"] == "labels.csv"
    assert "EPIC distance to the labels of labels.csv" in capsys.readouterr().out
    labelled = {row["file"] for row in rows if row["label"]}
    assert set(record["rows"][0]["highest"]) < labelled  # files, not places among those that were kept
    for other in (("--count", 40), ("--state-seed", 6), ("--states", "uniform")):
        assert run("judge", "mountaincar-textured", *source, *other, "--labels", labels) == 2
        assert "are of other states: " in capsys.readouterr().err
    (folder / "states.json").unlink()
    assert run("judge", "mountaincar-textured", *source, "--count", 4, "--labels", labels) == 2
    assert "must be of the 4 states, got 'state_00004.png'" in " ".join(capsys.readouterr().err.split())
    assert record["states"]["generator"] == "random + uniform"
    told = {key: record["states"][key] for key in ("of_states", "states", "goal_states", "labels_from")}
    assert told == {"of_states": 20, "states": 15, "goal_states": 10, "labels_from": "labels.csv"}
    # The frames themselves, labelled, are states too.
    capsys.readouterr()
    assert run("judge", "cartpole", "--states", folder, "--labels", labels, "--json") == 0
    facts = json.loads(capsys.readouterr().out)["states"]
    assert (facts["generator"], facts["of_states"], facts["states"]) == ("frames of states", 20, 15)


@pytest.mark.slow
def test_any_environment_is_judged_by_its_own_reward(capsys: pytest.CaptureFixture[str]) -> None:
    sentences = ("--goal", "the pole hangs", "--baseline", "a pole")
    few = ("--horizon", 10, "--count", 24, "--alpha", 0.5)
    assert run("judge", "--env-id", "Pendulum-v1", *sentences, *few, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["reference"] == "true_reward"
    assert record["states"]["generator"] == "random"
    assert record["rows"][0]["auroc"] is None
    assert record["histograms"] == []


@pytest.mark.slow
def test_a_runs_policies_visit_the_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--steps=1200", "--n-envs=3", "--standardise=300", "--learning-starts=400", "--gradient-steps=8"]
    rest = ["--net-arch", 16, "--snapshots=2", "--selection-episodes=2", "--evaluation-episodes=3", "--no-video"]
    assert run("train", "cartpole", "--run-dir", tmp_path / "run", *tiny, *rest) == 0
    snapshots = len(list((tmp_path / "run" / "checkpoints").glob("*.safetensors")))
    capsys.readouterr()
    assert run("judge", "cartpole", "--states", tmp_path / "run", "--count", 40, "--alpha", 0.5, "--json") == 0
    facts = json.loads(capsys.readouterr().out)["states"]
    assert (facts["generator"], facts["policies"], facts["states"]) == ("run run", snapshots, 40)
    assert run("judge", "mountaincar", "--states", tmp_path / "run") == 2
    assert "are of task 'cartpole', not of 'mountaincar'" in " ".join(capsys.readouterr().err.split())


def test_a_line_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ("--points", 9, "--at", "cart_position=1", "--alpha", 0, 1)
    assert run("judge", "cartpole", "--along", "default", *line, "--out", out) == 0
    record = read(out / "landscape.json")
    assert record["values"] == pytest.approx(np.linspace(-np.pi, np.pi, 9), abs=1e-5)
    assert record["fixed"]["cart_position"] == 1.0
    assert [best["goal"] for best in record["maxima"][0]] == [True, True]
    assert np.shape(record["rewards"]) == (1, 2, 9)
    assert {path.name for path in out.iterdir()} == {"landscape.json", "landscape.png", "states.png"}
    said = capsys.readouterr().out
    assert "greatest at pole_angle in rad" in said
    drawn = tmp_path / "again"
    assert run("report", out, "--figures", drawn) == 0
    assert capsys.readouterr().out == f"{drawn / 'out.png'}\n"


@pytest.mark.slow
def test_a_line_between_two_states_of_any_environment(capsys: pytest.CaptureFixture[str]) -> None:
    sentences = ("--goal", "the pole hangs", "--baseline", "a pole", "--points", 3, "--alpha", 0.5, "--json")
    ends = ("--from-state", "state0=0", "--to-state", "state0=3.14", "state1=1")
    assert run("judge", "--env-id", "Pendulum-v1", *sentences, *ends) == 0
    record = json.loads(capsys.readouterr().out)
    assert [end["state0"] for end in record["ends"]] == [0.0, 3.14]
    assert record["goal_states"] is None
    assert record["maxima"][0][0]["goal"] is None
    assert run("judge", "--env-id", "Pendulum-v1", *sentences, "--along", "default") == 2
    assert "dimension is needed: the task has none of its own. Choices: state0, state1" in capsys.readouterr().err


def test_a_line_lists_the_dimensions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("judge", "mountaincar", "--along", "list") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:3] == ["position", "-1.2", "0.6"]
    assert run("judge", "cartpole", "--along=list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["low"] for one in told] == [-2.4, None, pytest.approx(-np.pi), None]


@pytest.mark.slow
def test_the_papers_study_is_checked_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    study = ("judge", "cartpole", "--encoder", "paper", "--states", "uniform", "--out", out, "--dry-run")
    assert run(*study) == 0
    said = capsys.readouterr().out
    for name, parameters in (("RN50/openai", "102.0 M"), ("ViT-bigG-14/laion2b_s39b_b160k", "2,539.6 M")):
        assert any(line.split()[0] == name and parameters in line for line in said.splitlines() if line)
    assert "rewards of goal-baseline: 1 pair of prompts at 11 alphas, 11 an encoder" in said
    assert "at 224 pixels" in said
    assert said.splitlines()[-1] == "nothing was loaded or written"
    assert not out.exists()
    sentences = ("--goal", "a", "--baseline", "b", "--states", "uniform")
    pendulum = ("judge", "--env-id", "Pendulum-v1", *sentences, "--out", out, "--dry-run")
    assert run(*pendulum) == 2  # Pendulum's state has no bounds that anybody says


def untrained(size: str, folder: Path, steps: int = 400) -> None:
    """What `finetune` leaves, without the minutes that it takes."""
    built = build_tiny(size=size)
    (folder / size).mkdir(parents=True)
    save_folder(built, folder / size)
    counts = {"image_tower": sum(weight.numel() for weight in built.model.visual.parameters())}
    told = {"command": "vlm-rewards finetune", "commit": None, "seconds": {}, "loss": {"mean": [5.0]}}
    record = {**told, "config": {"model": size, "steps": steps}, "parameters": counts, "evaluation": {}}
    write_json(folder / size / "training_record.json", record)
    (folder / size / "MODEL_CARD.md").touch()


@pytest.mark.slow
def test_sizes_that_were_trained_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("runs/study")  # relative, as one types it
    source = ("--states", "uniform", "--count", 120, "--alpha", 0.5, "--out", out)
    command = ("judge", "cartpole", "--encoder", "tiny-xs", "tiny", *source)
    untrained("tiny-xs", Path("runs/sizes"))
    assert run(*command) == 2
    told = capsys.readouterr().err
    assert "encoder 'tiny' must be trained first, in 'runs/sizes'" in told
    assert "\n  vlm-rewards finetune --model tiny --steps 400" in told
    untrained("tiny", Path("runs/sizes"))
    assert run(*command) == 0
    record = read(out / "scaling.json")
    assert record["kind"] == "scaling"
    assert [encoder["name"] for encoder in record["encoders"]] == ["tiny-xs", "tiny"]
    assert all(encoder["in_domain"] for encoder in record["encoders"])
    assert [one["size"] for one in record["trainings"]] == ["tiny-xs", "tiny"]
    sizes = [encoder["image_parameters"] for encoder in record["encoders"]]
    assert sizes == [one["parameters"]["image_tower"] for one in record["trainings"]]
    names = {path.name for path in out.iterdir()}
    assert {"epic-over-alpha.png", "epic-over-parameters.png", "histograms.png", "states-2-1.png"} <= names
    capsys.readouterr()
    assert run("report", out / "scaling.json", "--figures", tmp_path / "figures") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


FORMS = ("--form", "goal-baseline", "contrast", "softmax", "goal-pictures", "--temperature", 0.1)


@pytest.fixture
def upright(tmp_path: Path) -> Path:
    Image.fromarray(draw_cartpole(0.0, 0.0, 96)).save(tmp_path / "upright.png")
    return tmp_path / "upright.png"


@pytest.mark.slow
def test_every_form_is_judged_and_drawn(upright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = (*FORMS, "--goal-pictures", upright, "--alpha", 0, 0.5, "--out", tmp_path / "out")
    assert run("judge", "cartpole", *chosen, "--count", 60, "--states", "uniform") == 0
    record = read(tmp_path / "out" / "judge.json")
    assert [row["alpha"] for row in record["rows"]] == [0, 0.5]
    assert [row["form"] for row in record["forms"]] == ["contrast", "softmax", "goal-pictures"]
    assert record["forms"][1]["reward"]["temperature"] == 0.1
    said = capsys.readouterr().out
    for row in record["forms"]:
        assert f"{row['epic']:.3f} ({row['epic_low']:.3f} to {row['epic_high']:.3f})" in said
        assert (tmp_path / "out" / f"states-1-{row['form']}.png").is_file()
    assert run("judge", "cartpole", *chosen, "--along", "pole_angle", "--points", 9) == 0
    record = read(tmp_path / "out" / "landscape.json")
    assert [encoder.get("form") for encoder in record["encoders"]] == [None, "contrast", "softmax", "goal-pictures"]
    assert [len(rewards) for rewards in record["rewards"]] == [2, 1, 1, 1]
    assert record["maxima"][3] == [{"value": 0.0, "goal": True}]


def test_options_that_are_of_no_use_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("--form", "goal-baseline", "contrast", "--others", "a"), "others is of no use to the reward forms goal-base"),
        (("--form", "contrast", "--others", "a"), "others is of no use to the reward form 'contrast'"),
        (("--form", "contrast", "contrast"), "form must be named once each, and at least one, got contrast, contrast"),
        (("--form", "goal-pictures"), "the reward form 'goal-pictures' needs goal_pictures"),
        (("--low", "0"), "--low is of use with --along NAME alone"),
        (("--overwrite",), "format and overwrite are of use with --save-states alone"),
        (("--along", "default", "--goal", "a", "b"), "goal and baseline must be one each for a landscape"),
    ):
        assert run("judge", "cartpole", *arguments) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_any_form_scores_files(upright: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", upright, "--form", "goal-pictures", "--goal-pictures", upright, "--json") == 0
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    assert score["reward"] == pytest.approx(1.0, abs=1e-5)
    assert score["goal_similarity"] is None
    assert run("score", upright, "--form", "contrast", "--goal", "a", "--baseline", "b") == 0
    assert "goal . x" not in capsys.readouterr().out
    for given, message in (
        ((), "goal is needed by the reward form 'goal-baseline'"),
        (("--form", "contrast", "--goal", "a"), "baseline is needed by the reward form 'contrast'"),
    ):
        assert run("score", upright, *given) == 2
        assert message in capsys.readouterr().err
