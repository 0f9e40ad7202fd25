"""All that decides how a learner goes on, as arrays and JSON values.

Nothing here is pickled: networks, optimisers and generators become numpy
arrays, counters become numbers. Torch algorithms say themselves which networks
and optimisers they have; those of sbx keep theirs in JAX pytrees.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import VectorizedActionNoise

from vlm_rewards.errors import CheckpointError


def tensor_to_array(tensor: torch.Tensor, *, copy: bool = True) -> np.ndarray:
    """Give a tensor as an array; without ``copy`` it shares memory, which suits a state that is written at once."""
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
    """Put back what `optimiser_arrays` gave, perhaps by way of a file."""
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


_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
    "reset_idx",
)
_LAST = ("_last_obs", "_last_original_obs", "_last_episode_starts")
_GSDE = ("exploration_mat", "exploration_matrices")
_JAX_STATES = ("policy.actor_state", "policy.qf_state", "ent_coef_state")
_JAX_KEYS = ("key", "policy.key", "policy.noise_key")


def policy_arrays(model: BaseAlgorithm) -> dict[str, np.ndarray]:
    """What a policy consists of, target networks included, optimisers not: ``state_dict``, or JAX's leaves, by name."""
    if not is_jax(model):
        return module_arrays(model.policy.state_dict())
    states = (("actor", model.policy.actor_state), ("qf", model.policy.qf_state))
    return {f"{part}{name}": leaf for part, state in states for name, leaf in _leaves(_parameters(state)).items()}


def load_policy_arrays(model: BaseAlgorithm, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `policy_arrays` gave; CheckpointError where that is of another network."""
    check_arrays(arrays, policy_arrays(model), "policy")
    if not is_jax(model):
        model.policy.load_state_dict(module_tensors(arrays))
        return
    for part, attribute in (("actor", "actor_state"), ("qf", "qf_state")):
        state = getattr(model.policy, attribute)
        own = {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        setattr(model.policy, attribute, state.replace(**_with_leaves(_parameters(state), own)))


def learner_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Everything that decides how learning goes on, at the start of a rollout, as JSON values and arrays."""
    return {
        "parameters": _jax_parameters(model) if is_jax(model) else _torch_parameters(model),
        "counters": {
            name: value.item() if isinstance(value := getattr(model, name), np.generic) else value
            for name in _COUNTERS
            if hasattr(model, name)
        },
        "last": {name: _copy(getattr(model, name, None)) for name in _LAST},
        "gsde": [{name: tensor_to_array(getattr(holder, name)) for name in _GSDE} for holder in _gsde(model)],
        "action_noise": [np.array(noise.noise_prev) for noise in _remembering_noises(model)],
        "generators": _generators(model),
    }


def load_learner_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Put back what `learner_state` gave; call it at the start of a rollout, after everything else was put back."""
    if is_jax(model):
        _load_jax_parameters(model, state["parameters"])
    else:
        _load_torch_parameters(model, state["parameters"])
    for name, value in state["counters"].items():
        setattr(model, name, value)
    for name, value in state["last"].items():
        setattr(model, name, _copy(value))
    for holder, matrices in zip(_gsde(model), state["gsde"], strict=True):
        for name, matrix in matrices.items():
            setattr(holder, name, array_to_tensor(matrix).to(model.device))
    for noise, previous in zip(_remembering_noises(model), state["action_noise"], strict=True):
        noise.noise_prev = np.array(previous)
    _load_generators(model, state["generators"])


def check_arrays(given: Mapping[str, Any], wanted: Mapping[str, np.ndarray], what: str) -> None:
    """Raise CheckpointError unless arrays have the names, shapes and dtypes that are wanted."""
    missing, unexpected = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unexpected:
        raise CheckpointError(
            f"the {what} is of another network: missing {missing[:3] or 'nothing'}, "
            f"unexpected {unexpected[:3] or 'nothing'}."
        )
    for name, array in wanted.items():
        own = given[name]
        if not isinstance(own, np.ndarray) or own.shape != array.shape or own.dtype != array.dtype:
            found = f"{own.dtype} {list(own.shape)}" if isinstance(own, np.ndarray) else type(own).__name__
            raise CheckpointError(
                f"the {what} is of another network: {name!r} must be {array.dtype} {list(array.shape)}, got {found}."
            )


def is_jax(model: BaseAlgorithm) -> bool:
    """Whether the algorithm is one of sbx, whose networks are in JAX."""
    return any(kind.__module__.split(".")[0] == "sbx" for kind in type(model).__mro__)


def _torch_parameters(model: BaseAlgorithm) -> dict[str, Any]:
    names, variables = model._get_torch_save_params()
    parts = {name: _get(model, name).state_dict() for name in names}
    return {
        "modules": {name: module_arrays(part) for name, part in parts.items() if "param_groups" not in part},
        "optimisers": {name: optimiser_arrays(part) for name, part in parts.items() if "param_groups" in part},
        "variables": {name: tensor_to_array(_get(model, name)) for name in variables},
    }


def _load_torch_parameters(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    present = _torch_parameters(model)
    for kind in ("modules", "optimisers", "variables"):
        if set(state[kind]) != set(present[kind]):
            raise CheckpointError(
                f"the learner has the {kind} {sorted(present[kind])}, the state {sorted(state[kind])}."
            )
    for name, arrays in state["modules"].items():
        check_arrays(arrays, present["modules"][name], name)
        _get(model, name).load_state_dict(module_tensors(arrays))
    for name, optimiser in state["optimisers"].items():
        load_optimiser(_get(model, name), optimiser)
    check_arrays(state["variables"], present["variables"], "learner")
    for name, array in state["variables"].items():
        _get(model, name).data.copy_(array_to_tensor(array))


def _jax_parameters(model: BaseAlgorithm) -> dict[str, Any]:
    states = {name: _leaves(_get(model, name)) for name in _JAX_STATES}
    keys: dict[str, np.ndarray] = {}
    for name in _JAX_KEYS:
        with contextlib.suppress(AttributeError):  # not all of them have all
            keys[name] = np.asarray(_get(model, name))
    return {"states": states, "keys": keys}


def _load_jax_parameters(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    import jax.numpy as jnp

    for name in _JAX_STATES:
        present = _get(model, name)
        if name not in state.get("states", {}):
            raise CheckpointError(f"the state has no {name!r}: it is of another algorithm.")
        check_arrays(state["states"][name], _leaves(present), name)
        _set(model, name, _with_leaves(present, state["states"][name]))
    for name, key in state["keys"].items():
        _set(model, name, jnp.asarray(key))


def _parameters(state: Any) -> dict[str, Any]:
    """The parts of an sbx training state that make up the network: parameters, targets, batch statistics."""
    names = ("params", "target_params", "batch_stats", "target_batch_stats")
    return {name: getattr(state, name) for name in names if getattr(state, name, None) is not None}


def _leaves(tree: Any) -> dict[str, np.ndarray]:
    import jax
    import jax.numpy as jnp

    # Through JAX: counters begin as Python ints and become int32 with the first update.
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): np.array(jnp.asarray(leaf)) for path, leaf in leaves}


def _with_leaves(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    import jax
    import jax.numpy as jnp

    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [_like(leaf, arrays[jax.tree_util.keystr(path)], jnp) for path, leaf in paths]
    return jax.tree_util.tree_unflatten(structure, leaves)


def _like(leaf: Any, array: np.ndarray, jnp: Any) -> Any:
    """As it was: sbx writes plain floats into its optimisers' hyperparameters, and a change of kind compiles anew."""
    return type(leaf)(array.item()) if isinstance(leaf, (int, float)) else jnp.asarray(array)


def _generators(model: BaseAlgorithm) -> dict[str, Any]:
    kind, words, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - SB3 draws from it
    version, state, gauss_next = random.getstate()
    return {
        "python": {"version": version, "state": np.array(state, dtype=np.int64), "gauss_next": gauss_next},
        "numpy": {"kind": kind, "words": words, "position": position, "has_gauss": has_gauss, "gauss": gauss},
        "torch": tensor_to_array(torch.get_rng_state()),
        "cuda": [tensor_to_array(one) for one in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "mps": tensor_to_array(torch.mps.get_rng_state()) if torch.backends.mps.is_available() else None,
        "action_space": model.action_space.np_random.bit_generator.state,
    }


def _load_generators(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["state"].tolist()), python["gauss_next"]))
    words = (legacy["kind"], legacy["words"], legacy["position"], legacy["has_gauss"], legacy["gauss"])
    np.random.set_state(words)  # noqa: NPY002 - SB3 draws from it
    torch.set_rng_state(array_to_tensor(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([array_to_tensor(one) for one in state["cuda"]])
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(array_to_tensor(state["mps"]))
    model.action_space.np_random.bit_generator.state = state["action_space"]


def _gsde(model: BaseAlgorithm) -> list[Any]:
    """The distributions that hold exploration matrices: drawn once in a while, and part of no ``state_dict``."""
    holders = (getattr(part, "action_dist", None) for part in (getattr(model, "actor", None), model.policy))
    return [holder for holder in holders if all(hasattr(holder, name) for name in _GSDE)]


def _remembering_noises(model: BaseAlgorithm) -> list[Any]:
    noise = getattr(model, "action_noise", None)
    noises = noise.noises if isinstance(noise, VectorizedActionNoise) else [noise]
    return [one for one in noises if hasattr(one, "noise_prev")]


def _copy(value: Any) -> Any:
    return None if value is None else np.array(value)


def _get(model: Any, name: str) -> Any:
    return attrgetter(name)(model)


def _set(model: Any, name: str, value: Any) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(_get(model, owner) if owner else model, attribute, value)
