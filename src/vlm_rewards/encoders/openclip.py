"""Any model of open_clip as an ``ImageTextEncoder``.

Prompts to tokens, with nothing cut off on the way. Batch norms folded into the convolutions before them: the same
function, in half of the time on a CPU. A model's own frame preprocessing, on batches of uint8 tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip import SimpleTokenizer
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, basic_clean, canonicalize_text
from open_clip.transform import center_crop_or_pad
from timm.layers import BatchNormAct2d
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from vlm_rewards.arrays import Embeddings, Frames, check_frames
from vlm_rewards.errors import CheckpointError, InvalidInputError, VLMRewardsError, check_count


class PromptTokenizer:
    """A model's own tokenizer, which refuses what it would otherwise cut.

    Args:
        tokenizer: One of open_clip's three tokenizers.

    Attributes:
        context_length: The greatest number of tokens, the special ones included.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not isinstance(tokenizer, SimpleTokenizer | HFTokenizer | SigLipTokenizer):
            raise InvalidInputError(f"tokenizer must be one of open_clip's, got {type(tokenizer).__name__}")
        if isinstance(tokenizer, SimpleTokenizer):
            # Masks shorten captions at random during training; here nothing is shortened.
            tokenizer.reduction_fn = None
        self._tokenizer: Any = tokenizer
        self.context_length = int(self._tokenizer.context_length)
        # Tokenizers of transformers hold their padding rule as mutable state.
        self._lock = threading.Lock()

    def count(self, prompt: str) -> int:
        """Count the tokens of one prompt, the special ones included, before any cut."""
        if isinstance(self._tokenizer, SimpleTokenizer):
            return len(self._tokenizer.encode(prompt)) + 2
        # open_clip itself adds start, end and class token in this mode.
        added = 3 if getattr(self._tokenizer, "tokenizer_mode", "") == "clips" else 0
        settings = {"padding": False, "truncation": False, "verbose": False, "add_special_tokens": not added}
        with self._lock:
            return len(self._tokenizer.tokenizer(self._clean(prompt), **settings).input_ids) + added

    def word_tokens(self, word: str) -> list[int]:
        """Ids of a word's tokens, without special ones; empty for tokenizers of transformers."""
        return list(self._tokenizer.encode(word)) if isinstance(self._tokenizer, SimpleTokenizer) else []

    def _clean(self, prompt: str) -> str:
        if isinstance(self._tokenizer, SigLipTokenizer):
            return canonicalize_text(basic_clean(prompt))
        return self._tokenizer.clean_fn(prompt)

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """Tokenize prompts, all of them or none: int64 ``[n context_length]``.

        Raises:
            InvalidInputError: If a prompt is not a string, is empty, or is too long.
        """
        for index, prompt in enumerate(prompts):
            self._check(index, prompt)
        with self._lock:
            return self._tokenizer(list(prompts))

    def _check(self, index: int, prompt: Any) -> None:
        if not isinstance(prompt, str):
            raise InvalidInputError(f"prompts[{index}] must be a string, got {prompt!r}")
        if not self._clean(prompt):
            rule = (
                "must not be empty" if not prompt.strip() else "must hold more than this tokenizer's cleaning removes"
            )
            raise InvalidInputError(f"prompts[{index}] {rule}, got {prompt!r}")
        tokens = self.count(prompt)
        shown = prompt if len(prompt) <= 60 else f"{prompt[:60]}..."
        if tokens > self.context_length:
            raise InvalidInputError(
                f"prompts[{index}] must fit the model's context of {self.context_length} tokens, got {tokens} "
                f"tokens, start and end included: {shown!r}. Shorten it: a prompt is never cut silently."
            )


def fold_batch_norms(model: nn.Module) -> int:
    """Fold, in place, each batch norm that follows a convolution, and say how many are gone.

    Which layers follow each other is read from the traced computation, never
    guessed from the order in which they were defined. A model that cannot be
    traced is left as it is. The model must be in evaluation mode, with float32
    weights, and can be trained no more.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    pairs = list(_foldable(model, modules))
    for conv_name, norm_name in pairs:
        norm: Any = modules[norm_name]
        _replace(model, conv_name, fuse_conv_bn_eval(modules[conv_name], norm))
        # What a batch norm does apart from normalising: timm's also drop and activate.
        rest: list[Any] = [norm.drop, norm.act] if type(norm) is BatchNormAct2d else []
        _replace(model, norm_name, nn.Sequential(*rest) if rest else nn.Identity())
    return len(pairs)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _foldable(model: nn.Module, modules: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name each convolution whose result goes into one batch norm and nowhere else."""
    try:
        nodes = [node for node in _Tracer().trace(model).nodes if node.op == "call_module"]
    # Control flow that depends on data ends a trace with any exception at all.
    except Exception:
        return
    targets = [str(node.target) for node in nodes]
    for node in nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        names = str(before.target), str(node.target)
        conv, norm = (modules[name] for name in names)
        # Subclasses may do more than their parent, so that exact types count.
        known = type(conv) is nn.Conv2d and type(norm) in (nn.BatchNorm2d, BatchNormAct2d)
        if known and norm.running_var is not None and all(targets.count(name) == 1 for name in names):
            yield names


class _Tracer(fx.Tracer):
    """Follows a batch norm of timm as one step, as it does torch's own."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BatchNormAct2d) or super().is_leaf_module(m, module_qualified_name)


_CHOICES = {"resize_mode": ("shortest", "longest", "squash"), "interpolation": ("bicubic", "bilinear", "random")}


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its frames.

    Attributes:
        height: Height in pixels of what the model takes.
        width: Width in pixels of what the model takes.
        mean: Of each channel, for pixels in [0, 1].
        std: Of each channel, for pixels in [0, 1].
        interpolation: ``"bicubic"`` or ``"bilinear"``.
        resize_mode: ``"shortest"`` crops what is too long, ``"longest"`` pads
            what is too short, ``"squash"`` ignores the proportions.
        fill_color: Grey level, 0 to 255, of the padding.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read open_clip's ``preprocess_cfg``.

        Raises:
            CheckpointError: If a value is one that open_clip does not know.
        """
        chosen = {field: config.get(field) or choices[0] for field, choices in _CHOICES.items()}
        for field, value in chosen.items():
            if value not in _CHOICES[field]:
                raise CheckpointError(
                    f"preprocess_cfg.{field} of the model must be one of {', '.join(_CHOICES[field])}, got {value!r}"
                )
        height, width = np.ravel(config["size"]).astype(int)[[0, -1]].tolist()
        # "random" is for training; open_clip uses bicubic in its place for inference.
        kernel = "bilinear" if chosen["interpolation"] == "bilinear" else "bicubic"
        fill = int(config.get("fill_color") or 0)
        return cls(height, width, _triple(config["mean"]), _triple(config["std"]), kernel, chosen["resize_mode"], fill)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels that a frame of this size is scaled to, before it is cropped or padded."""
        if self.resize_mode == "squash":
            return self.height, self.width
        if self.resize_mode == "shortest" and self.height == self.width:
            # torchvision rounds the long side down ...
            long_side = int(self.height * max(height, width) / min(height, width))
            return (self.height, long_side) if height <= width else (long_side, self.height)
        ratios = height / self.height, width / self.width
        ratio = max(ratios) if self.resize_mode == "longest" else min(ratios)
        # ... while open_clip, where the proportions are kept in any other way, rounds to the nearest.
        return max(round(height / ratio), 1), max(round(width / ratio), 1)

    def fit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize and crop or pad: uint8 ``[n 3 h w]`` to ``[n 3 height width]``; what fits comes back itself."""
        if pixels.dtype != torch.uint8:
            raise TypeError(f"pixels must be uint8, not {pixels.dtype}")
        shape = self.resized_shape(int(pixels.shape[-2]), int(pixels.shape[-1]))
        if shape != tuple(pixels.shape[-2:]):
            # open_clip's crop for models that are not square ignores the configured interpolation.
            oblong_crop = self.resize_mode == "shortest" and self.height != self.width
            kernel = InterpolationMode.BICUBIC if oblong_crop else InterpolationMode(self.interpolation)
            pixels = transforms.resize(pixels, list(shape), kernel, antialias=True)
        if tuple(pixels.shape[-2:]) != (self.height, self.width):
            fill = self.fill_color if self.resize_mode == "longest" else 0
            pixels = center_crop_or_pad(pixels, [self.height, self.width], fill=fill)
        return pixels

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale pixels, uint8 ``[n 3 h w]``, as the model was trained: ``(pixels / 255 - mean) / std``.

        Float32 of the same shape, in memory with the colours innermost.
        """
        n, _, height, width = pixels.shape
        mean = torch.tensor(self.mean, device=pixels.device)
        std = torch.tensor(self.std, device=pixels.device)
        # Whole rows at once: with three colours as the innermost axis, torch would spend its time on loops of three.
        rows = pixels.permute(0, 2, 3, 1).reshape(n * height, width * 3).to(torch.float32)
        rows.mul_((1 / (255 * std)).repeat(width)).sub_((mean / std).repeat(width))
        return rows.view(n, height, width, 3).permute(0, 3, 1, 2)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Fit and normalise: uint8 ``[n 3 h w]``, 0 to 255, to float32 ``[n 3 height width]``."""
        return self.normalise(self.fit(pixels))


def _triple(value: Any) -> tuple[float, float, float]:
    channels = tuple(value) if isinstance(value, list | tuple) else (value,) * 3
    if len(channels) != 3:
        raise CheckpointError(f"preprocess_cfg of the model must give mean and std for 3 channels, got {value!r}")
    return float(channels[0]), float(channels[1]), float(channels[2])


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class OpenCLIPEncoder:
    """A contrastive image and text model of open_clip.

    Made by ``load_encoder``; made directly around a model in memory, such as
    one that is being trained. The model is used in place: it is moved, cast and
    put into evaluation mode. Calls from several threads are safe.

    Pickling carries how the encoder was loaded, never its weights: the copy is
    loaded again, from the same place, and must find the same weights there.

    Args:
        model: CLIP, CustomTextCLIP or CoCa of open_clip, weights loaded.
        tokenizer: The model's open_clip tokenizer.
        name: What to call it in records.
        device: ``"auto"`` (CUDA where there is one, else the CPU) or any device of torch.
        dtype: ``"auto"`` (fp32 on the CPU, fp16 elsewhere), ``"fp32"``, ``"bf16"``
            or ``"fp16"`` (not on the CPU).
            It holds for frames and text alike; results are float32 always.
        batch_size: The greatest number of frames, or prompts, that pass through the model at once; None for
            64 on the CPU and 256 elsewhere.
        facts: What ``describe`` adds: architecture, source, digest of the weights.
        reload: A picklable function and its arguments that make this encoder again.

    Attributes:
        name: What was asked for, as it is written to records.
        embedding_dim: Length ``d`` of an embedding.
        context_length: The greatest number of tokens in a prompt, start and end included.
        device: Where the model computes, as torch writes it (``"cpu"``, ``"cuda:0"``).
        dtype: In what it computes: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        preprocessing: What the model does with frames before it looks at them.

    Raises:
        InvalidInputError: If a setting breaks a rule.
        CheckpointError: If frames and text are not embedded in one space.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        *,
        name: str,
        device: str = "cpu",
        dtype: str = "auto",
        batch_size: int | None = None,
        facts: Mapping[str, Any] | None = None,
        reload: tuple[Callable[..., OpenCLIPEncoder], tuple[Any, ...]] | None = None,
    ) -> None:
        place = resolve_device(device)
        self.name, self.device, self.dtype = name, str(place), resolve_dtype(dtype, place)
        self._batch_size = resolve_batch_size(batch_size, place)
        self._facts = dict(facts or {})
        self._reload = reload
        self.preprocessing = Preprocessing.from_config(open_clip.get_model_preprocess_cfg(model))
        self._tokenize = PromptTokenizer(tokenizer)
        self.context_length = self._tokenize.context_length
        self._model: Any = _prepare(model, place, _DTYPES[self.dtype])
        # Found by asking, so that parts that do not fit each other are found out here, not in the middle of a run.
        self.embedding_dim = int(self.embed_texts(["a"]).shape[1])
        frame = self.embed_images(np.zeros((1, self.preprocessing.height, self.preprocessing.width, 3), np.uint8))
        if frame.shape[1] != self.embedding_dim:
            raise CheckpointError(
                f"encoder {name!r} embeds frames in {frame.shape[1]} dimensions and text in {self.embedding_dim}"
            )

    @property
    def image_size(self) -> int:
        """Side in pixels of the square frame that the model takes (the longer one, if it is not square)."""
        return max(self.preprocessing.height, self.preprocessing.width)

    def embed_images(self, frames: Frames | Any) -> Embeddings:
        """Embed frames of any one size, with the model's own preprocessing.

        Args:
            frames: uint8 ``[n h w 3]``, RGB, n at least 1.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If ``frames`` is anything else.
            VLMRewardsError: If the model's numbers overflow in its dtype.
        """
        array = check_frames(frames)
        # torch takes neither negative strides nor, without a warning, memory that may not be written.
        usable = array.flags.writeable and array.flags.c_contiguous
        return self._embed(self._encode_frames, torch.from_numpy(array if usable else np.array(array, order="C")))

    def embed_texts(self, prompts: Sequence[str] | Any) -> Embeddings:
        """Embed sentences.

        Args:
            prompts: The sentences, none empty, none longer than the model's context.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If a prompt is not a string, is empty, or would have to be cut.
            VLMRewardsError: If the model's numbers overflow in its dtype.
        """
        if isinstance(prompts, str) or not isinstance(prompts, Sequence | np.ndarray):
            raise InvalidInputError(f"prompts must be a list of strings, got {prompts!r}")
        if len(prompts) == 0:
            raise InvalidInputError("prompts must hold at least one sentence, got none")
        return self._embed(self._model.encode_text, self._tokenize(list(prompts)))

    def unknown_words(self, prompt: str) -> list[str]:
        """Find the words of a prompt that the model was never trained on.

        `vlm-rewards finetune` leaves the embeddings of such words at zero, so a
        prompt is read as if they were not there. Other models know no such
        words: the list is empty for them.

        Args:
            prompt: The sentence.

        Returns:
            The words, in their order.
        """
        text = getattr(self._model, "text", self._model)
        table = getattr(text, "token_embedding", None)
        if not isinstance(table, torch.nn.Embedding):
            return []
        silent = (table.weight == 0).all(dim=1)
        words = [(word, self._tokenize.word_tokens(word)) for word in prompt.split()]
        return [word for word, tokens in words if tokens and bool(silent[tokens].all())]

    def describe(self) -> dict[str, Any]:
        """Facts for a run's record, as JSON-able values.

        ``in_domain`` says whether the model was trained on the very simulators
        that it judges (the bundled one was), and is None where nobody knows.
        """
        return {
            "name": self.name,
            "parameters": count_parameters(self._model),
            "image_parameters": count_parameters(self._model.visual),
            "image_size": self.image_size,
            "embedding_dim": self.embedding_dim,
            "context_length": self.context_length,
            "device": self.device,
            "dtype": self.dtype,
            "batch_size": self._batch_size,
            **self._facts,
        }

    def _encode_frames(self, frames: torch.Tensor, *, normalize: bool) -> torch.Tensor:
        # The view keeps the pixels where they are: colours innermost, which convolutions prefer.
        pixels = self.preprocessing(frames.permute(0, 3, 1, 2)).to(_DTYPES[self.dtype])
        return self._model.encode_image(pixels, normalize=normalize)

    def _embed(self, encode: Callable[..., Any], values: torch.Tensor) -> Embeddings:
        """Encode in batches of a bounded size."""
        with torch.inference_mode():
            batches = (batch.to(self.device) for batch in values.split(self._batch_size))
            embeddings = torch.cat([_unit(encode(batch, normalize=False)) for batch in batches])
        if not bool(torch.isfinite(embeddings).all()):
            raise VLMRewardsError(
                f"encoder {self.name!r} gave embeddings that are not finite in dtype {self.dtype!r}; "
                "choose dtype 'fp32', or check the weights if it is"
            )
        return embeddings.cpu().numpy()

    def __reduce__(self) -> tuple[Callable[..., OpenCLIPEncoder], tuple[Any, ...]]:
        if self._reload is None:
            raise TypeError(
                f"encoder {self.name!r} was made from a model in memory and cannot be pickled; "
                "save the model in a folder and use load_encoder"
            )
        return self._reload

    def __repr__(self) -> str:
        return f"OpenCLIPEncoder({self.name!r}, device={self.device!r}, dtype={self.dtype!r})"


def resolve_device(device: str) -> torch.device:
    """Turn a device setting, ``"auto"`` or any device of torch, into a device that exists.

    Raises:
        InvalidInputError: If there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInputError(f"device must be auto, cpu, cuda, cuda:N or mps, got {device!r}") from error
    there = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and (resolved.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if not there.get(resolved.type, lambda: False)():
        raise InvalidInputError(f"device must be one that this machine has, got {device!r}. Use 'auto' or 'cpu'.")
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """Turn a dtype setting, ``"auto"`` or one of these, into ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        InvalidInputError: If it is unknown, or is fp16 on the CPU.
    """
    if dtype == "auto":
        # Not bf16: CLIP's similarities differ in the third decimal, and bf16 keeps between two and three.
        return "fp32" if device.type == "cpu" else "fp16"
    if dtype not in _DTYPES:
        raise InvalidInputError(f"dtype must be one of auto, {', '.join(_DTYPES)}, got {dtype!r}")
    if dtype == "fp16" and device.type == "cpu":
        raise InvalidInputError("dtype must be auto, fp32 or bf16 on the CPU, got 'fp16', which needs a GPU")
    return dtype


def resolve_batch_size(batch_size: int | None, device: torch.device) -> int:
    """Turn a batch size setting into a batch size; None is one that suits the device.

    Raises:
        InvalidInputError: If it is not an int of at least 1.
    """
    if batch_size is None:
        # Larger batches fall out of a CPU's caches.
        return 64 if device.type == "cpu" else 256
    return check_count("batch_size", batch_size)


def count_parameters(model: torch.nn.Module) -> int:
    """Count the weights of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def _prepare(model: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """Make a model ready for inference: every weight in one dtype, but for batch norms."""
    model = model.eval().to(device=device, dtype=dtype)
    if dtype != torch.float32:
        for module in model.modules():
            # Running variances leave fp16's range; these layers take input of another dtype.
            if isinstance(module, _BatchNorm):
                module.float()
    visual = getattr(model, "visual", model)
    visual.to(memory_format=torch.channels_last)
    return model


def _unit(features: torch.Tensor) -> torch.Tensor:
    # Towers that also return their tokens give a tuple, whose first item is the embedding.
    pooled = features[0] if isinstance(features, tuple) else features
    return torch.nn.functional.normalize(pooled.float(), dim=-1)
