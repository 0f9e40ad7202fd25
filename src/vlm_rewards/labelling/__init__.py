"""Brings rewards to learners: late and in the background (replay buffer, callback), or at once (Gymnasium wrappers).

The names are resolved lazily, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.labelling.callback import LabelRewards
    from vlm_rewards.labelling.labeller import FrameReward, Labeller
    from vlm_rewards.labelling.replay_buffer import LabelledNStepReplayBuffer, LabelledReplayBuffer
    from vlm_rewards.labelling.vector_wrapper import VLMRewardVectorWrapper
    from vlm_rewards.labelling.witness import Sighting, Witness
    from vlm_rewards.labelling.wrapper import VLMRewardWrapper
    from vlm_rewards.labelling.wrapper_frames import FrameInInfo

_EXPORTS = {
    "FrameInInfo": "vlm_rewards.labelling.wrapper_frames",
    "FrameReward": "vlm_rewards.labelling.labeller",
    "LabelRewards": "vlm_rewards.labelling.callback",
    "LabelledNStepReplayBuffer": "vlm_rewards.labelling.replay_buffer",
    "LabelledReplayBuffer": "vlm_rewards.labelling.replay_buffer",
    "Labeller": "vlm_rewards.labelling.labeller",
    "Sighting": "vlm_rewards.labelling.witness",
    "VLMRewardVectorWrapper": "vlm_rewards.labelling.vector_wrapper",
    "VLMRewardWrapper": "vlm_rewards.labelling.wrapper",
    "Witness": "vlm_rewards.labelling.witness",
}

__all__ = [
    "FrameInInfo",
    "FrameReward",
    "LabelRewards",
    "LabelledNStepReplayBuffer",
    "LabelledReplayBuffer",
    "Labeller",
    "Sighting",
    "VLMRewardVectorWrapper",
    "VLMRewardWrapper",
    "Witness",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
