"""Models of open_clip with their weights: found or downloaded, checked, and loaded by open_clip, or a clear error."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import torch
from open_clip import pretrained
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.hf_configs import arch_dict
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer

from vlm_rewards.encoders.loading import ENCODERS, TRAINING_RECORD, Scheme
from vlm_rewards.encoders.openclip import (
    OpenCLIPEncoder,
    count_parameters,
    fold_batch_norms,
    resolve_device,
    resolve_dtype,
)
from vlm_rewards.encoders.sources import CONFIG_FILE, FOLDER_PREFIX, HUB_PREFIX, Source, parse_source, read_config
from vlm_rewards.errors import CheckpointError, MissingExtraError, VLMRewardsError, WeightsNotFoundError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.txt")


def _load(source: Source, device: str, dtype: str, batch_size: int | None) -> OpenCLIPEncoder:
    source, model, tokenizer = load_parts(source)
    with source.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "batch_size": batch_size}
    facts = {
        **_facts(source),
        # Before batch norms are folded, which must not show in the records.
        "parameters": count_parameters(model),
        "image_parameters": count_parameters(model.get_submodule("visual")),
        "weights_sha256": digest,
    }
    if resolve_dtype(dtype, resolve_device(device)) == "fp32":
        fold_batch_norms(model.eval().get_submodule("visual"))
    reload = (_reload, (_portable_name(source), source.name, settings, digest))
    try:
        return OpenCLIPEncoder(model, tokenizer, name=source.name, facts=facts, reload=reload, **settings)
    except (IndexError, RuntimeError) as error:
        raise CheckpointError(f"encoder {source.name!r}: its parts do not fit each other: {_brief(error)}") from error


def load_parts(source: Source) -> tuple[Source, torch.nn.Module, Any]:
    """The source with its files and configuration known, its model with weights, and its tokenizer, as open_clip's."""
    if source.kind != "hub":
        check_config(source)
    source = _download(source)
    if not source.weights.is_file():
        raise WeightsNotFoundError(f"there is no file of weights {source.weights}")
    tokenizer = build_tokenizer(source)
    return source, _build_model(source), tokenizer


def weights_on_disk(source: Source) -> bool:
    """Whether the weights of a source from ``parse_source`` are here, so that nothing has to be fetched."""
    return source.weights.is_file() if source.is_local else _cached_weights(source) is not None


def _reload(portable_name: str, name: str, settings: dict[str, Any], digest: str) -> OpenCLIPEncoder:
    """Make an encoder again, for pickle; the weights must be those that were there before."""
    encoder = _load(replace(parse_source(portable_name), name=name), **settings)
    if encoder.describe()["weights_sha256"] != digest:
        raise CheckpointError(f"encoder {name!r}: its weights have changed since it was pickled")
    return encoder


def _portable_name(source: Source) -> str:
    """The same source, whatever the working directory."""
    if source.kind == "folder":
        return source.model
    if source.kind == "file":
        return f"{source.model}{'/' + source.tag if source.tag else ''}={source.weights}"
    return source.name


def _facts(source: Source) -> dict[str, Any]:
    finetuned_here = source.folder is not None and (source.folder / TRAINING_RECORD).is_file()
    # The same weights with another activation, or other frames, are another encoder.
    settings = json.dumps([source.config, source.pretrained_config, source.preprocess], sort_keys=True, default=str)
    return {
        "source": source.kind,
        "architecture": source.model if source.kind in ("pretrained", "file") else _architecture(source.config),
        "pretrained_tag": source.tag,
        "config_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "in_domain": True if source.kind == "bundled" or finetuned_here else None,
    }


def _architecture(config: Mapping[str, Any]) -> str:
    """Name the image tower of a configuration that has no name of its own."""
    vision = config["vision_cfg"]
    if vision.get("timm_model_name"):
        return str(vision["timm_model_name"])
    if isinstance(vision.get("layers"), list):
        return f"ResNet, layers {vision['layers']}, width {vision.get('width', 64)}"
    size = f"width {vision.get('width', 768)}, {vision.get('layers', 12)} layers"
    return f"ViT, patch {vision.get('patch_size', 16)}, {size}"


def check_config(source: Source) -> None:
    """Refuse, before anything is built or downloaded, what could not work or would not be safe.

    Raises:
        MissingExtraError: If the model needs the ``hf`` extra.
        CheckpointError: If its configuration lacks a part, or asks for code.
    """
    config, where = source.config, f"encoder {source.name!r}: model_cfg"
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if key not in config:
            raise CheckpointError(f"{where} must have the key {key!r}; it has {', '.join(config) or 'none'}")
    text, vision = config["text_cfg"], config["vision_cfg"]
    if not isinstance(text, dict) or not isinstance(vision, dict):
        raise CheckpointError(f"{where}: vision_cfg and text_cfg must be objects")
    needs_hf = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if needs_hf and importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(
            f'encoder {source.name!r} needs transformers (for {needs_hf}): pip install "vlm-rewards[hf]"'
        )
    if (text.get("tokenizer_kwargs") or {}).get("trust_remote_code"):
        raise CheckpointError(
            f"{where}.text_cfg.tokenizer_kwargs asks for trust_remote_code; a model is data, not code"
        )
    if source.is_local and ":" in (vision.get("timm_model_name") or ""):
        raise CheckpointError(
            f"{where}.vision_cfg.timm_model_name must name an architecture of timm, "
            f"got {vision['timm_model_name']!r}, which timm would look for elsewhere"
        )


def _download(source: Source) -> Source:
    """Fetch what a name stands for; local sources pass unchanged, as do those that were fetched before."""
    if source.is_local:
        return source
    try:
        if source.kind == "hub":
            return _download_hub(source, source.model.removeprefix(HUB_PREFIX))
        weights = _cached_weights(source) or pretrained.download_pretrained(source.pretrained_config)
        return replace(source, weights=Path(weights))
    except VLMRewardsError:
        raise
    # huggingface_hub, urllib and open_clip raise a score of types between them; all mean the same here.
    except Exception as error:
        model = f"{source.model}/{source.tag}" if source.tag else "Architecture"
        raise WeightsNotFoundError(
            f"the weights of encoder {source.name!r} are not on this machine and could not be downloaded "
            f"({_brief(error)}). Without a network: download them elsewhere and pass the folder "
            f"('./dir') or the file ('{model}=/path/file.safetensors'), or use 'bundled'."
        ) from error


def _download_hub(source: Source, repository: str) -> Source:
    """Fetch a repository's configuration, judge it, and only then its weights."""
    path = _cached(repository, (CONFIG_FILE,)) or pretrained.download_pretrained_from_hf(repository, CONFIG_FILE)
    source = replace(source, config=read_config(Path(path)))
    check_config(source)
    weights = _cached_weights(source) or pretrained.download_pretrained_from_hf(repository)
    if Path(weights).parent != Path(path).parent:
        raise RuntimeError("the repository changed between two downloads")
    # Both lie in one folder now, which open_clip reads without asking the hub again.
    return replace(source, model=f"{FOLDER_PREFIX}{Path(path).parent}", weights=Path(weights))


def _cached_weights(source: Source) -> str | None:
    """Find the weights of a model of the hub, or of open_clip's list, in the hub's cache; safetensors first."""
    if source.kind == "hub":
        repository, file = source.model.removeprefix(HUB_PREFIX), ""
    else:
        repository, _, file = source.pretrained_config.get("hf_hub", "").rpartition("/")
    if file in ("", HF_WEIGHTS_NAME):
        return _cached(repository, (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME))
    return _cached(repository, (str(Path(file).with_suffix(".safetensors")), file))


def _cached(repository: str, names: Sequence[str]) -> str | None:
    """Find a file in the hub's cache, without a question to the hub."""
    found = (huggingface_hub.try_to_load_from_cache(repository, name) for name in names if repository)
    return next((path for path in found if isinstance(path, str)), None)


def _build_model(source: Source) -> torch.nn.Module:
    """Let open_clip build the model and load its weights; it never returns random ones."""
    has_name = source.kind in ("pretrained", "file")
    text_tower = local_text_tower(source)
    try:
        with warnings.catch_warnings():
            # How a file was pickled is of no interest where it is refused or read in full.
            warnings.simplefilter("ignore", UserWarning)
            return open_clip.create_model(
                source.model,
                pretrained=str(source.weights) if has_name else None,
                # open_clip only warns where a tag was trained with another activation than its architecture names.
                force_quick_gelu=bool(source.pretrained_config.get("quick_gelu")),
                force_preprocess_cfg=dict(source.preprocess),
                pretrained_text=False,
                require_pretrained=True,
                weights_only=True,
                **text_tower,
            )
    # What comes out of a damaged or foreign file is of no one type.
    except Exception as error:
        raise CheckpointError(_explain(source, error)) from error


def local_text_tower(source: Source) -> dict[str, Any]:
    """Let a text tower of transformers find its configuration without the network.

    Returns:
        Arguments for ``open_clip.create_model``; none where it needs no help, or may use the network.

    Raises:
        WeightsNotFoundError: If the configuration of a local source's tower is not here.
    """
    text = source.config["text_cfg"]
    name = text.get("hf_model_name")
    if not name or not source.is_local:
        return {}
    folder = _local_files(source, name, ("config.json",), _is_text_tower)
    if folder is None:
        raise WeightsNotFoundError(
            f"encoder {source.name!r} has the text tower {name!r}, whose config.json is neither beside the weights "
            "nor in the Hugging Face cache; put it in the folder of the weights"
        )
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _is_text_tower(config: Path) -> bool:
    # open_clip's repositories may hold the config.json of a whole CLIP as well.
    return json.loads(config.read_text(encoding="utf-8")).get("model_type") in arch_dict


def build_tokenizer(source: Source) -> Any:
    """Build the tokenizer of a model whose configuration is known; open_clip's own way would ask the network.

    Raises:
        CheckpointError: If it is not named, or is damaged.
        WeightsNotFoundError: If its files are not here and cannot be downloaded.
    """
    text = source.config["text_cfg"]
    name = text.get("hf_tokenizer_name")
    if not name:
        if source.kind == "file" and "siglip" in source.model.lower():
            raise CheckpointError(f"architecture {source.model!r} must name its tokenizer (hf_tokenizer_name)")
        return open_clip.get_tokenizer(source.model)
    if source.is_local:
        location = _local_files(source, name, _TOKENIZER_FILES)
    else:
        cached = _cached(name, _TOKENIZER_FILES[:1])
        location = Path(cached).parent if cached else name
    if location is None:
        raise WeightsNotFoundError(
            f"encoder {source.name!r} needs the tokenizer {name!r}, whose files ({_TOKENIZER_FILES[0]}, ...) are "
            "neither beside the weights nor in the Hugging Face cache; put them in the folder of the weights"
        )
    options = {**(text.get("tokenizer_kwargs") or {}), "local_files_only": source.is_local}
    length = text.get("context_length", DEFAULT_CONTEXT_LENGTH)
    try:
        return HFTokenizer(str(location), length, tokenizer_mode=text.get("tokenizer_mode"), **options)
    # transformers raises OSError, ValueError, ImportError and more.
    except Exception as error:
        kind = CheckpointError if source.is_local else WeightsNotFoundError
        raise kind(
            f"encoder {source.name!r}: its tokenizer {str(location)!r} cannot be loaded: {_brief(error)}"
        ) from error


def _local_files(
    source: Source, repository: str, names: Sequence[str], accept: Callable[[Path], bool] = Path.is_file
) -> Path | None:
    """Find the folder with one of these files: beside the weights, else in the hub's cache."""
    beside = [source.folder / name for name in names if source.folder]
    cached = [Path(path) for name in names if (path := _cached(repository, (name,)))]
    return next((path.parent for path in (*beside, *cached) if path.is_file() and accept(path)), None)


def _explain(source: Source, error: Exception) -> str:
    """Say in a line or two why weights could not be loaded."""
    where = f"encoder {source.name!r}"
    if str(source.weights) not in source.name:
        where += f" ({source.weights})"
    text = str(error)
    if "Error(s) in loading state_dict" in text:
        return f"{where} does not fit the architecture. {_shorten_mismatch(text)}"
    # torch's own message begins by recommending the unsafe way; the line that names the cause comes later.
    cause = re.search(r"[^\n]*(?:GLOBAL |class |TorchScript)[^\n]*", text)
    if cause and "weights_only" in text:
        return (
            f"{where} holds more than tensors, and unpickling it could run code; it was refused. "
            f"Where you trust it, convert its state_dict to safetensors first. ({cause.group().strip()[:200]})"
        )
    detail = re.search(r"Unsupported operand[^\n]*", text)
    return (
        f"{where} cannot be loaded; it may be cut short, hold no state_dict, "
        f"or not be what its model_cfg describes: {detail.group() if detail else _brief(error)}"
    )


def _shorten_mismatch(text: str, most: int = 3) -> str:
    """Keep the first few keys of torch's list, which may go on for pages."""
    parts = []
    for title, keys in re.findall(r"(Missing|Unexpected) key\(s\) in state_dict: ([^\n]*)", text):
        names = re.findall(r'"([^"]+)"', keys)
        parts.append(f"{title} keys ({len(names)}): {', '.join(names[:most])}{', ...' if len(names) > most else ''}.")
    sizes = re.findall(r"size mismatch for (\S+): .*?shape torch\.Size\((\S.*?)\).*?torch\.Size\((\S.*?)\)", text)
    shown = [f"{key} (file {found}, model {wanted})" for key, found, wanted in sizes[:most]]
    if shown:
        parts.append(f"Other shapes ({len(sizes)}): {', '.join(shown)}{', ...' if len(sizes) > most else ''}.")
    return " ".join(parts) or text.splitlines()[0]


def _brief(error: BaseException, most: int = 200) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:most]}"


def _scheme(prefix: str) -> Scheme:
    """Names with or without a prefix; open_clip's forms are understood in one place, `parse_source`."""

    def source(rest: Any) -> Source:
        return parse_source(prefix + rest if prefix else rest)  # a path has no prefix

    return Scheme(lambda rest, **settings: _load(source(rest), **settings), source)


PLAIN = _scheme("")
"""Names without a scheme, and paths."""
for _prefix in (HUB_PREFIX, FOLDER_PREFIX):
    ENCODERS.register(_prefix.removesuffix(":"), _scheme(_prefix))
