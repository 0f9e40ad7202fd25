"""The common way does the work that it stands for: every transition its reward, as many updates, the same encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vlm_rewards.benchmarking.common_way import CommonWay, build_cartpole, embed_raw, prepare_raw
from vlm_rewards.benchmarking.our_way import OurWay
from vlm_rewards.benchmarking.pipelines import cartpole_algorithm, cartpole_reward
from vlm_rewards.encoders import OpenCLIPEncoder, load_encoder
from vlm_rewards.labelling import LabelledReplayBuffer

STEPS, SIMULATORS = 6, 2


@pytest.fixture(scope="module")
def encoder() -> OpenCLIPEncoder:
    return load_encoder("bundled")


@pytest.fixture
def way(encoder: OpenCLIPEncoder) -> Iterator[CommonWay]:
    algorithm = cartpole_algorithm(SIMULATORS, STEPS, updates=True)
    way = CommonWay(
        cartpole_reward(encoder),
        dataclasses.replace(algorithm, buffer_size=STEPS * SIMULATORS * 2, gradient_steps=3),
        SIMULATORS,
    )
    yield way
    way.close()


def test_it_draws_as_gymnasium_does_and_never_terminates() -> None:
    env = build_cartpole()
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(200)]
    assert np.asarray(env.render()).shape == (400, 600, 3)
    assert [end for end in ends if end != (False, False)] == [(False, True)] == ends[-1:]
    env.close()


def test_each_transition_gets_the_reward_of_its_picture(way: CommonWay, encoder: OpenCLIPEncoder) -> None:
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
    rewards = cartpole_reward(encoder).from_embeddings(embeddings).reshape(3, STEPS, SIMULATORS)
    expected = np.concatenate([rewards[2], rewards[1]])
    assert buffer.rewards == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.01, "pictures that all score the same would hide a wrong order"
    assert way.labels.labelled_frames == STEPS * SIMULATORS * 3
    assert way.model._n_updates == 9


def test_both_ways_do_equal_work(way: CommonWay, encoder: OpenCLIPEncoder) -> None:
    algorithm = dataclasses.replace(cartpole_algorithm(SIMULATORS, STEPS, updates=True), gradient_steps=3)
    ours = OurWay(cartpole_reward(encoder), algorithm, SIMULATORS)
    try:
        for one in (ours, way):
            for _ in range(2):
                assert one.run(STEPS * SIMULATORS * 2) > 0
            assert one.model.num_timesteps == one.labels.labelled_frames == STEPS * SIMULATORS * 4
            assert one.model._n_updates == 12
        same = [[weight.shape for weight in one.model.policy.parameters()] for one in (ours, way)]
        assert same[0] == same[1]
        assert isinstance(ours.model.replay_buffer, LabelledReplayBuffer)  # type: ignore[attr-defined]
    finally:
        ours.close()


def test_its_preprocessing_is_the_encoders_own_but_for_rounding(encoder: OpenCLIPEncoder) -> None:
    env = build_cartpole()
    env.reset(seed=0)
    wide = np.asarray(env.render())
    env.close()
    square = wide[:, 100:500]
    ours = encoder.embed_images(square[None])
    assert prepare_raw(encoder, square[None]).shape == (1, 3, encoder.image_size, encoder.image_size)
    assert float((embed_raw(encoder, square[None]) * ours).sum()) > 0.999
    assert float((embed_raw(encoder, wide[None]) * ours).sum()) < 0.999, "3:2 pictures are squashed, as is common"
