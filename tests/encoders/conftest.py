"""Small models of open_clip with random weights, saved to disk as open_clip saves them."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory
from safetensors.torch import save_file

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
# Shrunk, but each with the parts of the architecture whose name it bears.
CONFIGS = {
    "ViT-B-32": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "RN50": {
        "embed_dim": 48,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": TEXT,
    },
    "ViT-B-16-SigLIP": {
        "embed_dim": 192,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 200,
            "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 192,
            "heads": 3,
            "layers": 2,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
        },
    },
    "coca_ViT-B-32": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "layers": 2,
            "width": 64,
            "head_width": 32,
            "patch_size": 16,
            "attentional_pool": True,
            "attn_pooler_heads": 4,
            "output_tokens": True,
        },
        "text_cfg": {**TEXT, "context_length": 15, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 15, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
}
TAGS = {"ViT-B-32": "openai", "RN50": "openai", "ViT-B-16-SigLIP": "webli", "coca_ViT-B-32": "laion2b_s13b_b90k"}
SIGLIP_PREPROCESS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


WORDS = ["a", "the", "red", "robot", "humanoid", "kneeling", "standing", "up", "pole", "cart", "car", "on", "of", "top"]


def _tokenizer_files(folder):
    """A word-level stand-in for SigLIP's sentencepiece tokenizer; files as transformers writes them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=12
    )
    wrapped.save_pretrained(folder)


def _random_model(config):
    """Random weights, batch norm statistics included, as those of a trained model would be."""
    torch.manual_seed(0)
    kind = open_clip.CLIP
    if config.get("custom_text"):
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    model = kind(**{key: value for key, value in config.items() if key != "custom_text"})
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def _save_folder(folder, config, preprocess):
    folder.mkdir(parents=True)
    content = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    state = {key: value.contiguous().clone() for key, value in _random_model(config).state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    if "hf_tokenizer_name" in config["text_cfg"]:
        _tokenizer_files(folder)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A function from the name of an architecture to a folder with such a model, made once."""
    root = tmp_path_factory.mktemp("models")

    def make(name):
        preprocess = SIGLIP_PREPROCESS if "SigLIP" in name else {"mean": CLIP_MEAN, "std": CLIP_STD}
        folder = root / name
        if not folder.exists():
            _save_folder(folder, CONFIGS[name], preprocess)
        return folder

    return make


@pytest.fixture
def save_folder():
    """A function that saves a model of any configuration."""
    return _save_folder


@pytest.fixture
def small_architectures(monkeypatch):
    """open_clip's own names stand for the shrunk architectures."""
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS, **CONFIGS})


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A cache of the hub as it is after downloads: a function that puts a folder's files there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repository, folder):
        cached = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (cached / "refs").mkdir(parents=True)
        (cached / "refs" / "main").write_text("abc")
        (cached / "snapshots").mkdir()
        (cached / "snapshots" / "abc").symlink_to(folder, target_is_directory=True)

    return put


@pytest.fixture
def reference():
    """open_clip's own pipeline: a model and its PIL transform and tokenizer, one frame at a time."""

    def load(folder, **options):
        logging.disable(logging.WARNING)
        name = f"local-dir:{folder}"
        model, transform = open_clip.create_model_from_pretrained(name, **options)
        logging.disable(logging.NOTSET)
        return SimpleNamespace(model=model.eval(), transform=transform, tokenizer=open_clip.get_tokenizer(name))

    return load


@pytest.fixture
def pictures():
    """A function that draws n smooth, colourful frames."""

    def draw(n, height, width, seed=0):
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:height, :width] / max(height, width)
        waves = rng.uniform(2, 20, (n, 3, 2)), rng.uniform(0, 6, (n, 3))
        angle = waves[0][..., 0, None, None] * rows + waves[0][..., 1, None, None] * columns + waves[1][..., None, None]
        return np.ascontiguousarray((127.5 + 127.5 * np.sin(angle)).transpose(0, 2, 3, 1).astype(np.uint8))

    return draw


@pytest.fixture
def cache_model(hub_cache, model_folder, small_architectures):
    """A function that makes ``Architecture/tag`` an already downloaded model, and returns that name."""

    def cache(architecture):
        tag = TAGS[architecture]
        entry = open_clip.get_pretrained_cfg(architecture, tag)["hf_hub"]
        hub_cache(str(Path(entry)) if entry.endswith("/") else str(Path(entry).parent), model_folder(architecture))
        return f"{architecture}/{tag}"

    return cache
