"""How large a learner is: its networks and what its optimisers remember of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from vlm_rewards.training.algorithms import AlgorithmConfig, PPOConfig, build_algorithm
from vlm_rewards.training.learner_state import learner_state, policy_arrays


@dataclass(frozen=True)
class LearnerSize:
    """Numbers and bytes of a learner, its replay buffer or rollouts apart."""

    networks: dict[str, int]
    """Numbers of each network, targets and batch statistics included, by Stable-Baselines3's name: ``"critic"`` is all
    critics."""
    parameters: int
    """Their sum."""
    nbytes: int
    """Bytes of these and of Adam's two moments of each number that is trained; gradients come on top."""


def plan_learner(
    algorithm: AlgorithmConfig, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> LearnerSize:
    """Build a learner's networks on the CPU, and count them.

    Args:
        algorithm: The settings.
        observation_space: Box or Discrete.
        action_space: Box or Discrete.

    Raises:
        InvalidInputError: It cannot act in the action space, or a setting does not fit the observation space.
        MissingExtraError: Its library is not installed.
    """
    if isinstance(algorithm, PPOConfig):
        algorithm = dataclasses.replace(algorithm, n_steps=2, batch_size=2)  # no rollout will be kept
    venv = DummyVecEnv([lambda: _Spaces(observation_space, action_space)])
    return learner_size(build_algorithm(algorithm, venv, seed=0, device="cpu", for_inference=True))


def learner_size(model: BaseAlgorithm) -> LearnerSize:
    """Count the numbers of a learner, whether it has learned already or not."""
    networks: dict[str, int] = {}
    for name, array in policy_arrays(model).items():
        network = re.split(r"\W", name)[0]
        networks[network] = networks.get(network, 0) + array.size
    state = learner_state(model)["parameters"]
    # Torch makes the moments at the first update, JAX at once.
    optimisers = state.pop("optimisers", {})
    trained = [one for name in optimisers for group in attrgetter(name)(model).param_groups for one in group["params"]]
    moments = sum(2 * one.numel() * one.element_size() for one in trained)
    return LearnerSize(networks, sum(networks.values()), moments + sum(array.nbytes for array in _arrays(state)))


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    if isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from _arrays(part)


class _Spaces(gym.Env[Any, Any]):
    """Nothing but spaces."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
