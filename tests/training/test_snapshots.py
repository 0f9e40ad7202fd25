"""Policies as files: what is loaded acts as what was saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import (
    RunFolder,
    Snapshot,
    best_snapshot,
    load_policy,
    mark_best,
    policy_function,
    save_policy,
)

Make = Callable[..., TrainConfig]
ACTIONS = {"dqn": "discrete", "sac": "box"}
OBSERVATIONS = np.linspace(0, 1, 40, dtype=np.float32)[:, None]


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_a_loaded_policy_acts_as_the_saved_one(
    make_config: Make, tmp_path: Path, venvs: dict[str, RenderedVecEnv], algorithm: str
) -> None:
    config = make_config(algorithm)
    run = RunFolder.create(tmp_path, config, overwrite=False)
    venv = venvs[ACTIONS[algorithm]]
    models = [build_algorithm(config.algorithm, venv, seed=seed, device="cpu") for seed in (11, 12)]
    for name, model in zip("ab", models, strict=True):
        save_policy(model, run.checkpoints / f"{name}.safetensors")
    expected = [policy_function(model)(OBSERVATIONS) for model in models]
    assert not np.array_equal(*expected), "else any policy would pass"
    mark_best(run, Snapshot(24, 1.5, "b.safetensors"))
    assert best_snapshot(run) == Snapshot(24, 1.5, "b.safetensors")
    np.testing.assert_array_equal(load_policy(run, config, venv, "a.safetensors")(OBSERVATIONS), expected[0])
    np.testing.assert_array_equal(load_policy(run, config, venv)(OBSERVATIONS), expected[1])
    assert [file.name for file in run.checkpoints.iterdir() if file.name.startswith(".")] == []


def test_what_cannot_be_loaded(make_config: Make, tmp_path: Path, venvs: dict[str, RenderedVecEnv]) -> None:
    config, venv = make_config(), venvs["discrete"]
    run = RunFolder.create(tmp_path, config, overwrite=False)
    with pytest.raises(CheckpointError, match="has no best snapshot"):
        load_policy(run, config, venv)
    with pytest.raises(InvalidInputError, match=r"snapshot 'a.safetensors' does not exist. Choices: none"):
        load_policy(run, config, venv, "a.safetensors")
    save_policy(build_algorithm(config.algorithm, venv, seed=0, device="cpu"), run.checkpoints / "good.safetensors")
    with pytest.raises(InvalidInputError, match=r"'a.safetensors' does not exist. Choices: good.safetensors"):
        load_policy(run, config, venv, "a.safetensors")
    (run.checkpoints / "cut.safetensors").write_bytes((run.checkpoints / "good.safetensors").read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"cut.safetensors' is damaged or of another network"):
        load_policy(run, config, venv, "cut.safetensors")
    save_file({"weight": torch.zeros(2)}, run.checkpoints / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other.safetensors' is damaged or of another network"):
        load_policy(run, config, venv, "other.safetensors")
    wider = make_config(algorithm_settings={"net_arch": (9,)})
    with pytest.raises(CheckpointError, match=r"good.safetensors' is damaged or of another network"):
        load_policy(run, wider, venv, "good.safetensors")


@pytest.mark.parametrize("content", ["", "[]", '{"step": 1}', '{"step": "x", "vlm_return": 0, "path": "a"}'])
def test_a_damaged_note_of_the_best(make_config: Make, tmp_path: Path, content: str) -> None:
    run = RunFolder.create(tmp_path, make_config(), overwrite=False)
    (run.checkpoints / "best.json").write_text(content)
    with pytest.raises(CheckpointError, match="has no best snapshot"):
        best_snapshot(run)


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_settings_reach_the_algorithm(make_config: Make, venvs: dict[str, RenderedVecEnv], algorithm: str) -> None:
    settings = make_config(algorithm, {"gamma": 0.5, "tau": 0.25, "learning_rate": 0.125, "net_arch": (3, 5)}).algorithm
    model: Any = build_algorithm(settings, venvs[ACTIONS[algorithm]], seed=0, device="cpu")
    assert (model.gamma, model.tau, model.lr_schedule(1.0)) == (0.5, 0.25, 0.125)
    assert (model.learning_starts, model.gradient_steps, model.batch_size) == (16, 2, 8)
    assert (model.train_freq.frequency, model.buffer_size) == (4, 200)
    widths = {tensor.shape[0] for name, tensor in model.policy.state_dict().items() if name.endswith("0.weight")}
    assert widths == {3}


def test_an_algorithm_for_other_actions_is_refused(make_config: Make, venvs: dict[str, RenderedVecEnv]) -> None:
    with pytest.raises(InvalidInputError, match=r"algorithm sac needs a Box action space, got Discrete\(2\)"):
        build_algorithm(make_config("sac").algorithm, venvs["discrete"], seed=0, device="cpu")
    with pytest.raises(InvalidInputError, match=r"algorithm dqn needs a Discrete action space, got Box\(-1.0, 1.0"):
        build_algorithm(make_config("dqn").algorithm, venvs["box"], seed=0, device="cpu")


def test_scaled_observations_lie_between_minus_one_and_one(make_config: Make, venvs: dict[str, RenderedVecEnv]) -> None:
    settings = make_config(algorithm_settings={"scale_observations": True}).algorithm
    model: Any = build_algorithm(settings, venvs["discrete"], seed=0, device="cpu")
    extractor = model.q_net.features_extractor
    # The observation is a position in [0, 1].
    assert extractor(torch.tensor([[0.0], [0.25], [1.0]])).flatten().tolist() == [-1.0, -0.5, 1.0]


def test_a_policy_file_holds_tensors_and_nothing_else(
    make_config: Make, tmp_path: Path, venvs: dict[str, RenderedVecEnv]
) -> None:
    model = build_algorithm(make_config().algorithm, venvs["discrete"], seed=0, device="cpu")
    save_policy(model, tmp_path / "policy.safetensors")
    tensors = load_file(tmp_path / "policy.safetensors")
    expected = model.policy.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert get_task("point-dqn").name == "point-dqn"
