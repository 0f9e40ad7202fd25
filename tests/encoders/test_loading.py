"""The folder, file and name paths give what open_clip itself gives."""

import pickle
import threading

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.checkpoints import _load
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import CheckpointError

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("RN50", "coca_ViT-B-32")]
ARCHITECTURES = ["ViT-B-32", "ViT-B-16-SigLIP", *SLOW]
PROMPTS = ["a humanoid robot kneeling", "the pole on top of the cart", "car"]


def images_of(reference, frames):
    """Embed one frame after the other, as open_clip's documentation does."""
    with torch.no_grad():
        rows = [
            reference.model.encode_image(reference.transform(Image.fromarray(frame))[None], normalize=True)
            for frame in frames
        ]
    return torch.cat(rows).numpy()


def texts_of(reference, prompts):
    with torch.no_grad():
        return reference.model.encode_text(reference.tokenizer(prompts), normalize=True).numpy()


def assert_same(encoder, reference, frames, atol=1e-5):
    assert encoder.embed_images(frames).dtype == np.float32
    np.testing.assert_allclose(encoder.embed_images(frames), images_of(reference, frames), atol=atol)
    np.testing.assert_allclose(encoder.embed_texts(PROMPTS), texts_of(reference, PROMPTS), atol=1e-5)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestPathsAgreeWithOpenClip:
    def test_folder(self, architecture, model_folder, reference, pictures):
        folder = model_folder(architecture)
        encoder = load_encoder(str(folder), device="cpu")
        frames = pictures(5, encoder.image_size, encoder.image_size)
        assert_same(encoder, reference(folder), frames)
        assert isinstance(encoder, ImageTextEncoder)
        assert encoder.describe()["source"] == "folder"

    def test_file(self, architecture, model_folder, reference, pictures, small_architectures):
        folder = model_folder(architecture)
        name = f"{architecture}={folder / 'open_clip_model.safetensors'}"
        encoder = load_encoder(name, device="cpu")
        # No tag says otherwise, so that the architecture's own activation holds, as in the folder.
        assert_same(encoder, reference(folder), pictures(5, encoder.image_size, encoder.image_size))
        assert encoder.describe()["architecture"] == architecture

    def test_name(self, architecture, model_folder, reference, pictures, cache_model):
        name = cache_model(architecture)
        quick = name.endswith("/openai")
        encoder = load_encoder(name, device="cpu")
        frames = pictures(5, encoder.image_size, encoder.image_size)
        assert_same(encoder, reference(model_folder(architecture), force_quick_gelu=quick), frames)
        assert encoder.name == name
        assert encoder.describe()["pretrained_tag"] == name.split("/")[1]

    def test_hub(self, architecture, model_folder, reference, pictures, hub_cache):
        hub_cache("somebody/model", model_folder(architecture))
        if "SigLIP" in architecture:
            hub_cache("timm/ViT-B-16-SigLIP", model_folder(architecture))
        encoder = load_encoder("hf-hub:somebody/model", device="cpu")
        frames = pictures(3, encoder.image_size, encoder.image_size)
        assert_same(encoder, reference(model_folder(architecture)), frames)

    def test_pictures_of_other_sizes(self, architecture, model_folder, reference, pictures):
        folder = model_folder(architecture)
        encoder = load_encoder(folder, device="cpu")
        frames = pictures(3, 150, 333)
        # PIL and torch round a few resized pixels to another side.
        assert_same(encoder, reference(folder), frames, atol=5e-3)


def test_name_takes_the_activation_from_the_tag(cache_model, model_folder, pictures, small_architectures):
    # open_clip only warns that ViT-B-32/openai was trained with another GELU than ViT-B-32 has.
    named = load_encoder(cache_model("ViT-B-32"), device="cpu")
    file = model_folder("ViT-B-32") / "open_clip_model.safetensors"
    assert any("QuickGELU" in type(module).__name__ for module in named._model.modules())
    plain = load_encoder(f"ViT-B-32={file}", device="cpu")
    tagged = load_encoder(f"ViT-B-32/openai={file}", device="cpu")
    frames = pictures(2, 64, 64)
    np.testing.assert_array_equal(named.embed_images(frames), tagged.embed_images(frames))
    assert np.abs(named.embed_images(frames) - plain.embed_images(frames)).max() > 1e-4


def test_file_takes_the_preprocessing_on_which_the_tags_agree(model_folder, small_architectures):
    siglip = load_encoder(f"ViT-B-16-SigLIP={model_folder('ViT-B-16-SigLIP') / 'open_clip_model.safetensors'}")
    assert siglip.preprocessing.mean == (0.5, 0.5, 0.5)
    assert siglip.preprocessing.resize_mode == "squash"


def test_name_downloads_what_is_not_in_the_cache(model_folder, small_architectures, hub_cache, monkeypatch):
    asked = []

    def download(entry):
        asked.append(entry["hf_hub"])
        return str(model_folder("RN50") / "open_clip_model.safetensors")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    assert load_encoder("RN50/openai", device="cpu").embedding_dim == 48
    assert asked == [open_clip.get_pretrained_cfg("RN50", "openai")["hf_hub"]]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".ckpt"])
def test_files_of_torch_are_loaded(suffix, model_folder, small_architectures, tmp_path, pictures):
    folder = load_encoder(model_folder("RN50"), device="cpu")
    state = open_clip.factory.load_state_dict(str(model_folder("RN50") / "open_clip_model.safetensors"))
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / f"x{suffix}"
    )
    encoder = load_encoder(f"RN50={tmp_path}/x{suffix}", device="cpu")
    np.testing.assert_array_equal(encoder.embed_images(pictures(2, 64, 64)), folder.embed_images(pictures(2, 64, 64)))


@pytest.mark.usefixtures("no_network")
def test_path_forms_of_a_folder(model_folder, monkeypatch):
    folder = model_folder("ViT-B-32")
    monkeypatch.chdir(folder.parent)
    names = [
        "./ViT-B-32",
        str(folder),
        "local-dir:ViT-B-32",
        f"local-dir:{folder}",
        f"../{folder.parent.name}/ViT-B-32",
    ]
    encoders = [load_encoder(name, device="cpu") for name in [*names, folder]]
    assert [encoder.name for encoder in encoders] == [*names, str(folder)]
    assert len({encoder.describe()["weights_sha256"] for encoder in encoders}) == 1


@pytest.mark.usefixtures("no_network")
def test_text_tower_of_transformers_is_found_beside_the_weights(tmp_path, save_folder, monkeypatch, reference):
    from transformers import RobertaConfig

    tower = RobertaConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, pad_token_id=0
    )
    tower.save_pretrained(tmp_path / "tower")
    text = {"hf_model_name": str(tmp_path / "tower"), "hf_model_pretrained": False, "hf_proj_type": "linear"}
    text |= {"hf_tokenizer_name": "roberta-base", "hf_pooler_type": "mean_pooler", "context_length": 12}
    vision = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    config = {"embed_dim": 32, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    folder = tmp_path / "model"
    save_folder(folder, config, {})
    expected = texts_of(reference(folder), PROMPTS)
    # The configuration as it is shipped names the hub, which must not be asked.
    written = (folder / "open_clip_config.json").read_text().replace(str(tmp_path / "tower"), "roberta-base")
    (folder / "open_clip_config.json").write_text(written)
    tower.save_pretrained(folder)
    encoder = load_encoder(folder, device="cpu")
    np.testing.assert_allclose(encoder.embed_texts(PROMPTS), expected, atol=1e-5)


def test_description_counts_and_digests(model_folder):
    folder = model_folder("RN50")
    facts = load_encoder(folder, device="cpu", batch_size=3).describe()
    state = open_clip.factory.load_state_dict(str(folder / "open_clip_model.safetensors"))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    # Folding batch norms for speed must not show in the records.
    assert facts["parameters"] == sum(value.numel() for key, value in state.items() if not key.endswith(statistics))
    assert facts["batch_size"] == 3
    assert facts["dtype"] == "fp32"
    assert facts["in_domain"] is None
    assert len(facts["weights_sha256"]) == 64


@pytest.mark.parametrize("form", ["folder", "file"])
def test_pickle_carries_no_weights(form, model_folder, small_architectures, pictures, monkeypatch, tmp_path):
    folder = model_folder("RN50")
    monkeypatch.chdir(folder.parent)
    name = "./RN50" if form == "folder" else "RN50=RN50/open_clip_model.safetensors"
    encoder = load_encoder(name, device="cpu", batch_size=2)
    data = pickle.dumps(encoder)
    assert len(data) < 1000
    monkeypatch.chdir(tmp_path)
    copy = pickle.loads(data)
    assert copy.name == name
    assert copy.describe() == encoder.describe()
    np.testing.assert_array_equal(copy.embed_images(pictures(3, 64, 64)), encoder.embed_images(pictures(3, 64, 64)))


def test_unpickling_notices_other_weights(tmp_path, model_folder):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in model_folder("ViT-B-32").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = pickle.dumps(load_encoder(folder, device="cpu"))
    weights = folder / "open_clip_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="weights have changed since it was pickled"):
        pickle.loads(data)


def test_bundled_says_that_it_is_in_domain(model_folder, monkeypatch, no_network):
    folder = model_folder("ViT-B-32")
    monkeypatch.setattr("vlm_rewards.encoders.sources.bundled_folder", lambda: folder)
    encoder = load_encoder("bundled", device="cpu")
    assert encoder.name == "bundled"
    assert encoder.describe()["in_domain"] is True


@pytest.mark.slow
def test_threads_share_an_encoder(model_folder, pictures):
    encoder = load_encoder(model_folder("ViT-B-16-SigLIP"), device="cpu")
    frames = pictures(4, 64, 64)
    expected = encoder.embed_images(frames), encoder.embed_texts(PROMPTS)
    results = []

    def work():
        results.append((encoder.embed_images(frames), encoder.embed_texts(PROMPTS)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for images, texts in results:
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(texts, expected[1])


def test_load_never_returns_random_weights(model_folder, monkeypatch):
    # Two loads would differ if any weight were drawn anew.
    source = parse_source(model_folder("RN50"))
    first, second = (_load(source, "cpu", "fp32", None) for _ in range(2))
    for a, b in zip(first._model.state_dict().values(), second._model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
