"""Policies that were trained on the criteria, and on no vision-language model, to visit states worth judging.

One network serves all eight poses: it is told which one. Its weights at several
times of the training come with the package (``policies.npz``, made by
``benchmarks/criterion_policies.py``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).with_name("policies.npz")
ACTION_LIMIT = 0.4
"""Greatest torque command of Humanoid-v5's motors."""


class PoseNetwork:
    """A deterministic policy for all poses: a network with ReLU layers and a tanh at the end.

    Args:
        layers: Weights ``[out in]`` and biases ``[out]`` of each layer, first to last. The input is a compact
            observation (45 numbers), then a 1 at the pose's place among zeros.
    """

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._layers = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]

    @property
    def poses(self) -> int:
        """How many poses it knows."""
        return self._layers[0][0].shape[1] - OBSERVED

    def act(self, observation: np.ndarray, pose: int) -> np.ndarray:
        """What to do.

        Args:
            observation: Compact observation, float64 ``[45]``.
            pose: Which pose to take.

        Returns:
            Action in [-0.4, 0.4], float64 ``[17]``.
        """
        wanted = np.zeros(self.poses)
        wanted[pose] = 1.0
        values = np.concatenate([observation, wanted])
        for weight, bias in self._layers[:-1]:
            values = np.maximum(weight @ values + bias, 0.0)
        weight, bias = self._layers[-1]
        return ACTION_LIMIT * np.tanh(weight @ values + bias)


OBSERVED = 45
"""Numbers in a compact observation."""


@lru_cache(maxsize=1)
def criterion_networks() -> tuple[PoseNetwork, ...]:
    """The networks that come with the package, from little to fully trained."""
    with np.load(WEIGHTS, allow_pickle=False) as file:
        snapshots = sorted({name.split("/")[0] for name in file.files})
        depth = len(file.files) // (2 * len(snapshots))
        return tuple(
            PoseNetwork([(file[f"{one}/{layer}/weight"], file[f"{one}/{layer}/bias"]) for layer in range(depth)])
            for one in snapshots
        )
