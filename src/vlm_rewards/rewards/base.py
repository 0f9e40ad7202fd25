"""What every reward of a frame can do, whatever its formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm_rewards.arrays import Embedding, Rewards, check_frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, check_count, check_prompt
from vlm_rewards.rewards.goal_baseline import mean_prompt, unit_rows

Prompts: TypeAlias = str | Sequence[str]
"""One sentence, or several wordings of the same sentence."""


@runtime_checkable
class FrameReward(Protocol):
    """Anything that judges frames: one number for each. The one contract of every reward.

    Score, judge, train, watch, relabel and the wrappers take any of these. `as_frame_reward` makes one of a plain
    function. What can be had of an encoder besides (cached embeddings, sweeps over alpha) is an `EmbeddingReward`'s.
    Whether an object is one is asked often: ``isinstance`` looks at the names of these members and calls none of the
    methods, so properties must be cheap.
    """

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that it wants."""
        ...

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score frames: uint8 ``[n h w 3]`` to finite float32 ``[n]``."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        ...


AnyReward: TypeAlias = FrameReward | Callable[[Any], Any]
"""A `FrameReward`, or a plain function of frames: uint8 ``[n h w 3]`` to ``n`` finite numbers."""


class CallableReward:
    """A plain function as a `FrameReward`.

    Args:
        function: Frames, uint8 ``[n h w 3]``, to ``n`` finite numbers.
        frame_size: Side in pixels of the square frames that it wants.
        name: What records call it; default: the function's own name.
        facts: What records say of it besides, JSON-able.

    Attributes:
        cameras: Square frames of a state that it wants one below another: the function's own ``cameras``, or 1.

    Raises:
        InvalidInputError: The function cannot be called, or the size is no positive int.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        frame_size: int,
        name: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = check_callable(function)
        self.frame_size = check_count("frame_size", frame_size)
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.cameras = int(getattr(function, "cameras", 1))
        self._facts = dict(facts or {})

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score frames.

        Raises:
            InvalidInputError: The function did not return one finite number a frame.
        """
        return check_scores(self.function(frames), (len(np.asarray(frames)),))

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        return {"formula": "callable", "name": self.name, **self._facts}


def as_frame_reward(reward: Any, frame_size: int | None = None) -> FrameReward:
    """Take a reward as it is, or a plain function as one.

    Args:
        reward: A `FrameReward`, or a function of frames.
        frame_size: Side in pixels of a plain function's frames; default: its own attribute ``frame_size``.

    Raises:
        InvalidInputError: It is neither, or the size of a plain function's frames is not known.
    """
    if isinstance(check_callable(reward), FrameReward):
        return reward
    size = getattr(reward, "frame_size", None) if frame_size is None else frame_size
    if size is None:
        raise InvalidInputError(f"frame_size must be given: {reward!r} does not say which frames it wants.")
    return CallableReward(reward, frame_size=size)


def check_callable(reward: Any) -> Any:
    """Return a reward or a plain function; refuse what cannot score frames."""
    if not callable(reward) or isinstance(reward, type):
        raise InvalidInputError(
            f"reward must score frames (uint8 [n h w 3] to [n]), as a VLMReward does, got {reward!r}."
        )
    return reward


def check_scores(scores: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what a reward gave for ``shape[0]`` frames as float32; refuse another shape and what is not finite."""
    values = np.asarray(scores, dtype=np.float32)
    if values.shape != shape or not np.isfinite(values).all():
        raise InvalidInputError(
            f"a reward must return {shape[0]} finite numbers for {shape[0]} frames, got shape {values.shape} with "
            f"{int(np.sum(~np.isfinite(values)))} not finite."
        )
    return values


def score_columns(rewards: Sequence[AnyReward], frames: ArrayLike) -> NDArray[np.float32]:
    """Score frames, uint8 ``[n h w 3]``, by ``k >= 1`` rewards: finite float32 ``[n k]``.

    Those that embed a frame alike share one pass through their encoder.
    """
    alike = [_embeds_as(reward) for reward in rewards]
    embedded: dict[Any, NDArray[np.float32]] = {}
    columns: list[NDArray[np.float32]] = []
    for reward, key in zip(rewards, alike, strict=True):
        if isinstance(reward, EmbeddingReward) and alike.count(key) > 1:
            if key not in embedded:
                embedded[key] = reward.embed(frames)
            scores = reward.score(embedded[key])
        else:
            scores = reward(frames)
        columns.append(check_scores(scores, (len(np.asarray(frames)),)))
    return np.stack(columns, axis=1)


def _embeds_as(reward: AnyReward) -> tuple[int, int]:
    """Equal for two rewards that embed a frame in the same way: the same encoder object, of as many cameras."""
    known = isinstance(reward, EmbeddingReward)
    return id(reward.encoder if known else reward), int(getattr(reward, "cameras", 1))


@runtime_checkable
class EmbeddingReward(FrameReward, Protocol):
    """A reward in two halves: an expensive one that embeds, and a cheap one that is worth running again."""

    @property
    def encoder(self) -> ImageTextEncoder:
        """Embeds the frames."""
        ...

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed frames, uint8 ``[n h w 3]``, to float32 ``[n k]``: unit vectors, or one after another for cameras."""
        ...

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score what `embed` gave: float32 ``[n]``."""
        ...


class FormulaReward(ABC):
    """Base of the reward forms: all that is left to write is the formula.

    Args:
        encoder: Embeds frames and sentences; see `load_encoder`. Also an attribute.

    Raises:
        InvalidInputError: It is no encoder.
    """

    def __init__(self, encoder: ImageTextEncoder) -> None:
        self.encoder = check_encoder(encoder)

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that the encoder takes natively."""
        return self.encoder.image_size

    def embed(self, frames: ArrayLike) -> NDArray[np.float32]:
        """Embed frames, the expensive half: uint8 ``[n h w 3]``, ``n >= 1``, to unit rows, float32 ``[n d]``.

        Raises:
            InvalidInputError: The frames have another dtype or shape.
        """
        return self.encoder.embed_images(check_frames(frames))

    def score(self, embeddings: ArrayLike) -> Rewards:
        """Score unit embeddings ``[n d]``, the cheap half: float32 ``[n]``.

        Raises:
            InvalidInputError: The embeddings are not unit vectors of the encoder's dimension.
        """
        rows = unit_rows(embeddings, "embeddings", dim=self.encoder.embedding_dim)
        return np.asarray(self._score(rows), dtype=np.float32)

    def __call__(self, frames: ArrayLike) -> Rewards:
        """Score frames, uint8 ``[n h w 3]`` with ``n >= 1``: float32 ``[n]``.

        Raises:
            InvalidInputError: The frames have another dtype or shape.
        """
        return self.score(self.embed(frames))

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record."""
        return {"formula": type(self).__name__, **self._facts(), "encoder": self.encoder.describe()}

    @abstractmethod
    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
        """The formula: unit rows ``[n d]`` to ``[n]``."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What the reward was made with, JSON-able."""


def check_embeds(reward: FrameReward) -> EmbeddingReward:
    """Refuse a reward that embeds nothing where only an `EmbeddingReward` will do."""
    if not isinstance(reward, EmbeddingReward):
        raise InvalidInputError(f"reward must embed frames (EmbeddingReward), got {reward!r}, which only scores them.")
    return reward


def describe_encoder(reward: FrameReward) -> dict[str, Any]:
    """What a record says of a reward's encoder: ``{"name": "none"}`` where it has none."""
    encoder: ImageTextEncoder | None = getattr(reward, "encoder", None)
    return {"name": "none"} if encoder is None else encoder.describe()


def check_encoder(encoder: ImageTextEncoder) -> ImageTextEncoder:
    """Return an encoder; refuse what cannot embed."""
    if not (callable(getattr(encoder, "embed_images", None)) and callable(getattr(encoder, "embed_texts", None))):
        raise InvalidInputError(
            f"encoder must have embed_images and embed_texts, got {encoder!r}. load_encoder(name) makes one."
        )
    return encoder


def check_prompts(prompts: Any, field: str) -> tuple[str, ...]:
    """Return the wordings of a prompt: at least one, each a sentence of 1 to 1,000 characters."""
    wordings: list[Any] = []
    if isinstance(prompts, str):
        wordings = [prompts]
    elif isinstance(prompts, Sequence) and not isinstance(prompts, bytes):
        wordings = list(cast(Sequence[Any], prompts))
    if not wordings:
        raise InvalidInputError(f"{field} must be a sentence or a list of at least one sentence, got {prompts!r}.")
    return tuple(check_prompt(field, wording) for wording in wordings)


def embed_prompt(encoder: ImageTextEncoder, prompts: Sequence[str]) -> Embedding:
    """Embed the wordings of one prompt as one unit vector, float32 ``[d]``, read-only; they must not cancel out."""
    embedding = mean_prompt(encoder.embed_texts(list(prompts)))
    embedding.flags.writeable = False
    return embedding
