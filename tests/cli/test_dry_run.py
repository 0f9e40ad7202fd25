"""``train --dry-run``: the plan on the screen, without GPU, network, weights, or a trace on the disk."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.random_checkpoint import write_random_checkpoint
from commands import run
from vlm_rewards.cli import dry_run
from vlm_rewards.collection.vec_env import SimulatorProbe, probe_simulator
from vlm_rewards.encoders import sizing
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.encoders.sources import bundled_folder
from vlm_rewards.tasks.builtin import config_of
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.plan import plan_training
from vlm_rewards.training.presets import PAPER_TASKS, PRESETS

PAPER = ("train", "kneeling", "--preset", "paper", "--encoder", "ViT-bigG-14/laion2b_s39b_b160k", "--dry-run")
CARTPOLE = ("train", "cartpole", "--preset", "cpu", "--dry-run")
PROMPTS = ("--goal", "a pole", "--baseline", "a cart")
UNDRAWN = """
import dataclasses
from vlm_rewards import register_task
from vlm_rewards.testing.point import point_task
def build(size):
    simulator = point_task().simulator(size)
    simulator.render_mode = None
    return simulator
register_task(dataclasses.replace(point_task("undrawn"), simulator=build), replace=True)
"""


@pytest.fixture(autouse=True)
def _nothing_but_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Iterator[None]:
    """A folder to work in, with no GPU, no network and no model that can be loaded; nothing may be written there."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(OpenCLIPEncoder, "__init__", refuse)
    yield
    assert not list(folder.iterdir())


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_papers_kneeling_with_its_largest_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "weights_on_disk", lambda source: False)
    assert run(*PAPER) == 0
    said = capsys.readouterr().out
    for part in (
        "ViT-bigG-14/laion2b_s39b_b160k; its weights will come from laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
        "parameters 2,539,567,105, image parameters 1,844,907,264, image size 224, embedding dim 1,280",
        "on CUDA: dtype fp16, batch size 256, weight bytes 5,079,134,210 (4.73 GiB)",
        "on the CPU: dtype fp32, batch size 64, weight bytes 10,158,268,420 (9.46 GiB)",
        "observation: float64 [348]",
        "action: float32 [17] in [-0.4, 0.4]",
        "frame: uint8 [224, 224, 3], as a simulator that was tried drew it; the reward wants 224 px",
        "pending bool",
        "SAC, 10,000,000 steps in 32 simulators, episodes of 100 steps: 3,125 rollouts of 100 vector steps",
        # 100 steps of 32 simulators are 3,200: 10 M are 3,125 rollouts, the first 15 of which end within 50,000 steps.
        # (3,125 - 15) x 100 updates of 512 transitions, to 10 M: each is used 15.9 times.
        "311,000 updates, 100 after each rollout beyond step 50,000 (1 per vector step); each transition is used 15.9",
        "watched against the criterion",
        # Due every 128,205.1 steps; rollouts end every 3,200.
        "78, the first after 131,200 steps, the last after 10,000,000; each is run for 8 episodes",
        # Every step; 78 snapshots of 8 episodes; 7 rounds of 16 episodes, so that each of 100 has been counted.
        "to be scored: training 10,000,000, after resets 0, selection 62,400, evaluation 11,200, total 10,073,600",
        # Two chunks of 100 vector steps and one step more.
        "frames: shape 201 x 32 x 224 x 224 x 3, nbytes 968,196,096 (923.34 MiB)",
        "selection nbytes 154,140,672 (147.00 MiB)",  # 128 slots of 8
        # Observation and next observation of 348 x 8 bytes, 17 x 4 of action, 4 of reward, end and time limit each, a
        # ticket of 8, and whether it is due: 2 x 2,784 + 68 + 12 + 8 + 1.
        "replay: rows 1,000,000, row bytes 5,657 (5.52 KiB), nbytes 5,657,000,000 (5.27 GiB)",
        "learner: networks actor 163,874, critic 319,490, critic target 319,490, parameters 802,854, nbytes 7,078,340",
        "on a GPU, encoder and learner take 4.74 GiB",
        "18 of the 19 settings that it names are the same here",
        "nothing was loaded, trained or written",
    ):
        assert part in said
    assert "warning" not in said
    (differs,) = [line.split() for line in said.splitlines() if line.rstrip().endswith("differs")]
    assert differs == ["snapshot_every", "128,000", "128,205", "differs"]


def test_the_bundled_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*CARTPOLE, "--run-dir", "run") == 0
    said = capsys.readouterr().out
    assert "its weights are on this machine" in said
    assert "image size 96, embedding dim 128" in said
    assert "DQN, 24,000 steps in 8 simulators, episodes of 200 steps: 94 rollouts of 32 vector steps" in said
    # 8 x 32 = 256 steps a rollout; 94 rollouts, 7 of them within 2,000 steps.
    assert f"{87 * 128:,} updates" in said
    assert "frames: shape 65 x 8 x 96 x 96 x 3" in said
    assert "it fits this machine" in said
    assert "paper" not in said


_TRIED: dict[tuple[str, int], SimulatorProbe] = {}


def shared(task: Task, size: int) -> SimulatorProbe:
    """One simulator for all tasks that step the same one."""
    humanoid = config_of(task)
    key = (task.name if humanoid is None else str(humanoid), size)
    if key not in _TRIED:
        _TRIED[key] = probe_simulator(task, size)
    return _TRIED[key]


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("task", sorted(PAPER_TASKS))
def test_every_preset(
    task: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "plan_training", functools.partial(plan_training, probe=shared))
    plan = plan_of(capsys, "train", task, "--preset", name, "--dry-run")
    assert plan["updates"]["warning"] == ""
    assert plan["refusals"] == []
    assert plan["snapshots"][-1] >= plan["config"]["steps"]
    assert plan["frames"]["training"] * plan["config"]["label_every"] >= plan["config"]["steps"]
    assert bool(plan["paper"]) == (name == "paper")
    assert run("train", task, "--preset", name, "--dry-run") == 0
    assert "nothing was loaded, trained or written" in capsys.readouterr().out


@pytest.mark.slow
def test_other_encoders(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "plan_training", functools.partial(plan_training, probe=shared))
    file = write_random_checkpoint("ViT-S-32-alt", tmp_path)
    for encoder, size in ((str(bundled_folder()), 96), (file, 224)):
        facts = plan_of(capsys, *CARTPOLE, "--encoder", encoder)["encoder"]["facts"]
        assert (facts["name"], facts["image_size"], facts["origin"]) == (encoder, size, None)
        assert facts["parameters"] == sizing.plan_encoder(encoder).parameters
    assert run(*CARTPOLE, "--encoder", "hf-hub:org/name") == 0
    said = capsys.readouterr().out
    assert "hf-hub:org/name: it cannot be planned, what it is stands in its repository alone" in said
    assert "frames: unknown" in said
    assert "24,000 steps in 8 simulators" in said
    assert "nothing was loaded, trained or written" in said


def test_any_environment(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, "train", "--env-id", "Pendulum-v1", *PROMPTS, "--algo", "ppo", "--dry-run")
    assert plan["config"]["environment"]["env_id"] == "Pendulum-v1"
    # Observation of 3, action of 1, and six numbers more; 2,048 transitions a rollout.
    assert plan["memory"]["rollout"] == {"rows": 2_048, "row_bytes": 40, "nbytes": 2_048 * 40}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--encoder", "ViT-bigG-41/laion2b"), "'ViT-bigG-41'. Did you mean"),
        (("--algo", "sac"), "algorithm sac needs a Box action space, got Discrete(2)"),
        (("--checkpoint-seconds", -1), "checkpoint_seconds must be a number of at least 0"),
        (("--run-dir", ".."), "run_dir '..' is in use and holds no run"),
        (("--resume", "run"), "leave out the task 'cartpole'"),
    ],
)
def test_what_training_refuses(arguments: tuple[object, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*CARTPOLE, *arguments) == 2
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.replace("│", " ").split())
    assert captured.out == ""


def test_a_simulator_that_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "undrawn.py").write_text(UNDRAWN)
    assert run("train", tmp_path / "undrawn.py", "--dry-run") == 2
    assert 'must be "rgb_array", got None' in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--buffer-size", 10**12), ("--n-envs", 2_000_000, "--chunk-frames", 4_000_000)])
def test_too_little_memory_is_refused_once_the_plan_is_printed(
    flags: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*CARTPOLE, *flags) == 2
    captured = capsys.readouterr()
    assert "IT DOES NOT FIT this machine" in captured.out
    assert "need" in captured.err or "buffer_size asks for 1,000,000,000,000 transitions of 61 bytes" in captured.err


def test_a_warning_of_too_few_updates(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*CARTPOLE, "--steps", 4_000, "--gradient-steps", 4) == 0
    assert "warning: 4,000 steps make only 36 updates" in capsys.readouterr().out


def test_only_a_run_that_has_not_begun_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--resume", "run", "--dry-run") == 2
    assert "--dry-run plans a run that has not begun; leave out --resume" in capsys.readouterr().err
    assert run("train", "cartpole", "--json") == 2
    assert "json must be left out without --dry-run" in capsys.readouterr().err


def test_what_is_planned_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capsys, *CARTPOLE)
    monkeypatch.undo()
    encoder = load_encoder("bundled", device="cpu")
    facts = encoder.describe()
    assert plan["encoder"]["facts"]["parameters"] == facts["parameters"]
    assert plan["encoder"]["precision"]["cpu"]["dtype"] == facts["dtype"]
    assert plan["encoder"]["precision"]["cpu"]["batch_size"] == facts["batch_size"]
    assert plan["shapes"]["embedding"] == [encoder.embedding_dim]
