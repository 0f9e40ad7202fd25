"""Typed settings, presets, and the run that turns them into a trained policy.

The names are resolved lazily, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.training.algorithm_config import DQNConfig, SACConfig
    from vlm_rewards.training.config import TrainConfig
    from vlm_rewards.training.presets import preset
    from vlm_rewards.training.runner import train

_EXPORTS = {
    "DQNConfig": "vlm_rewards.training.algorithm_config",
    "SACConfig": "vlm_rewards.training.algorithm_config",
    "TrainConfig": "vlm_rewards.training.config",
    "preset": "vlm_rewards.training.presets",
    "train": "vlm_rewards.training.runner",
}

__all__ = ["DQNConfig", "SACConfig", "TrainConfig", "preset", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
