"""The committed judgements hold what the documentation says of them, and what the project promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlm_rewards.encoders.sources import bundled_folder
from vlm_rewards.evaluation.judging import ALPHAS
from vlm_rewards.evaluation.landscape import POINTS
from vlm_rewards.evaluation.states import STATES
from vlm_rewards.finetuning.config import FROM_SCRATCH
from vlm_rewards.tasks.captions import PARAPHRASES
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.registry import file_digest
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

DOCS = Path(__file__).parent.parent / "docs"
TASKS = ("cartpole", "mountaincar-textured", "mountaincar")
SCALED = ("cartpole", "mountaincar-textured")


def read(name: str) -> dict[str, Any]:
    return json.loads((DOCS / "records" / f"{name}.json").read_text())


def epic(row: dict[str, Any]) -> str:
    return f"{row['epic']:.3f} ({row['epic_low']:.3f} to {row['epic_high']:.3f})"


def rows_at(record: dict[str, Any], alpha: float) -> list[dict[str, Any]]:
    return [row for row in record["rows"] if row["alpha"] == alpha]


@pytest.mark.parametrize("task", TASKS)
def test_the_bundled_encoder_is_judged_on_the_recipe_alone(task: str) -> None:
    record = read(f"judge-{task}")
    assert record["command"].startswith(f"vlm-rewards judge {task} --out ")
    states = {key: record["states"][key] for key in ("generator", "seed", "states")}
    assert states == {"generator": "rule", "seed": 0, "states": STATES}
    assert tuple(record["alphas"]) == ALPHAS
    assert [encoder["name"] for encoder in record["encoders"]] == ["bundled"]
    assert "dirty" not in record["commit"]
    assert record["encoders"][0]["weights_sha256"] == read("judge-cartpole")["encoders"][0]["weights_sha256"]
    (at,) = rows_at(record, 0.5)
    assert at["epic_high"] <= 0.35
    assert at["auroc"] >= 0.999


@pytest.mark.parametrize("task", TASKS)
def test_the_page_on_judging_has_the_numbers_of_the_record(task: str) -> None:
    record = read(f"judge-{task}")
    (low,), (middle,), (high,) = (rows_at(record, alpha) for alpha in (0.0, 0.5, 1.0))
    share = f"{100 * record['states']['goal_share']:.1f} %"
    line = f"| {task} | {share} | {epic(low)} | {epic(middle)} | {epic(high)} | {middle['auroc']:.3f} |"
    assert line in (DOCS / "evidence-judging.md").read_text().splitlines()


def humanoid_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """At alpha 0.5, the paper's sentence first."""
    return sorted(rows_at(record, 0.5), key=lambda row: row["prompt"])


@pytest.mark.parametrize("pose", PARAPHRASES)
def test_poses_are_judged_on_visited_states_and_in_other_words(pose: str) -> None:
    record = read(f"judge-{pose}")
    states = {key: record["states"][key] for key in ("generator", "seed", "states", "goal_states")}
    assert states == {"generator": "visited", "seed": 0, "states": 2000, "goal_states": 1000}
    sentences = [prompt["goal"] for prompt in record["prompts"]]
    assert sentences == [get_task(pose).goal, *PARAPHRASES[pose]]
    weights = bundled_folder() / "open_clip_model.safetensors"
    assert record["encoders"][0]["weights_sha256"] == file_digest(weights)
    assert "dirty" not in record["commit"]
    papers, *others = humanoid_rows(record)
    assert max(row["epic"] for row in others) <= papers["epic"] + 0.05
    cells = [epic(papers), *(f"{row['epic']:.3f}" for row in others), f"{papers['auroc']:.3f}"]
    assert f"| {pose} | {' | '.join(cells)} |" in (DOCS / "evidence-humanoid.md").read_text().splitlines()


def test_most_poses_are_told_from_others() -> None:
    distances = [humanoid_rows(read(f"judge-{pose}"))[0]["epic"] for pose in PARAPHRASES]
    assert sum(distance <= 0.45 for distance in distances) >= 6


def test_one_of_five_sentences_is_worse_than_none_and_one_hardly_better() -> None:
    record = read("judge-prompts")
    low = {record["prompts"][row["prompt"]]["goal"]: row["epic_low"] for row in rows_at(record, 0.5)}
    assert len(low) == 5
    assert [goal for goal, at_least in low.items() if at_least > 0.5**0.5] == ["a car on a slope"]
    assert [goal for goal, at_least in low.items() if 0.6 < at_least < 0.5**0.5] == ["a car"]


@pytest.mark.parametrize("task", TASKS)
def test_maxima_of_landscapes_lie_at_the_goal(task: str) -> None:
    record = read(f"landscape-{task}")
    assert len(record["values"]) == POINTS
    assert tuple(record["alphas"]) == ALPHAS
    assert [best["goal"] for best in record["maxima"][0]] == [True] * len(ALPHAS)
    assert "dirty" not in record["commit"]
    for best, rewards in zip(record["maxima"][0], record["rewards"][0], strict=True):
        assert best["value"] == record["values"][rewards.index(max(rewards))]


@pytest.mark.parametrize("task", SCALED)
def test_sizes_were_trained_on_the_same(task: str) -> None:
    record = read(f"scaling-{task}")
    assert tuple(encoder["name"] for encoder in record["encoders"]) == FROM_SCRATCH
    commands = {one["command"].replace(f" --model {one['size']}", "") for one in record["trainings"]}
    assert len(commands) == 1
    assert all(encoder["in_domain"] for encoder in record["encoders"])
    assert "dirty" not in record["commit"]
    sizes = [encoder["image_parameters"] for encoder in record["encoders"]]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("task", SCALED)
def test_the_page_on_scaling_has_the_numbers_of_the_record(task: str) -> None:
    record = read(f"scaling-{task}")
    page = (DOCS / "scaling.md").read_text().splitlines()
    for row in rows_at(record, 0.5):
        encoder = record["encoders"][row["encoder"]]
        count = f"{encoder['image_parameters'] / 1e6:.2f} M"
        assert f"| {task} | {encoder['name']} | {count} | {epic(row)} | {row['auroc']:.3f} |" in page


@pytest.mark.parametrize("page", ["evidence-judging", "evidence-humanoid", "scaling", "reward-hacking"])
def test_pictures_of_a_page_are_there(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    for part in text.split("](img/")[1:]:
        with Image.open(DOCS / "img" / part.split(")")[0]) as image:
            assert min(image.size) > 200


LEARNED = {
    "kneeling": 4,
    "standing": 2,
    "lotus": 2,
    "one-leg": 2,
    "splits": 2,
    "arms-raised": 2,
    "hands-on-hips": 2,
    "arms-crossed": 2,
}
"""Seeds by pose."""
RUNS = [(pose, seed) for pose, seeds in LEARNED.items() for seed in range(seeds)]


@pytest.mark.parametrize(("pose", "seed"), RUNS)
def test_poses_were_learned_from_their_sentences_by_the_preset(pose: str, seed: int) -> None:
    record = read(f"{pose}-{seed}")
    assert record["command"] == f"vlm-rewards train {pose} --seed {seed} --run-dir runs/{pose}-{seed}"
    assert TrainConfig.from_dict(record["config"]) == replace(preset(pose), seed=seed)
    assert record["goal"] == get_task(pose).goal
    assert record["encoder"]["weights_sha256"] == read(f"judge-{pose}")["encoders"][0]["weights_sha256"]
    assert "dirty" not in record["commit"]
    assert record["evaluation"]["episodes"] == 100
    assert record["seconds"]["training"] + record["seconds"]["evaluation"] < 40 * 60


def learned_row(pose: str) -> str:
    """A line of the table of what was learned."""
    agents = [read(f"{pose}-{seed}")["evaluation"] for seed in range(LEARNED[pose])]
    policies = read(f"baselines-{pose}")["policies"]
    cells = [pose, f"{humanoid_rows(read(f'judge-{pose}'))[0]['epic']:.3f}"]
    for runs in (agents, [policies["random"], policies["zero"]]):
        cells += [", ".join(str(run["successes"]) for run in runs)]
        cells += [", ".join(f"{100 * run['held_share']:.0f}" for run in runs)]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("pose", LEARNED)
def test_the_page_on_the_poses_says_what_was_learned(pose: str) -> None:
    assert learned_row(pose) in (DOCS / "poses.md").read_text().splitlines()


DRAWINGS = {"kneeling-original": 36, "kneeling-original-camera": 91, "kneeling": 100}
"""Textures and cameras for kneeling, and the share in % of the paper's episodes that succeed (figure 3)."""


def drawn_row(name: str) -> str:
    """A line of the table of textures and cameras."""
    run, judged = read(f"{name}-0"), humanoid_rows(read(f"judge-{name}"))[0]
    drawing, found = run["config"]["humanoid"], run["evaluation"]
    cells = [drawing["textures"], drawing["camera"], f"{judged['epic']:.3f}", f"{judged['auroc']:.3f}"]
    cells += [str(found["successes"]), f"{100 * found['held_share']:.0f}", str(DRAWINGS[name])]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", DRAWINGS)
def test_textures_and_cameras_are_compared_in_runs_that_are_otherwise_the_same(name: str) -> None:
    run, judged = read(f"{name}-0"), read(f"judge-{name}")
    drawing = HumanoidConfig(**judged["metadata"]["humanoid"])
    assert drawing == HumanoidConfig(
        textures="original" if name == "kneeling-original" else "realistic",
        camera="fixed" if name == "kneeling" else "original",
        observations="compact",
    )
    assert TrainConfig.from_dict(run["config"]) == replace(preset("kneeling"), seed=0, humanoid=drawing)
    assert run["encoder"]["weights_sha256"] == judged["encoders"][0]["weights_sha256"]
    assert run["seconds"]["training"] + run["seconds"]["evaluation"] < 40 * 60
    assert "dirty" not in run["commit"] + judged["commit"]
    assert drawn_row(name) in (DOCS / "poses.md").read_text().splitlines()


def test_two_poses_are_held_by_every_agent() -> None:
    rates = {run: read("{}-{}".format(*run))["evaluation"]["success_rate"] for run in RUNS}
    assert all(rate >= 0.8 for (pose, _), rate in rates.items() if pose in ("kneeling", "standing"))
