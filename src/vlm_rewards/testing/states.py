"""Compares the resume states of two runs, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_CLOCKS = {"seconds", "stopwatch", "history", "tensorboard", "identity"}
"""Parts that tell of time, of the stretches of a run, or of packages, not of what was learned."""
_SIZES = {"metrics", "snapshots"}
"""Parts that say how long a log is; its wall times may have more digits."""


def state_differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Name every place where two resume states differ.

    Clocks and the sizes of logs do not count. Everything else must be equal to
    the last bit: policy, optimisers, replay buffer, generators, simulators.

    Args:
        one: What `vlm_rewards.state_file.read_state` gave.
        two: Another.

    Returns:
        Paths such as ``"learner/policy/q_net.0.weight"``; empty where the states are the same.
    """
    return _compare(_comparable(one), _comparable(two), "")


def _comparable(state: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in state.items() if key not in _CLOCKS}
    for part in _SIZES:
        kept[part] = {key: value for key, value in kept[part].items() if key not in ("size", "seconds")}
    learner = dict(kept["learner"])
    # Python's own generator is saved too, but libraries draw from it while they are imported; learning does not.
    learner["generators"] = {key: value for key, value in learner["generators"].items() if key != "python"}
    return {**kept, "learner": learner}


def _compare(one: Any, two: Any, path: str) -> list[str]:
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        same = one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
        return [] if same else [path]
    if isinstance(one, dict) and isinstance(two, dict):
        missing = [f"{path}/{key}" for key in set(one) ^ set(two)]
        return missing + [place for key in one if key in two for place in _compare(one[key], two[key], f"{path}/{key}")]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [place for i, (a, b) in enumerate(zip(one, two, strict=True)) for place in _compare(a, b, f"{path}/{i}")]
    return [] if type(one) is type(two) and one == two else [path]
