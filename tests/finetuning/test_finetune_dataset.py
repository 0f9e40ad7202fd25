"""Captioned states come from the seed, and jitter keeps what captions speak of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.finetuning.dataset import CaptionedStates, Jitter, captioned_tasks
from vlm_rewards.tasks.cartpole_captions import CartPoleCaptioner
from vlm_rewards.tasks.task import get_task, register_task


def test_pictures_belong_to_their_states():
    captioner, counted = CartPoleCaptioner(), []
    data = CaptionedStates.draw(captioner, 5, 48, np.random.default_rng(0), lambda: counted.append(1))
    assert data.pictures.shape == (5, 48, 48, 3)
    assert len(counted) == 5
    for state, picture in zip(data.states, data.pictures, strict=True):
        np.testing.assert_array_equal(picture, captioner.draw(state, 48))


def test_captions_are_drawn_anew_for_the_rows_asked_for():
    data = CaptionedStates.draw(CartPoleCaptioner(), 3, 32, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    captions = data.captions(np.array([2] * 30), rng)
    assert len(captions) == 30
    assert len(set(captions)) > 5


def test_a_task_without_captioner_is_refused():
    register_task(dataclasses.replace(get_task("cartpole"), name="silent", captioner=None))
    with pytest.raises(InvalidInputError, match="'silent' has no captioner"):
        captioned_tasks(("cartpole", "silent"))


def test_tasks_of_one_captioner_are_refused():
    with pytest.raises(InvalidInputError, match="'lotus' and 'splits' share their states and captions"):
        captioned_tasks(("cartpole", "lotus", "splits"))


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"unknown task 'cartpol'.*'cartpole'"):
        captioned_tasks(("cartpol",))


@given(seed=st.integers(0, 1000), level=st.integers(0, 255))
def test_jitter_keeps_shape_and_range_and_is_known_by_its_seed(seed: int, level: int):
    pixels = torch.full((2, 3, 16, 16), float(level))
    first, second = (Jitter(torch.Generator().manual_seed(seed))(pixels) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first.shape == pixels.shape
    assert 0 <= float(first.min()) <= float(first.max()) <= 255
    # Brightness moves by at most 12 and contrast by a tenth of the distance from 128; noise is small.
    assert float((first.mean(dim=(1, 2, 3)) - level).abs().max()) < 12 + 12.8 + 2


def test_jitter_never_mirrors_and_moves_by_less_than_three_pixels():
    pixels = torch.full((64, 3, 96, 96), 255.0)
    pixels[:, :, 20:24, 10:14] = 0
    jittered = Jitter(torch.Generator().manual_seed(0))(pixels).mean(1)
    darkest = jittered.flatten(1).argmin(1)
    rows, columns = darkest // 96, darkest % 96
    assert int((rows - 21.5).abs().max()) <= 4
    assert int((columns - 11.5).abs().max()) <= 4
    assert len(set(columns.tolist())) > 1


@pytest.mark.slow
def test_states_of_a_simulator_are_drawn_in_its_looks_and_in_order():
    captioner = get_task("kneeling").captioner
    counted: list[int] = []
    data = CaptionedStates.draw(captioner, 24, 48, np.random.default_rng(0), lambda: counted.append(1))
    assert len(counted) == 24
    looks, states = captioner.split(data.states)
    task = get_task("kneeling")
    for look in np.unique(looks).tolist():
        own = np.flatnonzero(looks == look)
        drawn_by = dataclasses.replace(task, simulator=captioner.simulators()[look])
        with open_studio(drawn_by, 48) as studio:
            np.testing.assert_array_equal(studio.show(states[own])[0], data.pictures[own])
    assert len(np.unique(looks)) > 1
