"""The whole job from Python: any reward of frames, what its folder says of it, and what it refuses by name."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_rewards
from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import point_task
from vlm_rewards.training import algorithms
from vlm_rewards.training.algorithms import DQNConfig, algorithm_name, get_algorithm, register_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset, start_settings

SMALL: dict[str, Any] = {
    "steps": 64, "n_envs": 2, "n_workers": 1, "standardise": 10, "learning_starts": 16, "train_freq": 4,
    "gradient_steps": 1, "net_arch": [8], "snapshots": 1, "selection_episodes": 1, "evaluation_episodes": 2,
    "chunk_frames": 8, "device": "cpu",
}  # fmt: skip


def light(frames: Any) -> np.ndarray:
    return np.asarray(frames).mean(axis=(1, 2, 3)) / 255


@pytest.fixture
def tmp_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithms.ALGORITHMS, "_values", dict(algorithms.ALGORITHMS._values))
    monkeypatch.setattr(algorithms, "_NAMES", dict(algorithms._NAMES))


def test_a_task_and_a_function_are_enough_and_the_folder_says_what_they_were(tmp_path: Path) -> None:
    dot = point_task("dot")
    run = vlm_rewards.train(task=dot, reward=light, frame_size=32, run_dir=tmp_path / "run", video=False, **SMALL)
    assert not run.interrupted
    assert (run.config.reward.form, run.config.encoder) == ("light (object)", "none (object)")
    assert run.record["reward"] == {"formula": "callable", "name": "light"}
    assert run.evaluation is not None
    assert run.evaluation["episodes"] == 2
    assert run.best is not None
    assert run.curve == tmp_path / "run" / "curve.png"
    assert run.video is None
    seen = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    assert run.policy(seen).tolist() == [int(run.policy(one)) for one in seen]

    alone = vlm_rewards.Run.open(run.folder)
    with pytest.raises(UnknownNameError, match=r"unknown task 'dot'.*Run\.open\(folder, task=\.\.\.\)"):
        alone.evaluate(2)
    alone = vlm_rewards.Run.open(run.folder, task=dot)
    with pytest.raises(InvalidInputError, match=r"reward 'light \(object\)' of this run was an object.*reward=\.\.\."):
        alone.evaluate(2)
    again = vlm_rewards.Run.open(run.folder, task=dot, reward=light, frame_size=32)
    assert again.evaluate(2).vlm_return == run.evaluate(2).vlm_return
    with pytest.raises(InvalidInputError, match="is complete; there is nothing to resume"):
        again.resume()


def test_an_encoder_of_ones_own_is_not_called_bundled(tmp_path: Path) -> None:
    run = vlm_rewards.train(
        task=point_task("dot"), encoder=FakeEncoder(image_size=32), run_dir=tmp_path / "run", video=False, **SMALL
    )
    assert (run.config.encoder, run.record["encoder"]["name"]) == ("fake (object)", "fake")
    assert "bundled" not in json.dumps(run.record)
    with pytest.raises(InvalidInputError, match=r"encoder 'fake \(object\)' of this run was an object"):
        _ = vlm_rewards.Run.open(run.folder, task=point_task("dot")).reward


def test_policies_that_learned_nothing() -> None:
    dot = point_task("dot")
    found = vlm_rewards.evaluate(dot, "zero", episodes=3, reward=light, frame_size=32, n_workers=1)
    assert len(found.episodes) == 3
    same = vlm_rewards.evaluate(dot, lambda seen: np.zeros(len(seen), int), episodes=3, reward=light, frame_size=32)
    assert same.vlm_return == found.vlm_return
    with pytest.raises(InvalidInputError, match="in a task, policy must be one of random, zero, rule"):
        vlm_rewards.evaluate(dot)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "cartpole", "stepz": 3}, "unknown setting 'stepz'. Did you mean 'steps'"),
        ({"task": "cartpole", "learning_rates": 3}, "unknown setting 'learning_rates'. Did you mean 'learning_rate'"),
        ({"task": "cartpole", "steps": 0}, "steps must be an int of at least 1, got 0"),
        ({"task": "cartpole", "learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"task": "cartpole", "reward": "softmacs"}, "unknown reward form 'softmacs'. Did you mean 'softmax'"),
        ({"task": "cartpole", "algo": "sca"}, "unknown algorithm 'sca'. Did you mean 'sac'"),
        ({"task": "cartpole", "frame_size": 32}, "frame_size is for a reward that is a plain function, got 32"),
        ({"task": "cartpole", "reward": light}, "frame_size must be given"),
        ({}, "task or env_id must be given"),
        ({"env_id": "CartPole-v1"}, "goal must be given with env_id: what the state should look like"),
        ({"goal": "up", "env_id": "CartPole-v1"}, "baseline must be given with env_id: what any state looks like"),
        ({"task": "cartpole", "env_id": "CartPole-v1"}, "give a task or env_id, not both: got 'cartpole'"),
        ({"config": preset("cartpole"), "algo": "dqn"}, "algo must be left out with config"),
        ({"task": point_task("cartpole")}, "task 'cartpole' is another one in the registry"),
        (
            {"task": "cartpole", "reward": VLMReward(FakeEncoder(), goal="a", baseline="b"), "encoder": "bundled"},
            "encoder must be left out with a reward that is an object",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        vlm_rewards.train(**given)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class OwnConfig(DQNConfig):
    """Settings of an algorithm that is not the package's."""


class TestAlgorithmFromOutside:
    def test_it_has_a_name_that_leads_back_to_it(self, tmp_registry: None) -> None:
        from stable_baselines3 import DQN

        register_algorithm("own-dqn", OwnConfig, DQN)
        config = preset("cartpole", algorithm="own-dqn")
        assert (type(config.algorithm), config.algorithm_name) == (OwnConfig, "own-dqn")
        assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

    def test_a_module_and_its_attribute_name_one(
        self, tmp_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        example = Path(__file__).parents[1] / "examples" / "16_own_algorithm.py"
        (tmp_path / "someones.py").write_text(example.read_text())
        monkeypatch.syspath_prepend(tmp_path)
        kind = get_algorithm("someones:ALGORITHM").config
        assert algorithm_name(kind()) == "someones:ALGORITHM"
        with pytest.raises(InvalidInputError, match="algorithm 'someones:NOTHING' cannot be loaded: AttributeError"):
            get_algorithm("someones:NOTHING")

    def test_settings_must_be_its_own(self, tmp_registry: None) -> None:
        with pytest.raises(InvalidInputError, match="config of algorithm 'mine' must be a class of its own: DQNConfig"):
            register_algorithm("mine", DQNConfig, lambda *_: None)  # type: ignore[arg-type,return-value]
        with pytest.raises(InvalidInputError, match="algorithm 'dqn' is already registered"):
            register_algorithm("dqn", dataclasses.make_dataclass("Own", [], bases=(DQNConfig,), frozen=True), print)  # type: ignore[arg-type]


def test_what_a_run_has_already_is_not_given_twice(tmp_path: Path) -> None:
    dot = point_task("dot")
    run = vlm_rewards.train(task=dot, reward=light, frame_size=32, run_dir=tmp_path / "run", video=False, **SMALL)
    assert vlm_rewards.evaluate(run, episodes=2).to_dict()["episodes"] == 2
    for given in ({"goal": "another"}, {"reward": light, "frame_size": 32}, {"env_id": "CartPole-v1"}):
        with pytest.raises(InvalidInputError, match="settings must be left out with a run"):
            vlm_rewards.evaluate(run, episodes=2, **given)
    with pytest.raises(InvalidInputError, match="task must be that of config, 'dot', got 'other'"):
        vlm_rewards.train(task=dataclasses.replace(dot, name="other"), config=run.config, run_dir=tmp_path / "other")


def test_a_plain_function_does_not_ask_for_the_papers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    names = {"none (object)": "cpu", "bundled (object)": "cpu", "bundled": "cpu", "ViT-B-32/openai": "paper"}
    assert {name: start_settings("cartpole", None, encoder=name).preset for name in names} == names
