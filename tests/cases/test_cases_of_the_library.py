"""What people do with the library and Stable-Baselines3 together, and what they expect of it."""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import vlm_rewards
from cases.command_line import CommandLine
from cases.envs import Dials, Line, Reach, Switches
from commands import record_of
from vlm_rewards import (
    LabelledReplayBuffer,
    LabelRewards,
    RenderedVecEnv,
    VLMReward,
    VLMRewardVectorWrapper,
    VLMRewardWrapper,
    get_task,
    load_encoder,
)
from vlm_rewards.errors import InvalidInputError, VLMRewardsError
from vlm_rewards.testing.counting import counting_label, counting_reward, counting_task
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import point_task

HORIZON = 8
SMALL: dict[str, Any] = {"train_freq": 10, "learning_starts": 50, "buffer_size": 2000}
SMALL["replay_buffer_class"] = LabelledReplayBuffer
CART = functools.partial(gym.make, "CartPole-v1", render_mode="rgb_array")


def constant(frames: np.ndarray) -> np.ndarray:
    """Half a point for every frame."""
    return np.full(len(frames), 0.5, np.float32)


@contextmanager
def simulators(task: Any, n_envs: int | None = 2, **options: Any) -> Iterator[RenderedVecEnv]:
    venv = RenderedVecEnv(task, n_envs, n_workers=1, **{"image_size": 32, **options})
    try:
        yield venv
    finally:
        venv.close()


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason="it learns from zeros without a word")
@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_a_learner_without_the_callback_is_stopped_before_its_first_update(algorithm: str) -> None:
    import stable_baselines3

    with simulators(point_task()) as venv:
        model = getattr(stable_baselines3, algorithm)("MlpPolicy", venv, n_steps=32)
        with pytest.raises(VLMRewardsError, match="LabelRewards"):
            model.learn(200)
    assert model._n_updates == 0


@pytest.mark.xfail(strict=True, raises=InvalidInputError, reason="only Box and Discrete actions are taken")
@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
@pytest.mark.parametrize("kind", [Dials, Switches])
def test_actions_of_several_parts_are_learned(kind: type[Line], algorithm: str) -> None:
    import stable_baselines3

    limited = functools.partial(gym.wrappers.TimeLimit, kind("rgb_array"), HORIZON)
    with simulators([limited, limited], None) as venv:
        labels = LabelRewards(constant)
        model = getattr(stable_baselines3, algorithm)("MlpPolicy", venv, n_steps=32).learn(128, callback=labels)
    assert {episode.true_return for episode in labels.episodes} == {HORIZON}  # each action was one of its space
    assert set(model.rollout_buffer.rewards.ravel()) == {0.5}


def by_callback(model: Any, test: Any, folder: Path) -> np.ndarray:
    from stable_baselines3.common.callbacks import EvalCallback

    look = EvalCallback(test, eval_freq=100, n_eval_episodes=2, log_path=str(folder), verbose=0)
    model.learn(400, callback=[LabelRewards(constant), look])
    return np.load(folder / "evaluations.npz")["results"]


def by_function(model: Any, test: Any, folder: Path) -> np.ndarray:
    from stable_baselines3.common.evaluation import evaluate_policy

    model.learn(100, callback=LabelRewards(constant))
    return np.array(evaluate_policy(model, test, n_eval_episodes=2, return_episode_rewards=True)[0])


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped with a ``Monitor``:UserWarning")
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="returns of 0 make the untrained policy the best")
@pytest.mark.parametrize("evaluate", [by_callback, by_function])
def test_evaluation_by_stable_baselines_sees_the_reward(evaluate: Callable[..., np.ndarray], tmp_path: Path) -> None:
    from stable_baselines3 import DQN

    task = point_task(horizon=HORIZON)
    with simulators(task) as venv, simulators(task, 1) as test:
        try:
            returns = evaluate(DQN("MlpPolicy", venv, **SMALL), test, tmp_path)
        except VLMRewardsError as refusal:
            assert re.search(r"VLMReward\w*Wrapper|vlm_rewards\.|evaluate", str(refusal))  # noqa: PT017 - what to use
        else:
            np.testing.assert_allclose(returns, 0.5 * HORIZON)


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason="the environment's own reward is passed on")
def test_relabelled_goals_are_refused() -> None:
    from stable_baselines3 import SAC, HerReplayBuffer

    def learn() -> None:
        env = VLMRewardWrapper(gym.wrappers.TimeLimit(Reach("rgb_array"), HORIZON), constant, frame_size=40)
        buffer: dict[str, Any] = {"replay_buffer_class": HerReplayBuffer, "buffer_size": 500}
        SAC("MultiInputPolicy", env, learning_starts=50, **buffer).learn(60)

    with pytest.raises(VLMRewardsError, match=r"HerReplayBuffer|compute_reward|relabel"):
        learn()


@pytest.mark.xfail(strict=True, raises=InvalidInputError, reason="rows that had no reward yet are in the way")
def test_a_checkpoint_of_stable_baselines_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import CheckpointCallback

    with simulators(counting_task()) as venv:
        save = CheckpointCallback(150, str(tmp_path), save_replay_buffer=True)
        DQN("MlpPolicy", venv, **SMALL).learn(600, callback=[LabelRewards(counting_reward), save])
    with simulators(counting_task(), seed=1) as venv, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = DQN.load(tmp_path / "rl_model_300_steps", env=venv)
        model.load_replay_buffer(tmp_path / "rl_model_replay_buffer_300_steps.pkl")
        model.learn(200, callback=LabelRewards(counting_reward), reset_num_timesteps=False)
    assert model.num_timesteps == 500
    buffer: Any = model.replay_buffer
    lacking = 500 - 2 * buffer.size()
    said = capsys.readouterr().out + " ".join(str(one.message) for one in caught)
    assert not lacking or re.search(rf"\b{lacking}\b", said), "rows were left out and not counted"
    rows = buffer.sample(512)
    expected = counting_label(rows.next_observations.numpy())
    np.testing.assert_allclose(rows.rewards.numpy().ravel(), expected, atol=1e-7)


def in_wrapper(reward: VLMReward) -> None:
    env = VLMRewardWrapper(CART(), reward)
    env.reset(seed=0)
    env.step(0)
    env.close()


def in_vector_wrapper(reward: VLMReward) -> None:
    env = VLMRewardVectorWrapper(gym.vector.SyncVectorEnv([CART, CART]), reward)
    env.reset(seed=0)
    env.step(np.array([0, 1]))
    env.close()


def in_training(reward: VLMReward, task: Any = (CART,)) -> None:
    from stable_baselines3 import DQN

    with simulators(task, None if task == (CART,) else 1, image_size=reward.encoder.image_size) as venv:
        DQN("MlpPolicy", venv, **SMALL).learn(40, callback=LabelRewards(reward))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="foreign frames are scored without a word")
@pytest.mark.parametrize("use", [in_wrapper, in_vector_wrapper, in_training])
def test_the_bundled_encoder_says_that_a_drawing_is_foreign(
    use: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Gymnasium's own drawing of CartPole is not the one that the encoder was trained on; that of our task is."""
    task = get_task("cartpole")
    reward = VLMReward(load_encoder("bundled", device="cpu"), goal=task.goal, baseline=task.baseline, alpha=0.5)
    in_training(reward, task)  # warnings are errors
    assert "".join(capfd.readouterr()) == ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use(reward)
    said = "".join(capfd.readouterr()) + " ".join(str(one.message) for one in caught)
    assert re.search(r"trained on|drawing", said), f"it said: {said!r}"


class Mean(FakeEncoder):
    """An encoder of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "mean-colour"


@pytest.mark.slow
def test_the_record_names_an_encoder_of_ones_own(cli: CommandLine, tmp_path: Path) -> None:
    run = tmp_path / "run"
    vlm_rewards.train(task="cartpole", encoder=Mean(), steps=2500, run_dir=run, seed=0)
    assert record_of(run)["encoder"]["name"] == "mean-colour"
    assert "bundled" not in json.dumps(record_of(run))
    ended = cli("evaluate", run, "--episodes", "2")
    if ended.code == 0:
        assert "mean-colour" in ended.printed
    else:
        ended.check_refused("mean-colour")
