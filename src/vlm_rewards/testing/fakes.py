"""An encoder without torch, for tests and examples that are about something else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.errors import InvalidInputError

_GRID = 4


class FakeEncoder:
    """Embeds anything, deterministically, and means nothing by it.

    A picture becomes the mean colours of a 4 x 4 grid, projected at random (but
    always in the same way); a sentence becomes a direction drawn from its hash.
    Like pictures have like embeddings, equal sentences equal ones, and a picture
    is embedded the same alone and in a batch. It is fast, small and picklable.

    Args:
        embedding_dim: Length of an embedding, at least 2.
        image_size: The size that it claims to prefer; it takes any.
        seed: Of the projection and of the sentences.
    """

    def __init__(self, embedding_dim: int = 16, image_size: int = 32, seed: int = 0) -> None:
        if embedding_dim < 2:
            raise InvalidInputError(f"embedding_dim must be at least 2; received {embedding_dim}")
        self._embedding_dim = embedding_dim
        self._image_size = image_size
        self._seed = seed
        features = _GRID * _GRID * 3 + 1
        self._projection = np.random.default_rng(seed).standard_normal((features, embedding_dim))

    @property
    def name(self) -> str:
        """What it is called in records."""
        return "fake"

    @property
    def image_size(self) -> int:
        """Side in pixels of the picture that it claims to prefer."""
        return self._image_size

    @property
    def embedding_dim(self) -> int:
        """Length ``d`` of an embedding."""
        return self._embedding_dim

    def embed_images(self, frames: Frames | Any) -> Embeddings:
        """Embed pictures of any one size.

        Args:
            frames: uint8 ``[n h w 3]``, n, h and w at least 1.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If ``frames`` is anything else.
        """
        pixels = np.asarray(frames)
        if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise InvalidInputError(
                f"frames must be uint8 [n h w 3], n at least 1; received {pixels.dtype} {list(pixels.shape)}"
            )
        colours = _cell_means(_cell_means(pixels, 1), 2).reshape(len(pixels), -1) / 255 - 0.5
        # The constant keeps an all-grey picture from having no direction.
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
            raise InvalidInputError(f"prompts must be a list of at least one string; received {prompts!r}")
        for index, prompt in enumerate(prompts):
            if not isinstance(prompt, str) or not prompt.strip():
                raise InvalidInputError(f"prompts[{index}] must be a string that is not empty; received {prompt!r}")
        return _unit(np.stack([self._direction(prompt) for prompt in prompts]))

    def describe(self) -> dict[str, Any]:
        """Facts for a run's record."""
        return {
            "name": self.name,
            "architecture": "fake",
            "parameters": int(self._projection.size),
            "image_size": self._image_size,
            "embedding_dim": self._embedding_dim,
            "seed": self._seed,
            "in_domain": False,
        }

    def _direction(self, prompt: str) -> np.ndarray:
        digest = hashlib.sha256(prompt.encode()).digest()
        seed = [self._seed, int.from_bytes(digest[:8], "little")]
        return np.random.default_rng(seed).standard_normal(self._embedding_dim)


def _cell_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Average along one axis into four cells; sides that four does not divide, or smaller ones, do."""
    edges = np.linspace(0, values.shape[axis], _GRID + 1).astype(int)
    cells = [np.arange(start, max(end, start + 1)) for start, end in pairwise(edges.tolist())]
    return np.stack([values.take(cell, axis=axis, mode="clip").mean(axis=axis) for cell in cells], axis=axis)


def _unit(vectors: np.ndarray) -> Embeddings:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
