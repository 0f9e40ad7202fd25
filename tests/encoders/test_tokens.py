"""Prompts are counted before anything could cut them, for each of open_clip's tokenizers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer

from vlm_rewards.encoders.openclip import PromptTokenizer
from vlm_rewards.errors import InvalidInputError

WORDS = ["a", "the", "red", "robot", "standing", "up", "pole", "cart", "car", "on", "of", "top"]


@pytest.fixture(scope="module")
def tokenizers(model_folder):
    folder = model_folder("ViT-B-16-SigLIP")
    hub = HFTokenizer(str(folder), context_length=12, clean="canonicalize")
    clips = HFTokenizer(str(folder), context_length=12, tokenizer_mode="clips")
    clips.tokenizer.add_special_tokens({"bos_token": "<bos>", "cls_token": "<cls>"})
    # Its constructor downloads a vocabulary; what it does with prompts is what counts here.
    siglip = object.__new__(SigLipTokenizer)
    siglip.tokenizer, siglip.context_length = HFTokenizer(str(folder)).tokenizer, 12
    simple = SimpleTokenizer(context_length=12)
    return {"simple": simple, "hub": hub, "clips": clips, "siglip": siglip}


SPECIAL = {"simple": 2, "hub": 1, "siglip": 1, "clips": 3}


@pytest.mark.parametrize("kind", list(SPECIAL))
@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=25))
def test_fits_or_is_refused(tokenizers, kind, words):
    # Each of these words is one token for each of the tokenizers.
    tokenize = PromptTokenizer(tokenizers[kind])
    count = len(words) + SPECIAL[kind]
    assert tokenize.count(" ".join(words)) == count
    if count <= 12:
        rows = tokenize([" ".join(words)])
        assert rows.shape == (1, 12)
        assert rows.dtype == torch.int64
        torch.testing.assert_close(rows, tokenizers[kind]([" ".join(words)]))
    else:
        with pytest.raises(InvalidInputError, match=f"context of 12 tokens, got {count} tokens, start and end"):
            tokenize([" ".join(words)])


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_prompts_are_never_cut(tokenizers, kind):
    prompt = " ".join(WORDS[: 12 - SPECIAL[kind]])
    row = PromptTokenizer(tokenizers[kind])([prompt])[0]
    # The last word that fits is still there: without it, the tokens differ.
    shorter = PromptTokenizer(tokenizers[kind])([prompt.rsplit(" ", 1)[0]])[0]
    assert not torch.equal(row, shorter)


@pytest.mark.parametrize("kind", ["hub", "siglip"])
def test_prompt_of_which_cleaning_leaves_nothing(tokenizers, kind):
    with pytest.raises(InvalidInputError, match=r"prompts\[0\] must hold more than this tokenizer's cleaning removes"):
        PromptTokenizer(tokenizers[kind])(["?!"])


def test_cleaning_comes_before_counting(tokenizers):
    # Canonical text has no punctuation, so that none of it counts.
    assert PromptTokenizer(tokenizers["hub"]).count("a, robot!!! ...") == 3


def test_random_masks_are_switched_off():
    tokenizer = SimpleTokenizer(context_length=8, reduction_mask="shuffle")
    with pytest.raises(InvalidInputError, match="context of 8 tokens, got 9 tokens"):
        PromptTokenizer(tokenizer)(["a robot standing up on the top"])


def test_foreign_tokenizer():
    with pytest.raises(InvalidInputError, match="tokenizer must be one of open_clip's, got str"):
        PromptTokenizer("words")
