"""An encoder without torch, runs whose snapshots a function scores, and what differs between two resume states."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from vlm_rewards.arrays import Embeddings, Frames, check_frames
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.rollouts import PolicyEvaluator
from vlm_rewards.training import runner

_GRID = 4


class FakeEncoder:
    """Embeds anything, deterministically, and means nothing by it.

    A frame becomes the mean colours of a 4 x 4 grid, projected at random (but
    always in the same way); a sentence becomes a direction drawn from its hash.
    Like frames have like embeddings, equal sentences equal ones, and a frame
    is embedded the same alone and in a batch. It is fast, small and picklable.

    Args:
        embedding_dim: Length of an embedding, at least 2.
        image_size: The size that it claims to prefer; it takes any.
        seed: Of the projection and of the sentences.
    """

    def __init__(self, embedding_dim: int = 16, image_size: int = 32, seed: int = 0) -> None:
        if embedding_dim < 2:
            raise InvalidInputError(f"embedding_dim must be at least 2, got {embedding_dim}")
        self.name, self.image_size, self.embedding_dim, self._seed = "fake", image_size, embedding_dim, seed
        features = _GRID * _GRID * 3 + 1
        self._projection = np.random.default_rng(seed).standard_normal((features, embedding_dim))

    def embed_images(self, frames: Frames | Any) -> Embeddings:
        """Embed frames of any one size.

        Args:
            frames: uint8 ``[n h w 3]``, n, h and w at least 1.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If ``frames`` is anything else.
        """
        pixels = check_frames(frames)
        colours = _cell_means(_cell_means(pixels, 1), 2).reshape(len(pixels), -1) / 255 - 0.5
        # The constant keeps an all-grey frame from having no direction.
        features = np.concatenate([colours, np.full((len(pixels), 1), 0.1)], axis=1)
        # Row by row: BLAS sums in another order for another number of rows.
        return _unit(np.stack([row @ self._projection for row in features]))

    def embed_texts(self, prompts: Sequence[str] | Any) -> Embeddings:
        """Embed sentences.

        Args:
            prompts: The sentences, none empty.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If there is none, or one is not a string or is empty.
        """
        if isinstance(prompts, str) or len(prompts) == 0:
            raise InvalidInputError(f"prompts must be a list of at least one string; got {prompts!r}")
        for index, prompt in enumerate(prompts):
            if not isinstance(prompt, str) or not prompt.strip():
                raise InvalidInputError(f"prompts[{index}] must be a string that is not empty; got {prompt!r}")
        return _unit(np.stack([self._direction(prompt) for prompt in prompts]))

    def describe(self) -> dict[str, Any]:
        """Facts for a run's record."""
        return {
            "name": self.name,
            "architecture": "fake",
            "parameters": int(self._projection.size),
            "image_size": self.image_size,
            "embedding_dim": self.embedding_dim,
            "seed": self._seed,
            "in_domain": False,
        }

    def _direction(self, prompt: str) -> np.ndarray:
        digest = hashlib.sha256(prompt.encode()).digest()
        seed = [self._seed, int.from_bytes(digest[:8], "little")]
        return np.random.default_rng(seed).standard_normal(self.embedding_dim)


def _cell_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Average along one axis into four cells; sides that four does not divide, or smaller ones, do."""
    edges = np.linspace(0, values.shape[axis], _GRID + 1).astype(int)
    cells = [np.arange(start, max(end, start + 1)) for start, end in pairwise(edges.tolist())]
    return np.stack([values.take(cell, axis=axis, mode="clip").mean(axis=axis) for cell in cells], axis=axis)


def _unit(vectors: np.ndarray) -> Embeddings:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@contextlib.contextmanager
def scored_by(judge: Callable[..., dict[str, Any]]) -> Iterator[None]:
    """While active, snapshots of runs are scored by a function, and no simulators run for it.

    Args:
        judge: A policy, ``episodes`` and ``seed`` to ``vlm_return``, ``vlm_return_std``, ``true_return`` and
            ``success_rate``.
    """

    class Judge(PolicyEvaluator):
        def __init__(self) -> None:
            pass

        def run(self, policy: Any, *, episodes: int, seed: int) -> Any:
            found = judge(policy, episodes=episodes, seed=seed)
            return SimpleNamespace(to_dict=lambda: found)

        def close(self) -> None:
            pass

    before = runner.open_evaluator
    runner.open_evaluator = lambda *_: Judge()  # type: ignore[assignment]
    try:
        yield
    finally:
        runner.open_evaluator = before


_CLOCKS = {"seconds", "stopwatch", "history", "tensorboard", "identity"}
"""Parts that tell of time, of the stretches of a run, or of packages, not of what was learned."""
_SIZES = {"metrics", "snapshots"}
"""Parts that say how long a log is; its wall times may have more digits."""


def state_differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Name every place where two resume states differ.

    Clocks and the sizes of logs do not count. Everything else must be equal to
    the last bit: policy, optimisers, replay buffer, generators, simulators.

    Args:
        one: What `vlm_rewards.files.read_state` gave.
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
