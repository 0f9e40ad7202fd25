"""What a pretrained model will be like, found out without its weights: for plans."""

from __future__ import annotations

from dataclasses import dataclass

import open_clip
import torch

from vlm_rewards.encoders.loading import weights_on_disk
from vlm_rewards.encoders.openclip import count_parameters
from vlm_rewards.encoders.preprocess import Preprocessing
from vlm_rewards.encoders.random_weights import without_warnings
from vlm_rewards.encoders.sources import Source, parse_source
from vlm_rewards.errors import InvalidInputError, VLMRewardsError


@dataclass(frozen=True)
class PlannedEncoder:
    """A pretrained model as its architecture describes it."""

    name: str
    """The name by which it is loaded."""
    parameters: int
    """Weights of both towers."""
    image_parameters: int
    """Weights of the image tower."""
    image_size: int
    """Side in pixels of the pictures that it takes."""
    embedding_dim: int
    """Length of an embedding."""
    context_length: int
    """Tokens of a sentence that it reads."""
    weights: str
    """``"on this machine"``, or where they will be fetched from."""

    def memory_bytes(self, dtype: str) -> int:
        """What its weights take up in memory, without activations.

        Args:
            dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        """
        return self.parameters * (4 if dtype == "fp32" else 2)


def plan_encoder(name: str) -> PlannedEncoder:
    """Check a model's name and describe the model, without its weights and without memory for them.

    The architecture is built on torch's meta device, where tensors have shapes
    and no content.

    Args:
        name: As `load_encoder` takes it.

    Raises:
        VLMRewardsError: There is no such model, or its architecture cannot be built.
    """
    source = parse_source(name)
    try:
        with without_warnings(), torch.device("meta"):
            settings = dict(source.preprocess)
            model = open_clip.create_model(_architecture(source), device="meta", force_preprocess_cfg=settings)
    # What an architecture fails with, such as a tower of transformers that is not here, is of no one type.
    except Exception as error:
        raise VLMRewardsError(f"encoder {name!r} cannot be planned: {type(error).__name__}: {error}") from error
    preprocessing = Preprocessing.from_config(open_clip.get_model_preprocess_cfg(model))
    text = source.config.get("text_cfg", {})
    return PlannedEncoder(
        name,
        count_parameters(model),
        count_parameters(model.get_submodule("visual")),
        preprocessing.height,
        int(source.config["embed_dim"]),
        int(text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)),
        "on this machine" if weights_on_disk(source) else _origin(source),
    )


def _architecture(source: Source) -> str:
    if source.kind in ("pretrained", "file"):
        return source.model
    raise InvalidInputError(f"encoder {source.name!r} cannot be planned: name an architecture of open_clip, or load it.")


def _origin(source: Source) -> str:
    entry = source.pretrained_config
    return f"to be fetched from {entry.get('hf_hub') or entry.get('url') or 'the hub'}".rstrip("/")
