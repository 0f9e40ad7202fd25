"""Batches, dtypes and input checks of the open_clip encoder."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder, resolve_batch_size, resolve_device, resolve_dtype
from vlm_rewards.errors import CheckpointError, InvalidInputError, VLMRewardsError


@pytest.fixture
def encoder(model_folder):
    return load_encoder(model_folder("ViT-B-32"), device="cpu")


@pytest.fixture(scope="module")
def module_encoder(model_folder):
    return load_encoder(model_folder("RN50"), device="cpu")


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 13), batch_size=st.integers(1, 8), seed=st.integers(0, 99))
def test_any_number_in_chunks_of_any_size(module_encoder, n, batch_size, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (n, 40, 70, 3), dtype=np.uint8)
    whole = module_encoder.embed_images(frames)
    assert whole.shape == (n, 48)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    one_by_one = np.concatenate([module_encoder.embed_images(frame[None]) for frame in frames])
    np.testing.assert_allclose(whole, one_by_one, atol=1e-5)
    module_encoder._batch_size, before = batch_size, module_encoder._batch_size
    chunked = module_encoder.embed_images(frames)
    module_encoder._batch_size = before
    np.testing.assert_allclose(whole, chunked, atol=1e-5)


def test_batches_are_never_larger_than_the_limit(model_folder, monkeypatch, pictures):
    encoder = load_encoder(model_folder("ViT-B-32"), device="cpu", batch_size=4)
    sizes = []
    inner = encoder._model.encode_image
    monkeypatch.setattr(
        encoder._model, "encode_image", lambda x, **kwargs: (sizes.append(len(x)), inner(x, **kwargs))[1]
    )
    encoder.embed_images(pictures(10, 64, 64))
    assert sizes == [4, 4, 2]


def test_same_batch_same_bits(encoder, pictures):
    frames = pictures(9, 50, 80)
    np.testing.assert_array_equal(encoder.embed_images(frames), encoder.embed_images(frames.copy()))


@pytest.mark.parametrize("view", ["read-only", "reversed", "strided", "fortran", "list"])
def test_any_memory_layout(encoder, pictures, view):
    frames = pictures(4, 64, 64)
    views = {
        "read-only": np.frombuffer(frames.tobytes(), np.uint8).reshape(frames.shape),
        "reversed": frames[::-1, ::-1].copy()[::-1, ::-1],
        "strided": np.repeat(frames, 2, axis=1)[:, ::2],
        "fortran": np.asfortranarray(frames),
        "list": list(frames),
    }
    before = frames.copy()
    np.testing.assert_array_equal(encoder.embed_images(views[view]), encoder.embed_images(frames))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 8, 8, 3)), "frames must be uint8 .0 to 255., got dtype float64"),
        (np.zeros((2, 8, 8, 3), np.int64), "frames must be uint8 .0 to 255., got dtype int64"),
        (np.zeros((8, 8, 3), np.uint8), r"frames must have shape \[n h w 3\] .*, got \(8, 8, 3\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"frames must have shape \[n h w 3\] .*, got \(2, 8, 8, 4\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"frames must have shape \[n h w 3\] .*, got \(2, 3, 8, 8\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"with n, h, w >= 1, got \(0, 8, 8, 3\)"),
        (np.zeros((2, 0, 8, 3), np.uint8), r"with n, h, w >= 1, got \(2, 0, 8, 3\)"),
    ],
)
def test_frames_that_are_refused(encoder, frames, message):
    with pytest.raises(InvalidInputError, match=message):
        encoder.embed_images(frames)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("a cat", "prompts must be a list of strings, got 'a cat'"),
        (3, "prompts must be a list of strings, got 3"),
        ([], "prompts must hold at least one sentence, got none"),
        (["a cat", 3], r"prompts\[1\] must be a string, got 3"),
        (["a cat", " \n"], r"prompts\[1\] must not be empty"),
        (["cat " * 15], r"prompts\[0\] must fit the model's context of 16 tokens, got 17 tokens"),
    ],
)
def test_prompts_that_are_refused(encoder, prompts, message):
    with pytest.raises(InvalidInputError, match=message):
        encoder.embed_texts(prompts)


def test_longest_prompt_that_fits(encoder):
    assert encoder.context_length == 16
    assert encoder.embed_texts(["cat " * 14, "dog"]).shape == (2, 32)


@pytest.mark.parametrize("architecture", ["ViT-B-32", "RN50", "ViT-B-16-SigLIP", "coca_ViT-B-32"])
def test_bf16_holds_for_pictures_and_text(architecture, model_folder, pictures):
    exact = load_encoder(model_folder(architecture), device="cpu")
    rough = load_encoder(model_folder(architecture), device="cpu", dtype="bf16")
    frames, prompts = pictures(4, 64, 64), ["a robot standing", "car"]
    kinds = {
        p.dtype for m in rough._model.modules() if not isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters(False)
    }
    assert kinds == {torch.bfloat16}
    for method, items in (("embed_images", frames), ("embed_texts", prompts)):
        a, b = getattr(exact, method)(items), getattr(rough, method)(items)
        assert b.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1, atol=1e-6)
        assert not np.array_equal(a, b)
        assert (a * b).sum(axis=1).min() > 0.995
    assert rough.describe()["dtype"] == "bf16"


def test_overflow_is_noticed(encoder, pictures):
    with torch.no_grad():
        encoder._model.visual.conv1.weight.fill_(float("inf"))
    with pytest.raises(VLMRewardsError, match="embeddings that are not finite in dtype 'fp32'"):
        encoder.embed_images(pictures(1, 64, 64))


def memory_model(config, **changes):
    torch.manual_seed(0)
    model = open_clip.CLIP(**{**config, **changes})
    size = model.visual.image_size
    preprocess = {"size": size, "mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bicubic"}
    open_clip.set_model_preprocess_cfg(model, preprocess)
    return model


CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def test_model_in_memory(pictures):
    model = memory_model(CONFIG)
    encoder = OpenCLIPEncoder(model, open_clip.SimpleTokenizer(context_length=8), name="mine")
    assert encoder.embed_images(pictures(2, 32, 32)).shape == (2, 16)
    # A model that is being trained must be able to go on.
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(TypeError, match="'mine' was made from a model in memory and cannot be pickled"):
        encoder.__reduce__()


def test_model_that_is_not_square(pictures):
    vision = {**CONFIG["vision_cfg"], "image_size": (32, 64)}
    model = memory_model(CONFIG, vision_cfg=vision)
    encoder = OpenCLIPEncoder(model, open_clip.SimpleTokenizer(context_length=8), name="wide")
    assert encoder.image_size == 64
    assert encoder.embed_images(pictures(2, 90, 90)).shape == (2, 16)


def test_towers_of_different_dimensions():
    model = memory_model(CONFIG)
    model.text_projection = torch.nn.Parameter(torch.zeros(16, 8) + 0.1)
    with pytest.raises(CheckpointError, match="embeds frames in 16 dimensions and text in 8"):
        OpenCLIPEncoder(model, open_clip.SimpleTokenizer(context_length=8), name="odd")


@pytest.mark.parametrize(
    ("has_cuda", "device", "expected"),
    [
        (False, "auto", ("cpu", "fp32", 64)),
        (True, "auto", ("cuda", "fp16", 256)),
        (True, "cpu", ("cpu", "fp32", 64)),
    ],
)
def test_what_auto_stands_for(has_cuda, device, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    resolved = resolve_device(device)
    assert (resolved.type, resolve_dtype("auto", resolved), resolve_batch_size(None, resolved)) == expected
    assert resolve_dtype("fp32", resolved) == "fp32"
