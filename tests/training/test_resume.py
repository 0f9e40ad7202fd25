"""Runs that are stopped and go on, compared bit for bit with runs that were never stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from every_algorithm import Disturbed, judge, power_cut, rows, train
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import CheckpointError, InvalidInputError, LabellerError, RunFolderError
from vlm_rewards.files import read_state, write_state
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.testing.fakes import FakeEncoder, state_differences
from vlm_rewards.training import checkpoints as identity
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import RunFolder

Make = Callable[..., TrainConfig]
GSDE = {"use_sde": True, "use_sde_at_warmup": True, "sde_sample_freq": 3}


def scalars(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    assert state_differences(read_state(run.state), read_state(whole.state)) == []
    assert rows(run.metrics) == rows(whole.metrics)
    assert rows(run.snapshots) == rows(whole.snapshots)
    assert scalars(run) == scalars(whole)
    files = {path.name: path.read_bytes() for path in whole.checkpoints.iterdir()}
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == files


def cut_and_resume(config: TrainConfig, folder: Path, reward: VLMReward, *cuts: int, every: float = 0.0) -> RunFolder:
    """Cut a run after so many batches, once for each number, then let it go on to its end."""
    for number, calls in enumerate(cuts):
        with pytest.raises(LabellerError, match="power cut"):
            train(config, folder, Disturbed(calls, power_cut), judge, resume=number > 0, checkpoint_seconds=every)
    return train(config, folder, reward, judge, resume=True, checkpoint_seconds=every).run


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("dqn", {}),
        *(pytest.param("sac", settings, marks=pytest.mark.slow) for settings in ({}, GSDE, {"ent_coef": "0.1"})),
    ],
)
def test_a_resumed_run_is_the_same_to_the_last_bit(
    make_config: Make, reward: VLMReward, tmp_path: Path, algorithm: str, settings: dict[str, Any]
) -> None:
    every = 2 if algorithm == "dqn" else 1  # with the rewards between two frames, which a cut may lie between
    config = make_config(algorithm, settings, task=f"counting-{algorithm}", seed=3, label_every=every)
    whole = train(config, tmp_path / "whole", reward, judge).run
    for cuts in ((1,), (4,), (9,), (17,), *([(3, 4, 1, 1, 5)] if settings is GSDE else [])):
        assert_same(cut_and_resume(config, tmp_path / str(cuts), reward, *cuts), whole)


@pytest.mark.slow
def test_a_run_without_a_checkpoint_starts_again(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    config = make_config(task="counting-dqn")
    whole = train(config, tmp_path / "whole", reward, judge).run
    run = cut_and_resume(config, tmp_path / "cut", reward, 9, every=float("inf"))
    assert_same(run, whole)
    record = json.loads(run.record.read_text())
    assert record["resumed"] == []


def test_the_record_says_where_it_was_resumed(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    config = make_config(task="counting-dqn")
    started = time.monotonic()
    run = cut_and_resume(config, tmp_path / "cut", reward, 6, 5)
    record = json.loads(run.record.read_text())
    steps = [stretch["steps"] for stretch in record["resumed"]]
    assert len(steps) == 2
    assert 0 < steps[0] < steps[1] < 96
    assert record["steps"] == record["labelled_frames"] == 96
    assert 0 < record["seconds"]["training"] < time.monotonic() - started


@pytest.mark.slow
def test_a_run_that_ended_before_its_record_was_written(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    config = make_config("sac", GSDE, task="counting-sac")
    whole = train(config, tmp_path / "whole", reward, judge).run
    shutil.copytree(whole.path, tmp_path / "cut")
    run = RunFolder(tmp_path / "cut")
    run.record.unlink()
    outcome = train(config, run.path, reward, judge, resume=True)
    assert_same(run, whole)
    assert outcome.record["steps"] == 96
    assert outcome.best is not None
    assert outcome.record["best"] == json.loads(whole.record.read_text())["best"]


def test_what_was_written_after_the_checkpoint_goes(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    config = make_config(task="counting-dqn")
    whole = train(config, tmp_path / "whole", reward, judge).run
    folder = tmp_path / "cut"
    with pytest.raises(LabellerError):
        train(config, folder, Disturbed(12, power_cut), judge, checkpoint_seconds=0)
    run = RunFolder(folder)
    with run.metrics.open("a") as file:
        file.write("999,a row that was written just before the end\n")
    (run.tensorboard / "events.out.tfevents.9999999999.host.1.0").write_bytes(b"began and never ended")
    (run.checkpoints / "best.json").write_text('{"step": 999, "vlm_return": 1e9, "path": "later.safetensors"}')
    assert_same(train(config, folder, reward, judge, resume=True, checkpoint_seconds=0).run, whole)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that wants a run that was cut leaves one for the others."""
    return tmp_path_factory.mktemp("cut") / "run"


@pytest.fixture
def stopped(make_config: Make, cut: Path, tmp_path: Path) -> tuple[TrainConfig, RunFolder]:
    """A run that was cut in the middle."""
    config = make_config(task="counting-dqn")
    if not cut.exists():
        with pytest.raises(LabellerError):
            train(config, cut, Disturbed(12, power_cut), judge, checkpoint_seconds=0)
    return config, RunFolder(shutil.copytree(cut, tmp_path / "run"))


def contents(run: RunFolder) -> dict[str, bytes]:
    paths = sorted(path for path in run.path.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(run.path)): path.read_bytes() for path in paths}


def test_ctrl_c_before_the_run_is_there_again_leaves_it_as_it_was(
    stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = stopped

    def press(self: Any, state: Any) -> None:
        raise KeyboardInterrupt

    def kept() -> dict[str, bytes]:
        return {name: content for name, content in contents(run).items() if "tensorboard" not in name}

    before = kept()
    with monkeypatch.context() as patch:
        patch.setattr(RenderedVecEnv, "load_state_dict", press)
        with pytest.raises(KeyboardInterrupt):
            train(config, run.path, reward, judge, resume=True)
    assert kept() == before
    assert train(config, run.path, reward, judge, resume=True).record["steps"] >= config.steps


def refused(
    stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, match: str, config: TrainConfig | None = None
) -> None:
    before = contents(stopped[1])
    with pytest.raises((CheckpointError, InvalidInputError), match=match):
        train(config or stopped[0], stopped[1].path, reward, judge, resume=True)
    assert contents(stopped[1]) == before


def test_another_task_or_setting_is_refused(
    stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, make_config: Make
) -> None:
    refused(stopped, reward, "the settings must be those of the run", make_config(task="counting-dqn", seed=1))
    refused(stopped, reward, "the settings must be those of the run", make_config("sac", task="counting-sac"))


def test_a_task_that_has_changed_is_refused(
    stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_rewards.tasks.task import register_task
    from vlm_rewards.testing.counting import counting_task

    register_task(counting_task("counting-dqn", horizon=5), replace=True)
    refused(stopped, reward, "the task is not that of the run: horizon was 8, is 5. The task has changed")


def test_another_encoder_is_refused(stopped: tuple[TrainConfig, RunFolder]) -> None:
    other = VLMReward(FakeEncoder(image_size=32, seed=1), goal="a white wall", baseline="a wall")
    refused(stopped, other, "the reward is not that of the run: encoder was .* The reward has changed")


@pytest.mark.slow
def test_another_version_is_refused_unless_it_is_wanted(
    stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "__version__", "99.0")
    refused(stopped, reward, r"the version is not that of the run: vlm-rewards was '0.*', is '99.0'.*--other-versions")
    outcome = train(stopped[0], stopped[1].path, reward, judge, resume=True, other_versions=True)
    assert outcome.record["steps"] == 96


def test_a_state_of_another_format_is_refused(stopped: tuple[TrainConfig, RunFolder], reward: VLMReward) -> None:
    state = read_state(stopped[1].state)
    state["identity"]["format"] = 99
    write_state(stopped[1].state, state)
    refused(stopped, reward, "the resume state has format 99, this version reads 3")


@pytest.mark.parametrize("keep", [0, 100, 5_000])
def test_a_damaged_state_is_refused(stopped: tuple[TrainConfig, RunFolder], reward: VLMReward, keep: int) -> None:
    stopped[1].state.write_bytes(stopped[1].state.read_bytes()[:keep])
    refused(stopped, reward, "the resume state .* cannot be read")


def test_logs_that_were_cut_are_refused(stopped: tuple[TrainConfig, RunFolder], reward: VLMReward) -> None:
    stopped[1].metrics.write_text("step\n")
    refused(stopped, reward, r"metrics.csv' is shorter than at the last checkpoint")


def test_a_run_in_use_is_refused(stopped: tuple[TrainConfig, RunFolder], reward: VLMReward) -> None:
    with stopped[1].locked():
        refused(stopped, reward, "is being written by another process")
        with pytest.raises(InvalidInputError, match="is being written by another process"):
            train(stopped[0], stopped[1].path, reward, judge, overwrite=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "must be a folder that `vlm-rewards train` wrote"),
        *(
            ({"checkpoint_seconds": x}, "checkpoint_seconds must be a number of at least 0")
            for x in (-1.0, float("nan"), True)
        ),
    ],
)
def test_bad_options_are_refused(
    make_config: Make, reward: VLMReward, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        train(make_config(), tmp_path / "run", reward, judge, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_and_keeps_the_state(
    make_config: Make, reward: VLMReward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_rewards.training import checkpoints

    config = make_config(task="counting-dqn")
    whole = train(config, tmp_path / "whole", reward, judge).run
    written = 0

    def full(path: Path, state: dict[str, Any]) -> int:
        nonlocal written
        written += 1
        if written == 5:
            raise OSError(28, "No space left on device")
        return write_state(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_state", full)
        with pytest.raises(RunFolderError, match=r"checkpoint of step 32 could not .*No space left.*step 24 is intact"):
            train(config, tmp_path / "run", reward, judge, checkpoint_seconds=0)
    assert_same(train(config, tmp_path / "run", reward, judge, resume=True).run, whole)


def test_a_log_that_cannot_be_written_ends_the_run(
    make_config: Make, reward: VLMReward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_rewards.training import callbacks

    def full(self: Any, row: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks.CsvLog, "write", full)
    with pytest.raises(RunFolderError, match=r"can no longer be written: No space left on device"):
        train(make_config(task="counting-dqn"), tmp_path / "run", reward, judge)
