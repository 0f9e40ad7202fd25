"""What a run will take, known before it starts, and held against what runs, buffers and models really took."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer

from every_algorithm import CASES, COMMON, CountingStateReward, judge, tiny, train, with_slow_ones
from vlm_rewards.collection.replay_buffer import LabelledReplayBuffer, bytes_of, replay_row, rollout_row
from vlm_rewards.collection.vec_env import RenderedVecEnv, SimulatorProbe, probe_simulator
from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.evaluation.rollouts import PolicyEvaluator
from vlm_rewards.files import read_state
from vlm_rewards.rewards.config import RewardConfig
from vlm_rewards.rewards.registry import register_reward
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.point import brightness_reward, point_task
from vlm_rewards.training import plan as plan_module
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.plan import learner_size, plan_learner, plan_training
from vlm_rewards.training.presets import PAPER_TASKS, compare_with_paper, preset, task_of
from vlm_rewards.training.run_folder import find_snapshot
from vlm_rewards.training.runner import open_simulators

Make = Callable[..., TrainConfig]
UNBOUNDED = gym.spaces.Box(-np.inf, np.inf, (348,), np.float64)
TORQUES = gym.spaces.Box(-0.4, 0.4, (17,), np.float32)
LINE, PUSH, CHOICE = gym.spaces.Box(0.0, 1.0, (1,)), gym.spaces.Box(-1.0, 1.0, (1,)), gym.spaces.Discrete(2)


def probe(task: Any, size: int) -> SimulatorProbe:
    """In place of a worker process: the spaces of `point_task`, whose simulators start in no time, too."""
    simulator = task.simulator(size)
    return SimulatorProbe(simulator.observation_space, simulator.action_space, (size * task.cameras, size, 3), 2**20)


def plan(config: TrainConfig, **changes: Any) -> dict[str, Any]:
    return plan_training(config, dataclasses.replace(task_of(config), **changes), probe)


def leaves(tree: Any) -> Iterator[np.ndarray]:
    for key, part in tree.items() if isinstance(tree, dict) else ():
        if isinstance(part, np.ndarray) and key != "step":
            yield part
        yield from leaves(part)


class Noting(CountingStateReward):
    """Notes how many frames it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.given.append(len(frames))
        return super().__call__(frames)


@pytest.mark.parametrize("case", COMMON)
def test_a_run_does_what_its_plan_says(make_config: Make, tmp_path: Path, case: str) -> None:
    actions = CASES[case][1]
    suffix = {"discrete": "dqn", "box": "sac"}[actions]
    config = make_config(
        suffix, task=f"counting-{suffix}", n_envs=3, steps=100, chunk_frames=7, standardise=None, snapshots=4
    )
    config = dataclasses.replace(config, algorithm=tiny(case))
    planned = plan(config)
    reward = Noting()
    run = train(config, tmp_path, reward, judge, checkpoint_seconds=0).run
    assert [int(path.stem[5:]) for path in sorted(run.checkpoints.glob("*.safetensors"))] == planned["snapshots"]
    assert find_snapshot(run, f"step_{planned['snapshots'][-1]:010d}.safetensors")
    state, updates = read_state(run.state), planned["updates"]
    size = sum(array.nbytes for array in leaves(state["learner"]["parameters"]))
    assert size == planned["memory"]["learner"]["nbytes"]
    assert state["steps"] == updates["rounds"] * updates["vector_steps_in_a_round"] * 3
    assert state["steps"] == planned["frames"]["training"] == sum(reward.given)
    with run.metrics.open(newline="") as file:
        done = [int(row["updates"]) for row in csv.DictReader(file)]
    # The last row is written before the updates of the last round. PPO counts epochs, not minibatches.
    each = updates["updates_in_a_round"] if case != "ppo, continuous" else 2
    assert max(done) == updates["updates"] // updates["updates_in_a_round"] * each - each


@pytest.mark.parametrize("episodes", [1, 5, 37])
def test_an_evaluation_does_what_its_plan_says(make_config: Make, episodes: int) -> None:
    config = make_config(evaluation_episodes=episodes, selection_episodes=episodes)
    reward, planned = Noting(), plan(config)
    task = point_task(horizon=8)
    simulators = min(episodes, 16)
    with PolicyEvaluator(task, reward, frame_size=32, n_envs=simulators, n_workers=1) as evaluator:
        evaluator.run(lambda observations: np.zeros(len(observations), dtype=np.int64), episodes=episodes, seed=0)
        assert planned["memory"]["frames"]["selection_nbytes"] == evaluator.venv.ring.nbytes * (96 // 32) ** 2
    assert sum(reward.given) == planned["frames"]["evaluation"]
    assert planned["frames"]["selection"] == planned["frames"]["evaluation"] * len(planned["snapshots"])


@pytest.mark.parametrize("shaping", [False, True])
def test_frames_in_flight_are_those_of_the_runs_own_simulators(make_config: Make, shaping: bool) -> None:
    from vlm_rewards.collection.shaping import PotentialShaping

    config = make_config(n_envs=3, chunk_frames=25, reward=RewardConfig(shaping=shaping))
    planned = plan(config)
    frames = planned["memory"]["frames"]
    reward: Any = Noting()
    reward.encoder.image_size = reward.frame_size = planned["shapes"]["frame_size"]
    shaped: Any = PotentialShaping(reward, gamma=0.9) if shaping else reward
    with open_simulators(config, task_of(config), shaped) as venv:
        assert frames["shape"] == list(venv.ring.shape)
        assert frames["nbytes"] == venv.ring.frames.nbytes
    # 9 vector steps of 3 frames a chunk, twice that and one more: 19 slots.
    assert frames["nbytes"] == 19 * 3 * (2 if shaping else 1) * 96 * 96 * 3
    # 96 steps are 8 rounds of 4 vector steps of 3 simulators, and episodes of 8 steps begin 1 + 32 / 8 times in each.
    assert planned["frames"]["after_resets"] == (15 if shaping else 0)


def test_each_camera_draws_a_frame_of_its_own(make_config: Make) -> None:
    one, two = plan(make_config()), plan(make_config(), cameras=2)
    assert two["frames"]["total"] == 2 * one["frames"]["total"]
    for size in ("nbytes", "selection_nbytes"):
        assert two["memory"]["frames"][size] == 2 * one["memory"]["frames"][size]


@pytest.mark.parametrize(
    "observation", [UNBOUNDED, LINE, gym.spaces.Discrete(5), gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)]
)
@pytest.mark.parametrize("action", [TORQUES, gym.spaces.Box(-1.0, 1.0, (3,), np.float64), CHOICE])
def test_rows_are_what_the_buffers_keep(observation: gym.Space[Any], action: gym.Space[Any]) -> None:
    replay = LabelledReplayBuffer(10, observation, action, device="cpu", n_envs=3)
    rollout = RolloutBuffer(3, observation, action, device="cpu", n_envs=3)
    for buffer, row in ((replay, replay_row(observation, action)), (rollout, rollout_row(observation, action))):
        arrays = {name: array for name, array in vars(buffer).items() if isinstance(array, np.ndarray)}
        assert {name: array.dtype for name, array in arrays.items()} == {name: kind.base for name, kind in row.items()}
        assert {name: array[0, 0].nbytes for name, array in arrays.items()} == {
            name: kind.itemsize for name, kind in row.items()
        }
        assert sum(array.nbytes for array in arrays.values()) == 9 * bytes_of(row)


def test_replay_is_what_the_runs_own_buffer_takes(make_config: Make) -> None:
    config = make_config("sac", n_envs=3, algorithm_settings={"buffer_size": 200})
    stored = plan(config)["memory"]["replay"]
    venv = RenderedVecEnv(task_of(config), 3, image_size=32, n_workers=1)
    model: Any = build_algorithm(config.algorithm, venv, seed=0, device="cpu")
    venv.close()
    arrays = [array for array in vars(model.replay_buffer).values() if isinstance(array, np.ndarray)]
    assert stored["nbytes"] == sum(array.nbytes for array in arrays)
    # 198 rows, 66 of each simulator: two positions and a push of 4 bytes, reward, end, time limit, ticket, whether due.
    assert (stored["rows"], stored["row_bytes"]) == (198, 4 + 4 + 4 + 4 + 4 + 4 + 8 + 1)


def test_the_papers_learner_by_hand() -> None:
    # Actor: 348 x 256 + 256 x 256 + 2 x 256 x 17 weights, 2 x 256 + 2 x 17 biases, 163,874 in all. A critic:
    # 365 x 256 + 256 x 256 + 256 weights, 2 x 256 + 1 biases, 159,745. Of 4 bytes each; beside them two moments of
    # actor, critics and the entropy coefficient, which is no network.
    size = plan_learner(preset("kneeling", "paper").algorithm, UNBOUNDED, TORQUES)
    assert size.networks == {"actor": 163_874, "critic": 2 * 159_745, "critic_target": 2 * 159_745}
    assert size.parameters == 802_854
    assert size.nbytes == 4 * 802_854 + 4 + 8 * (163_874 + 319_490 + 1) == 7_078_340


@pytest.mark.parametrize(
    ("kind", "env_id", "optimisers"),
    [
        (DQN, "CartPole-v1", ["policy.optimizer"]),
        (SAC, "Pendulum-v1", ["actor.optimizer", "critic.optimizer", "ent_coef_optimizer"]),
        (TD3, "Pendulum-v1", ["actor.optimizer", "critic.optimizer"]),
        (PPO, "CartPole-v1", ["policy.optimizer"]),
    ],
)
def test_a_learner_is_as_large_as_one_that_has_learned(
    kind: type[BaseAlgorithm], env_id: str, optimisers: list[str]
) -> None:
    settings = {"n_steps": 16, "batch_size": 8} if kind is PPO else {"learning_starts": 4, "batch_size": 4}
    model: Any = kind("MlpPolicy", env_id, device="cpu", policy_kwargs={"net_arch": [6, 5]}, **settings)  # type: ignore[arg-type]
    size = learner_size(model)
    model.learn(40)
    assert learner_size(model) == size
    held = sum(tensor.nbytes for tensor in model.policy.state_dict().values())
    held += model.log_ent_coef.nbytes if kind is SAC else 0
    for name in optimisers:
        owner, _, attribute = name.rpartition(".")
        optimiser = getattr(getattr(model, owner) if owner else model, attribute)
        assert optimiser.state
        held += sum(one["exp_avg"].nbytes + one["exp_avg_sq"].nbytes for one in optimiser.state.values())
    assert size.nbytes == held
    assert size.parameters == sum(tensor.numel() for tensor in model.policy.state_dict().values())


@pytest.mark.parametrize("case", with_slow_ones(CASES))
def test_planned_learners_are_those_that_are_built(case: str, venvs: dict[str, RenderedVecEnv]) -> None:
    pytest.importorskip("sb3_contrib")
    venv = venvs[CASES[case][1]]
    model = build_algorithm(tiny(case), venv, seed=3, device="cpu")
    assert plan_learner(tiny(case), venv.observation_space, venv.action_space) == learner_size(model)


@pytest.mark.parametrize("task", sorted(PAPER_TASKS))
def test_the_paper_preset_is_the_papers_but_for_the_distance_of_snapshots(task: str) -> None:
    config = preset(task, "paper")
    if config.humanoid is not None:
        config = dataclasses.replace(config, encoder="ViT-bigG-14/laion2b_s39b_b160k")
    rows = compare_with_paper(config, get_task(task).horizon)
    differ = {one["name"]: (one["paper"], one["here"]) for one in rows if not one["same"]}
    # A run has a number of snapshots, not a distance: 46 of 3 M steps and 78 of 10 M are as near as it gets.
    expected = {"cartpole": (64_000, 65_217), "kneeling": (128_000, 128_205)}
    distance = expected.get("kneeling" if config.humanoid is not None else task)
    assert differ == ({} if distance is None else {"snapshot_every": distance})
    values = {one["name"]: one["here"] for one in rows}
    assert values["horizon"] == (100 if config.humanoid is not None else 200)
    assert {"steps", "learning_starts", "train_freq", "gradient_steps", "gamma", "tau", "batch_size"} <= set(values)


def test_changes_of_the_paper_preset_are_told() -> None:
    changed = dataclasses.replace(preset("lotus", "paper"), n_envs=8, goal="a robot")
    differ = {one["name"] for one in compare_with_paper(changed, 50) if not one["same"]}
    assert differ == {"goal", "encoder", "horizon", "n_envs", "snapshot_every"}
    assert compare_with_paper(dataclasses.replace(changed, task="mine"), 50) == []


def test_what_it_does_not_know_it_says(make_config: Make) -> None:
    planned = json.loads(json.dumps(plan(make_config(encoder="hf-hub:org/name"))))
    assert planned["encoder"]["facts"] is planned["memory"]["frames"] is None
    assert planned["machine"]["needed"] is planned["machine"]["fits"] is planned["shapes"]["frame_size"] is None
    assert planned["encoder"]["unknown"] == "what it is stands in its repository alone"
    assert planned["shapes"]["frame"] == [224, 224, 3]
    assert planned["memory"]["replay"]["nbytes"] > 0


def test_a_form_without_an_encoder_is_planned_without(make_config: Make) -> None:
    register_reward("bright", frame_size=40)(brightness_reward)
    changes: dict[str, Any] = {"reward": RewardConfig("bright"), "watch_goal": "a wall", "watch_baseline": "a box"}
    planned = plan(make_config(encoder="hf-hub:org/name", **changes))
    assert planned["encoder"] is planned["held_out"] is planned["shapes"]["embedding"] is None
    assert planned["shapes"]["frame"] == [40, 40, 3]
    assert planned["machine"]["gpu_needed"] == planned["memory"]["learner"]["nbytes"]
    assert planned["machine"]["fits"] is True


def test_a_held_out_encoder_is_counted(make_config: Make) -> None:
    one = plan(make_config())
    both = plan(make_config(watch="held-out", watch_encoder="RN50/openai"))
    assert both["held_out"]["name"] == "RN50/openai"
    assert both["frames"]["training"] == 2 * one["frames"]["training"]
    assert both["frames"]["selection"] == one["frames"]["selection"]
    assert both["machine"]["needed"] - one["machine"]["needed"] == 4 * 102_007_137  # RN50 in fp32


def test_too_little_memory_is_no_reason_not_to_plan(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    large = plan(make_config(algorithm_settings={"buffer_size": 10**13}))
    (said,) = large["refusals"]
    assert said.startswith("buffer_size asks for 10,000,000,000,000 transitions of 37 bytes")
    assert large["machine"]["fits"] is False
    (said,) = plan(make_config(n_envs=100_000, chunk_frames=10**9))["refusals"]
    assert said.startswith("the frames in flight need ")
    assert plan(make_config())["machine"]["fits"] is True
    monkeypatch.setattr(plan_module.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10**6})())
    assert plan(make_config())["machine"]["fits"] is False


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def choose(free: int) -> None:
        monkeypatch.setattr(plan_module, "resolve_device", lambda device: torch.device("cuda"))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2**40))

    return choose


def test_weights_pass_through_main_memory_on_their_way_to_a_gpu(
    make_config: Make, on_a_gpu: Callable[[int], None]
) -> None:
    on_a_gpu(2**40)
    planned = plan(make_config(encoder="ViT-bigG-14/laion2b_s39b_b160k"))
    parameters = planned["encoder"]["facts"]["parameters"]
    assert planned["machine"]["gpu_needed"] == 2 * parameters + planned["memory"]["learner"]["nbytes"]
    assert planned["machine"]["needed"] == 4 * parameters == 10_158_268_420


def test_a_gpu_holds_encoder_and_learner(make_config: Make, on_a_gpu: Callable[[int], None]) -> None:
    long = {"buffer_size": 2_000_000}  # takes more than loading the encoder
    here = plan(make_config(algorithm_settings=long))["machine"]
    on_a_gpu(2**30)
    planned = plan(make_config(algorithm_settings=long, dtype="fp16"))
    encoder, there, learner = planned["encoder"], planned["machine"], planned["memory"]["learner"]["nbytes"]
    assert encoder["precision"]["cpu"] is None
    assert there["gpu_needed"] == 2 * encoder["facts"]["parameters"] + learner
    assert there["needed"] == here["needed"] - 4 * encoder["facts"]["parameters"] - learner
    assert there["fits"]
    on_a_gpu(10**6)
    assert plan(make_config())["machine"]["fits"] is False


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": "bundle"}, UnknownNameError, "unknown encoder 'bundle'"),
        ({"task": "point-sac"}, InvalidInputError, "algorithm dqn needs a Discrete action space"),
        ({"dtype": "fp16"}, InvalidInputError, "dtype must be auto, fp32 or bf16 on the CPU"),
        ({"goal": "white " * 60}, InvalidInputError, "must fit the model's context of 48 tokens"),
        (
            {"reward": RewardConfig("goal-pictures", goal_pictures=("no.png",))},
            InvalidInputError,
            "there is no 'no.png'",
        ),
    ],
)
def test_what_training_refuses(
    make_config: Make, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan(make_config(**changes))


def test_a_simulator_is_really_tried(make_config: Make) -> None:
    planned = plan_training(make_config(), point_task())
    tried = probe_simulator(point_task(), 96)
    assert tuple(planned["shapes"]["frame"]) == tried.frame_shape == (96, 96, 3)
    assert planned["shapes"]["observation"]["space"] == repr(tried.observation_space)
