"""Training an encoder on captioned pictures of simulators.

Importing this package loads no torch; the names below are resolved when they
are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.finetuning.config import FinetuneConfig
    from vlm_rewards.finetuning.run import run_finetune

_EXPORTS = {"FinetuneConfig": "vlm_rewards.finetuning.config", "run_finetune": "vlm_rewards.finetuning.run"}

__all__ = ["FinetuneConfig", "run_finetune"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
