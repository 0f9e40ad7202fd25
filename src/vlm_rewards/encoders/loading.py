"""From the name of an encoder to an encoder with weights, or a clear error."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
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

from vlm_rewards.encoders.openclip import (
    OpenCLIPEncoder,
    count_parameters,
    fold_batch_norms,
    resolve_batch_size,
    resolve_device,
    resolve_dtype,
)
from vlm_rewards.encoders.sources import CONFIG_FILE, FOLDER_PREFIX, HUB_PREFIX, Source, parse_source, read_config
from vlm_rewards.errors import CheckpointError, MissingExtraError, VLMRewardsError, WeightsNotFoundError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.txt")


def load_encoder(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
) -> OpenCLIPEncoder:
    """Load a image and text encoder.

    ``name`` is one of:

    * ``"bundled"``: the small encoder that comes with the package;
    * ``"ViT-B-32/laion2b_s34b_b79k"``: an architecture and pretrained tag of open_clip;
    * ``"hf-hub:org/name"``: a model on the Hugging Face hub, in open_clip's format;
    * ``"./dir"``, ``"/dir"``, ``"local-dir:dir"`` or a ``Path``: a folder with ``open_clip_config.json``
      and weights;
    * ``"ViT-B-32=/path/x.safetensors"``: an architecture and a file. Preprocessing is what the
      architecture's tags agree on, else open_clip's default; ``"ViT-B-32/openai=/path/x.safetensors"``
      says of which tag preprocessing and activation shall be.

    Only the second and third form touch the network, the second after the name
    has been found to exist. Weights are never random, and a file that is not safetensors
    is read as data: pickled code is refused.

    Args:
        name: What to load.
        device: ``"auto"`` (CUDA where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        dtype: ``"auto"`` (fp32 on the CPU, fp16 elsewhere), ``"fp32"``, ``"bf16"``, ``"fp16"``.
        batch_size: The greatest number of frames that pass through the model at once; if None, 64 on the CPU
            and 256 elsewhere.

    Returns:
        The encoder, ready to be used.

    Raises:
        UnknownNameError: If there is no such architecture, tag, or form of name.
        InvalidInputError: If a setting breaks a rule.
        WeightsNotFoundError: If weights, or a tokenizer, are not there and cannot be downloaded.
        CheckpointError: If what is there is damaged, does not fit, or is unsafe.
        MissingExtraError: If the model needs the ``hf`` extra.
    """
    resolve_dtype(dtype, resolve_device(device))
    resolve_batch_size(batch_size, torch.device("cpu"))
    return _load(parse_source(name), device, dtype, batch_size)


def _load(source: Source, device: str, dtype: str, batch_size: int | None) -> OpenCLIPEncoder:
    source, model, tokenizer = load_parts(source)
    digest = _digest(source.weights)
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "batch_size": batch_size}
    counts = {
        "parameters": count_parameters(model),
        "image_parameters": count_parameters(model.get_submodule("visual")),
    }
    facts = {**_facts(source), **counts, "weights_sha256": digest}
    if resolve_dtype(dtype, resolve_device(device)) == "fp32":
        fold_batch_norms(model.eval().get_submodule("visual"))
    try:
        return OpenCLIPEncoder(
            model,
            tokenizer,
            name=source.name,
            facts=facts,
            reload=(_reload, (_portable_name(source), source.name, settings, digest)),
            **settings,
        )
    except (IndexError, RuntimeError) as error:
        raise CheckpointError(f"encoder {source.name!r}: its parts do not fit each other: {_brief(error)}") from error


def load_parts(source: Source) -> tuple[Source, torch.nn.Module, Any]:
    """Build the model that a source stands for, with its weights and its tokenizer, as open_clip has them.

    Args:
        source: From ``parse_source``.

    Returns:
        The source with its files and configuration known, the model, the tokenizer.

    Raises:
        VLMRewardsError: As ``load_encoder``.
    """
    if source.is_local or source.kind == "pretrained":
        check_config(source)
    source = _download(source)
    if source.weights is None or not source.weights.is_file():
        raise WeightsNotFoundError(f"there is no file of weights {source.weights}")
    tokenizer = build_tokenizer(source)
    return source, _build_model(source), tokenizer


def weights_on_disk(source: Source) -> bool:
    """Whether the weights of a source are here, so that nothing has to be fetched.

    Args:
        source: From ``parse_source``.
    """
    if source.is_local:
        return source.weights is not None and source.weights.is_file()
    return _cached_weights(source) is not None


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
    return {
        "source": source.kind,
        "architecture": source.model if source.kind in ("pretrained", "file") else _architecture(source.config),
        "pretrained_tag": source.tag,
        # The same weights with another activation, or other frames, are another encoder.
        "config_sha256": _config_digest(source),
        # `vlm-rewards finetune` leaves its record beside the weights.
        "in_domain": True if source.kind == "bundled" or _was_finetuned_here(source) else None,
    }


def _config_digest(source: Source) -> str:
    settings = [source.config, source.pretrained_config, source.preprocess]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _was_finetuned_here(source: Source) -> bool:
    return source.folder is not None and (source.folder / "training_record.json").is_file()


def trained_on(name: str) -> tuple[str, ...] | None:
    """Tasks on whose frames `vlm-rewards finetune` trained a model.

    Args:
        name: As `load_encoder` takes it.

    Returns:
        Their names; None where the model was not trained so, or nothing says on what.
    """
    source = parse_source(name)
    if source.folder is None:
        return None
    try:
        record = json.loads((source.folder / "training_record.json").read_text(encoding="utf-8"))
        return tuple(str(task) for task in record["config"]["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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

    Args:
        source: From ``parse_source``, with its configuration known.

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
            f"{where}.vision_cfg.timm_model_name must name an architecture of timm; "
            f"received {vision['timm_model_name']!r}, which timm would look for elsewhere"
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
        raise WeightsNotFoundError(
            f"the weights of encoder {source.name!r} are not on this machine and could not be downloaded "
            f"({_brief(error)}). Without a network: download them elsewhere and pass the folder "
            f"('./dir') or the file ({_file_form(source)}), or use 'bundled'."
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


def _weight_names(file: str) -> tuple[str, ...]:
    """Names under which open_clip looks for a file of weights, safetensors first."""
    file = file or HF_WEIGHTS_NAME
    safe = HF_SAFE_WEIGHTS_NAME if file == HF_WEIGHTS_NAME else str(Path(file).with_suffix(".safetensors"))
    return safe, file


def _cached_weights(source: Source) -> str | None:
    """Find the weights of a model of the hub, or of open_clip's list, in the hub's cache."""
    if source.kind == "hub":
        return _cached(source.model.removeprefix(HUB_PREFIX), _weight_names(""))
    repository, _, file = source.pretrained_config.get("hf_hub", "").rpartition("/")
    return _cached(repository, _weight_names(file))


def _cached(repository: str, names: Sequence[str]) -> str | None:
    """Find a file in the hub's cache, without a question to the hub."""
    found = (huggingface_hub.try_to_load_from_cache(repository, name) for name in names if repository)
    return next((path for path in found if isinstance(path, str)), None)


def _file_form(source: Source) -> str:
    model = f"{source.model}/{source.tag}" if source.kind == "pretrained" else "Architecture"
    return f"'{model}=/path/file.safetensors'"


def _digest(weights: Path | None) -> str:
    if weights is None or not weights.is_file():
        raise WeightsNotFoundError(f"there is no file of weights {weights}")
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    Args:
        source: From ``parse_source``.

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
    """Let open_clip build the tokenizer of a model.

    Args:
        source: From ``parse_source``, with its configuration known.

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
    for name in names:
        if source.folder and (source.folder / name).is_file() and accept(source.folder / name):
            return source.folder
    for name in names:
        cached = _cached(repository, (name,))
        if cached and accept(Path(cached)):
            return Path(cached).parent
    return None


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
