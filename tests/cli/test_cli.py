"""The command line as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import record_of, run
from vlm_rewards.media import read_frames
from vlm_rewards.tasks.cartpole import draw_cartpole

GOAL = "pole vertically upright on top of the cart"
TINY_RUN = [
    "--steps=1200",
    "--n-envs=3",
    "--standardise=300",
    "--learning-starts=400",
    "--gradient-steps=8",
    "--net-arch",
    "16",
    "--snapshots=2",
    "--selection-episodes=2",
    "--evaluation-episodes=3",
]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(*arguments) == 2
    return " ".join(capsys.readouterr().err.split())


def test_help_lists_the_verbs_without_loading_torch() -> None:
    code = "import sys; from vlm_rewards.cli import _dispatch; _dispatch(['--help']); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=True)
    for verb in ("train", "evaluate", "score", "judge", "finetune", "list", "report"):
        assert f"\n  {verb} " in result.stdout
    assert result.stdout.endswith("False\n")


def test_no_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "usage: vlm-rewards" in capsys.readouterr().out


def test_train_help_shows_the_values_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "cartpole", "--preset", "paper", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "3000000" in text
    assert "75000" in text  # learning_starts of the paper
    assert "0.0023" in text


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for name, angle in (("upright", 0.0), ("hanging", np.pi)):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(draw_cartpole(0.3, angle, 96)).save(paths[-1])
    return paths


def test_score_prefers_the_picture_that_fits(capsys: pytest.CaptureFixture[str], pictures: list[Path]) -> None:
    assert run("score", *pictures, "--goal", GOAL, "--baseline", "pole and cart", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    upright, hanging = answer["scores"]
    assert upright["reward"] > hanging["reward"] + 0.05
    assert answer["reward"]["alpha"] == 0.5


def test_score_as_csv_and_as_table(capsys: pytest.CaptureFixture[str], pictures: list[Path]) -> None:
    assert run("score", *pictures, "--goal", GOAL, "--csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [Path(row["path"]).stem for row in rows] == ["upright", "hanging"]
    assert run("score", *pictures, "--goal", GOAL) == 0
    text = capsys.readouterr().out
    assert "in-domain, not zero-shot" in " ".join(text.split())
    assert f"{float(rows[0]['reward']):.4f}" in text


def test_words_that_the_encoder_never_saw_are_named(capsys: pytest.CaptureFixture[str], pictures: list[Path]) -> None:
    assert run("score", *pictures, "--goal", "the pole hangs upright, zebra") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "has never seen 'hangs', 'zebra' and reads on without" in text
    assert run("score", *pictures, "--goal", GOAL, "--baseline", "pole and cart") == 0
    assert "has never seen" not in capsys.readouterr().out


def test_a_run_from_the_command_line_to_the_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("train", "cartpole", "--run-dir", folder, "--seed", 3, *TINY_RUN) == 0
    shown = capsys.readouterr().out
    for name in ("record.json", "curve.png", ".mp4"):
        assert name in shown
    assert "too few to learn from" in " ".join(shown.split())  # the warning about so short a run
    record = record_of(folder)
    assert record["steps"] >= 1200
    assert record["evaluation"]["episodes"] == 3
    assert record["command"].startswith(f"vlm-rewards train cartpole --run-dir {folder} --seed 3 --steps=1200")
    assert record["encoder"]["in_domain"] is True
    assert record["captioned"] is True
    assert set(record["seconds"]) == {"checkpoint", "collect_and_label", "update", "select", "training", "evaluation"}
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    frames = list(read_frames(folder / record["evaluation"]["video"]))
    assert len(frames) == 400  # two episodes
    assert np.ptp(frames[0].pixels) > 100  # it shows something

    assert "run_dir must be new or empty" in refused(capsys, "train", "cartpole", "--run-dir", folder)

    assert run("evaluate", folder, "--episodes", 2, "--json", "--no-video") == 0
    first = json.loads(capsys.readouterr().out)
    assert run("evaluate", folder, "--episodes", 2, "--json", "--no-video") == 0
    assert json.loads(capsys.readouterr().out) == first
    assert first["snapshot"] == record["best"]["path"]
    assert run("evaluate", folder, "--snapshot", "none.safetensors") == 2
    assert "Choices: step_" in capsys.readouterr().err

    page = tmp_path / "results.md"
    page.write_text("before\n<!-- results:begin -->\nan earlier table\n<!-- results:end -->\nafter\n")
    assert run("report", folder, "--markdown", page) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n| task |")
    assert text.endswith("<!-- results:end -->\nafter\n")
    assert "an earlier table" not in text
    assert "| cartpole | **DQN, seed 3** |" in text


def test_reference_policies_write_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "records" / "baselines.json"
    assert run("evaluate", "cartpole", "--policy", "all", "--episodes", 2, "--out", out) == 0
    record = json.loads(out.read_text())
    assert list(record["policies"]) == ["random", "zero", "rule"]
    assert record["policies"]["rule"]["success_rate"] == 1.0
    assert record["policies"]["random"]["success_rate"] == 0.0
    assert "rule" in capsys.readouterr().out
