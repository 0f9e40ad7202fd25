"""Prompts to tokens, with nothing cut off on the way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from open_clip import SimpleTokenizer
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, basic_clean, canonicalize_text

from vlm_rewards.errors import InvalidInputError


class PromptTokenizer:
    """A model's own tokenizer, which refuses what it would otherwise cut.

    Args:
        tokenizer: One of open_clip's three tokenizers.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not isinstance(tokenizer, SimpleTokenizer | HFTokenizer | SigLipTokenizer):
            raise InvalidInputError(f"tokenizer must be one of open_clip's; received {type(tokenizer).__name__}")
        if isinstance(tokenizer, SimpleTokenizer):
            # Masks shorten captions at random during training; here nothing is shortened.
            tokenizer.reduction_fn = None
        self._tokenizer: Any = tokenizer
        # Tokenizers of transformers hold their padding rule as mutable state.
        self._lock = threading.Lock()

    @property
    def context_length(self) -> int:
        """The greatest number of tokens, the special ones included."""
        return int(self._tokenizer.context_length)

    def count(self, prompt: str) -> int:
        """Count the tokens of one prompt, the special ones included, before any cut.

        Args:
            prompt: The sentence.
        """
        with self._lock:
            return self._count(prompt)

    def word_tokens(self, word: str) -> list[int]:
        """Ids of a word's tokens, without special ones; empty for tokenizers of transformers.

        Args:
            word: One word.
        """
        return list(self._tokenizer.encode(word)) if isinstance(self._tokenizer, SimpleTokenizer) else []

    def _count(self, prompt: str) -> int:
        if isinstance(self._tokenizer, SimpleTokenizer):
            return len(self._tokenizer.encode(prompt)) + 2
        plain = {"padding": False, "truncation": False, "verbose": False}
        inner = self._tokenizer.tokenizer
        if getattr(self._tokenizer, "tokenizer_mode", "") == "clips":
            # Start, end and class token are added by open_clip.
            return len(inner(self._clean(prompt), add_special_tokens=False, **plain).input_ids) + 3
        return len(inner(self._clean(prompt), **plain).input_ids)

    def _clean(self, prompt: str) -> str:
        if isinstance(self._tokenizer, SigLipTokenizer):
            return canonicalize_text(basic_clean(prompt))
        return self._tokenizer.clean_fn(prompt)

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        """Tokenize prompts, all of them or none.

        Args:
            prompts: The sentences.

        Returns:
            int64 ``[n context_length]``.

        Raises:
            InvalidInputError: If a prompt is not a string, is empty, or is too long.
        """
        for index, prompt in enumerate(prompts):
            self._check(index, prompt)
        with self._lock:
            return self._tokenizer(list(prompts))

    def _check(self, index: int, prompt: Any) -> None:
        if not isinstance(prompt, str):
            raise InvalidInputError(f"prompts[{index}] must be a string; received {prompt!r}")
        if not self._clean(prompt):
            rule = (
                "must not be empty" if not prompt.strip() else "must hold more than this tokenizer's cleaning removes"
            )
            raise InvalidInputError(f"prompts[{index}] {rule}; received {prompt!r}")
        tokens = self.count(prompt)
        shown = prompt if len(prompt) <= 60 else f"{prompt[:60]}..."
        if tokens > self.context_length:
            raise InvalidInputError(
                f"prompts[{index}] must fit the model's context of {self.context_length} tokens; received {tokens} "
                f"tokens, start and end included: {shown!r}. Shorten it: a prompt is never cut silently."
            )
