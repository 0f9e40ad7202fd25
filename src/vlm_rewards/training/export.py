"""A trained policy for other programs: an SB3 zip, a TorchScript file or an ONNX file.

The last two are plain functions of a batch of observations, without
Stable-Baselines3 and without this package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch.distributions import Distribution

from vlm_rewards.errors import InvalidInputError, MissingExtraError, unknown_name
from vlm_rewards.files import write_atomically
from vlm_rewards.training import algorithms as scaled_observations

FORMATS = {"sb3": ".zip", "torchscript": ".pt", "onnx": ".onnx"}
"""Names of the formats, and what their files end with."""


class DeterministicPolicy(torch.nn.Module):
    """A policy as a function: observations ``[n ...]`` to the actions ``[n ...]`` that it would take without exploring.

    Continuous actions are in the units of the action space and within its bounds; discrete ones are int64.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, policy: BasePolicy) -> None:
        super().__init__()
        self.policy = policy
        self.squashed = bool(policy.squash_output)
        space = policy.action_space
        self.continuous = isinstance(space, gym.spaces.Box)
        if isinstance(space, gym.spaces.Box):
            self.register_buffer("low", torch.as_tensor(space.low))
            self.register_buffer("high", torch.as_tensor(space.high))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Choose actions."""
        actions = self.policy._predict(observations, deterministic=True)
        if not self.continuous:
            return actions
        if self.squashed:
            return self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
        return torch.minimum(torch.maximum(actions, self.low), self.high)


def export_policy(model: BaseAlgorithm, path: Path, kind: str) -> None:
    """Write a policy, whole or not at all.

    Kinds are ``"sb3"`` (the library's own zip: load it with the algorithm's ``load``; it holds pickles, as all of them
    do), ``"torchscript"`` (``torch.jit.load``) or ``"onnx"`` (input ``observations``, output ``actions``).

    Raises:
        InvalidInputError: There is no such format, or the algorithm is not in torch.
        MissingExtraError: ONNX without the packages that write it.
    """
    if kind not in FORMATS:
        raise unknown_name("format", kind, FORMATS)
    if kind == "sb3":
        content = _sb3_zip(model)
    else:
        if not isinstance(model.policy, BasePolicy) or next(model.policy.parameters(), None) is None:
            raise InvalidInputError(
                f"format {kind!r} needs a policy in torch, and {type(model).__name__} of sbx is in JAX. Use 'sb3'."
            )
        module = DeterministicPolicy(model.policy.to("cpu")).eval()
        kind_of_number = torch.int64 if isinstance(model.observation_space, gym.spaces.Discrete) else torch.float32
        example = torch.zeros(2, *(model.observation_space.shape or ()), dtype=kind_of_number)
        content = _torchscript(module, example) if kind == "torchscript" else _onnx(module, example)
    write_atomically(path, content)


def _sb3_zip(model: BaseAlgorithm) -> bytes:
    # The zip must load where this package is not installed: the buffer that waits for labels stays behind, and what
    # scales observations comes along.
    for name, plain in (("replay_buffer_class", None), ("replay_buffer_kwargs", {})):
        if hasattr(model, name):
            setattr(model, name, plain)
    file = io.BytesIO()
    cloudpickle.register_pickle_by_value(scaled_observations)
    try:
        model.save(file)
    finally:
        cloudpickle.unregister_pickle_by_value(scaled_observations)
    return file.getvalue()


def _torchscript(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    file = io.BytesIO()
    with _tracing():
        torch.jit.save(torch.jit.trace(module, example), file)
    return file.getvalue()


def _onnx(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"ONNX needs {package}: pip install 'vlm-rewards[onnx]', or use torchscript.")
    with _tracing():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["observations"],
            output_names=["actions"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise InvalidInputError("torch could not turn this policy into ONNX; use torchscript.")
    file = io.BytesIO()
    program.save(file)  # pyright: ignore[reportArgumentType] - takes files, too
    return file.getvalue()


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """Without what a recorded function has no use for.

    TorchScript is deprecated, not gone, and is what robots run today: nobody
    here can do anything about its warning. The checks of torch's distributions
    depend on data, which ONNX cannot record.
    """
    checked = Distribution._validate_args  # there is a setter and no getter
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        Distribution.set_default_validate_args(checked)
