"""Any model of open_clip as an ``ImageTextEncoder``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.encoders.preprocess import Preprocessing
from vlm_rewards.encoders.tokens import PromptTokenizer
from vlm_rewards.errors import CheckpointError, InvalidInputError, VLMRewardsError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class OpenCLIPEncoder:
    """A contrastive picture and text model of open_clip.

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
            It holds for pictures and text alike; results are float32 always.
        batch_size: The greatest number of pictures, or prompts, that pass through the model at once; None for
            64 on the CPU and 256 elsewhere.
        facts: What ``describe`` adds: architecture, source, digest of the weights.
        reload: A picklable function and its arguments that make this encoder again.

    Raises:
        InvalidInputError: If a setting breaks a rule.
        CheckpointError: If pictures and text are not embedded in one space.
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
        self._name = name
        self._device = resolve_device(device)
        self._dtype_name = resolve_dtype(dtype, self._device)
        self._batch_size = resolve_batch_size(batch_size, self._device)
        self._facts = dict(facts or {})
        self._reload = reload
        self._preprocess = Preprocessing.from_config(open_clip.get_model_preprocess_cfg(model))
        self._tokenize = PromptTokenizer(tokenizer)
        self._model: Any = _prepare(model, self._device, _DTYPES[self._dtype_name])
        # Found by asking, so that parts that do not fit each other are found out here, not in the middle of a run.
        self._embedding_dim = int(self.embed_texts(["a"]).shape[1])
        picture = self.embed_images(np.zeros((1, self._preprocess.height, self._preprocess.width, 3), np.uint8))
        if picture.shape[1] != self._embedding_dim:
            raise CheckpointError(
                f"encoder {name!r} embeds pictures in {picture.shape[1]} dimensions and text in {self._embedding_dim}"
            )

    @property
    def name(self) -> str:
        """What was asked for, as it is written to records."""
        return self._name

    @property
    def image_size(self) -> int:
        """Side in pixels of the square picture that the model takes (the longer one, if it is not square)."""
        return max(self._preprocess.height, self._preprocess.width)

    @property
    def embedding_dim(self) -> int:
        """Length ``d`` of an embedding."""
        return self._embedding_dim

    @property
    def context_length(self) -> int:
        """The greatest number of tokens in a prompt, start and end included."""
        return self._tokenize.context_length

    @property
    def device(self) -> str:
        """Where the model computes, as torch writes it (``"cpu"``, ``"cuda:0"``)."""
        return str(self._device)

    @property
    def dtype(self) -> str:
        """In what it computes: ``"fp32"``, ``"bf16"`` or ``"fp16"``."""
        return self._dtype_name

    def embed_images(self, frames: Frames | Any) -> Embeddings:
        """Embed pictures of any one size, with the model's own preprocessing.

        Args:
            frames: uint8 ``[n h w 3]``, RGB, n at least 1.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If ``frames`` is anything else.
            VLMRewardsError: If the model's numbers overflow in its dtype.
        """
        pixels = _check_frames(frames)
        chunks = [self._embed_chunk(chunk) for chunk in self._batches(pixels)]
        return self._to_numpy(torch.cat(chunks))

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model does with pictures before it looks at them."""
        return self._preprocess

    def embed_preprocessed(self, pixels: torch.Tensor) -> Embeddings:
        """Embed pictures that were prepared elsewhere.

        Args:
            pixels: Floating point ``[n 3 height width]``, n at least 1, as `preprocessing` would give them.

        Returns:
            float32 ``[n d]``, unit-norm rows.

        Raises:
            InvalidInputError: If ``pixels`` is anything else.
            VLMRewardsError: If the model's numbers overflow in its dtype.
        """
        wanted = (3, self._preprocess.height, self._preprocess.width)
        if not pixels.is_floating_point() or pixels.ndim != 4 or pixels.shape[1:] != wanted or len(pixels) == 0:
            raise InvalidInputError(
                f"pixels must be floating point [n {' '.join(map(str, wanted))}], n at least 1; "
                f"received {pixels.dtype} {list(pixels.shape)}"
            )
        return self._to_numpy(torch.cat([self._embed_pixels(chunk) for chunk in self._batches(pixels)]))

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
        tokens = self._tokenize(_check_prompts(prompts))
        chunks = [self._embed_tokens(chunk) for chunk in self._batches(tokens)]
        return self._to_numpy(torch.cat(chunks))

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
            "name": self._name,
            "parameters": count_parameters(self._model),
            "image_parameters": count_parameters(self._model.visual),
            "image_size": self.image_size,
            "embedding_dim": self._embedding_dim,
            "context_length": self.context_length,
            "device": self.device,
            "dtype": self._dtype_name,
            "batch_size": self._batch_size,
            **self._facts,
        }

    def _batches(self, items: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return items.split(self._batch_size)

    def _embed_chunk(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            # The view keeps the pixels where they are: colours innermost, which convolutions prefer.
            return self._embed_pixels(self._preprocess(pixels.to(self._device).permute(0, 3, 1, 2)))

    def _embed_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            images = pixels.to(device=self._device, dtype=_DTYPES[self._dtype_name])
            return _unit(self._model.encode_image(images, normalize=False))

    def _embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return _unit(self._model.encode_text(tokens.to(self._device), normalize=False))

    def _to_numpy(self, embeddings: torch.Tensor) -> Embeddings:
        if not bool(torch.isfinite(embeddings).all()):
            raise VLMRewardsError(
                f"encoder {self._name!r} gave embeddings that are not finite in dtype {self._dtype_name!r}; "
                "choose dtype 'fp32', or check the weights if it is"
            )
        return embeddings.cpu().numpy()

    def __reduce__(self) -> tuple[Callable[..., OpenCLIPEncoder], tuple[Any, ...]]:
        if self._reload is None:
            raise TypeError(
                f"encoder {self._name!r} was made from a model in memory and cannot be pickled; "
                "save the model in a folder and use load_encoder"
            )
        return self._reload

    def __repr__(self) -> str:
        return f"OpenCLIPEncoder({self._name!r}, device={self.device!r}, dtype={self._dtype_name!r})"


def resolve_device(device: str) -> torch.device:
    """Turn a device setting into a device that exists.

    Args:
        device: ``"auto"``, or any device of torch.

    Raises:
        InvalidInputError: If there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInputError(f"device must be auto, cpu, cuda, cuda:N or mps; received {device!r}") from error
    if not _exists(resolved):
        raise InvalidInputError(f"device must be one that this machine has; received {device!r}. Use 'auto' or 'cpu'.")
    return resolved


def _exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """Turn a dtype setting into one of ``"fp32"``, ``"bf16"``, ``"fp16"``.

    Args:
        dtype: One of these, or ``"auto"``.
        device: Where it shall hold.

    Raises:
        InvalidInputError: If it is unknown, or is fp16 on the CPU.
    """
    if dtype == "auto":
        # Not bf16: CLIP's similarities differ in the third decimal, and bf16 keeps between two and three.
        return "fp32" if device.type == "cpu" else "fp16"
    if dtype not in _DTYPES:
        raise InvalidInputError(f"dtype must be one of auto, {', '.join(_DTYPES)}; received {dtype!r}")
    if dtype == "fp16" and device.type == "cpu":
        raise InvalidInputError("dtype must be auto, fp32 or bf16 on the CPU; received 'fp16', which needs a GPU")
    return dtype


def resolve_batch_size(batch_size: int | None, device: torch.device) -> int:
    """Turn a batch size setting into a batch size.

    Args:
        batch_size: At least 1, or None for one that suits the device.
        device: Where the batches go.

    Raises:
        InvalidInputError: If it is not an int of at least 1.
    """
    if batch_size is None:
        # Larger batches fall out of a CPU's caches.
        return 64 if device.type == "cpu" else 256
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidInputError(f"batch_size must be an int of at least 1; received {batch_size!r}")
    return batch_size


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


def _check_frames(frames: Any) -> torch.Tensor:
    array = np.asarray(frames)
    if array.ndim != 4 or array.shape[3] != 3:
        raise InvalidInputError(f"frames must have the shape [n h w 3]; received {list(array.shape)}")
    if array.dtype != np.uint8:
        raise InvalidInputError(f"frames must be uint8, 0 to 255; received {array.dtype}")
    if 0 in array.shape:
        raise InvalidInputError(
            f"frames must hold at least one picture of at least 1 x 1; received {list(array.shape)}"
        )
    # torch takes neither negative strides nor, without a warning, memory that may not be written.
    usable = array.flags.writeable and array.flags.c_contiguous
    return torch.from_numpy(array if usable else np.array(array, order="C"))


def _check_prompts(prompts: Any) -> list[Any]:
    if isinstance(prompts, str) or not isinstance(prompts, Sequence | np.ndarray):
        raise InvalidInputError(f"prompts must be a list of strings; received {prompts!r}")
    if len(prompts) == 0:
        raise InvalidInputError("prompts must hold at least one sentence; received none")
    return list(prompts)
