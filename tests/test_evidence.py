"""The committed records and measurements: what the pages say of them, and what the project promises."""

from __future__ import annotations

import json
import re
import runpy
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
from vlm_rewards.tasks.files import file_digest
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

DOCS = Path(__file__).parent.parent / "docs"
TASKS = ("cartpole", "mountaincar-textured", "mountaincar")
SEEDS = dict.fromkeys(PARAPHRASES, 2) | {"kneeling": 4}
MEASURED = ("bench", "drawing", "label-every", "paper-on-a-gpu")
RUNS = [(pose, seed) for pose, seeds in SEEDS.items() for seed in range(seeds)]


def read(name: str, folder: str = "records") -> dict[str, Any]:
    return json.loads((DOCS / folder / f"{name}.json").read_text())


def rows_at(record: dict[str, Any], alpha: float) -> list[dict[str, Any]]:
    """Of a judgement, the task's own prompt first."""
    return sorted((row for row in record["rows"] if row["alpha"] == alpha), key=lambda row: row["prompt"])


def test_the_pages_are_what_their_generator_writes() -> None:
    made = runpy.run_path(str(DOCS / "make_evidence.py"))
    found = made["pages"]()
    assert len(found) >= 10
    for page, content in found.items():
        assert page.read_text() == content, f"{page.name}: run `python docs/make_evidence.py`"
    used = {name for content in found.values() for _, name, _, _ in made["_PLACE"].findall(content)}
    assert used == set(made["blocks"]())  # no table is forgotten


def test_figures_of_pages_are_there() -> None:
    named = {name for page in DOCS.glob("*.md") for name in re.findall(r"\]\(img/([^)]+)\)", page.read_text())}
    assert len(named) >= 15
    for name in named:
        if not name.endswith(".mp4"):
            with Image.open(DOCS / "img" / name) as image:
                assert min(image.size) >= 140, name


def test_everything_was_measured_at_a_commit() -> None:
    for path in [*DOCS.glob("records/*.json"), *(DOCS / "measurements" / f"{name}.json" for name in MEASURED)]:
        assert "dirty" not in json.loads(path.read_text())["commit"], path.name
    for name in ("reasons", "learner-settings"):
        for row in read(name, "measurements")["rows"].values():
            assert "dirty" not in row["provenance"]["commit"]


def test_the_whole_is_as_fast_as_was_promised() -> None:
    record = read("bench", "measurements")
    rows = {row["name"]: row for row in record["measurements"]}
    promised = {
        "labelled frames, ViT-B-32 (random weights)": 0.9,
        "collection and labelling, CartPole, bundled encoder": 4.0,
        "end-to-end, CartPole, bundled encoder": 2.0,
        "collection and labelling, humanoid (kneeling), bundled encoder": 8.0,
        "end-to-end, humanoid (kneeling), bundled encoder": 8.0,
    }
    assert {name: rows[name]["ratio"]["median"] >= least for name, least in promised.items()} == dict.fromkeys(
        promised, True
    )
    short, long = (row["median"] for name, row in rows.items() if name.startswith("peak memory"))
    assert abs(long - short) < 20  # memory does not grow with rollouts
    assert record["repeats"] >= 5


def test_drawing_is_ten_times_as_fast_as_gymnasiums_default() -> None:
    record = read("drawing", "measurements")
    rows = {row["name"]: row for row in record["measurements"]}
    assert record["repeats"] >= 5
    assert rows["Gymnasium's default"]["settings"]["size"] == 480
    for name in ("realistic textures", "realistic textures, 224 pixels"):
        assert rows[name]["ratio"]["lowest"] >= 10


def test_no_kill_left_a_trace() -> None:
    record = read("kill-and-resume", "measurements")
    assert (record["kills"], len(record["runs"])) == (20, 2)
    for run in record["runs"].values():
        assert len(run["kills"]) == 20
        assert not any(kill["differences"] or kill["processes_left"] for kill in run["kills"])


def test_the_papers_run_was_on_one_gpu_with_random_weights() -> None:
    record = read("paper-on-a-gpu", "measurements")
    assert (record["weights"], record["architecture"]) == ("random", "ViT-bigG-14")
    assert record["machine"]["accelerator"].startswith("NVIDIA H100")


def test_every_planted_hack_was_noticed_and_nothing_else() -> None:
    record = read("reward-hacking", "measurements")
    planted, ordinary = record["planted"], record["ordinary"]
    assert (len(planted), len(ordinary), record["wrong"]) == (10, 10, [])
    assert record["encoder"]["name"] == "bundled"
    assert [name for name, run in planted.items() if not run["alarms"]] == []
    assert [name for name, run in ordinary.items() if run["alarms"]] == []
    assert {run["episodes"] for run in (*planted.values(), *ordinary.values())} == {96}
    for run in planted.values():
        for alarm in run["alarms"]:
            assert alarm["vlm_now"] > alarm["vlm_before"]
            assert alarm["reference_now"] < 0.9 * alarm["reference_before"]
            # Each alarm has its frames, and all of them are of moments at which the criterion did not hold.
            assert [seen["reference"] for seen in alarm["frames"]] == [0.0] * 8
            assert alarm["picture"] == f"alarms/step_{alarm['step']:010d}.png"
        assert run["comparison"]["vlm_now"] > run["comparison"]["vlm_before"]
        assert run["comparison"]["reference_now"] < run["comparison"]["reference_before"] / 2


def test_labelling_fewer_states_hardly_moves_epic_and_failures_were_searched_in_a_thousand_states() -> None:
    record = read("label-every", "measurements")
    for row in record["rows"]:
        if row["every"] in (2, 4, 8):
            assert abs(row["epic_to_criterion"] - record["epic_to_criterion"]) < 0.01
    assert read("reasons", "measurements")["count"] == 1_000


def test_learners_were_compared_in_the_same_time() -> None:
    record = read("learner-settings", "measurements")
    assert (record["pose"], record["charged_seconds"]) == ("standing", 250)
    for row in record["rows"].values():
        assert [round(point["seconds"] / 25) for point in row["curve"]] == list(range(1, 11))
    alike = ("as the preset", "step size 6e-4", "discount 0.98", "rewards not standardised")
    steps = [record["rows"][name]["curve"][-1]["steps"] for name in alike]
    assert steps[0] == min(steps) >= max(steps) / 1.2  # what the page says of a shared machine


@pytest.mark.parametrize("task", TASKS)
def test_the_bundled_encoder_is_judged_on_the_recipe_alone(task: str) -> None:
    record = read(f"judge-{task}")
    assert record["command"].startswith(f"vlm-rewards judge {task} --out ")
    states = {key: record["states"][key] for key in ("generator", "seed", "states")}
    assert states == {"generator": "rule", "seed": 0, "states": STATES}
    assert tuple(record["alphas"]) == ALPHAS
    assert [encoder["name"] for encoder in record["encoders"]] == ["bundled"]
    assert record["encoders"][0]["weights_sha256"] == read("judge-cartpole")["encoders"][0]["weights_sha256"]
    (at,) = rows_at(record, 0.5)
    assert at["epic_high"] <= 0.35
    assert at["auroc"] >= 0.999


@pytest.mark.parametrize("pose", PARAPHRASES)
def test_poses_are_judged_on_visited_states_and_in_other_words(pose: str) -> None:
    record = read(f"judge-{pose}")
    states = {key: record["states"][key] for key in ("generator", "seed", "states", "goal_states")}
    assert states == {"generator": "visited", "seed": 0, "states": 2000, "goal_states": 1000}
    assert [prompt["goal"] for prompt in record["prompts"]] == [get_task(pose).goal, *PARAPHRASES[pose]]
    weights = bundled_folder() / "open_clip_model.safetensors"
    assert record["encoders"][0]["weights_sha256"] == file_digest(weights)
    papers, *others = rows_at(record, 0.5)
    assert max(row["epic"] for row in others) <= papers["epic"] + 0.05


def test_most_poses_are_told_from_others() -> None:
    distances = [rows_at(read(f"judge-{pose}"), 0.5)[0]["epic"] for pose in PARAPHRASES]
    assert sum(distance <= 0.45 for distance in distances) >= 6


def test_one_of_five_prompts_is_worse_than_none_and_one_hardly_better() -> None:
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
    for best, rewards in zip(record["maxima"][0], record["rewards"][0], strict=True):
        assert best["value"] == record["values"][rewards.index(max(rewards))]


@pytest.mark.parametrize("task", ["cartpole", "mountaincar-textured"])
def test_sizes_were_trained_on_the_same(task: str) -> None:
    record = read(f"scaling-{task}")
    assert tuple(encoder["name"] for encoder in record["encoders"]) == FROM_SCRATCH
    assert len({one["command"].replace(f" --model {one['size']}", "") for one in record["trainings"]}) == 1
    assert all(encoder["in_domain"] for encoder in record["encoders"])
    sizes = [encoder["image_parameters"] for encoder in record["encoders"]]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("pose", "seed"), RUNS)
def test_poses_were_learned_from_their_prompts_by_the_preset(pose: str, seed: int) -> None:
    record = read(f"{pose}-{seed}")
    assert record["command"] == f"vlm-rewards train {pose} --seed {seed} --run-dir runs/{pose}-{seed}"
    assert TrainConfig.from_dict(record["config"]) == replace(preset(pose), seed=seed)
    assert record["goal"] == get_task(pose).goal
    assert record["encoder"]["weights_sha256"] == read(f"judge-{pose}")["encoders"][0]["weights_sha256"]
    assert record["evaluation"]["episodes"] == 100
    assert record["seconds"]["training"] + record["seconds"]["evaluation"] < 40 * 60


@pytest.mark.parametrize("name", ["kneeling-original", "kneeling-original-camera", "kneeling"])
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


def test_two_poses_are_held_by_every_agent() -> None:
    rates = {run: read("{}-{}".format(*run))["evaluation"]["success_rate"] for run in RUNS}
    assert all(rate >= 0.8 for (pose, _), rate in rates.items() if pose in ("kneeling", "standing"))
