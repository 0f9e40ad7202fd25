"""Checkpoints with random weights, to measure speed on."""

from __future__ import annotations

import os
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from vlm_rewards.encoders.sizing import without_warnings
from vlm_rewards.errors import InvalidInputError, unknown_name


def write_random_checkpoint(architecture: str, folder: str | os.PathLike[str], *, seed: int = 0) -> str:
    """Write a checkpoint as a trained model would have it, but with random weights.

    Speed and memory do not depend on what the weights are; everything else
    does. Never take a score of such a model for anything.

    Args:
        architecture: Name of an architecture of open_clip, such as ``"ViT-B-32"``.
        folder: Where to write; hundreds of MB for most.
        seed: Of the weights.

    Returns:
        The name by which `load_encoder` loads it, ``"ARCHITECTURE=FILE"``.

    Raises:
        UnknownNameError: open_clip has no such architecture.
        InvalidInputError: ``folder`` is none.
    """
    if architecture not in open_clip.list_models():
        raise unknown_name("architecture", architecture, open_clip.list_models())
    if not Path(folder).is_dir():
        raise InvalidInputError(f"folder must be a folder that exists, got {str(folder)!r}.")
    path = Path(folder) / f"random-{architecture}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with without_warnings():
            model = open_clip.create_model(architecture)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return f"{architecture}={path}"
