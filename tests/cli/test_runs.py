"""Runs from the command line as users make them: any environment, own files, stops of all kinds, what follows a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import psutil
import pytest
import torch

from commands import SMALL, TASK_FILE, record_of, run, start, wait_for
from offline_datasets import COUNTING, Recorder
from vlm_rewards.files import read_state
from vlm_rewards.media import read_frames
from vlm_rewards.testing.fakes import state_differences

SENTENCES = ("--goal", "the pole is upright", "--baseline", "a pole")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")
def test_an_environment_by_its_id_and_what_follows_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    arguments = ("train", "--env-id", "Pendulum-v1", "--horizon", 40, *SENTENCES, "--run-dir", folder, *SMALL.split())
    assert run(*arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "was trained on frames of a few simulators, and 'Pendulum-v1' is none of them" in text
    assert "ends episodes by itself" not in text  # the pendulum never falls out of the world
    record = record_of(folder)
    assert record["task"] == "Pendulum-v1"
    assert record["metadata"]["environment"]["env_id"] == "Pendulum-v1"
    assert record["config"]["algorithm"]["name"] == "sac"
    assert record["labelled_frames"] == record["steps"] >= 600
    assert record["evaluation"]["success_rate"] is None
    assert record["evaluation"]["true_return"] < -50  # its own reward is a cost: it is logged, never learned from
    assert len(list(read_frames(folder / record["evaluation"]["video"]))) == 2 * 40

    assert run("evaluate", folder, "--episodes", 2, "--json", "--no-video") == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2

    for kind in ("sb3", "torchscript", "onnx"):
        assert run("export", folder, "--format", kind) == 0
    capsys.readouterr()
    assert run("export", folder, "--format", "onnx") == 2
    assert "out must be new" in capsys.readouterr().err
    observations = np.stack([gym.spaces.Box(-1, 1, (3,), seed=seed).sample() for seed in range(5)])
    actions = actions_of(folder, observations)
    assert np.abs(actions["sb3"]).max() <= 2
    assert actions["torchscript"] == pytest.approx(actions["sb3"], abs=1e-5)
    assert actions["onnx"] == pytest.approx(actions["sb3"], abs=1e-5)


def actions_of(folder: Path, observations: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime
    from stable_baselines3 import SAC

    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
    script = torch.jit.load(str(folder / "policy.pt"))
    zipped = SAC.load(folder / "policy.zip", device="cpu")
    with torch.no_grad():
        return {
            "sb3": zipped.predict(observations, deterministic=True)[0],
            "torchscript": script(torch.as_tensor(observations)).numpy(),
            "onnx": np.asarray(session.run(["actions"], {"observations": observations})[0]),
        }


@pytest.mark.slow
def test_mujoco_with_two_cameras_and_a_warning_of_termination(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = ("--cameras", "track", "0", "--camera-rule", "min")
    arguments = ("--env-id", "Hopper-v5", "--horizon", 30, *cameras, "--goal", "a pole", "--baseline", "a cart")
    assert run("train", *arguments, "--run-dir", tmp_path / "run", *SMALL.split(), "--algo", "td3") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Hopper-v5 ends episodes by itself" in text
    assert '{"terminate_when_unhealthy": false}' in text
    record = record_of(tmp_path / "run")
    assert record["config"]["algorithm"]["name"] == "td3"
    assert record["reward"]["cameras"] == 2
    assert record["reward"]["camera_rule"] == "min"
    assert record["camera"] == "track, 0"
    frames = list(read_frames(tmp_path / "run" / record["evaluation"]["video"]))
    assert np.ptp(frames[0].pixels) > 100


def test_baselines_of_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--env-id", "Pendulum-v1", "--horizon", 20, *SENTENCES, "--episodes", 2, "--json")
    assert run("evaluate", *arguments, "--policy", "all") == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record["policies"]) == ["random", "zero"]
    assert record["policies"]["zero"]["true_return"] < 0


@pytest.mark.slow
def test_a_form_and_a_task_from_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[2] / "examples" / "09_own_reward_form.py"
    arguments = (f"{example}:cartpole-by-angle", "--form", "angle", "--algo", "qrdqn", "--no-video")
    monkeypatch.chdir(tmp_path)
    assert run("train", *arguments, "--run-dir", "run", *SMALL.split()) == 0
    record = record_of(tmp_path / "run")
    assert record["reward"]["formula"] == "AngleReward"
    assert record["config"]["algorithm"]["name"] == "qrdqn"
    assert record["config"]["task_file"] == str(example)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_like_one_that_was_left_alone(
    tmp_path: Path, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--checkpoint-seconds", 0, "--no-video", "--keep-state")
    train = ("train", task_file, *SMALL.split(), *options)
    whole = tmp_path / "whole"
    assert run(*train, "--run-dir", whole) == 0

    killed = tmp_path / "killed"
    process = start(*train, "--run-dir", killed)
    wait_for((killed / "resume.npz").is_file, process)
    time.sleep(0.3)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert workers
    assert not psutil.wait_procs(workers, timeout=5)[1]
    assert read_state(killed / "resume.npz")["steps"] > 0

    assert run("train", "--resume", killed, *options) == 0
    assert not state_differences(read_state(killed / "resume.npz"), read_state(whole / "resume.npz"))
    for snapshot in (whole / "checkpoints").iterdir():
        assert (killed / "checkpoints" / snapshot.name).read_bytes() == snapshot.read_bytes()
    assert record_of(killed)["evaluation"] == record_of(whole)["evaluation"]
    assert len(record_of(killed)["resumed"]) == 1
    capsys.readouterr()
    assert run("train", "--resume", killed) == 2
    assert "is complete; there is nothing to resume" in capsys.readouterr().err


def test_a_task_file_that_has_changed_is_not_resumed(
    tmp_path: Path, task_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run("train", task_file, *SMALL.split(), "--run-dir", folder, "--no-video", "--keep-state") == 0
    record = record_of(folder)
    del record["evaluation"]  # as if the evaluation had been interrupted
    (folder / "record.json").write_text(json.dumps(record))
    state = (folder / "resume.npz").read_bytes()
    task_file.write_text(TASK_FILE + "\n")
    capsys.readouterr()
    assert run("train", "--resume", folder) == 2
    assert "has changed since the run began: it is another task now" in capsys.readouterr().err
    assert (folder / "resume.npz").read_bytes() == state
    task_file.write_text(TASK_FILE)
    assert run("train", "--resume", folder, "--no-video") == 0
    assert record_of(folder)["evaluation"]["episodes"] == 2


def test_a_dataset_is_relabelled_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    if COUNTING not in gym.registry:
        gym.register(COUNTING, entry_point="offline_datasets:DrawnCounting")
    played = Recorder().store("counting/short-v0", episodes=2)
    relabel = ("relabel", "counting/short-v0", "--frames", "replay", *SENTENCES, "--json")
    assert run(*relabel) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["out"] == "counting/short-vlm-v0"
    assert first["labelled_frames"] == first["frames"] > 5
    assert run(*relabel) == 0
    assert json.loads(capsys.readouterr().out)["labelled_frames"] == 0
    for episode, own in zip(minari.load_dataset(first["out"]).iterate_episodes(), played, strict=True):
        assert len(set(episode.rewards.tolist())) > 1
        assert episode.infos["true_rewards"].tolist() == own["rewards"]


ABOUT_A_TASK = ("train", "judge")
VERBS = (
    *ABOUT_A_TASK,
    *("export", "evaluate", "score", "relabel", "finetune", "list", "report", "sweep"),
)


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_into_eighty_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(verb, *(["cartpole"] if verb in ABOUT_A_TASK else []), "--help") == 0
    # The description is left to the terminal to break.
    options = [line for line in capsys.readouterr().out.splitlines() if line.startswith((" ", "│", "╭", "╰"))]
    assert len(options) >= 5
    assert max(map(len, options)) <= 80
