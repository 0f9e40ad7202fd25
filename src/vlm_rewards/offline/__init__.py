"""Datasets of recorded episodes: VLM rewards for their pictures.

Importing this package loads none of the formats' libraries; the names below are
resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.offline.dataset import OfflineDataset, RelabelOptions
    from vlm_rewards.offline.relabelling import open_dataset, relabel

_EXPORTS = {
    "OfflineDataset": "vlm_rewards.offline.dataset",
    "RelabelOptions": "vlm_rewards.offline.dataset",
    "open_dataset": "vlm_rewards.offline.relabelling",
    "relabel": "vlm_rewards.offline.relabelling",
}

__all__ = ["OfflineDataset", "RelabelOptions", "open_dataset", "relabel"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
