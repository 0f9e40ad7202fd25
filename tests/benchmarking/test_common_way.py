"""The common way does the work that it stands for: every transition its reward, as many updates, the same encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.common_simulators import build_cartpole, build_humanoid
from bench.common_way import CommonWay, embed_raw, prepare_raw
from bench.our_way import OurWay
from bench.settings import BenchSettings
from bench.workloads import Workload, cartpole, kneeling
from vlm_rewards.collection.replay_buffer import LabelledReplayBuffer
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.training.plan import learner_size
from vlm_rewards.training.presets import preset

STEPS, SIMULATORS = 6, 2


@pytest.fixture(scope="module")
def encoder() -> OpenCLIPEncoder:
    return load_encoder("bundled")


def changed(workload: Workload, **settings: Any) -> Workload:
    """The same with other settings of the algorithm."""
    return dataclasses.replace(workload, algorithm=dataclasses.replace(workload.algorithm, **settings))


@pytest.fixture
def workload() -> Workload:
    rows = STEPS * SIMULATORS * 2
    return changed(cartpole(SIMULATORS, STEPS, updates=True), buffer_size=rows, gradient_steps=3)


@pytest.fixture
def way(encoder: OpenCLIPEncoder, workload: Workload) -> Iterator[CommonWay]:
    way = CommonWay(workload.reward(encoder), workload)
    yield way
    way.close()


def test_it_draws_as_gymnasium_does_and_never_terminates() -> None:
    env = build_cartpole()
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(200)]
    assert np.asarray(env.render()).shape == (400, 600, 3)
    assert [end for end in ends if end != (False, False)] == [(False, True)] == ends[-1:]
    env.close()


def test_its_humanoid_is_gymnasiums_own_and_goes_on_when_it_has_fallen() -> None:
    env = build_humanoid()
    assert env.observation_space.shape == (348,)
    renderer: Any = env.unwrapped.get_wrapper_attr("mujoco_renderer")
    assert (renderer.width, renderer.height, renderer.camera_id) == (480, 480, -1)
    model: Any = env.unwrapped.get_wrapper_attr("model")
    assert model.light_castshadow.all()
    assert model.vis.quality.offsamples > 0
    env.reset(seed=0)
    ends = [env.step(np.zeros(17))[2:4] for _ in range(100)]
    assert [end for end in ends if end != (False, False)] == [(False, True)] == ends[-1:]
    env.close()


def test_both_humanoids_show_the_learner_the_same() -> None:
    workload = kneeling(2, updates=True)
    theirs, ours = workload.common(), workload.task.simulator(96)
    try:
        assert theirs.observation_space == ours.observation_space
        assert theirs.action_space == ours.action_space
        first = [env.reset(seed=3)[0] for env in (theirs, ours)]
        then = [env.step(np.full(17, 0.1, np.float32))[0] for env in (theirs, ours)]
        assert np.array_equal(*first)
        assert np.array_equal(*then)
        assert theirs.spec is not None
        assert theirs.spec.max_episode_steps == workload.task.horizon
    finally:
        theirs.close()
        ours.close()


def test_the_humanoid_is_trained_as_its_preset_does() -> None:
    config = preset("kneeling")
    workload = kneeling(config.n_envs, updates=True)
    left = {"learning_starts": 1, "buffer_size": workload.algorithm.buffer_size}
    assert workload.algorithm == dataclasses.replace(config.algorithm, **left)
    assert workload.label_every == config.label_every
    assert BenchSettings().humanoid_n_envs == config.n_envs
    assert kneeling(1, updates=True).facts()["updates_per_rollout"] == pytest.approx(
        workload.algorithm.gradient_steps / config.n_envs, abs=0.5
    )
    assert kneeling(1, updates=False).facts()["updates_per_rollout"] == 0


def test_each_transition_gets_the_reward_of_its_picture(
    way: CommonWay, workload: Workload, encoder: OpenCLIPEncoder
) -> None:
    pictures: list[np.ndarray] = []
    drawn = way._venv.get_images

    def remembered() -> Any:
        images = drawn()
        pictures.extend(np.array(image) for image in images if image is not None)
        return images

    way._venv.get_images = remembered
    way.run(STEPS * SIMULATORS * 3)  # one and a half times round the replay buffer
    buffer = way.model.replay_buffer
    assert buffer is not None
    assert buffer.full
    assert buffer.pos == STEPS
    embeddings = np.concatenate([embed_raw(encoder, picture[None]) for picture in pictures])
    rewards = workload.reward(encoder).score(embeddings).reshape(3, STEPS, SIMULATORS)
    expected = np.concatenate([rewards[2], rewards[1]])
    assert buffer.rewards == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.01, "frames that all score the same would hide a wrong order"
    assert way.labels.labelled_frames == STEPS * SIMULATORS * 3
    assert way.model._n_updates == 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole", "kneeling"])
def test_both_ways_do_equal_work(encoder: OpenCLIPEncoder, workload: Workload, name: str) -> None:
    if name == "kneeling":
        workload = changed(kneeling(SIMULATORS, updates=True), train_freq=STEPS, gradient_steps=3)
    ways = []
    try:
        for kind in (OurWay, CommonWay):
            one = kind(workload.reward(encoder), workload)
            ways.append(one)
            for _ in range(2):
                assert one.run(workload.rollout * 2) > 0
            assert one.model.num_timesteps == workload.rollout * 4
            every = workload.label_every if kind is OurWay else 1
            first = SIMULATORS if every > 1 else 0
            assert one.labels.labelled_frames == workload.rollout * 4 // every + first
            assert one.model._n_updates == 12
        ours, theirs = (one.model for one in ways)
        assert type(ours) is type(theirs)
        assert learner_size(ours) == learner_size(theirs)
        assert isinstance(ours.replay_buffer, LabelledReplayBuffer)
        assert not isinstance(theirs.replay_buffer, LabelledReplayBuffer)
        assert np.ptp(theirs.replay_buffer.rewards) > 0
    finally:
        for one in ways:
            one.close()


@pytest.mark.slow
def test_n_step_returns_are_the_librarys_own_in_the_common_way(encoder: OpenCLIPEncoder, workload: Workload) -> None:
    several = changed(workload, n_steps=3)
    way = CommonWay(several.reward(encoder), several)
    try:
        assert way.model.replay_buffer.n_steps == 3
        assert not isinstance(way.model.replay_buffer, LabelledReplayBuffer)
    finally:
        way.close()


def test_its_preprocessing_is_the_encoders_own_but_for_rounding(encoder: OpenCLIPEncoder) -> None:
    env = build_cartpole()
    env.reset(seed=0)
    wide = np.asarray(env.render())
    env.close()
    square = wide[:, 100:500]
    ours = encoder.embed_images(square[None])
    assert prepare_raw(encoder, square[None]).shape == (1, 3, encoder.image_size, encoder.image_size)
    assert float((embed_raw(encoder, square[None]) * ours).sum()) > 0.998
    assert float((embed_raw(encoder, wide[None]) * ours).sum()) < 0.99, "3:2 frames are squashed, as is common"
