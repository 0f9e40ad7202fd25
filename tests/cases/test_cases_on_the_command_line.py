"""What people meet on the command line with environments of their own, and what they expect there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from cases.command_line import ABOUT, OFF_POLICY, SMALL, CommandLine, run_here
from commands import record_of


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a run that sees nothing trains all the same")
@pytest.mark.parametrize("level", [0, 128])
def test_frames_of_one_colour_are_noticed_before_training(level: int, cli: CommandLine, tmp_path: Path) -> None:
    blank = ("--env-id", "cases.envs:Blank-v0", "--env-kwargs", json.dumps({"level": level}))
    ended = cli("train", *blank, *ABOUT, *SMALL, *OFF_POLICY, "--run-dir", tmp_path / "run")
    before = ended.printed.partition("VLM return")[0]  # progress and results both have it
    assert re.search(r"(one|single|same) colour|black", before, re.IGNORECASE), ended.printed
    assert re.search(r"render|display|driver|MUJOCO_GL", before), ended.printed  # the likely cause
    if ended.code:
        ended.check_refused()
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="fails in the first update, with a traceback")
def test_discrete_actions_that_do_not_start_at_0(cli: CommandLine, tmp_path: Path) -> None:
    about = ("--env-id", "cases.envs:FromOne-v0", *ABOUT, *SMALL, *OFF_POLICY)
    ended = cli("train", *about, "--run-dir", tmp_path / "run")
    if ended.code == 0:
        assert record_of(tmp_path / "run")["evaluation"]["true_return"] == 20  # each action was one of its space
    else:
        ended.check_refused(r"start=1")
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="only Box and Discrete actions are taken")
@pytest.mark.parametrize("name", ["Dials", "Switches"])
def test_actions_of_several_parts(name: str, cli: CommandLine, tmp_path: Path) -> None:
    about = ("--env-id", f"cases.envs:{name}-v0", *ABOUT, *SMALL, "--algo", "ppo")
    cli("train", *about, "--run-dir", tmp_path / "run").check_done()
    assert record_of(tmp_path / "run")["steps"] >= 400
    assert record_of(tmp_path / "run")["evaluation"]["true_return"] == 20  # each action was one of its space


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a traceback out of Gymnasium's flattening")
@pytest.mark.parametrize("verb", [("train",), ("judge",), ("evaluate", "--policy", "random")])
def test_an_observation_that_cannot_be_flattened_is_refused(verb: tuple[str, ...]) -> None:
    run_here(*verb, "--env-id", "cases.envs:Grid-v0", *ABOUT).check_refused("observation", "flatten", "Grid-v0")


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a traceback out of the import of the environment")
@pytest.mark.skipif(importlib.util.find_spec("Box2D") is not None, reason="Box2D is installed")
@pytest.mark.parametrize("verb", ["train", "judge"])
def test_a_missing_package_of_an_environment_is_named(verb: str) -> None:
    causes = ("Box2D is not installed", r"pip install .?gymnasium\[box2d\]")
    run_here(verb, "--env-id", "LunarLander-v3", *ABOUT).check_refused(*causes)


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the learner's own layer over pictures is not expected")
def test_pictures_as_observations_train_and_resume(cli: CommandLine, tmp_path: Path) -> None:
    about = ("--env-id", "cases.envs:Pixels-v0", *ABOUT, *SMALL, *OFF_POLICY)
    run = tmp_path / "run"
    ended = cli("train", *about, "--run-dir", run, fails="stable_baselines3.dqn.dqn:DQN.train", call=10)
    assert "the cause that must be named" in ended.printed, ended.printed
    cli("train", "--resume", run).check_done()
    record = record_of(run)
    assert record["steps"] >= 400
    assert record["evaluation"]["true_return"] == 20
    weights = load_file(run / "checkpoints" / record["evaluation"]["snapshot"])
    assert any(values.ndim == 4 for values in weights.values()), "no layer of convolutions: flattened?"


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="progress is drawn on terminals alone")
def test_a_run_whose_output_is_a_file_writes_a_line_every_half_minute(cli: CommandLine, tmp_path: Path) -> None:
    about = ("--env-id", "cases.envs:Slow-v0", *ABOUT, *SMALL, *OFF_POLICY, "--steps", "54321")
    progress = re.compile(r"\b([\d,]+) ?(?:/|of) ?54,?321\b.*\n")
    metrics = tmp_path / "run" / "metrics.csv"
    with cli.started("train", *about, "--run-dir", metrics.parent) as (pid, log):
        begun = line = None
        deadline = time.monotonic() + 60
        while line is None and time.monotonic() < deadline:
            if begun is None and metrics.exists():
                begun = time.monotonic()
                deadline = begun + 32
            time.sleep(0.2)
            line = progress.search(log.read_text() if log.exists() else "")
        os.kill(pid, signal.SIGINT)
    if begun is None:
        raise RuntimeError(log.read_text())  # no failure that is expected
    assert line, log.read_text()
    assert 0 < int(line[1].replace(",", "")) < 54321
