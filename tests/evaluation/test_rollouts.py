"""A policy's episodes, compared with a twin that runs them one after the other; policies that have learned nothing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest

from vlm_rewards.collection.episodes import EpisodeSummary
from vlm_rewards.errors import InvalidInputError, LabellerError, UnknownNameError
from vlm_rewards.evaluation.rollouts import (
    REFERENCE_POLICIES,
    Evaluation,
    PolicyEvaluator,
    reference_policy,
    rollout_frames,
)
from vlm_rewards.evaluation.statistics import wilson_interval
from vlm_rewards.seeding import episode_seed
from vlm_rewards.tasks.task import get_task, make_task_env
from vlm_rewards.testing.counting import DelayedReward, counting_label, counting_reward, counting_task

TASK = counting_task(lengths=(1, 12), horizon=10)


class FailingNow:
    """Raises when told to."""

    def __init__(self) -> None:
        self.failing = False
        self.reward = DelayedReward(counting_reward, 0.002)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        if self.failing:
            raise ZeroDivisionError("no reward today")
        return self.reward(frames)


@pytest.fixture(scope="module")
def reward() -> FailingNow:
    return FailingNow()


@pytest.fixture(scope="module")
def evaluator(reward: FailingNow) -> Iterator[PolicyEvaluator]:
    with PolicyEvaluator(TASK, reward, frame_size=32, n_envs=3, n_workers=2) as evaluator:
        yield evaluator


def idle(observations: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations), dtype=int)


def twin(seed: int, simulator: int, episode: int) -> tuple[int, float, float, bool]:
    env = make_task_env(TASK, 32)
    env.reset(seed=episode_seed(seed, simulator, episode))
    length, vlm, true = 0, 0.0, 0.0
    while True:
        observation, reward, terminated, truncated, info = env.step(0)
        length, vlm, true = length + 1, vlm + float(counting_label(observation)), true + reward
        if terminated or truncated:
            return length, vlm, true, info["is_success"]


def test_every_simulator_runs_its_share_and_all_of_it_counts(evaluator: PolicyEvaluator) -> None:
    # 11 episodes of 3 simulators: 4, 4 and 3, however long or short they are.
    evaluation = evaluator.run(idle, episodes=11, seed=5)
    expected = [twin(5, simulator, episode) for simulator in range(3) for episode in range((4, 4, 3)[simulator])]
    got = [(e.length, e.vlm_return, e.true_return, e.success) for e in evaluation.episodes]
    assert [e.simulator for e in evaluation.episodes] == [0] * 4 + [1] * 4 + [2] * 3
    assert got == expected
    assert len({length for length, *_ in got}) > 3
    assert {success for *_, success in got} == {True, False}


def test_same_seed_same_episodes_and_another_seed_others(evaluator: PolicyEvaluator) -> None:
    def returns(seed: int) -> list[tuple[float, float]]:
        return [(e.vlm_return, e.true_return) for e in evaluator.run(idle, episodes=4, seed=seed).episodes]

    first = returns(1)
    assert returns(2) != first
    assert returns(1) == first


def test_fewer_episodes_than_simulators(evaluator: PolicyEvaluator) -> None:
    episodes = evaluator.run(idle, episodes=2, seed=5).episodes
    assert [episode.simulator for episode in episodes] == [0, 1]
    assert episodes[1].vlm_return == twin(5, 1, 0)[1]


def test_the_policy_sees_the_observations(evaluator: PolicyEvaluator) -> None:
    seen: list[np.ndarray] = []

    def policy(observations: np.ndarray) -> np.ndarray:
        seen.append(observations)
        return np.full(len(observations), len(seen) % 3)

    evaluator.run(policy, episodes=3, seed=0)
    assert (seen[0][:, 1] == 0).all(), "it must begin with the first observation of an episode"
    for step, observations in enumerate(seen[1:], start=1):
        going_on = observations[:, 1] > 0
        assert (observations[going_on, 2] == step % 3).all()


def test_a_reward_that_raises_ends_the_evaluation_and_spoils_nothing(
    evaluator: PolicyEvaluator, reward: FailingNow
) -> None:
    reward.failing = True
    try:
        with pytest.raises(LabellerError, match="no reward today"):
            evaluator.run(idle, episodes=3, seed=0)
    finally:
        reward.failing = False
    assert evaluator.run(idle, episodes=1, seed=5).episodes[0].vlm_return == twin(5, 0, 0)[1]


@pytest.mark.parametrize("episodes", [0, -1, True])
def test_refuses_no_episodes(evaluator: PolicyEvaluator, episodes: int) -> None:
    with pytest.raises(InvalidInputError, match=f"episodes must be an int of at least 1, got {episodes}"):
        evaluator.run(idle, episodes=episodes, seed=0)
    with pytest.raises(InvalidInputError, match="seed must be an int from 0 to 4294967295, got -1"):
        evaluator.run(idle, episodes=1, seed=-1)


def test_summary_by_hand() -> None:
    episodes = tuple(
        EpisodeSummary(
            0, 0, length, vlm_return=vlm, true_return=10.0, success=won, criterion=share, last_half=share > 0.5
        )
        for length, vlm, won, share in [(2, 1.0, True, 0.5), (4, 3.0, False, 0.25), (6, 5.0, True, 1.0)]
    )
    summary = Evaluation(episodes, seed=7).to_dict()
    assert summary == {
        "episodes": 3,
        "seed": 7,
        "vlm_return": 3.0,
        "vlm_return_std": pytest.approx((8 / 3) ** 0.5),
        "true_return": 10.0,
        "true_return_std": 0.0,
        "episode_length": 4.0,
        "successes": 2,
        "success_rate": 2 / 3,
        "success_interval_95": list(wilson_interval(2, 3)),
        "held_share": pytest.approx(1.75 / 3),
        "held_last_half": 1,
    }


def test_summary_without_a_criterion() -> None:
    summary = Evaluation((EpisodeSummary(0, 0, 1, 1.0, 1.0, None),), seed=0).to_dict()
    assert (summary["successes"], summary["success_rate"], summary["success_interval_95"]) == (None, None, None)
    assert (summary["held_share"], summary["held_last_half"]) == (None, None)


def test_frames_for_a_video_are_the_states_reached() -> None:
    frames = list(rollout_frames(idle, TASK, episodes=2, seed=5, image_size=40))
    assert frames[0].shape == (40, 40, 3)
    labels = counting_reward(np.stack(frames))
    lengths = [twin(5, 0, episode)[0] for episode in (0, 1)]
    sums = [part.sum(dtype=np.float64) for part in np.split(labels, [lengths[0]])]
    assert len(frames) == sum(lengths)
    assert sums == pytest.approx([twin(5, 0, episode)[1] for episode in (0, 1)])


def test_a_video_that_is_not_watched_to_its_end_ends_its_simulator() -> None:
    frames = rollout_frames(idle, TASK, episodes=100, seed=0, image_size=32)
    assert len(list(itertools.islice(frames, 2))) == 2
    frames.close()  # type: ignore[attr-defined]


SPACES = [
    gym.spaces.Discrete(5),
    gym.spaces.Discrete(3, start=-1),
    gym.spaces.Box(-2.0, 3.0, (2,)),
    gym.spaces.Box(np.array([-1, 0]), np.array([1, 4]), dtype=np.int64),
]
OBSERVATIONS = np.zeros((50, 3), dtype=np.float32)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_random_actions_are_spread_over_the_space_and_repeatable(space: gym.Space) -> None:
    first = reference_policy("random", TASK, space, seed=1)(OBSERVATIONS)
    assert first.shape == (50, *space.shape)
    assert all(space.contains(action.astype(space.dtype)) for action in first)
    assert len(np.unique(first)) > 2
    np.testing.assert_array_equal(reference_policy("random", TASK, space, seed=1)(OBSERVATIONS), first)
    assert not np.array_equal(reference_policy("random", TASK, space, seed=2)(OBSERVATIONS), first)


def test_random_actions_disturb_nobody_elses() -> None:
    space = gym.spaces.Box(-1.0, 1.0, (2,))
    space.seed(0)
    expected = space.sample()
    space.seed(0)
    reference_policy("random", TASK, space, seed=3)(OBSERVATIONS)
    np.testing.assert_array_equal(space.sample(), expected)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_zero_actions(space: gym.Space) -> None:
    actions = reference_policy("zero", TASK, space)(OBSERVATIONS)
    assert actions.shape == (50, *space.shape)
    assert actions.dtype == space.dtype
    assert not actions.any()


def test_the_rule_is_asked_for_every_row() -> None:
    task = dataclasses.replace(TASK, rule=lambda row: int(row[0] > 0))
    observations = np.array([[-1.0], [2.0], [3.0]])
    actions = reference_policy("rule", task, gym.spaces.Discrete(2))(observations)
    assert actions.tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["cartpole", "mountaincar", "mountaincar-textured"])
def test_every_task_of_the_package_has_a_rule(name: str) -> None:
    task = get_task(name)
    simulator = task.simulator(32)
    observation, _ = simulator.reset(seed=0)
    actions = reference_policy("rule", task, simulator.action_space)(np.stack([observation] * 2))
    assert simulator.action_space.contains(actions[1])


def test_policies_that_cannot_be_are_refused() -> None:
    assert REFERENCE_POLICIES == ("random", "zero", "rule")
    with pytest.raises(UnknownNameError, match=r"unknown policy 'zeros'. Did you mean 'zero'"):
        reference_policy("zeros", TASK, SPACES[0])
    for name, space, message in (
        ("random", gym.spaces.MultiBinary(2), "the action space must be Box or Discrete, got MultiBinary"),
        ("zero", gym.spaces.Discrete(3, start=1), r"no zero action in Discrete\(3, start=1\)"),
        ("rule", SPACES[0], "task 'counting' has no one-line rule"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            reference_policy(name, TASK, space)
