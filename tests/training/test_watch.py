"""Runs that are watched: an alarm is where people look for it, and nothing that is learned changes."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.scripted import run_script
from every_algorithm import train
from vlm_rewards.collection.watcher import WatchedFrame
from vlm_rewards.errors import InvalidInputError, LabellerError
from vlm_rewards.files import read_state
from vlm_rewards.rewards.base import FormulaReward
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.task import Task, register_task
from vlm_rewards.testing.fakes import FakeEncoder, state_differences
from vlm_rewards.testing.point import PointEnv, brightness_reward, point_task
from vlm_rewards.training.algorithms import DQNConfig
from vlm_rewards.training.callbacks import _telling
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.runner import _check_held_out
from vlm_rewards.training.watch import watched_against

Make = Callable[..., TrainConfig]
HORIZON = 8
EPISODES = 96
SIMULATORS = 4


class Brightness(FormulaReward):
    """Pays for light, and, if it can be exploited, twice as much for darkness; can fail at the n-th call."""

    def __init__(self, *, loophole: bool = False, fails_at: int = 0) -> None:
        super().__init__(FakeEncoder(image_size=32))
        self.loophole = loophole
        self.left = fails_at

    def __call__(self, frames: Any) -> np.ndarray:
        self.left -= 1
        if self.left == 0:
            raise ZeroDivisionError("power cut")
        light = brightness_reward(np.asarray(frames))
        return np.where(light < 0.01, np.float32(2), light) if self.loophole else light

    def _score(self, embeddings: Any) -> np.ndarray:
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        return {"loophole": self.loophole}


class PaidPoint(PointEnv):
    """Its own reward is the position."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, *rest = super().step(action)
        return observation, self.position, *rest


class There:
    """Goes to the right, the surer the longer the run; to the left in its second half, if it turns."""

    def __init__(self, *, turns: bool) -> None:
        self.turns = turns
        self.rng = np.random.default_rng(0)

    def __call__(self, observations: np.ndarray, progress: float, step: int) -> np.ndarray:
        if self.turns and progress >= 0.5:
            return np.zeros(len(observations), dtype=int)
        right = self.rng.random(len(observations)) < 0.4 + 0.4 * progress
        return right.astype(int)


def judge(policy: Any, *, episodes: int, seed: int) -> dict[str, Any]:
    return {"vlm_return": 1.0, "vlm_return_std": 0.0, "true_return": 0.0, "success_rate": None}


def settings(**changes: Any) -> TrainConfig:
    algorithm = DQNConfig(learning_starts=16, buffer_size=200, batch_size=8, train_freq=4, net_arch=(8,))
    start = TrainConfig("point-dqn", "cpu", algorithm, "a white wall", "a wall", device="cpu", n_workers=1)
    return dataclasses.replace(start, steps=EPISODES * HORIZON, n_envs=SIMULATORS, snapshots=1, **changes)


def watched(folder: Path, config: TrainConfig, *, hacked: bool, held_out: Any = None) -> dict[str, Any]:
    reward = Brightness(loophole=hacked)
    record = run_script(There(turns=hacked), config, folder, reward, HORIZON, held_out=held_out)
    assert json.loads((folder / "record.json").read_text())["watch"] == json.loads(json.dumps(record["watch"]))
    return record["watch"]


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_an_alarm_is_in_log_tensorboard_and_record_with_its_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    watch = watched(tmp_path, settings(), hacked=True)
    assert watch["reference"] == "criterion"
    (alarm,) = watch["alarms"]
    assert EPISODES * HORIZON / 2 < alarm["step"] < EPISODES * HORIZON
    assert alarm["vlm_now"] > alarm["vlm_before"]
    assert alarm["reference_now"] < alarm["reference_before"]
    assert alarm["correlation"] < 0

    path = tmp_path / alarm["picture"]
    assert path.parent.name == "alarms"
    line = next(line for line in caplog.messages if line.startswith("possible reward hacking"))
    assert f"at step {alarm['step']:,}: reward a step {alarm['vlm_before']:.3f} -> {alarm['vlm_now']:.3f}, " in line
    assert f"correlation {alarm['correlation']:+.2f}; frames: " in line

    # All eight frames are of the dark end, which is the loophole; the sheet has 4 columns of 32 * 3 pixels.
    assert len(alarm["frames"]) == 8
    for seen in alarm["frames"]:
        assert (seen["vlm"], seen["reference"]) == (2.0, 0.0)
        assert 0 < seen["step"] <= alarm["step"]
        assert 0 <= seen["simulator"] < SIMULATORS
    sheet = np.asarray(Image.open(path))
    assert (sheet[6 : 6 + 96, 6 : 6 + 96] == 0).all()

    found = events(tmp_path)
    (picture,) = found.Images("watch/alarm")
    assert picture.step == alarm["step"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.encoded_image_string))), sheet)
    assert found.Scalars("watch/alarms")[-1].value == 1
    assert found.Scalars("watch/correlation")[-1].value == pytest.approx(watch["correlation"])
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["watch_truth"] == ""  # there is no window yet
    assert float(rows[-1]["watch_truth"]) == watch["comparison"]["reference_now"]
    assert float(rows[-1]["watch_correlation"]) == watch["correlation"]


def test_an_ordinary_run_raises_none(tmp_path: Path) -> None:
    watch = watched(tmp_path, settings(), hacked=False)
    assert watch["alarms"] == []
    assert watch["correlation"] > 0.5
    assert watch["comparison"]["reference_now"] > 0.3
    assert not (tmp_path / "alarms").exists()
    assert "images" not in events(tmp_path).Tags() or events(tmp_path).Tags()["images"] == []


@pytest.mark.slow
@pytest.mark.parametrize("against", ["true reward", "held-out reward"])
def test_watched_against_something_else(tmp_path: Path, against: str) -> None:
    register_task(Task("paid", "a white wall", "a wall", functools.partial(PaidPoint, actions="discrete"), HORIZON))
    config, held_out = settings(task="paid"), None
    if against == "held-out reward":
        config, held_out = settings(watch="held-out", watch_encoder="another"), Brightness()
    watch = watched(tmp_path, config, hacked=True, held_out=held_out)
    assert watch["reference"] == against
    (alarm,) = watch["alarms"]
    assert {(seen["vlm"], seen["reference"]) for seen in alarm["frames"]} == {(2.0, 0.0)}
    assert alarm["reference_before"] > 0.5 > alarm["reference_now"]


class CountingEncoder(FakeEncoder):
    """Counts what it embeds."""

    embedded = 0

    def embed_images(self, frames: Any) -> np.ndarray:
        self.embedded += len(frames)
        return super().embed_images(frames)


@pytest.mark.slow
@pytest.mark.parametrize("other", [False, True])
def test_a_held_out_sentence_costs_no_second_embedding(make_config: Make, tmp_path: Path, other: bool) -> None:
    encoder, second = CountingEncoder(), CountingEncoder(seed=1)
    reward = VLMReward(encoder, goal="a white wall", baseline="a wall")
    held_out = VLMReward(second if other else encoder, goal="a bright room", baseline="a wall")
    asked = {"watch_goal": "a bright room", "watch_encoder": "another" if other else None}
    config = make_config(watch="held-out", **asked)
    outcome = train(config, tmp_path, reward, judge, held_out=held_out)
    assert outcome.record["watch"]["reference"] == "held-out reward"
    assert encoder.embedded == 96
    assert second.embedded == (96 if other else 0)
    kept = read_state(outcome.run.state)["labels"]["watcher"]
    scores = np.array([[fact[2], fact[3]] for fact in kept["facts"]])
    assert np.allclose(scores[:, 0], reward(kept["frames"]), atol=1e-6)
    assert np.allclose(scores[:, 1], held_out(kept["frames"]), atol=1e-6)


@pytest.mark.parametrize("against", ["criterion", "true-reward"])
def test_pictures_are_judged_by_what_the_run_is_watched_against(
    make_config: Make, reward: VLMReward, tmp_path: Path, against: str
) -> None:
    run = train(make_config(task="counting-dqn", watch=against), tmp_path, reward, judge).run
    kept = read_state(run.state)["labels"]["watcher"]
    numbers = kept["frames"][:, 0, 0].astype(int) @ [65536, 256, 1]  # episode and step of CountingEnv
    expected = numbers % 4096 if against == "true-reward" else (numbers // 4096 + 1) % 2
    assert [fact[3] for fact in kept["facts"]] == expected.tolist()
    assert len(set(expected.tolist())) > 1


@pytest.mark.slow
def test_the_watch_changes_nothing_that_is_learned(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    held_out = VLMReward(reward.encoder, goal="a bright room", baseline="a wall")
    watches: dict[str, dict[str, Any]] = {"off": {}, "criterion": {}, "held-out": {"watch_goal": "a bright room"}}
    states, records = [], []
    for watch, more in watches.items():
        config = make_config(task="counting-dqn", watch=watch, **more)
        second = held_out if more else None
        outcome = train(config, tmp_path / watch, reward, judge, held_out=second)
        state = read_state(outcome.run.state)
        state["labels"] = {
            key: value for key, value in state["labels"].items() if key not in ("watcher", "episodes", "ledger")
        }
        states.append({key: value for key, value in state.items() if key != "watch"})
        records.append(outcome.record["watch"])
    assert state_differences(states[0], states[1]) == state_differences(states[0], states[2]) == []
    assert records[0] is None
    assert [record["reference"] for record in records[1:]] == ["criterion", "held-out reward"]


class Turning(There):
    """The same without a generator of its own, as a run that is cut asks for some actions twice."""

    def __init__(self) -> None:
        super().__init__(turns=True)

    def __call__(self, observations: np.ndarray, progress: float, step: int) -> np.ndarray:
        self.rng = np.random.default_rng(round(1e6 * progress))
        return super().__call__(observations, progress, step)


@pytest.mark.slow
def test_a_resumed_run_raises_the_same_alarm(tmp_path: Path) -> None:
    config = settings()
    whole = run_script(Turning(), config, tmp_path / "whole", Brightness(loophole=True), HORIZON)["watch"]
    (alarm,) = whole["alarms"]
    for number, calls in enumerate((20, 42)):  # before the alarm, and shortly after it
        folder = tmp_path / str(number)
        failing = Brightness(loophole=True, fails_at=calls)
        with pytest.raises(LabellerError, match="power cut"):
            run_script(Turning(), config, folder, failing, HORIZON, checkpoint_seconds=0)
        cut = read_state(RunFolder(folder).state)
        assert cut["steps"] == SIMULATORS * 4 * (calls - 1)
        assert (cut["steps"] > alarm["step"]) == bool(cut["watch"]["alarms"]) == (number == 1)
        again = {"resume": True, "checkpoint_seconds": 0}
        assert run_script(Turning(), config, folder, Brightness(loophole=True), HORIZON, **again)["watch"] == whole
        states = [read_state(RunFolder(path).state) for path in (folder, tmp_path / "whole")]
        assert state_differences(*states) == []
        assert [event.step for event in events(folder).Images("watch/alarm")] == [alarm["step"]]
        sheets = [(path / alarm["picture"]).read_bytes() for path in (folder, tmp_path / "whole")]
        assert sheets[0] == sheets[1]


def test_off_is_off(make_config: Make, reward: VLMReward, tmp_path: Path) -> None:
    outcome = train(make_config(task="counting-dqn", watch="off"), tmp_path, reward, judge)
    assert outcome.record["watch"] is None
    state = read_state(outcome.run.state)
    assert state["watch"] is state["labels"]["watcher"] is None
    assert not [tag for tag in events(tmp_path).Tags()["scalars"] if tag.startswith("watch/")]


def test_what_a_run_is_watched_against() -> None:
    judged = point_task()
    bare = dataclasses.replace(judged, criterion=None)
    sentence = {"watch_goal": "a bright room"}
    assert watched_against(settings(), judged) == "criterion"
    assert watched_against(settings(**sentence), judged) == "criterion"
    assert watched_against(settings(watch="held-out", **sentence), judged) == "held-out"
    assert watched_against(settings(watch="true-reward"), judged) == "true-reward"
    assert watched_against(settings(), bare) == "true-reward"
    assert watched_against(settings(**sentence), bare) == "held-out"
    assert watched_against(settings(watch="off"), judged) is None
    with pytest.raises(
        InvalidInputError, match=r"watch must not be 'criterion': task 'point' has none\. Choices: auto"
    ):
        watched_against(settings(watch="criterion"), bare)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"watch": "always"}, "watch must be one of auto, criterion, true-reward, held-out, off, got 'always'"),
        ({"watch": "held-out"}, "watch='held-out' needs watch_goal, watch_baseline or watch_encoder, got none"),
        (
            {"watch": "off", "watch_goal": "light"},
            "watch must be 'auto' or 'held-out' with a held-out reward, got 'off",
        ),
        ({"watch_goal": "a wall"}, "watch_goal and watch_baseline must differ, both are 'a wall'"),
        ({"watch_goal": " "}, "watch_goal must"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        settings(**changes)


def test_a_held_out_reward_must_be_what_the_settings_ask_for(reward: VLMReward, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="held_out must be what the settings ask for, none, got"):
        train(settings(), tmp_path / "run", reward, judge, held_out=reward)
    with pytest.raises(InvalidInputError, match="held_out must be what the settings ask for, one, got None"):
        train(settings(watch="held-out", watch_goal="a bright room"), tmp_path / "run", reward, judge)
    _check_held_out(settings(watch_goal="a bright room"), "criterion", None)  # nobody would use it
    assert not (tmp_path / "run").exists()


def sighting(reward: float, truth: float | None) -> WatchedFrame:
    return WatchedFrame(0, 0, np.zeros((2, 2, 3), np.uint8), reward, truth)


def test_the_pictures_shown_are_those_on_which_the_scores_disagree() -> None:
    assert _telling([]) == _telling([sighting(1.0, None)]) == []
    held = [sighting(0.9, 1.0), sighting(0.2, 0.0), sighting(0.8, 0.0), sighting(0.95, 1.0)]
    assert [seen.reward for seen in _telling(held)] == [0.8, 0.2]
    # Of another reward, those below the mean of 0.5 are low.
    other = [sighting(0.9, 0.8), sighting(0.7, 0.4), sighting(0.8, 0.3), sighting(0.1, 0.5)]
    assert [seen.reward for seen in _telling(other)] == [0.8, 0.7, 0.1]
    assert len(_telling([sighting(index / 20, 0.1) for index in range(20)])) == 8
