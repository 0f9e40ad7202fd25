"""Batched preprocessing against open_clip's transform of single PIL frames."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from vlm_rewards.encoders.openclip import Preprocessing
from vlm_rewards.errors import CheckpointError

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def make(**changes):
    return {"size": 96, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest", **changes}


def twin(config, frames):
    """open_clip's own, one frame at a time: float32 [n 3 h w], not normalised, 0 to 255."""
    transform = image_transform_v2(PreprocessCfg(**{**config, "mean": (0,) * 3, "std": (1,) * 3}), is_train=False)
    return torch.stack([transform(Image.fromarray(frame)) for frame in frames]) * 255


def channels_first(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(3, 300),
    width=st.integers(3, 300),
    size=st.sampled_from([64, 97, (64, 64), (48, 96), [96, 48]]),
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear", "random"]),
    fill=st.sampled_from([0, 114]),
)
def test_close_to_pil(height, width, size, mode, interpolation, fill):
    config = make(size=size, resize_mode=mode, interpolation=interpolation, fill_color=fill)
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    frames = np.stack(
        [np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC)) for c in coarse]
    )
    ours = Preprocessing.from_config(config).fit(channels_first(frames))
    theirs = twin(config, frames)
    assert ours.dtype == torch.uint8
    assert ours.shape == theirs.shape
    difference = (ours.float() - theirs).abs()
    assert difference.mean() <= 0.5
    assert difference.max() <= 2.01


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_exact_where_nothing_is_resized(rng, mode):
    frames = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    config = make(resize_mode=mode)
    pixels = channels_first(frames)
    preprocessing = Preprocessing.from_config(config)
    assert preprocessing.fit(pixels) is pixels
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    theirs = torch.stack([transform(Image.fromarray(frame)) for frame in frames])
    torch.testing.assert_close(preprocessing(pixels).contiguous(), theirs, rtol=0, atol=1e-6)


def test_input_is_not_changed(rng):
    frames = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    before = frames.copy()
    Preprocessing.from_config(make())(channels_first(frames))
    np.testing.assert_array_equal(frames, before)


def test_normalisation_by_hand():
    # Grey level 51 is 0.2; (0.2 - 0.1) / 0.4 = 0.25, (0.2 - 0.2) / 0.4 = 0, (0.2 - 0.6) / 0.4 = -1.
    preprocessing = Preprocessing.from_config(make(size=1, mean=(0.1, 0.2, 0.6), std=0.4))
    values = preprocessing(torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(values, torch.tensor([0.25, 0.0, -1.0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "size", "shape"),
    [
        ("shortest", 96, (96, 144)),  # 320 -> 96, so 480 * 96 / 320
        ("longest", 96, (64, 96)),  # 480 -> 96, so 320 * 96 / 480
        ("squash", 96, (96, 96)),
        ("shortest", (96, 192), (128, 192)),  # 320 / 96 = 3.33, 480 / 192 = 2.5: scaled by the smaller
        ("longest", (96, 192), (96, 144)),
    ],
)
def test_resized_shape_by_hand(mode, size, shape):
    assert Preprocessing.from_config(make(size=size, resize_mode=mode)).resized_shape(320, 480) == shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize_mode": "tile"}, "preprocess_cfg.resize_mode .* one of shortest, longest, squash, got 'tile'"),
        ({"interpolation": "lanczos"}, "preprocess_cfg.interpolation .* got 'lanczos'"),
        ({"mean": (0.1, 0.2)}, r"mean and std for 3 channels, got \(0.1, 0.2\)"),
    ],
)
def test_unknown_settings(changes, message):
    with pytest.raises(CheckpointError, match=message):
        Preprocessing.from_config(make(**changes))


def test_only_uint8_is_fitted():
    with pytest.raises(TypeError, match=r"pixels must be uint8, not torch.float32"):
        Preprocessing.from_config(make()).fit(torch.zeros(1, 3, 8, 8))
