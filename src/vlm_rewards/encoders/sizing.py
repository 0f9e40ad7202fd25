"""Sizes of models before their weights are there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch

from vlm_rewards.encoders.checkpoints import build_tokenizer, check_config, local_text_tower, weights_on_disk
from vlm_rewards.encoders.loading import is_openclip
from vlm_rewards.encoders.openclip import Preprocessing, PromptTokenizer, count_parameters
from vlm_rewards.encoders.sources import Source, parse_source
from vlm_rewards.encoders.trainable import build_tiny
from vlm_rewards.errors import InvalidInputError, VLMRewardsError


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep open_clip, which uses the root logger, from warning of random weights where they are what is wanted."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


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
    """Side in pixels of the frames that it takes."""
    embedding_dim: int
    """Length of an embedding."""
    context_length: int
    """Tokens of a prompt that it reads."""
    origin: str | None
    """Where its weights will be fetched from; None where they are on this machine, or yet to be trained."""

    def memory_bytes(self, dtype: str) -> int:
        """What its weights take up in memory, without activations, in ``"fp32"``, ``"bf16"`` or ``"fp16"``."""
        return self.parameters * (4 if dtype == "fp32" else 2)


def plan_encoder(name: str) -> PlannedEncoder:
    """Check a model's name and describe the model, built on torch's meta device: tensors have shapes and no content.

    Raises:
        VLMRewardsError: There is no such model, or its architecture cannot be built.
    """
    source = parse_source(name)
    reason = why_unplannable(source)
    if reason is not None:
        raise InvalidInputError(f"encoder {name!r} cannot be planned: {reason}.")
    check_config(source)
    settings: dict[str, Any] = {"force_preprocess_cfg": dict(source.preprocess)} if source.preprocess else {}
    settings |= local_text_tower(source)
    try:
        with without_warnings(), torch.device("meta"):
            model = open_clip.create_model(source.model, load_weights=False, device="meta", **settings)
    # What an architecture fails with, such as a tower of transformers that is not here, is of no one type.
    except Exception as error:
        raise VLMRewardsError(f"encoder {name!r} cannot be planned: {type(error).__name__}: {error}") from error
    entry = source.pretrained_config
    origin = str(entry.get("hf_hub") or entry.get("url") or "the hub").rstrip("/")
    preprocess = open_clip.get_model_preprocess_cfg(model)
    return _describe(name, model, source.config, preprocess, None if weights_on_disk(source) else origin)


def plan_size(size: str) -> PlannedEncoder:
    """Describe one of `vlm_rewards.encoders.trainable.SIZES`, which are trained from scratch."""
    with torch.device("meta"):
        built = build_tiny(size=size)
    return _describe(size, built.model, built.model_config, built.preprocess_config, None)


def _describe(
    name: str, model: Any, config: Mapping[str, Any], preprocess: Mapping[str, Any], origin: str | None
) -> PlannedEncoder:
    preprocessing = Preprocessing.from_config(preprocess)
    return PlannedEncoder(
        name,
        count_parameters(model),
        count_parameters(model.get_submodule("visual")),
        max(preprocessing.height, preprocessing.width),
        int(config["embed_dim"]),
        int(config.get("text_cfg", {}).get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)),
        origin,
    )


def why_unplannable(source: Source) -> str | None:
    """Why a model that can be loaded cannot be described without the network; None where it can be."""
    if source.is_local:
        return None
    if source.kind == "hub":
        return "what it is stands in its repository alone"
    tower = source.config["text_cfg"].get("hf_model_name")
    return f"what its text tower {tower!r} is stands in a repository of its own" if tower else None


def check_prompt_lengths(name: str, prompts: Sequence[str]) -> None:
    """Check that a model can read prompts, by its tokenizer; one that may have to be fetched is not asked.

    Raises:
        InvalidInputError: One is too long.
        VLMRewardsError: The tokenizer is not where it should be.
    """
    if not is_openclip(name):
        return  # it reads them once it is loaded
    source = parse_source(name)
    if source.kind != "hub" and (source.is_local or not source.config["text_cfg"].get("hf_tokenizer_name")):
        PromptTokenizer(build_tokenizer(source))(list(prompts))
