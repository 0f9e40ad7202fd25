"""Models to train: the small vocabulary is exact, freezing freezes, and what is saved is what open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.trainable import (
    KnownTokens,
    TrainableModel,
    build_tiny,
    freeze,
    load_trainable,
    make_loss,
    save_folder,
)
from vlm_rewards.errors import InvalidInputError, VLMRewardsError

CAPTIONS = ["a pole standing upright", "the cart is far to the left, with its pole down", "a car"]


@pytest.fixture
def tiny() -> TrainableModel:
    """The bundled encoder's architecture with random weights."""
    trained = build_tiny()
    trained.model.eval()
    return trained


def test_tiny_is_drawn_from_torchs_generator():
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_tiny().model.state_dict()["visual.trunk.conv_stem.weight"])
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not torch.equal(states[0], states[2])


def test_a_small_vocabulary_and_short_sequences_change_no_embedding(tiny: TrainableModel):
    tokens = tiny.tokenizer(CAPTIONS)
    with torch.no_grad():
        tiny.model.text.token_embedding.weight[0] = 0  # as KnownTokens has it
        expected = tiny.model.encode_text(tokens, normalize=True)
        known = KnownTokens(tiny.model, tokens.unique().tolist())
        longest = int((tokens != 0).sum(1).max())
        with known.short_context(longest):
            short = tiny.model.encode_text(known.compact(tokens)[:, :longest], normalize=True)
        full = tiny.model.encode_text(known.compact(tokens), normalize=True)
    assert longest < tokens.shape[1]
    torch.testing.assert_close(short, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(full, expected, atol=1e-5, rtol=0)


def test_tokens_that_were_never_seen_end_up_as_zeros(tiny: TrainableModel):
    seen = tiny.tokenizer(CAPTIONS).unique().tolist()
    before = tiny.model.text.token_embedding.weight.detach().clone()
    known = KnownTokens(tiny.model, seen)
    assert known.compact(tiny.tokenizer(["a zebra"])).tolist()[0][2] == 0
    known.restore()
    after = tiny.model.text.token_embedding.weight.detach()
    assert after.shape == before.shape
    kept = torch.tensor([token for token in seen if token != 0])
    torch.testing.assert_close(after[kept], before[kept])
    others = torch.ones(len(after), dtype=torch.bool)
    others[kept] = False
    assert not after[others].any()


def test_saved_in_fp16_and_loaded_by_open_clip_gives_the_same_embeddings(tiny: TrainableModel, tmp_path: Path):
    save_folder(tiny, tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    loaded = load_encoder(tmp_path, device="cpu")
    encoder = tiny.encoder()
    assert loaded.image_size == 96
    np.testing.assert_allclose(loaded.embed_images(pictures), encoder.embed_images(pictures), atol=1e-3)
    np.testing.assert_allclose(loaded.embed_texts(CAPTIONS), encoder.embed_texts(CAPTIONS), atol=1e-3)
    theirs = open_clip.create_model(f"local-dir:{tmp_path}", require_pretrained=True).eval()
    with torch.no_grad():
        said = theirs.encode_text(open_clip.get_tokenizer(f"local-dir:{tmp_path}")(CAPTIONS), normalize=True)
    np.testing.assert_allclose(said.numpy(), encoder.embed_texts(CAPTIONS), atol=1e-3)


@pytest.mark.slow
def test_a_saved_model_can_be_gone_on_from(tiny: TrainableModel, tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    save_folder(tiny, first)
    again = load_trainable(str(first))
    assert not again.from_scratch
    assert again.preprocessing == tiny.preprocessing
    save_folder(again, second)
    configs = [json.loads((folder / "open_clip_config.json").read_text())["model_cfg"] for folder in (first, second)]
    assert configs[0] == configs[1]
    embedded = [load_encoder(folder, device="cpu").embed_texts(CAPTIONS) for folder in (first, second)]
    np.testing.assert_array_equal(embedded[0], embedded[1])


@pytest.mark.parametrize("part", ["image", "text"])
def test_freezing_a_tower_leaves_the_other_to_train(tiny: TrainableModel, part: str):
    freeze(tiny.model, part)
    frozen = {name for name, p in tiny.model.named_parameters() if not p.requires_grad}
    wanted = {"image": "visual.", "text": "text."}[part]
    assert frozen == {name for name, _ in tiny.model.named_parameters() if name.startswith(wanted)}


def test_freeze_none_freezes_nothing(tiny: TrainableModel):
    freeze(tiny.model, "none")
    assert all(p.requires_grad for p in tiny.model.parameters())


@pytest.mark.parametrize(
    ("part", "last"), [("image", "visual.trunk.classifier.weight"), ("text", "text.text_projection")]
)
def test_unlocked_groups_are_the_last_ones(tiny: TrainableModel, part: str, last: str):
    freeze(tiny.model, part, 1)
    prefix = last.split(".", maxsplit=1)[0]
    tower = {name: p.requires_grad for name, p in tiny.model.named_parameters() if name.startswith(prefix)}
    assert tower[last]
    assert sum(tower.values()) < len(tower) / 2


@pytest.mark.parametrize("part", ["image", "text"])
def test_more_unlocked_groups_than_there_are_is_refused(tiny: TrainableModel, part: str):
    with pytest.raises(InvalidInputError, match=f"unlocked_groups must be smaller than .* {part} tower, got 99"):
        freeze(tiny.model, part, 99)


def test_siglip_begins_with_its_own_temperature_and_bias():
    model = build_tiny("siglip").model
    assert float(model.logit_scale.detach().exp()) == pytest.approx(10, rel=1e-5)
    assert float(model.logit_bias.detach()) == -10


def test_losses_by_hand():
    vectors = torch.eye(2)
    # Logits 1 on the diagonal, 0 beside it: cross-entropy is log(1 + e^-1) for every row and column.
    assert float(make_loss("clip")(vectors, vectors, torch.tensor(1.0))) == pytest.approx(0.313262, abs=1e-5)
    # A pair: -log sigmoid(1); no pair: -log sigmoid(0); summed over 4, divided by 2 frames.
    expected = (2 * 0.313262 + 2 * 0.693147) / 2
    assert float(make_loss("siglip")(vectors, vectors, torch.tensor(1.0), torch.tensor(0.0))) == pytest.approx(
        expected, abs=1e-5
    )


def test_an_unknown_model_is_refused_as_by_load_encoder():
    with pytest.raises(VLMRewardsError, match="ViT-B-23"):
        load_trainable("ViT-B-23/openai")
