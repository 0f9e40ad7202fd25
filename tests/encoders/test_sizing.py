"""Models described without their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.random_checkpoint import write_random_checkpoint
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.sizing import check_prompt_lengths, plan_encoder, plan_size
from vlm_rewards.encoders.trainable import SIZES
from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.finetuning.config import FROM_SCRATCH


@pytest.mark.slow
@pytest.mark.parametrize("source", ["bundled", None])
def test_a_plan_is_what_loading_finds(source: str | None, tmp_path: Path) -> None:
    name = source or write_random_checkpoint("ViT-S-32-alt", tmp_path)
    planned, facts = plan_encoder(name), load_encoder(name).describe()
    for key in ("parameters", "image_parameters", "image_size", "embedding_dim", "context_length"):
        assert getattr(planned, key) == facts[key]
    assert planned.origin is None
    assert planned.memory_bytes("fp32") == 4 * planned.parameters
    assert planned.memory_bytes("bf16") == 2 * planned.parameters


@pytest.mark.parametrize(
    ("name", "parameters", "image", "dimension"),
    [  # as open_clip's model_profile.csv has them, in millions
        ("RN50/openai", 102.01, 38.32, 1024),
        ("ViT-L-14/laion2b_s32b_b82k", 427.62, 303.97, 768),
        ("ViT-H-14/laion2b_s32b_b79k", 986.11, 632.08, 1024),
        ("ViT-bigG-14/laion2b_s39b_b160k", 2539.57, 1844.91, 1280),
    ],
)
def test_the_papers_models(name: str, parameters: float, image: float, dimension: int) -> None:
    planned = plan_encoder(name)
    assert planned.parameters / 1e6 == pytest.approx(parameters, abs=0.01)
    assert planned.image_parameters / 1e6 == pytest.approx(image, abs=0.01)
    assert (planned.image_size, planned.embedding_dim, planned.context_length) == (224, dimension, 77)
    assert planned.origin


@pytest.mark.slow
def test_sizes_differ_in_the_image_tower_alone() -> None:
    planned = [plan_size(size) for size in SIZES]
    assert list(SIZES) == list(FROM_SCRATCH)
    images = [one.image_parameters for one in planned]
    assert images == sorted(images)
    assert images[-1] > 10 * images[0]
    assert len({one.parameters - one.image_parameters for one in planned}) == 1
    bundled = load_encoder("bundled").describe()
    assert (planned[1].parameters, images[1]) == (bundled["parameters"], bundled["image_parameters"])


def test_what_cannot_be_planned() -> None:
    with pytest.raises(UnknownNameError, match="unknown size 'huge'"):
        plan_size("huge")
    with pytest.raises(UnknownNameError, match="unknown pretrained tag of ViT-L-14 'openia'"):
        plan_encoder("ViT-L-14/openia")
    with pytest.raises(InvalidInputError, match="cannot be planned: what it is stands in its repository alone"):
        plan_encoder("hf-hub:org/name")


@pytest.mark.usefixtures("no_network")
def test_a_text_tower_that_would_be_fetched() -> None:
    with pytest.raises(InvalidInputError, match="its text tower 'roberta-base' is stands in a repository of its own"):
        plan_encoder("roberta-ViT-B-32/laion2b_s12b_b32k")


@pytest.mark.usefixtures("no_network")
def test_prompts_are_read_by_the_tokenizers_that_are_here() -> None:
    for name, most in (("bundled", 48), ("RN50/openai", 77)):
        check_prompt_lengths(name, ["a pole", "a cart"])
        with pytest.raises(InvalidInputError, match=f"must fit the model's context of {most} tokens, got 102"):
            check_prompt_lengths(name, ["a pole", "pole " * 100])
    for elsewhere in ("hf-hub:org/name", "ViT-B-16-SigLIP/webli"):
        check_prompt_lengths(elsewhere, ["pole " * 100])  # whose tokenizer would have to be fetched
