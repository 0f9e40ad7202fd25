"""Commands about a task take the flags of its simulator, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from vlm_rewards.cli.task_choice import read_about_task, read_choice
from vlm_rewards.tasks.builtin import GOALS, config_of
from vlm_rewards.tasks.humanoid.model import HumanoidConfig

SENTENCES = ["--goal", "a goal", "--baseline", "a baseline"]
FLAGS = ("--textures", "--camera ", "--observations", "--full-drawing")


@dataclass(frozen=True)
class Settings:
    """What this command does."""

    count: int
    """How many."""
    goal: str = "none"
    """A sentence."""
    baseline: str = "none"
    """Another."""


def read(*arguments: str) -> Any:
    return read_about_task("judge", [*arguments, "--count", "3"], Settings)


@pytest.mark.parametrize("task", GOALS)
def test_a_humanoid_is_drawn_as_its_preset_says(task: str) -> None:
    about = read(task)
    assert about.config.humanoid == HumanoidConfig(observations="compact")
    assert config_of(about.task) == about.config.humanoid
    assert about.settings.count == 3


def test_or_as_the_flags_say() -> None:
    about = read("kneeling", "--textures", "original", "--camera", "original", "--observations=full", "--full-drawing")
    other = HumanoidConfig("original", "original", "full", full_drawing=True)
    assert about.config.humanoid == config_of(about.task) == other
    assert about.task.camera == "original"
    assert (about.settings.count, about.settings.goal) == (3, "none")


def test_an_environment_takes_its_own() -> None:
    about = read(
        "--env-id", "Hopper-v5", *SENTENCES, "--textures", "realistic", "--view", "3", "0", "0", "1", "90", "-9"
    )
    environment = about.config.environment
    assert (environment.textures, environment.view) == ("realistic", (3, 0, 0, 1, 90, -9))
    assert about.task.metadata["environment"] == environment.to_dict()
    assert (about.settings.count, about.settings.goal, about.settings.baseline) == (3, "a goal", "a baseline")


@pytest.mark.parametrize("flag", ["--textures=original", "--camera=fixed", "--observations=full", "--full-drawing"])
def test_other_tasks_do_not(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read("cartpole", flag)
    assert ended.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "shown", "missing"),
    [
        (["kneeling"], FLAGS, ("--view",)),
        (["--env-id", "Hopper-v5"], ("--textures", "--view", "--cameras", "--full-drawing"), ("--observations",)),
        (["cartpole"], (), (*FLAGS, "--view")),
    ],
)
def test_help_shows_them(
    arguments: list[str], shown: tuple[str, ...], missing: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_about_task("judge", [*arguments, "--help"], Settings)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "What this command does." in told
    assert "--count" in told
    assert [flag for flag in shown if flag not in told] == []
    assert [flag for flag in missing if flag in told] == []


@pytest.mark.parametrize(
    ("arguments", "gpu", "preset"),
    [
        (("kneeling", "--encoder", "ViT-L-14/laion2b_s32b_b82k"), True, "paper"),
        (("kneeling", "--encoder=ViT-L-14/laion2b_s32b_b82k"), True, "paper"),
        (("kneeling", "--encoder=ViT-L-14/laion2b_s32b_b82k"), False, "cpu"),
        (("kneeling", "--encoder=ViT-L-14/laion2b_s32b_b82k", "--preset", "cpu"), True, "cpu"),
        (("kneeling", "--encoder", "bundled"), True, "cpu"),
        (("kneeling",), True, "cpu"),
        (("kneeling", "--preset=paper"), False, "paper"),
    ],
)
def test_the_papers_settings_are_for_a_gpu_and_another_model(
    arguments: tuple[str, ...], gpu: bool, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert read_choice(arguments).start().preset == preset
