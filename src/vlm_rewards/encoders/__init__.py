"""Picture or sentence to unit embedding: the protocol, and its open_clip implementation.

Importing this package loads neither torch nor open_clip; the names below are
resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.encoders.base import ImageTextEncoder
    from vlm_rewards.encoders.cache import EmbeddingCache
    from vlm_rewards.encoders.loading import load_encoder
    from vlm_rewards.encoders.openclip import OpenCLIPEncoder

_EXPORTS = {
    "EmbeddingCache": "vlm_rewards.encoders.cache",
    "ImageTextEncoder": "vlm_rewards.encoders.base",
    "OpenCLIPEncoder": "vlm_rewards.encoders.openclip",
    "load_encoder": "vlm_rewards.encoders.loading",
}

__all__ = ["EmbeddingCache", "ImageTextEncoder", "OpenCLIPEncoder", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
