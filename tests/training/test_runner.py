"""Whole runs, tiny ones: what they write, that they repeat, and how they end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from every_algorithm import Disturbed, power_cut, rows, train
from vlm_rewards.cli.common import ConsoleProgress
from vlm_rewards.errors import InvalidInputError, LabellerError
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import RunFolder, best_snapshot

Make = Callable[..., TrainConfig]


class FakeEvaluate:
    """Scores policies with a list of numbers instead of episodes."""

    def __init__(self, *vlm_returns: float, width: int = 1) -> None:
        self.vlm_returns = list(vlm_returns)
        self.width = width  # of an observation
        self.calls: list[dict[str, int]] = []

    def __call__(self, policy: Callable[[np.ndarray], np.ndarray], *, episodes: int, seed: int) -> dict[str, Any]:
        policy(np.zeros((2, self.width), dtype=np.float32))
        self.calls.append({"episodes": episodes, "seed": seed})
        value = self.vlm_returns[len(self.calls) - 1] if self.vlm_returns else 1.0
        # The better the success, the worse the VLM return: choosing by success would be seen.
        scores = {"vlm_return": value, "vlm_return_std": 0.5, "true_return": -value, "success_rate": 1 - value / 100}
        return scores | {"something_else": "that the runner need not know"}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    threads = torch.get_num_threads()
    yield
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= children
    assert not [thread for thread in threading.enumerate() if thread.name == "vlm-rewards-labeller"]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("algorithm", ["dqn", pytest.param("sac", marks=pytest.mark.slow)])
def test_a_run_writes_everything_and_repeats_itself(
    make_config: Make, reward: VLMReward, tmp_path: Path, algorithm: str
) -> None:
    config = make_config(algorithm, task=f"counting-{algorithm}", seed=5)
    evaluate = FakeEvaluate(width=3)
    outcome = train(config, tmp_path / "first", reward, evaluate)
    run = outcome.run
    assert not outcome.interrupted
    assert run.read_config() == config

    # Snapshots are due at 32, 64 and 96; rounds are of 8 steps.
    names = [f"step_{step:010d}.safetensors" for step in (32, 64, 96)]
    assert sorted(path.name for path in run.checkpoints.glob("*.safetensors")) == names
    assert [row["path"] for row in rows(run.snapshots)] == names
    assert [row["step"] for row in rows(run.snapshots)] == ["32", "64", "96"]
    assert evaluate.calls == [{"episodes": 2, "seed": derive_seed(5, "select")}] * 3

    metrics = rows(run.metrics)
    assert metrics[-1]["step"] == "96"
    # Updates are made after the rollout of which the row tells: 9 of the 10 rounds of 2.
    assert metrics[-1]["updates"] == "18"
    assert float(metrics[-1]["loss"]) > 0
    assert 0 <= float(metrics[-1]["success_rate"]) <= 1
    assert int(metrics[-1]["episodes"]) >= 96 // 8

    record = json.loads(run.record.read_text())
    assert record == json.loads(json.dumps(outcome.record))
    assert record["steps"] == record["planned_steps"] == record["labelled_frames"] == 96
    assert record["updates_planned"] == 20
    assert (record["task"], record["seed"], record["alpha"]) == (f"counting-{algorithm}", 5, 0.5)
    assert record["goal"] == "a white wall"
    assert record["encoder"]["name"] == "fake"
    assert record["standardiser"]["fitted"] is True
    assert record["config"] == json.loads(json.dumps(config.to_dict()))
    seconds = record["seconds"]
    assert set(seconds) == {"collect_and_label", "update", "select", "checkpoint", "training"}
    assert 0 < seconds["collect_and_label"] + seconds["update"] <= seconds["training"] + 0.02
    assert {"versions", "commit", "machine", "started", "version"} <= set(record)

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert {"rollout/vlm_return", "rollout/true_return", "rollout/success_rate"} <= set(events.Tags()["scalars"])
    assert any(tag.startswith("train/") for tag in events.Tags()["scalars"])

    again = train(config, tmp_path / "second", reward, FakeEvaluate(width=3)).run
    for name in names:
        assert (again.checkpoints / name).read_bytes() == (run.checkpoints / name).read_bytes()
    assert again.snapshots.read_bytes() == run.snapshots.read_bytes()
    assert rows(again.metrics) == metrics
    changed = make_config(algorithm, task=f"counting-{algorithm}", seed=6)
    other = train(changed, tmp_path / "other", reward, FakeEvaluate(width=3))
    assert (other.run.checkpoints / names[-1]).read_bytes() != (run.checkpoints / names[-1]).read_bytes()


def test_the_best_is_chosen_by_vlm_return_and_the_first_of_equals(
    make_config: Make, reward: VLMReward, tmp_path: Path
) -> None:
    outcome = train(make_config(), tmp_path, reward, FakeEvaluate(3.0, 7.0, 7.0))
    assert outcome.best is not None
    assert (outcome.best.step, outcome.best.vlm_return) == (64, 7.0)
    assert best_snapshot(outcome.run) == outcome.best
    assert outcome.record["best"] == {"step": 64, "vlm_return": 7.0, "path": outcome.best.path}
    assert json.loads((outcome.run.checkpoints / "best.json").read_text())["chosen_by"] == "vlm_return"
    rates = [float(row["success_rate"]) for row in rows(outcome.run.snapshots)]
    assert rates == pytest.approx([0.97, 0.93, 0.93])


def test_a_last_snapshot_is_taken_where_the_steps_do_not_divide(
    make_config: Make, reward: VLMReward, tmp_path: Path
) -> None:
    # 3 simulators x 4 steps are rounds of 12. Due at 50 and 100: taken after 60 and 108.
    outcome = train(make_config(steps=100, snapshots=2, n_envs=3), tmp_path, reward, FakeEvaluate())
    assert [row["step"] for row in rows(outcome.run.snapshots)] == ["60", "108"]
    assert outcome.record["steps"] == 108


def test_the_console_warns_of_too_few_updates_and_shows_a_bar(
    make_config: Make, reward: VLMReward, tmp_path: Path
) -> None:
    text = io.StringIO()
    progress = ConsoleProgress(Console(file=text, force_terminal=True, width=200))
    train(make_config(), tmp_path, reward, FakeEvaluate(), progress=progress)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text.getvalue())
    assert "warning: 96 steps make only 20 updates" in plain
    assert "96/96" in plain
    assert "VLM return" in plain


@pytest.mark.parametrize("calls", [1, 17])
def test_ctrl_c_ends_with_a_snapshot(
    make_config: Make, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm_rewards.training.checkpoints._LAST_WORDS_SECONDS", 100.0)  # on a busy machine
    reward = Disturbed(calls, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome = train(make_config(steps=5_000, snapshots=1), tmp_path, reward, FakeEvaluate())
    assert outcome.interrupted
    assert outcome.record["interrupted"] is True
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["interrupted"] is True
    assert record["steps"] < record["planned_steps"] == 5_000
    (row,) = rows(outcome.run.snapshots)
    assert int(row["step"]) == record["steps"]
    assert best_snapshot(outcome.run).path == row["path"]
    assert (outcome.run.checkpoints / row["path"]).is_file()


def test_ctrl_c_while_a_snapshot_is_scored(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    class Impatient(FakeEvaluate):
        def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
            scores = super().__call__(*arguments, **options)
            if len(self.calls) == 1:
                raise KeyboardInterrupt
            return scores

    outcome = train(make_config(), tmp_path, reward, Impatient())
    assert outcome.interrupted
    assert [row["step"] for row in rows(outcome.run.snapshots)] == ["32"]
    assert outcome.best is not None
    assert outcome.best.step == 32


def test_a_reward_that_raises_ends_the_run(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(LabellerError, match="power cut"):
        train(make_config(), tmp_path, Disturbed(9, power_cut), FakeEvaluate())
    assert not (tmp_path / "record.json").exists()
    assert rows(tmp_path / "snapshots.csv") is not None


def test_nothing_is_written_where_the_settings_do_not_fit(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="algorithm dqn needs a Discrete action space"):
        train(make_config("dqn", task="point-sac"), tmp_path / "run", reward, FakeEvaluate())
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InvalidInputError, match="in use and holds no run"):
        train(make_config(), tmp_path, reward, FakeEvaluate(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_may_be_replaced(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", make_config(seed=1), overwrite=False)
    with pytest.raises(InvalidInputError, match="run_dir must be new or empty"):
        train(make_config(seed=2), tmp_path / "run", reward, FakeEvaluate())
    outcome = train(make_config(seed=2), tmp_path / "run", reward, FakeEvaluate(), overwrite=True)
    assert outcome.run.read_config().seed == 2
