"""Settings survive a file, are checked before anything starts, and say how much learning they amount to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.tasks.builtin import GOALS, config_of, configured
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task, list_tasks
from vlm_rewards.training.algorithms import DQNConfig, SACConfig, SBXSACConfig
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.presets import preset, start_settings, task_of

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_settings_survive_json(make_config: Make, algorithm: str) -> None:
    config = make_config(algorithm, {"net_arch": (3, 5)}, alpha=0.25, seed=7, standardise=None, n_workers=None)
    text = json.dumps(config.to_dict())
    assert TrainConfig.from_dict(json.loads(text)) == config
    assert json.loads(text)["algorithm"]["name"] == algorithm == config.algorithm_name


@pytest.mark.parametrize("task", list_tasks())
@pytest.mark.parametrize("name", ["cpu", "paper"])
def test_presets_survive_json(task: str, name: str) -> None:
    config = preset(task, name)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (config.task, config.preset) == (task, name)
    assert (config.goal, config.baseline) == (get_task(task).goal, get_task(task).baseline)
    assert not update_budget(config).warning


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be an int of at least 1, got 0"),
        ({"n_envs": -1}, "n_envs must be an int of at least 1, got -1"),
        ({"evaluation_episodes": True}, "evaluation_episodes must be an int of at least 1, got True"),
        ({"standardise": 0}, "standardise must be an int of at least 1, got 0"),
        ({"n_workers": 0}, "n_workers must be an int of at least 1, got 0"),
        ({"alpha": 1.5}, "alpha must be a number from 0 to 1, got 1.5"),
        ({"alpha": float("nan")}, "alpha must be a number from 0 to 1, got nan"),
        ({"alpha": True}, "alpha must be a number from 0 to 1, got True"),
        ({"seed": -1}, "seed must be an int from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed must be an int from 0 to 4294967295, got 4294967296"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps, got 'tpu'"),
        ({"dtype": "int8"}, "dtype must be one of auto, fp32, bf16, fp16, got 'int8'"),
        ({"steps": 16}, r"learning_starts must be less than steps \(16\), got 16: no update would ever be made"),
        ({"standardise": 17}, r"standardise must be at most learning_starts \(16\), got 17: learning would start"),
    ],
)
def test_refuses_settings_that_cannot_work(make_config: Make, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make_config(**change)


@pytest.mark.parametrize(
    ("algorithm", "change", "message"),
    [
        ("dqn", {"buffer_size": 0}, "buffer_size must be an int of at least 1, got 0"),
        ("dqn", {"gradient_steps": -2}, "gradient_steps must be an int of at least 1, or -1, got -2"),
        ("dqn", {"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ("dqn", {"learning_rate": float("inf")}, "learning_rate must be positive, got inf"),
        ("dqn", {"final_learning_rate": -1e-9}, "final_learning_rate must be a number of at least 0, got -1e-09"),
        ("dqn", {"gamma": 1.01}, "gamma must be a number from 0 to 1, got 1.01"),
        ("sac", {"tau": -0.1}, "tau must be a number from 0 to 1, got -0.1"),
        ("sac", {"net_arch": ()}, r"net_arch must be a list of at least one positive width, got \(\)"),
        ("sac", {"net_arch": (8, 0)}, r"net_arch must be a list of at least one positive width, got \(8, 0\)"),
        ("sac", {"ent_coef": "much"}, 'ent_coef must be "auto", "auto_X" or X with a positive number X, got \'much\''),
        ("sac", {"ent_coef": "-1"}, "ent_coef must be .* got '-1'"),
        ("sac", {"ent_coef": "auto_0"}, "ent_coef must be .* got 'auto_0'"),
        ("sac", {"ent_coef": "nan"}, "ent_coef must be .* got 'nan'"),
    ],
)
def test_refuses_algorithm_settings_that_cannot_work(
    make_config: Make, algorithm: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make_config(algorithm, change)


@pytest.mark.parametrize("value", ["auto", "auto_0.1", "0.1", "1e-3"])
def test_entropy_coefficients_that_are_right(make_config: Make, value: str) -> None:
    assert make_config("sac", {"ent_coef": value}).algorithm.ent_coef == value  # type: ignore[union-attr]


def test_refuses_a_file_of_another_version(make_config: Make) -> None:
    values = make_config().to_dict()
    with pytest.raises(InvalidInputError, match=r"settings do not fit this version: .*'colour'"):
        TrainConfig.from_dict(values | {"colour": 1})
    with pytest.raises(InvalidInputError, match=r"settings do not fit this version: .*'goal'"):
        TrainConfig.from_dict({key: value for key, value in values.items() if key != "goal"})
    with pytest.raises(InvalidInputError, match=r"settings do not fit this version: .*'colour'"):
        TrainConfig.from_dict(values | {"algorithm": values["algorithm"] | {"colour": 1}})
    with pytest.raises(UnknownNameError, match=r"unknown algorithm 'pbo'. Did you mean 'ppo'"):
        TrainConfig.from_dict(values | {"algorithm": {"name": "pbo"}})


def test_update_budget_by_hand(make_config: Make) -> None:
    # Rounds of 4 vector steps of 2 simulators are 8 transitions. 96 steps are 12 rounds; the first two end at 8
    # and 16, not beyond learning_starts = 16. So 10 rounds of 2 updates of 8 rows: 160 / 96 uses a transition.
    budget = update_budget(make_config())
    assert budget.updates == 20
    assert budget.replay_ratio == pytest.approx(160 / 96)


def test_update_budget_warns_when_nothing_can_be_learned(make_config: Make) -> None:
    few = update_budget(make_config())
    assert few.warning == (
        "96 steps make only 20 updates, and each transition is used 1.7 times: "
        "that is too few to learn from. Raise steps or gradient_steps, or lower train_freq or n_envs."
    )
    # 3,000 rounds of 8 transitions make updates enough, but of one row each: a transition is used 1/8 times.
    thin = {"gradient_steps": 1, "batch_size": 1}
    assert (
        "each transition is used 0.12 times"
        in update_budget(make_config(steps=24_000, algorithm_settings=thin)).warning
    )
    assert update_budget(make_config(steps=24_000)).warning == ""


@given(
    steps=st.integers(20, 500),
    starts=st.integers(1, 19),
    train_freq=st.integers(1, 9),
    n_envs=st.integers(1, 7),
    gradient_steps=st.sampled_from([-1, 1, 3]),
)
def test_update_budget_is_what_the_algorithms_loop_does(
    steps: int, starts: int, train_freq: int, n_envs: int, gradient_steps: int
) -> None:
    algorithm = DQNConfig(learning_starts=starts, train_freq=train_freq, gradient_steps=gradient_steps)
    config = TrainConfig("point", "cpu", algorithm, "a goal", "a thing", steps=steps, n_envs=n_envs)
    taken = updates = 0
    while taken < steps:  # as Stable-Baselines3's OffPolicyAlgorithm.learn
        taken += train_freq * n_envs
        if taken > starts:
            updates += train_freq * n_envs if gradient_steps == -1 else gradient_steps
    assert update_budget(config).updates == updates


def test_the_papers_settings_for_cartpole() -> None:
    config = preset("cartpole", "paper")
    assert config.steps == 3_000_000
    assert config.algorithm == DQNConfig(
        learning_rate=2.3e-3,
        learning_starts=75_000,
        buffer_size=1_000_000,  # from here on Stable-Baselines3's defaults, where the paper names none
        batch_size=32,
        gamma=0.99,
        tau=1.0,
        target_update_interval=10_000,
        train_freq=200,
        gradient_steps=200,
        exploration_fraction=0.1,
        exploration_final_eps=0.05,
        net_arch=(256, 256),
    )
    assert config.standardise is None
    assert round(config.steps / config.snapshots, -3) == 65_000  # "every 64,000", at equal distances to the end


@pytest.mark.parametrize("task", ["mountaincar", "mountaincar-textured", *GOALS])
def test_the_papers_settings_for_sac(task: str) -> None:
    config, humanoid = preset(task, "paper"), task in GOALS
    assert (config.steps, config.n_envs, config.alpha) == ((10_000_000, 32, 0.5) if humanoid else (3_000_000, 1, 0.5))
    assert config.chunk_frames == (3_200 if humanoid else 256)
    assert config.standardise is None
    assert config.humanoid == (HumanoidConfig("realistic", "fixed", "full") if humanoid else None)
    learning: tuple[dict[str, Any], dict[str, Any]] = (
        {"learning_rate": 1e-4, "gamma": 0.9999, "tau": 0.01, "ent_coef": "0.1", "net_arch": (64, 64)},
        {"learning_rate": 6e-4, "gamma": 0.95, "tau": 0.005, "ent_coef": "auto", "net_arch": (256, 256)},
    )
    rounds: tuple[dict[str, Any], dict[str, Any]] = (
        {"learning_starts": 100, "batch_size": 256, "train_freq": 1, "gradient_steps": 1},
        {"learning_starts": 50_000, "batch_size": 512, "train_freq": 100, "gradient_steps": 100},
    )
    assert config.algorithm == SACConfig(buffer_size=1_000_000, **learning[humanoid], **rounds[humanoid])


class TestHumanoid:
    OTHER = HumanoidConfig("original", "original", "full", full_drawing=True)

    def test_its_settings_survive_json_and_reach_the_task(self) -> None:
        config = replace(preset("kneeling"), humanoid=self.OTHER)
        restored = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert restored == config
        assert config_of(task_of(restored)) == self.OTHER
        assert preset("kneeling").humanoid == HumanoidConfig(observations="compact")

    def test_a_pose_of_ones_own_starts_from_the_poses_settings_and_keeps_its_drawing(self) -> None:
        own = replace(configured(get_task("kneeling"), self.OTHER), name="bowing")
        start, kneeling = preset(own), preset("kneeling")
        assert start.humanoid == self.OTHER
        assert (start.algorithm, start.steps, start.label_every) == (kneeling.algorithm, 300_000, 4)

    def test_records_from_before_it_load(self) -> None:
        old = preset("cartpole").to_dict()
        assert old.pop("humanoid") is None
        assert TrainConfig.from_dict(old) == preset("cartpole")

    @pytest.mark.slow
    def test_a_task_in_a_file_has_them_too(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.py"
        path.write_text(
            "import dataclasses\n"
            "from vlm_rewards import get_task, register_task\n"
            "register_task(dataclasses.replace(get_task('kneeling'), name='bowing', goal='a humanoid robot bowing'))\n"
        )
        start = start_settings(str(path))
        assert start.humanoid == HumanoidConfig()
        task = task_of(replace(start, humanoid=self.OTHER))
        assert (task.goal, config_of(task)) == ("a humanoid robot bowing", self.OTHER)

    def test_other_tasks_refuse_them(self) -> None:
        with pytest.raises(InvalidInputError, match="humanoid must be left out: the simulator of task 'cartpole'"):
            task_of(replace(preset("cartpole"), humanoid=self.OTHER))

    @pytest.mark.parametrize(
        ("humanoid", "message"),
        [
            (3, "humanoid must be an object with settings, got 3"),
            ({"skin": "red"}, r"the humanoid's settings do not fit this version: unknown 'skin'"),
        ],
    )
    def test_settings_that_make_no_sense_are_refused(self, humanoid: Any, message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            TrainConfig.from_dict({**preset("kneeling").to_dict(), "humanoid": humanoid})


def test_every_task_of_the_package_has_settings_for_a_cpu() -> None:
    for task in list_tasks():
        config = preset(task)
        kind = type(get_task(task).simulator(32).action_space).__name__
        box = SBXSACConfig if task in GOALS else SACConfig
        assert {"Discrete": DQNConfig, "Box": box}[kind] is type(config.algorithm)
        assert update_budget(config).warning == ""


def test_presets_that_do_not_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown preset 'papers'. Did you mean 'paper'"):
        preset("cartpole", "papers")
    with pytest.raises(UnknownNameError, match=r"unknown task 'cartpol'. Did you mean 'cartpole'"):
        preset("cartpol")
    with pytest.raises(InvalidInputError, match="preset must be 'cpu' for task 'point-dqn': the paper does not have"):
        preset("point-dqn", "paper")
