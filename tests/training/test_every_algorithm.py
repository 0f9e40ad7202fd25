"""Every algorithm gets the reward of its own states, before and after a run was stopped, and goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from every_algorithm import CASES, CountingStateReward, counting_config, judge, train, with_slow_ones
from vlm_rewards.errors import LabellerError
from vlm_rewards.files import read_state
from vlm_rewards.testing.counting import counting_label
from vlm_rewards.testing.fakes import state_differences

COUNT = 2.0**-24  # what one step is worth to `counting_reward`


def check_replay(state: dict[str, Any], *, least: int) -> None:
    rows = state["replay"]["rows"]
    assert rows["rewards"].size >= least
    np.testing.assert_array_equal(rows["rewards"], counting_label(rows["next_observations"]))
    np.testing.assert_array_equal(
        counting_label(rows["next_observations"]) - counting_label(rows["observations"]), np.float32(COUNT)
    )


def check_rollout(model: Any) -> int:
    """Rewards are those of the states after; where the time limit struck, the value of that state is added."""
    buffer = model.rollout_buffer
    own = counting_label(buffer.observations).astype(np.float64) + COUNT
    bootstrapped = np.abs(buffer.rewards - own) > COUNT / 2
    after = buffer.observations[bootstrapped].copy()
    after[:, 1] += 1 / 4096
    after[:, 2] = buffer.actions[bootstrapped][:, 0]
    if isinstance(model.action_space, gym.spaces.Box):
        after[:, 2] = np.clip(after[:, 2], -1, 1)  # as Stable-Baselines3 sends them to the simulator
    with torch.no_grad():
        values = model.policy.predict_values(torch.as_tensor(after)).numpy()[:, 0]
    np.testing.assert_allclose(buffer.rewards[bootstrapped] - own[bootstrapped], model.gamma * values, atol=1e-5)
    # An episode's first state follows every bootstrapped one.
    follows = np.concatenate([buffer.episode_starts[1:], model._last_episode_starts[None]])
    assert follows[bootstrapped].all()
    check_advantages(buffer, model)
    return int(bootstrapped.sum())


def check_advantages(buffer: Any, model: Any) -> None:
    """Generalised advantage estimates, from the end of the rollout to its beginning, one number at a time."""
    with torch.no_grad():
        last = model.policy.predict_values(model.policy.obs_to_tensor(model._last_obs)[0]).numpy()[:, 0]
    ends = np.concatenate([buffer.episode_starts[1:], model._last_episode_starts[None]]).astype(bool)
    for simulator in range(buffer.n_envs):
        advantage, value = 0.0, float(last[simulator])
        for step in reversed(range(buffer.buffer_size)):
            goes_on = 0.0 if ends[step, simulator] else 1.0
            own = float(buffer.values[step, simulator])
            error = float(buffer.rewards[step, simulator]) + model.gamma * value * goes_on - own
            advantage = error + model.gamma * model.gae_lambda * goes_on * advantage
            value = own
            assert buffer.advantages[step, simulator] == pytest.approx(advantage, abs=1e-5)
            assert buffer.returns[step, simulator] == pytest.approx(advantage + own, abs=1e-5)


@pytest.fixture
def rollouts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Checks each rollout just before it is learned from; how many of its rows were bootstrapped."""
    checked: list[int] = []
    learn = PPO.train

    def checking(self: PPO) -> None:
        checked.append(check_rollout(self))
        learn(self)

    monkeypatch.setattr(PPO, "train", checking)
    return checked


@pytest.mark.parametrize("case", with_slow_ones(CASES))
def test_rewards_are_of_their_own_states_before_and_after_resuming(
    case: str, tmp_path: Path, rollouts: list[int]
) -> None:
    config = counting_config(case, seed=4)
    whole = train(config, tmp_path / "whole", CountingStateReward(), judge).run
    of_whole = list(rollouts)
    with pytest.raises(LabellerError, match="power cut"):
        train(config, tmp_path / "cut", CountingStateReward(12), judge, checkpoint_seconds=0)
    cut = read_state(tmp_path / "cut" / whole.state.name)
    assert 0 < cut["steps"] < 96
    resumed = train(config, tmp_path / "cut", CountingStateReward(), judge, resume=True, checkpoint_seconds=0).run
    end = read_state(resumed.state)
    assert state_differences(end, read_state(whole.state)) == []
    policies = {path.name: path.read_bytes() for path in whole.checkpoints.iterdir()}
    assert {path.name: path.read_bytes() for path in resumed.checkpoints.iterdir()} == policies
    assert len([name for name in policies if name.endswith(".safetensors")]) == 2
    if config.algorithm_name == "ppo":
        assert rollouts[-2:] == of_whole[-2:]
        assert sum(of_whole) > 0  # or nothing was learned about time limits
        assert len(of_whole) == 96 // 16
    else:
        check_replay(cut, least=16)
        check_replay(end, least=96)
