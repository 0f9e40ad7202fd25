"""Every reward belongs to its own state, with Stable-Baselines3's own DQN and SAC, whatever the timing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.replay_buffer import LabelledReplayBuffer
from vlm_rewards.collection.shaping import PotentialShaping
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError, LabellerError, UnlabelledSampleError
from vlm_rewards.testing.counting import (
    CountingEnv,
    CountingPotential,
    DelayedReward,
    counting_label,
    counting_reward,
    counting_task,
)
from vlm_rewards.testing.point import brightness_reward, darkness_reward, point_task

# DQN's episodes all end by truncation, SAC's all by termination, so that the stored flags are known.
TASKS = {
    "dqn": counting_task(lengths=(2, 11), ending="truncate", horizon=7),
    "sac": counting_task(lengths=(2, 9), ending="terminate", horizon=20, actions="box"),
}
Make = Callable[..., RenderedVecEnv]


@pytest.fixture(scope="module")
def simulators() -> Iterator[Make]:
    """Environments by (algorithm, simulators, workers, slots); each is made once and reseeded by its next user."""
    made: dict[Any, RenderedVecEnv] = {}

    def make(algorithm: str, n_envs: int, n_workers: int, slots: int) -> RenderedVecEnv:
        key = algorithm, n_envs, n_workers, slots
        if key not in made:
            made[key] = RenderedVecEnv(
                TASKS[algorithm], n_envs, image_size=32, n_workers=n_workers, slots=slots, seed=0
            )
        return made[key]

    yield make
    for venv in made.values():
        venv.close()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "vlm-rewards-labeller"]


def build(algorithm: str, venv: Any, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "replay_buffer_class": LabelledReplayBuffer,
        "buffer_size": 7_000,
        "learning_starts": 30,
        "train_freq": 11,
        "gradient_steps": 2,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "policy_kwargs": {"net_arch": [8]},
        "device": "cpu",
        "seed": 0,
    }
    return {"dqn": DQN, "sac": SAC}[algorithm]("MlpPolicy", venv, **settings | options)


def rows(buffer: LabelledReplayBuffer) -> slice:
    return slice(None) if buffer.full else slice(0, buffer.pos)


def check_every_row(algorithm: str, buffer: LabelledReplayBuffer) -> None:
    kept = rows(buffer)
    before, after = buffer.observations[kept].astype(np.float64), buffer.next_observations[kept].astype(np.float64)
    np.testing.assert_array_equal(buffer.rewards[kept], counting_label(after))
    # The next observation is the state that the action led to, never the first of the next episode ...
    np.testing.assert_array_equal(after[..., 0], before[..., 0])
    np.testing.assert_array_equal(after[..., 1] * 4096, before[..., 1] * 4096 + 1)
    np.testing.assert_array_equal(after[..., 2], buffer.actions[kept][..., 0])
    # ... and a time limit is stored as one.
    np.testing.assert_array_equal(buffer.timeouts[kept], buffer.dones[kept] if algorithm == "dqn" else 0)
    assert buffer.dones[kept].any()
    assert len(np.unique(buffer.rewards[kept])) > 0.9 * buffer.rewards[kept].size
    assert buffer.pending_count == 0


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "n_workers", "slots", "chunk_frames", "delay", "options"),
    [
        # The smallest ring, and a chunk a step.
        ("dqn", 1, 1, 2, 1, 0.0, {}),
        pytest.param("sac", 1, 1, 2, 256, 0.002, {"train_freq": 1}, marks=pytest.mark.slow),
        # A buffer of 5 rows of 7, less than the 11 rows of one rollout; chunks of 2 steps of a ring of 5.
        ("dqn", 7, 2, 5, 10, 0.01, {"buffer_size": 35}),
        # A buffer that wraps around at another place than a rollout ends; chunks of 3 steps, 11 = 3 + 3 + 3 + 2.
        ("sac", 7, 3, 5, 20, 0.01, {"buffer_size": 7 * 37 + 3}),
        pytest.param("dqn", 1, 1, 2, 3, 0.002, {"buffer_size": 23}, marks=pytest.mark.slow),
        # Rollouts that end with an episode.
        ("dqn", 1, 1, 2, 5, 0.0, {"train_freq": (3, "episode")}),
    ],
)
def test_every_reward_is_that_of_its_own_next_state(
    simulators: Make,
    algorithm: str,
    n_envs: int,
    n_workers: int,
    slots: int,
    chunk_frames: int,
    delay: float,
    options: dict[str, Any],
) -> None:
    venv = simulators(algorithm, n_envs, n_workers, slots)
    model = build(algorithm, venv, **options)
    labels = LabelRewards(DelayedReward(counting_reward, delay), chunk_frames=chunk_frames)
    model.learn(120 * n_envs, callback=labels)
    check_every_row(algorithm, model.replay_buffer)
    assert labels.labelled_frames == model.num_timesteps
    if "buffer_size" in options:
        assert model.replay_buffer.full
    assert model._n_updates > 0


@pytest.mark.parametrize(("every", "chunk_frames"), [(2, 9), (3, 256)])
def test_rewards_between_pictures_are_interpolated(every: int, chunk_frames: int) -> None:
    """The count rises by one a step, so the line between two frames is the truth; after the last one it is held."""
    venv = RenderedVecEnv(TASKS["dqn"], 4, image_size=32, n_workers=2, slots=7, render_every=every)
    try:
        model = build("dqn", venv)
        reward = DelayedReward(counting_reward, 0.0)
        labels = LabelRewards(reward, chunk_frames=chunk_frames)
        model.learn(4 * 110, callback=labels)
    finally:
        venv.close()
    buffer = model.replay_buffer
    steps = (buffer.next_observations[:110, :, 1].astype(np.float64) * 4096).astype(int)
    seen = (steps == 1) | (steps % every == 0) | (buffer.dones[:110] == 1)
    truth = counting_label(buffer.next_observations[:110].astype(np.float64))
    held = 0
    for simulator in range(4):
        for end in range(11, 111, 11):
            last = max(row for row in range(end) if seen[row, simulator])
            truth[last + 1 : end, simulator] = truth[last, simulator]
            held += end - last - 1
    assert held >= 10
    np.testing.assert_allclose(buffer.rewards[:110], truth, rtol=1e-6, atol=0)
    assert labels.labelled_frames == sum(reward.batches) == seen.sum()


def test_who_comes_in_the_middle_of_episodes_begins_with_a_picture() -> None:
    """Rollouts of one step, most of which have no frame to go by but the last that there was."""
    venv = RenderedVecEnv(TASKS["dqn"], 3, image_size=32, n_workers=1, slots=4, render_every=100)
    try:
        model = build("dqn", venv, train_freq=1, learning_starts=60)
        model.learn(3, callback=LabelRewards(counting_reward))
        model.learn(3, callback=LabelRewards(counting_reward), reset_num_timesteps=False)
        model.learn(3, callback=LabelRewards(counting_reward), reset_num_timesteps=False)
    finally:
        venv.close()
    buffer = model.replay_buffer
    assert buffer.pos == 3
    np.testing.assert_array_equal(buffer.rewards[:3], counting_label(buffer.next_observations[:3].astype(np.float64)))


def fingerprint(model: OffPolicyAlgorithm) -> str:
    """Of all that learning changes: the replay buffer's content and the policy's parameters."""
    buffer = model.replay_buffer
    assert isinstance(buffer, LabelledReplayBuffer)
    digest = hashlib.sha256()
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        digest.update(getattr(buffer, name)[rows(buffer)].tobytes())
    for tensor in model.policy.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("algorithm", ["dqn", pytest.param("sac", marks=pytest.mark.slow)])
def test_same_seed_same_run_whatever_the_timing_and_the_workers(simulators: Make, algorithm: str) -> None:
    def run(seed: int, n_workers: int, delay: float) -> str:
        model = build(algorithm, simulators(algorithm, 7, n_workers, 5), seed=seed, buffer_size=7 * 37)
        reward = DelayedReward(counting_reward, delay, seed=n_workers)
        model.learn(500, callback=LabelRewards(reward, chunk_frames=20, standardise=25))
        return fingerprint(model)

    first = run(seed=1, n_workers=2, delay=0.0)
    assert run(seed=1, n_workers=2, delay=0.0) == first
    assert run(seed=1, n_workers=3, delay=0.02) == first
    assert run(seed=2, n_workers=2, delay=0.0) != first


def test_a_reward_matters_to_the_fingerprint(simulators: Make) -> None:
    def run(scale: float) -> str:
        model = build("dqn", simulators("dqn", 7, 2, 5))
        model.learn(200, callback=LabelRewards(lambda frames: scale * counting_reward(frames)))
        return fingerprint(model)

    assert run(1.0) != run(0.5), "else equal fingerprints would prove nothing"


def test_learning_without_the_callback_is_refused(simulators: Make) -> None:
    model = build("dqn", simulators("dqn", 1, 1, 2))
    with pytest.raises(UnlabelledSampleError, match=r"33 transitions have no reward yet. Pass callback=LabelRewards"):
        model.learn(100)


class Recorder:
    """Keeps what a reward said, in order."""

    def __init__(self) -> None:
        self.raw = np.empty(0, dtype=np.float32)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        rewards = counting_reward(frames)
        self.raw = np.concatenate([self.raw, rewards])
        return rewards


@pytest.mark.parametrize("standardise", [8, 30])
def test_standardise_uses_the_first_labelled_rows_and_then_stays(simulators: Make, standardise: int) -> None:
    reward = Recorder()
    labels = LabelRewards(reward, standardise=standardise)
    model = build("dqn", simulators("dqn", 7, 2, 5), train_freq=2)
    model.learn(280, callback=labels)
    # Rollouts bring 2 x 7 rows: the first that reach 8 are 14, the first that reach 30 are 42.
    first = reward.raw[: {8: 14, 30: 42}[standardise]].astype(np.float64)
    assert labels.standardiser.mean == pytest.approx(first.mean(), abs=1e-12)
    assert labels.standardiser.std == pytest.approx(first.std(), abs=1e-12)
    buffer = model.replay_buffer
    raw = counting_label(buffer.next_observations[rows(buffer)]).astype(np.float64)
    expected = ((raw - first.mean()) / first.std()).astype(np.float32)
    np.testing.assert_allclose(buffer.rewards[rows(buffer)], expected, rtol=1e-6)
    assert buffer.pending_count == 0
    assert labels.labelled_frames == 280


def test_episodes_and_log_are_of_raw_rewards(simulators: Make) -> None:
    labels = LabelRewards(counting_reward, standardise=20)
    model = build("sac", simulators("sac", 7, 3, 5))
    model.learn(400, callback=labels)
    buffer = model.replay_buffer
    count = buffer.pos
    labels_of = counting_label(buffer.next_observations[:count]).astype(np.float64)
    expected = []
    for simulator in range(7):
        ends = np.flatnonzero(buffer.dones[:count, simulator])
        starts = [0, *(ends[:-1] + 1)]
        expected += [labels_of[low : high + 1, simulator].sum() for low, high in zip(starts, ends, strict=True)]
    assert len(expected) > 40
    assert sorted(episode.vlm_return for episode in labels.episodes) == pytest.approx(sorted(expected))
    logged = model.logger.name_to_value
    assert logged["rollout/vlm_return"] == pytest.approx(np.mean(expected))
    assert logged["rollout/true_return"] == np.mean([episode.true_return for episode in labels.episodes])
    assert logged["rollout/success_rate"] == np.mean([episode.success for episode in labels.episodes])


class StopAt(BaseCallback):
    def __init__(self, step: int, error: Exception | None = None) -> None:
        super().__init__()
        self.step, self.error = step, error

    def _on_step(self) -> bool:
        if self.n_calls == self.step and self.error is not None:
            raise self.error
        return self.n_calls != self.step


@pytest.mark.parametrize("labels_first", [True, False])
def test_a_run_that_a_callback_ended_early_can_go_on(simulators: Make, labels_first: bool) -> None:
    model = build("dqn", simulators("dqn", 7, 2, 5))
    labels = LabelRewards(counting_reward)
    callbacks = [labels, StopAt(15)] if labels_first else [StopAt(15), labels]
    model.learn(700, callback=CallbackList(callbacks))
    buffer = model.replay_buffer
    assert buffer.pos == 14
    assert buffer.pending_count == 0
    model.learn(200, callback=labels)
    check_every_row("dqn", buffer)


def broken(frames: np.ndarray) -> np.ndarray:
    raise ZeroDivisionError("no reward today")


def test_a_reward_that_raises_ends_learning_and_another_can_follow(simulators: Make) -> None:
    model = build("dqn", simulators("dqn", 7, 2, 5))
    labels = LabelRewards(broken)
    started = time.monotonic()
    with pytest.raises(LabellerError, match="no reward today") as caught:
        model.learn(7_000, callback=labels)
    assert time.monotonic() - started < 100
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    labels.reward = counting_reward
    with pytest.raises(InvalidInputError, match="left without a reward when the last learn"):
        model.learn(700, callback=labels)
    labels.stop()
    labels.stop()
    model.replay_buffer.reset()
    model.learn(200, callback=labels)
    check_every_row("dqn", model.replay_buffer)
    fresh = build("dqn", simulators("dqn", 7, 2, 5))
    fresh.learn(200, callback=labels)
    check_every_row("dqn", fresh.replay_buffer)


def test_a_callback_may_serve_another_model_before_its_first_rewards_are_out() -> None:
    """Tickets count from 0 in every environment: what waited for the first model must not reach the second's rows."""
    labels = LabelRewards(counting_reward, standardise=28)
    for steps, waits in ((14, True), (140, False)):
        venv = RenderedVecEnv(TASKS["dqn"], 7, image_size=32, n_workers=1, slots=5, seed=int(waits))
        try:
            model = build("dqn", venv, train_freq=2)
            model.learn(steps, callback=labels)
        finally:
            venv.close()
        buffer = model.replay_buffer
        assert (buffer.pending_count > 0) == waits
    raw = counting_label(buffer.next_observations[rows(buffer)].astype(np.float64))
    fitted = labels.standardiser
    np.testing.assert_allclose(buffer.rewards[rows(buffer)], (raw - fitted.mean) / fitted.std, rtol=1e-5)
    assert fitted.mean == pytest.approx(raw[:4].mean(), abs=1e-9)


def test_episodes_that_go_on_in_the_next_learn_are_counted_whole(simulators: Make) -> None:
    model = build("dqn", simulators("dqn", 7, 2, 5), train_freq=5)
    labels = LabelRewards(counting_reward)
    for first in (True, False, False):
        model.learn(70, callback=labels, reset_num_timesteps=first)
    buffer = model.replay_buffer
    true_lengths = [np.diff(np.flatnonzero(buffer.dones[: buffer.pos, one]), prepend=-1) for one in range(7)]
    assert sorted(episode.length for episode in labels.episodes) == sorted(np.concatenate(true_lengths))
    check_every_row("dqn", buffer)


def test_shaping_does_not_go_on_in_episodes_that_it_lost_sight_of() -> None:
    venv = RenderedVecEnv(TASKS["dqn"], 7, image_size=32, n_workers=1, slots=9, render_resets=True)
    try:
        model = build("dqn", venv, train_freq=5)
        labels = LabelRewards(PotentialShaping(CountingPotential(), gamma=0.9))
        with pytest.raises(ZeroDivisionError):
            model.learn(700, callback=CallbackList([labels, StopAt(13, error=ZeroDivisionError())]))
        labels.stop()
        model.replay_buffer.reset()
        with pytest.raises(InvalidInputError, match=r"interrupted among them: learn\(reset_num_timesteps=True\)"):
            model.learn(70, callback=labels, reset_num_timesteps=False)
        model.learn(70, callback=labels)
        assert model.replay_buffer.pending_count == 0
    finally:
        venv.close()


def test_refuses_what_cannot_work(simulators: Make) -> None:
    venv = simulators("dqn", 1, 1, 2)
    dqn = {"replay_buffer_class": LabelledReplayBuffer, "device": "cpu", "buffer_size": 100}

    with pytest.raises(InvalidInputError, match="standardise must be an int of at least 1, got 0"):
        LabelRewards(counting_reward, standardise=0)

    def refuses(message: str, model: Any, **options: Any) -> None:
        with pytest.raises(InvalidInputError, match=message):
            model.learn(20, callback=LabelRewards(counting_reward, **options))

    refuses(
        r"standardise must be at most n_steps x n_envs \(8\), got 9",
        PPO("MlpPolicy", venv, n_steps=8, batch_size=8, device="cpu"),
        standardise=9,
    )
    with pytest.warns(UserWarning, match="is ignored"):  # which Stable-Baselines3 says itself, and goes on
        three_steps = DQN("MlpPolicy", venv, n_steps=3, **dqn)
    refuses("n_steps=3 needs replay_buffer_class=LabelledNStepReplayBuffer", three_steps)
    refuses(
        r"standardise must be at most learning_starts \(50\), got 51",
        DQN("MlpPolicy", venv, learning_starts=50, **dqn),
        standardise=51,
    )
    refuses(
        r"VecNormalize must have norm_reward=False.*Use LabelRewards\(standardise",
        DQN("MlpPolicy", VecNormalize(venv, norm_reward=True), **dqn),
    )
    refuses("needs a RenderedVecEnv, got DummyVecEnv", DQN("MlpPolicy", DummyVecEnv([CountingEnv]), **dqn))


def test_observations_may_be_normalised(simulators: Make) -> None:
    venv = VecNormalize(simulators("dqn", 7, 2, 5), norm_reward=False)
    model = build("dqn", venv)
    model.learn(200, callback=LabelRewards(counting_reward))
    buffer = model.replay_buffer
    # Stable-Baselines3 stores observations as they were, but a terminal one by normalising it and back.
    numbers = np.rint(buffer.next_observations[: buffer.pos] * 4096)
    np.testing.assert_allclose(buffer.next_observations[: buffer.pos, :, :2] * 4096, numbers[..., :2], atol=0.01)
    np.testing.assert_array_equal(buffer.rewards[: buffer.pos], counting_label(numbers / 4096))


def final_positions(model: Any, venv: RenderedVecEnv) -> np.ndarray:
    venv.seed(1)
    observations = venv.reset()
    for _ in range(7):
        observations = venv.step(model.predict(observations, deterministic=True)[0])[0]
    return observations[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_learns_to_go_where_it_is_bright_and_not_where_it_is_dark(algorithm: str) -> None:
    task = point_task(actions="discrete" if algorithm == "dqn" else "box")
    venv = RenderedVecEnv(task, 4, image_size=32, n_workers=1)
    try:
        for reward, low, high in ((brightness_reward, 0.9, 1.0), (darkness_reward, 0.0, 0.1)):
            options: dict[str, Any] = {"exploration_fraction": 0.5} if algorithm == "dqn" else {"ent_coef": 0.01}
            if algorithm == "dqn":
                options["target_update_interval"] = 40
            model = build(
                algorithm, venv, train_freq=4, gradient_steps=10, batch_size=32, gamma=0.8, seed=3, **options,
                policy_kwargs={"net_arch": [16]}, learning_starts=100,
            )  # fmt: skip
            model.learn(640, callback=LabelRewards(reward, standardise=64))
            reached = final_positions(model, venv)
            assert ((low <= reached) & (reached <= high)).all(), f"{reward.__name__}: {reached}"
    finally:
        venv.close()
