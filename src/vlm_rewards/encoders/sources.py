"""What the name of a model of open_clip means, decided without touching the network."""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import open_clip

from vlm_rewards.encoders.loading import ACCEPTED, is_openclip
from vlm_rewards.errors import CheckpointError, InvalidInputError, UnknownNameError, WeightsNotFoundError, unknown_name
from vlm_rewards.files import read_json

CONFIG_FILE = "open_clip_config.json"
HUB_PREFIX = "hf-hub:"
FOLDER_PREFIX = "local-dir:"
BUNDLED = "bundled"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
# open_clip takes the first of these, so that this choice and its own are the same.
_PREFERRED_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")


@dataclass(frozen=True)
class Source:
    """Where an encoder comes from.

    Attributes:
        kind: ``"pretrained"``, ``"hub"``, ``"folder"``, ``"file"`` or ``"bundled"``.
        name: What was asked for.
        model: What open_clip calls it: an architecture, ``"hf-hub:..."`` or ``"local-dir:..."``.
        tag: open_clip's pretrained tag, where one was given.
        weights: The file; ``Path()`` while it has to be downloaded.
        config: open_clip's ``model_cfg``; empty while it has to be downloaded.
        preprocess: What differs from open_clip's default preprocessing.
    """

    kind: str
    name: str
    model: str
    tag: str | None = None
    weights: Path = Path()  # which is no file
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether everything must be found on this machine."""
        return self.kind in ("folder", "file", "bundled")

    @property
    def folder(self) -> Path | None:
        """The folder of the weights, which may hold a tokenizer as well."""
        return self.weights.parent if self.is_local else None

    @property
    def pretrained_config(self) -> dict[str, Any]:
        """open_clip's entry for the tag; empty without a tag."""
        return dict(open_clip.get_pretrained_cfg(self.model, self.tag)) if self.tag else {}


def parse_source(name: str | os.PathLike[str]) -> Source:
    """Find out which model of open_clip is asked for; nothing is downloaded.

    Args:
        name: In one of open_clip's forms of ``load_encoder``.

    Raises:
        InvalidInputError: If it is no string and no path, or in a form of another family of encoders.
        UnknownNameError: If it is in none of them, or there is no such architecture or tag.
        WeightsNotFoundError: If the folder or file does not exist.
        CheckpointError: If the folder is not one that open_clip writes.
    """
    if not isinstance(name, str | os.PathLike):
        raise InvalidInputError(f"encoder must be a name or a path, got {name!r}.")
    if not is_openclip(name):
        raise InvalidInputError(
            f"encoder {name!r} must be a model of open_clip here: of others nothing is known before they are loaded."
        )
    if not isinstance(name, str):
        return _folder("folder", os.fspath(name), Path(name))
    if name == BUNDLED:
        return _bundled()
    if name.startswith(HUB_PREFIX):
        if not re.fullmatch(r"[^/]+/[^/]+", name.removeprefix(HUB_PREFIX)):
            raise UnknownNameError(f"encoder {name!r} must be 'hf-hub:org/name'. {ACCEPTED}")
        return Source("hub", name, name)
    if name.startswith((FOLDER_PREFIX, "./", "../", "~")) or name in (".", "..") or Path(name).is_absolute():
        return _folder("folder", name, Path(name.removeprefix(FOLDER_PREFIX)))
    model, equals, file = name.partition("=")
    return (
        _file(name, model, Path(file).expanduser().absolute())
        if equals
        else _listed(Source("pretrained", name, *_known_model(name, name)))
    )


def bundled_folder() -> Path:
    """The folder of the encoder that comes with the package."""
    return Path(str(importlib.resources.files("vlm_rewards.encoders").joinpath(BUNDLED)))


def _bundled() -> Source:
    try:
        return _folder(BUNDLED, BUNDLED, bundled_folder())
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(
            f"the bundled encoder has no weights in {bundled_folder()}. Make them with `vlm-rewards finetune`, "
            "or install a release of vlm-rewards, which contains them"
        ) from error


def _folder(kind: str, name: str, path: Path) -> Source:
    folder = path.expanduser().absolute()
    if folder.is_file():
        raise UnknownNameError(f"encoder {name!r} is a file; say which architecture it is for. {ACCEPTED}")
    if not folder.is_dir():
        raise WeightsNotFoundError(f"encoder {name!r}: there is no folder {folder}")
    if not (folder / CONFIG_FILE).is_file():
        raise WeightsNotFoundError(f"encoder {name!r}: {folder} has no {CONFIG_FILE}, as open_clip's folders do")
    config = read_config(folder / CONFIG_FILE)
    weights = _find_weights(folder)
    return Source(kind, name, f"{FOLDER_PREFIX}{folder}", weights=weights, config=config)


def read_config(path: Path) -> Mapping[str, Any]:
    """Read the ``model_cfg`` of an ``open_clip_config.json``.

    Raises:
        CheckpointError: If it holds none.
    """
    content = read_json(path)
    if not isinstance(content.get("model_cfg"), dict):
        raise CheckpointError(f"{path} must be a JSON object with the key 'model_cfg'")
    return content["model_cfg"]


def _find_weights(folder: Path) -> Path:
    for name in _PREFERRED_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for suffix in (".safetensors", ".bin", ".pth") for path in folder.glob(f"*{suffix}"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise WeightsNotFoundError(f"{folder} has no weights; put open_clip_model.safetensors there")
    raise CheckpointError(
        f"{folder} must hold one file of weights, or one that is called {_PREFERRED_WEIGHTS[0]}; "
        f"found {', '.join(path.name for path in found)}"
    )


def _file(name: str, model: str, path: Path) -> Source:
    architecture, tag = _known_model(model, name) if "/" in model else (_known_architecture(model, name), None)
    if not path.is_file():
        raise WeightsNotFoundError(f"encoder {name!r}: there is no file {path}")
    if path.suffix not in WEIGHT_SUFFIXES:
        raise InvalidInputError(
            f"encoder {name!r}: the file must end in one of {', '.join(WEIGHT_SUFFIXES)}, got {path.suffix!r}."
        )
    return _listed(Source("file", name, architecture, tag, path))


def _listed(source: Source) -> Source:
    """Add what open_clip's lists say of an architecture and its tag."""
    entry = source.pretrained_config if source.tag else _common_preprocessing(source.model)
    preprocess = {key: entry[key] for key in _PREPROCESS_KEYS if entry.get(key) is not None}
    return replace(source, config=open_clip.get_model_config(source.model) or {}, preprocess=preprocess)


def _common_preprocessing(architecture: str) -> dict[str, Any]:
    """What all pretrained tags of an architecture agree on: a SigLIP file is not preprocessed as a CLIP."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    if not configs:
        return {}
    return {key: configs[0].get(key) for key in _PREPROCESS_KEYS if len({str(c.get(key)) for c in configs}) == 1}


def _known_model(model: str, name: str) -> tuple[str, str]:
    """Split ``Architecture/tag`` and refuse what open_clip does not list."""
    architecture, slash, tag = model.rpartition("/")
    if not slash and model in open_clip.list_models():
        raise UnknownNameError(
            f"encoder {name!r} is an architecture without weights: say which, as '{model}/tag'. {_list_tags(model)}"
        )
    if not slash:
        raise _unknown("encoder", name, [BUNDLED, *open_clip.list_models()], name)
    architecture = _known_architecture(architecture.replace("/", "-"), name)
    if not open_clip.is_pretrained_cfg(architecture, tag):
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        near = unknown_name(f"pretrained tag of {architecture}", tag, tags)
        raise UnknownNameError(f"{near} {_list_tags(architecture)}")
    return architecture, tag


def _known_architecture(architecture: str, name: str) -> str:
    if architecture not in open_clip.list_models():
        raise _unknown("open_clip architecture", architecture, open_clip.list_models(), name)
    return architecture


def _unknown(kind: str, value: str, choices: Sequence[str], name: str) -> UnknownNameError:
    hint = f" There is a folder of that name: write './{name}'." if Path(name).is_dir() else ""
    return UnknownNameError(f"{unknown_name(kind, value, choices)}{hint} {ACCEPTED}")


def _list_tags(architecture: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tags:
        return f"open_clip has no pretrained weights for it; give a file: '{architecture}=/path/file.safetensors'."
    return f"Tags of {architecture}: {', '.join(tags)}."


def list_architectures() -> dict[str, list[str]]:
    """All architectures of open_clip, each with the tags of its pretrained weights."""
    return {name: open_clip.list_pretrained_tags_by_model(name) for name in open_clip.list_models()}
