"""A task that needs no model, and settings that finish in a second."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.task import register_task
from vlm_rewards.testing.counting import counting_task
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import point_task
from vlm_rewards.training.algorithms import DQNConfig, SACConfig
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset
from vlm_rewards.training.sweep_plan import SWEPT, PlannedRun, SweepPlan, SweepRequest, make_plan

ALGORITHMS: dict[str, dict[str, Any]] = {
    "dqn": {"target_update_interval": 8},
    "sac": {"ent_coef": "auto"},
}


@pytest.fixture(autouse=True)
def _small_tasks() -> None:
    for actions, suffix in (("discrete", "dqn"), ("box", "sac")):
        register_task(point_task(f"point-{suffix}", actions=actions))
        register_task(counting_task(f"counting-{suffix}", actions=actions))


@pytest.fixture(scope="module")
def venvs() -> Iterator[dict[str, RenderedVecEnv]]:
    """One simulator of `point_task` for each kind of actions."""
    kinds: Any = ("discrete", "box")
    made = {kind: RenderedVecEnv(point_task(actions=kind), 1, image_size=32, n_workers=1, slots=2) for kind in kinds}
    yield made
    for venv in made.values():
        venv.close()


@pytest.fixture
def make_config() -> Callable[..., TrainConfig]:
    """Settings of a tiny run; algorithm settings go into ``algorithm_settings``."""

    def make(algorithm: str = "dqn", algorithm_settings: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
        small: dict[str, Any] = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 4}
        small |= {"gradient_steps": 2, "net_arch": (8,)} | ALGORITHMS[algorithm] | (algorithm_settings or {})
        settings: dict[str, Any] = {
            "task": f"point-{algorithm}",
            "preset": "cpu",
            "algorithm": {"dqn": DQNConfig, "sac": SACConfig}[algorithm](**small),
            "goal": "a white wall",
            "baseline": "a wall",
            "steps": 96,
            "n_envs": 2,
            "snapshots": 3,
            "selection_episodes": 2,
            "chunk_frames": 5,
            "standardise": 10,
            "device": "cpu",
            "n_workers": 1,
        }
        return TrainConfig(**(settings | changes))

    return make


@pytest.fixture
def reward() -> VLMReward:
    """Means nothing, but is one."""
    return VLMReward(FakeEncoder(image_size=32), goal="a white wall", baseline="a wall")


Finish = Callable[..., None]


def configure(arguments: list[str]) -> TrainConfig:
    """``TASK --name=value ...`` to settings, by hand."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments[1:])
    config = preset(arguments[0], given.pop("preset", "cpu"), given.pop("algo", None))
    kinds = {**SWEPT, "steps": int}
    return dataclasses.replace(config, **{name: kinds[name](value) for name, value in given.items()})


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., SweepPlan]:
    def plan(task: str = "cartpole", **fields: Any) -> SweepPlan:
        request = SweepRequest(task=task, **fields)

        def read(settings: Any) -> tuple[TrainConfig, list[str]]:
            arguments = request.arguments(settings)
            return configure(arguments), arguments

        return make_plan(request.combinations(), tmp_path / "sweep", read)

    return plan


@pytest.fixture
def finish() -> Finish:
    def write(plan: SweepPlan, run: PlannedRun, success: float | None, true: float = 100.0, vlm: float = 50.0) -> None:
        """Leave the files of a complete run."""
        folder = plan.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(run.config.to_dict()))
        record = {
            "criterion": None if success is None else "it stands",
            "encoder": {"name": "bundled", "in_domain": True, "weights_sha256": "0123456789abcdef"},
            "commit": "abc",
            "seconds": {"training": 12.3},
            "evaluation": {"success_rate": success, "true_return": true, "vlm_return": vlm},
        }
        (folder / "record.json").write_text(json.dumps(record))

    return write
