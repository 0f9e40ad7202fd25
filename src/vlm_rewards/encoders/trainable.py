"""Models of open_clip as something to train: built, frozen in part, and saved as open_clip saves them."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import open_clip
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from safetensors.torch import save_file
from torch import nn

from vlm_rewards.encoders.checkpoints import load_parts
from vlm_rewards.encoders.openclip import OpenCLIPEncoder, Preprocessing
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import InvalidInputError, unknown_name

LossName: TypeAlias = Literal["clip", "siglip"]
FrozenPart: TypeAlias = Literal["none", "image", "text"]

TINY = "tiny"
"""Name of the architecture of the bundled encoder, trained from scratch."""
SIZES = {
    "tiny-xs": "mobilenetv4_conv_small_035",
    TINY: "mobilenetv4_conv_small_050",
    "tiny-m": "mobilenetv4_conv_small",
    "tiny-l": "mobilenetv4_conv_medium",
}
"""Architectures that are trained from scratch, smallest first, with timm's name of their image tower. They differ in
nothing else."""

_TINY_MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 96,
        "timm_model_name": SIZES[TINY],
        "timm_model_pretrained": False,
        # The trunk's own pooling and classifier: open_clip's projection expects another width than this trunk has.
        "timm_pool": "avg",
        "timm_proj": "",
    },
    "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
_TINY_PREPROCESS: dict[str, Any] = {
    "size": 96,
    "mode": "RGB",
    # Near white, which most drawings consist of, so that what little is drawn on it stands out from the start.
    "mean": [0.9, 0.9, 0.9],
    "std": [0.35, 0.35, 0.35],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


@dataclass
class TrainableModel:
    """A contrastive model with all that is needed to train and to save it."""

    name: str
    """What was asked for."""
    model: Any
    """The open_clip model, fp32."""
    tokenizer: Any
    """The model's open_clip tokenizer."""
    model_config: dict[str, Any]
    """``model_cfg`` of ``open_clip_config.json``."""
    preprocess_config: dict[str, Any]
    """``preprocess_cfg`` of ``open_clip_config.json``."""
    from_scratch: bool = False
    """Whether the weights are random as yet."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model expects frames to be."""
        return Preprocessing.from_config(self.preprocess_config)

    def encoder(self, device: str = "cpu") -> OpenCLIPEncoder:
        """The model as an encoder. It is put into evaluation mode; training has to set its mode again."""
        return OpenCLIPEncoder(self.model, self.tokenizer, name=self.name, device=device, dtype="fp32")


def build_tiny(loss: LossName = "clip", size: str = TINY) -> TrainableModel:
    """The bundled encoder's architecture, with random weights drawn from torch's global generator.

    Args:
        loss: What it will be trained with; it decides the temperature and bias to begin with.
        size: One of `SIZES`; the bundled encoder is ``"tiny"``.

    Raises:
        UnknownNameError: There is no such size.
    """
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    config = copy.deepcopy(_TINY_MODEL)
    config["vision_cfg"]["timm_model_name"] = SIZES[size]
    if loss == "siglip":
        config |= {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
    settings = {key: value for key, value in config.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**settings)
    open_clip.set_model_preprocess_cfg(model, dict(_TINY_PREPROCESS))
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    return TrainableModel(size, model, tokenizer, config, dict(_TINY_PREPROCESS), from_scratch=True)


def load_trainable(name: str) -> TrainableModel:
    """A model with weights, to go on from: any of open_clip that `load_encoder` takes, refused as it does."""
    source, model, tokenizer = load_parts(parse_source(name))
    config = copy.deepcopy(dict(source.config or open_clip.get_model_config(source.model) or {}))
    if source.pretrained_config.get("quick_gelu"):
        # open_clip keeps this with the tag, and a folder has none.
        config["quick_gelu"] = True
    return TrainableModel(name, model, tokenizer, config, dict(open_clip.get_model_preprocess_cfg(model)))


def make_loss(name: LossName) -> nn.Module:
    """open_clip's loss of that name, to be called with ``(images, texts, logit_scale[, logit_bias])``."""
    return SigLipLoss() if name == "siglip" else ClipLoss()


def freeze(model: Any, part: FrozenPart, unlocked_groups: int = 0) -> None:
    """Freeze a tower, batch normalisation included, with open_clip's own means.

    Args:
        model: The model.
        part: Which tower; ``"none"`` does nothing.
        unlocked_groups: How many of its last layer groups stay trainable.

    Raises:
        InvalidInputError: The tower cannot be frozen that way.
    """
    if part == "none":
        return
    try:
        with warnings.catch_warnings():
            # open_clip looks for timm's helpers where they used to be.
            warnings.simplefilter("ignore", FutureWarning)
            if part == "image":
                model.lock_image_tower(unlocked_groups=unlocked_groups, freeze_bn_stats=True)
            else:
                model.lock_text_tower(unlocked_groups, True)
    except (AssertionError, IndexError, NotImplementedError, RuntimeError) as error:
        raise InvalidInputError(
            f"freeze: the {part} tower of this model cannot be frozen with unlocked_groups={unlocked_groups}: "
            f"{error or type(error).__name__}"
        ) from error
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise InvalidInputError(
            f"unlocked_groups must be smaller than the number of groups of the {part} tower, got {unlocked_groups}."
        )


class KnownTokens:
    """The tokens that training will meet, so that the rest of a large vocabulary costs nothing.

    While training, the embedding holds these rows alone. Afterwards the rest are
    zero: a word that was never seen adds nothing, instead of a random direction.

    A token that was not announced is taken as padding, whose row stays zero as well.

    Args:
        model: A model with the text tower of `build_tiny`.
        tokens: Token ids seen, among them padding (0), start and end.
    """

    def __init__(self, model: Any, tokens: Sequence[int]) -> None:
        self._text: Any = model.text
        self._ids = torch.tensor(sorted({0, *tokens}), dtype=torch.long)
        self._size, width = self._text.token_embedding.weight.shape
        rows = self._text.token_embedding.weight.detach()[self._ids].clone()
        rows[0] = 0
        self._text.token_embedding = nn.Embedding(len(self._ids), width, padding_idx=0, _weight=rows)

    def compact(self, tokens: torch.Tensor) -> torch.Tensor:
        """Ids in the small table; the order is kept, as open_clip finds the end by its greatest id."""
        places = torch.searchsorted(self._ids, tokens).clamp_max(len(self._ids) - 1)
        return torch.where(self._ids[places] == tokens, places, 0)

    @contextmanager
    def short_context(self, length: int) -> Iterator[None]:
        """Let the text tower take sequences of this length, which saves the work spent on padding."""
        mask = self._text.attn_mask
        self._text.attn_mask = mask[:length, :length]
        try:
            yield
        finally:
            self._text.attn_mask = mask

    def restore(self) -> None:
        """Put the full table back, with rows of zeros for what was never seen."""
        small = self._text.token_embedding.weight.detach().cpu()
        full = torch.zeros(self._size, small.shape[1])
        full[self._ids] = small
        self._text.token_embedding = nn.Embedding(full.shape[0], full.shape[1], _weight=full)


def save_folder(trained: TrainableModel, folder: Path) -> None:
    """Write a model in open_clip's folder layout, for `load_encoder` and for open_clip itself.

    Args:
        trained: The model.
        folder: Where ``open_clip_config.json`` and ``open_clip_model.safetensors`` go; it must exist. Weights are
            written in fp16, but for the statistics of batch normalisation.
    """
    state = {
        key: (value.half() if value.is_floating_point() and "running_" not in key else value)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for key, value in trained.model.state_dict().items()
    }
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    config = {"model_cfg": trained.model_config, "preprocess_cfg": trained.preprocess_config}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
