"""Networks and optimisers as arrays: what is put back goes on to the last bit."""

from __future__ import annotations

import numpy as np
import torch

from vlm_rewards.training.learner_state import (
    load_optimiser,
    module_arrays,
    module_tensors,
    optimiser_arrays,
    tensor_to_array,
)


def convolution() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.8, 0.9))


def step(model: torch.nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    pictures = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    model(pictures).square().mean().backward()
    optimiser.step()


def test_a_model_goes_on_as_if_it_had_never_stopped() -> None:
    model, optimiser = convolution()
    step(model, optimiser, 1)
    arrays, moments = module_arrays(model.state_dict()), optimiser_arrays(optimiser.state_dict())
    step(model, optimiser, 2)

    other, its_optimiser = convolution()
    other.load_state_dict(module_tensors(arrays))
    load_optimiser(its_optimiser, moments)
    step(other, its_optimiser, 2)
    for name, array in module_arrays(model.state_dict()).items():
        np.testing.assert_array_equal(array, other.state_dict()[name].numpy())


def test_moments_lie_in_memory_as_their_parameters_do() -> None:
    model, optimiser = convolution()
    step(model, optimiser, 1)
    saved = optimiser_arrays(optimiser.state_dict())
    saved["state"]["0"]["exp_avg"] = np.ascontiguousarray(saved["state"]["0"]["exp_avg"])  # as a file gives it back
    load_optimiser(optimiser, saved)
    weight = model.get_parameter("weight")
    assert weight.stride() == (27, 1, 9, 3)
    assert optimiser.state[weight]["exp_avg"].stride() == weight.stride()
    assert optimiser.state[weight]["step"] == 1
    assert optimiser.param_groups[0]["betas"] == (0.8, 0.9)


def test_arrays_are_copies_unless_told_otherwise() -> None:
    tensor = torch.zeros(3)
    copied, shared = tensor_to_array(tensor), tensor_to_array(tensor, copy=False)
    tensor += 1
    assert copied.tolist() == [0, 0, 0]
    assert shared.tolist() == [1, 1, 1]
