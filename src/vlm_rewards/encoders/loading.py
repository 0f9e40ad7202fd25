"""Encoders by name: a scheme that a package registers, a function of the user's, or one of open_clip's plain forms."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, UnknownNameError, VLMRewardsError, check_count, unknown_name
from vlm_rewards.registry import Registry
from vlm_rewards.tasks.files import file_digest, run_file

FORMS = {
    "bundled": "the small encoder that comes with the package; trained on frames of its simulators, not zero-shot",
    "Architecture/tag": "a pretrained model of open_clip's list, such as 'ViT-B-32/laion2b_s34b_b79k'",
    "hf-hub:org/name": "a model of the Hugging Face hub in open_clip's format",
    "./dir, /dir, local-dir:dir": "a folder with open_clip_config.json and weights",
    "Architecture=/path/file.safetensors": "an architecture and a file of weights for it",
    "Architecture/tag=/path/file.safetensors": "the same, with the tag's preprocessing and activation",
    "package.module:function, path/file.py:function": "what a function of yours returns",
}
"""Ways to name an encoder, besides the schemes that other packages register."""
ACCEPTED = f"Accepted: {'; '.join(FORMS)}."


EncoderLoader: TypeAlias = Callable[..., ImageTextEncoder]
"""Makes an encoder from what follows the scheme in its name; see `register_encoder`."""
NameCheck: TypeAlias = Callable[[str], object]
"""Raises where what follows the scheme cannot name an encoder, before anything is loaded."""


@dataclass(frozen=True)
class Scheme:
    """How the encoders of one family are loaded."""

    load: EncoderLoader
    """Makes an encoder."""
    check: NameCheck = str
    """Refuses a name that cannot be one; by default none is."""
    about: str = ""
    """What it stands for, in a few words."""


TRAINING_RECORD = "training_record.json"
"""What `vlm-rewards finetune` leaves beside the weights."""
_OPEN_CLIP = "vlm_rewards.encoders.checkpoints"
_OWN = {"hf-hub": _OPEN_CLIP, "local-dir": _OPEN_CLIP}
ENCODERS: Registry[Scheme | EncoderLoader] = Registry("encoder", "vlm_rewards.encoders", _OWN)
"""Schemes. An entry point has the scheme's name and brings its loader, or a `Scheme`."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_HEAD = re.compile(r"[A-Za-z_][\w.+-]*")  # a scheme, also one that nobody has registered, or a module
_FILE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_]\w*)")
_FUNCTION = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")
_CONTRACT = ("name", "image_size", "embedding_dim", "embed_images", "embed_texts", "describe")


def register_encoder(
    scheme: str, loader: EncoderLoader, *, check: NameCheck = str, about: str = "", replace: bool = False
) -> None:
    """Add a family of encoders, which are then named ``"scheme:rest"`` wherever an encoder is asked for.

    Args:
        scheme: Small letters, digits, ``+``, ``.`` and ``-``, a letter first.
        loader: Called as ``loader(rest, device=..., dtype=..., batch_size=...)`` with the settings of `load_encoder`,
            ``"auto"`` and None included; returns an `ImageTextEncoder`.
        check: Called with the rest of a name before any work starts; raises an `InvalidInputError` where it is wrong.
        about: What the scheme stands for, as ``vlm-rewards list encoders`` shows it.
        replace: Whether a scheme of that name may be replaced.

    Raises:
        InvalidInputError: It is no name for a scheme, or is taken.
    """
    if not _SCHEME.fullmatch(scheme):
        raise InvalidInputError(
            f"scheme must be a letter, then small letters, digits, '+', '.' or '-', got {scheme!r}."
        )
    ENCODERS.register(scheme, Scheme(loader, check, about), replace=replace)


def load_encoder(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
) -> ImageTextEncoder:
    """Load an image and text encoder.

    ``name`` is one of:

    * ``"bundled"``: the small encoder that comes with the package;
    * ``"ViT-B-32/laion2b_s34b_b79k"``: an architecture and pretrained tag of open_clip;
    * ``"hf-hub:org/name"``: a model on the Hugging Face hub, in open_clip's format;
    * ``"./dir"``, ``"/dir"``, ``"local-dir:dir"`` or a ``Path``: a folder with ``open_clip_config.json``
      and weights;
    * ``"ViT-B-32=/path/x.safetensors"``: an architecture and a file. Preprocessing is what the
      architecture's tags agree on, else open_clip's default; ``"ViT-B-32/openai=/path/x.safetensors"``
      says of which tag preprocessing and activation shall be;
    * ``"scheme:rest"``: what a package registered with `register_encoder` or an entry point of the group
      ``vlm_rewards.encoders``;
    * ``"package.module:function"`` or ``"path/file.py:function"``: what a function of yours returns. It is given
      ``device``, ``dtype`` and ``batch_size`` as far as it takes them. The file may do anything, like any program.

    Of open_clip's forms only the second and third touch the network, the second after the name
    has been found to exist. Their weights are never random, and a file that is not safetensors
    is read as data: pickled code is refused.

    Args:
        name: What to load.
        device: ``"auto"`` (CUDA where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        dtype: ``"auto"`` (fp32 on the CPU, fp16 elsewhere), ``"fp32"``, ``"bf16"``, ``"fp16"``.
        batch_size: The greatest number of frames that pass through the model at once; if None, 64 on the CPU
            and 256 elsewhere.

    Returns:
        The encoder, ready to be used; an `OpenCLIPEncoder` for the first five forms.

    Raises:
        UnknownNameError: If there is no such architecture, tag, scheme, or form of name.
        InvalidInputError: If a setting breaks a rule, or a function of the user's fails or returns no encoder.
        WeightsNotFoundError: If weights, or a tokenizer, are not there and cannot be downloaded.
        CheckpointError: If what is there is damaged, does not fit, or is unsafe.
        MissingExtraError: If the model needs the ``hf`` extra.
    """
    from vlm_rewards.encoders.openclip import resolve_batch_size, resolve_device, resolve_dtype  # these load torch

    placed = resolve_device(device)
    resolve_dtype(dtype, placed)
    resolve_batch_size(batch_size, placed)
    scheme, rest = _find(name)
    try:
        encoder = scheme.load(rest, device=device, dtype=dtype, batch_size=batch_size)
    except VLMRewardsError:
        raise
    except Exception as error:
        if is_openclip(name):
            raise  # a fault of ours, whose traceback is wanted
        raise InvalidInputError(f"encoder {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return _checked(encoder, name)


def check_encoder_name(name: str | os.PathLike[str]) -> None:
    """Check that a name stands for an encoder, without loading or downloading it.

    A function's module or file is run for it, the function is not.

    Args:
        name: As `load_encoder` takes it.

    Raises:
        VLMRewardsError: As `load_encoder`, as far as it can be known before loading.
    """
    scheme, rest = _find(name)
    scheme.check(rest)


def is_openclip(name: str | os.PathLike[str]) -> bool:
    """Whether a name is in one of the forms that open_clip loads, whatever it stands for."""
    head, colon, _ = str(name).partition(":")
    foreign = isinstance(name, str) and (_FILE.fullmatch(name) or (colon and _HEAD.fullmatch(head)))
    return head in _OWN or not foreign


def _find(name: Any) -> tuple[Scheme, Any]:
    """Find who loads an encoder, and what to give him: what follows the scheme, or the whole name."""
    head, colon, rest = str(name).partition(":")
    if isinstance(name, str) and colon and head in ENCODERS.names():
        found = ENCODERS.get(head)
        return found if isinstance(found, Scheme) else Scheme(found), rest
    if not is_openclip(name):
        return _from_function(name), name
    from vlm_rewards.encoders.checkpoints import PLAIN  # it loads open_clip

    return PLAIN, name


def _from_function(name: str) -> Scheme:
    """A scheme for one name: ``module:function`` or ``file.py:function``."""
    function = _function(name)
    if not callable(function):
        raise InvalidInputError(f"encoder {name!r} must name a function that makes an encoder, got {function!r}.")

    def load(_: str, **settings: Any) -> Any:
        takes = inspect.signature(function).parameters
        everything = any(one.kind is one.VAR_KEYWORD for one in takes.values())
        return function(**{key: value for key, value in settings.items() if everything or key in takes})

    return Scheme(load)


def _function(name: str) -> Any:
    if match := _FILE.fullmatch(name):
        path = Path(match["file"]).expanduser().resolve()
        if not path.is_file():
            raise InvalidInputError(f"encoder file {match['file']!r} does not exist.")
        module = _module_of(path, file_digest(path))
        if not hasattr(module, match["function"]):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise unknown_name(f"function in {match['file']!r}", match["function"], known)
        return getattr(module, match["function"])
    match = _FUNCTION.fullmatch(name)
    if match is None or not _is_module(match["module"].partition(".")[0]):
        near = unknown_name("encoder scheme or module", name.partition(":")[0], ENCODERS.names())
        raise UnknownNameError(f"{near} {ACCEPTED}")
    return ENCODERS.get(name)


def _is_module(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


@functools.cache
def _module_of(path: Path, digest: str) -> ModuleType:
    """Run a file, once as long as it stays the same: a name is checked before it is loaded."""
    return run_file(path, "encoder file")


def _checked(encoder: Any, name: Any) -> ImageTextEncoder:
    missing = [part for part in _CONTRACT if not hasattr(encoder, part)]
    if missing:
        raise InvalidInputError(
            f"encoder {name!r} must have all of an ImageTextEncoder; what was made for it, a {type(encoder).__name__}, "
            f"lacks {', '.join(missing)}."
        )
    for side in ("image_size", "embedding_dim"):
        check_count(f"{side} of encoder {name!r}", getattr(encoder, side))
    return encoder


def trained_on(name: str) -> tuple[str, ...] | None:
    """Tasks on whose frames `vlm-rewards finetune` trained a model; None where it did not, or nothing says on what."""
    if not is_openclip(name):
        return None
    from vlm_rewards.encoders.sources import parse_source  # it loads open_clip

    folder = parse_source(name).folder
    try:
        record = json.loads((folder / TRAINING_RECORD).read_text(encoding="utf-8")) if folder else {}
        return tuple(str(task) for task in record["config"]["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
