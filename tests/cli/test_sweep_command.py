"""``vlm-rewards sweep`` as a user meets it: refusals, runs, stops of all kinds."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

import commands
import vlm_rewards
from commands import SMALL, TASK_FILE, record_of, wait_for

RUNS = (*SMALL.split(), "--no-video")
BREAKS = """
import sys
if "--alpha=1.0" in sys.argv:
    raise ZeroDivisionError("the cause that must be named")
"""


def run(*arguments: object) -> int:
    return commands.run("sweep", *arguments)


def written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cartpole --alpha", "alpha must be a list of at least one value"),
        ("cartpole --algo sac", "algorithm sac needs a Box action space"),
        ("cartpole --preset gpu --seed 0", "unknown preset 'gpu'"),
        ("--seed 0", "give a task or --env-id, one of them"),
        ("--env-id Pendulum-v1 --seed 0", "goal must be given with env_id"),
        ("cartpole --seed 0 --jobs 0", "jobs must be an int of at least 1, got 0"),
        ("cartpole --seed 0 -- --stepz 3", "Unrecognized options: --stepz"),
        ("cartpole --seed 0 -- --steps 500", "learning_starts must be less than steps (500)"),
        ("cartpole --seed 0 -- --alpha 1", "--alpha cannot be among the arguments of train"),
        ("cartpole --seed 0 --file none.json", "file 'none.json' cannot be read"),
        ("--summary-only", "out must be a folder that `vlm-rewards sweep` wrote"),
    ],
)
def test_bad_plans_are_refused_before_anything_is_written(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, dashes, after = arguments.partition(" -- ")
    assert run(*before.split(), "--out", tmp_path / "out", *dashes.split(), *after.split()) == 2
    assert message.lower() in " ".join(capsys.readouterr().err.replace("│", " ").split()).lower()
    assert not (tmp_path / "out").exists()


def test_where_to_write_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("cartpole", "--seed", 0), ()):
        assert run(*arguments) == 2
        assert "out must name the sweep's folder" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "sweep.json", tmp_path / "out"
    said = {"task": "cartpole", "out": str(out), "grid": {"seed": [0, 1]}, "train": ["--steps", "6000"]}
    file.write_text(json.dumps({**said, "runs": [{"form": "softmax"}, {"algo": "ppo"}]}))
    assert run("--file", file, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    # 32 x 8 transitions a round: 6,000 steps are 24 rounds, the first 7 before learning starts; 17 x 128 updates.
    assert lines[0] == "  form-softmax,seed-0: DQN, 6,000 steps, 2,176 updates; new"
    assert lines[3].startswith("  algo-ppo,seed-1: PPO, 6,000 steps")
    assert lines[-1] == "4 runs, 0 of them complete; nothing was started, nothing written"
    assert not out.exists()
    assert run("--file", file, "--dry-run", "--seed", 3) == 2
    assert "seed must be given once: it is in the file and on the command line" in capsys.readouterr().err


def test_an_environment_by_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = ("--goal", "a pole", "a pole hanging", "--baseline", "a cart")
    dashes = ("--out", tmp_path / "out", "--dry-run", "--", "--horizon", 40, "--steps", 3000)
    assert run("--env-id", "Pendulum-v1", *prompts, "--algo", "sac", "td3", *dashes) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].split(",")[0].strip() for line in lines[:4]] == ["SAC", "TD3", "SAC", "TD3"]
    assert "goal-a-pole-hanging-" in lines[2]


@pytest.mark.slow
def test_a_sweep_from_python_starts_runs_from_their_folders(tmp_path: Path, task_file: Path) -> None:
    told = mock.Mock()
    small = {"steps": 600, "n_envs": 3, "n_workers": 1, "standardise": 150, "learning_starts": 150, "snapshots": 1}
    few = {"gradient_steps": 1, "net_arch": [16], "selection_episodes": 2, "evaluation_episodes": 2, "device": "cpu"}
    out = tmp_path / "out"
    record = vlm_rewards.sweep(
        out, {"seed": [0, 1]}, task=task_file, jobs=2, video=False, progress=told, **small, **few
    )
    assert [one["state"] for one in record["runs"]] == ["complete", "complete"]
    assert record == summary(out)
    lines = [call.args[0] for call in told.say.call_args_list]
    assert lines[:2] == ["start     seed-0", "start     seed-1"]
    assert lines[3].endswith("[2 of 2 complete]")
    own = record_of(out / "seed-0")
    assert own["resumed"] == []
    assert own["config"]["algorithm"]["gradient_steps"] == 1


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other_and_is_tried_again(
    tmp_path: Path, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task_file.write_text(TASK_FILE + BREAKS)
    out = tmp_path / "out"
    failing = (task_file, "--alpha", 1, 0, "--seed", 0, "--out", out, "--jobs", 2, "--", *RUNS)
    assert run(*failing) == 1
    text = capsys.readouterr().out
    assert "[1 of 2 complete]" in text
    record = summary(out)
    failed, complete = record["runs"]
    assert (failed["name"], failed["state"]) == ("alpha-1,seed-0", "failed")
    assert "the cause that must be named" in failed["last_words"]
    assert (complete["state"], complete["success_rate"]) == ("complete", record["settings"][1]["success_rate"]["iqm"])
    assert record["settings"][0]["seeds"]["failed"] == [0]
    assert record["command"].startswith("vlm-rewards sweep ")
    written = (out / "alpha-0,seed-0" / "record.json").stat()
    own = record_of(out / "alpha-0,seed-0")
    assert own["evaluation"]["true_return"] == complete["true_return"]
    assert own["command"].startswith(f"vlm-rewards train {task_file} --alpha=0.0 --seed=0 --steps 600")
    assert json.loads((out / "plan.json").read_text())["runs"][1]["config"] == own["config"]

    assert run(*failing) == 1  # tried again, with the same end; the complete one is left alone
    assert (out / "alpha-0,seed-0" / "record.json").stat() == written
    assert (out / "logs" / "alpha-1,seed-0.log").read_text().count("$ vlm-rewards train") == 2
    capsys.readouterr()
    (out / "summary.md").unlink()
    assert run("--out", out, "--summary-only") == 1
    assert "1 of 1 seeds" in capsys.readouterr().out
    assert "| alpha-1,seed-0 | failed |" in (out / "summary.md").read_text()
    assert summary(out)["settings"] == record["settings"]


@pytest.mark.alone
@pytest.mark.slow
def test_a_sweep_killed_and_interrupted_ends_like_one_that_was_left_alone(
    tmp_path: Path, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def arguments(name: str) -> tuple[object, ...]:
        options = ("--steps", 3000, "--checkpoint-seconds", 0, "--keep-state")
        return (task_file, "--alpha", 0, 1, "--out", tmp_path / name, "--jobs", 2, "--", *RUNS[2:], *options)

    assert run(*arguments("whole")) == 0
    out = tmp_path / "broken"
    states = [out / name / "resume.npz" for name in ("alpha-0", "alpha-1")]
    for way in (signal.SIGINT, signal.SIGKILL):
        process = commands.start("sweep", *arguments("broken"))
        # Work in both that is worth going on with, and newer than that of the last round.
        old = [written(path) for path in states]
        wait_for(lambda old=old: all(written(p) > t for p, t in zip(states, old, strict=True)), process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4  # two runs, each with a simulators' worker
        if way is signal.SIGINT:
            assert run(*arguments("broken")) == 2
            assert "is being written by another process" in capsys.readouterr().err
        process.send_signal(way)
        pressed = time.monotonic()
        output, _ = process.communicate(timeout=20)
        assert not psutil.wait_procs(children, timeout=5)[1]
        if way is signal.SIGINT:
            assert time.monotonic() - pressed < 8
            assert process.returncode == 130, output
            assert "interrupted; the same command goes on" in output
            assert "Traceback" not in output
            assert [run["state"] for run in summary(out)["runs"]] == ["stopped", "stopped"]
    assert run(*arguments("broken")) == 0
    assert "go on     alpha-0" in capsys.readouterr().out
    assert summary(out)["settings"] == summary(tmp_path / "whole")["settings"]
    for name in ("alpha-0", "alpha-1"):
        one, other = (record_of(folder / name) for folder in (out, tmp_path / "whole"))
        assert one["evaluation"] == other["evaluation"]
        assert len(one["resumed"]) == 2
        for snapshot in (tmp_path / "whole" / name / "checkpoints").iterdir():
            assert (out / name / "checkpoints" / snapshot.name).read_bytes() == snapshot.read_bytes()
