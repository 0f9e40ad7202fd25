"""Networks and optimisers of torch as numpy arrays and back, for a resume state (`vlm_rewards.state_file`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def tensor_to_array(tensor: torch.Tensor, *, copy: bool = True) -> np.ndarray:
    """Give a tensor as an array.

    Args:
        tensor: On any device.
        copy: Whether the array has memory of its own; else it shares that of a tensor on the CPU, which suits a state
            that is written at once.
    """
    array = tensor.detach().cpu().numpy()
    return np.array(array) if copy else array


def array_to_tensor(array: np.ndarray) -> torch.Tensor:
    """Give a copy of an array, as a tensor on the CPU."""
    return torch.from_numpy(np.array(array))


def module_arrays(state: Mapping[str, torch.Tensor], *, copy: bool = True) -> dict[str, np.ndarray]:
    """Give the arrays of a module's ``state_dict``, by name; ``copy`` as for `tensor_to_array`."""
    return {name: tensor_to_array(tensor, copy=copy) for name, tensor in state.items()}


def module_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Give what `module_arrays` was made of, for ``load_state_dict``."""
    return {name: array_to_tensor(array) for name, array in arrays.items()}


def optimiser_arrays(state: Mapping[str, Any], *, copy: bool = True) -> dict[str, Any]:
    """Turn an optimiser's ``state_dict`` into JSON values and arrays; ``copy`` as for `tensor_to_array`.

    Returns:
        ``state``, by the parameter's number as a str, and ``param_groups``.
    """
    moments = {
        str(index): {
            key: tensor_to_array(value, copy=copy) if isinstance(value, torch.Tensor) else value
            for key, value in one.items()
        }
        for index, one in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}


def load_optimiser(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Put back what `optimiser_arrays` gave.

    Args:
        optimiser: One of the same kind, over parameters of the same shapes.
        saved: The state, perhaps read from a file.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments = {
        int(index): {key: _moment(value, parameters[int(index)]) for key, value in one.items()}
        for index, one in saved["state"].items()
    }
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in saved["param_groups"]
    ]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _moment(value: Any, parameter: torch.Tensor) -> Any:
    """One entry of an optimiser's state, laid out in memory as the parameter is: another order may round otherwise."""
    if not isinstance(value, np.ndarray):
        return value
    tensor = array_to_tensor(value)
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
