"""Fills in rewards late: background embedding, the replay buffer that waits for it, the callback.

The names are resolved lazily, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.labelling.callback import LabelRewards
    from vlm_rewards.labelling.labeller import FrameReward, Labeller
    from vlm_rewards.labelling.replay_buffer import LabelledNStepReplayBuffer, LabelledReplayBuffer

_EXPORTS = {
    "FrameReward": "vlm_rewards.labelling.labeller",
    "LabelRewards": "vlm_rewards.labelling.callback",
    "LabelledNStepReplayBuffer": "vlm_rewards.labelling.replay_buffer",
    "LabelledReplayBuffer": "vlm_rewards.labelling.replay_buffer",
    "Labeller": "vlm_rewards.labelling.labeller",
}

__all__ = ["FrameReward", "LabelRewards", "LabelledNStepReplayBuffer", "LabelledReplayBuffer", "Labeller"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
