"""What an encoder is: frames and sentences to unit vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from vlm_rewards.arrays import Embeddings, Frames


@runtime_checkable
class ImageTextEncoder(Protocol):
    """Anything that embeds frames and sentences into one space (CLIP and its kin).

    Implementations are free to be slow to build; they are built once. Both
    methods are deterministic for equal input of equal batch shape, and safe to
    call from a thread other than the one that built the encoder.

    An encoder may have a method ``unknown_words(prompt) -> list[str]``, the words of a prompt that it reads nothing
    into; people are warned of them.
    """

    @property
    def name(self) -> str:
        """What was asked for, as it is written to records (``"bundled"``, ``"ViT-B-32/openai"``)."""
        ...

    @property
    def image_size(self) -> int:
        """Side in pixels of the square frame that the model takes natively."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Length ``d`` of an embedding."""
        ...

    def embed_images(self, frames: Frames) -> Embeddings:
        """Embed frames of any one size.

        Args:
            frames: uint8 ``[n h w 3]``, RGB.

        Returns:
            float32 ``[n d]``, unit-norm rows.
        """
        ...

    def embed_texts(self, prompts: Sequence[str]) -> Embeddings:
        """Embed sentences.

        Args:
            prompts: The sentences, none longer than the model's context.

        Returns:
            float32 ``[n d]``, unit-norm rows.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for a run's record, ``name`` among them.

        ``in_domain`` (true where it was trained on the simulators that it judges) and ``parameters`` are shown where
        they are there. Embeddings are kept on disk only where ``weights_sha256`` says what decided them: a digest of
        the weights, or of the code of an encoder that has none.
        """
        ...
