"""Turn one sentence into a reward function for reinforcement learning.

The package follows *Vision-Language Models are Zero-Shot Reward Models*
(Rocamonde et al., ICLR 2024, arXiv 2310.12921): a vision-language model scores
how well a picture of the simulator's state fits a sentence.

Importing this module is cheap: it loads neither torch nor OpenGL. The public
names below are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.encoders import ImageTextEncoder, load_encoder
    from vlm_rewards.envs import Task, get_task, register_task
    from vlm_rewards.labelling import (
        FrameInInfo,
        LabelledNStepReplayBuffer,
        LabelledReplayBuffer,
        LabelRewards,
        VLMRewardVectorWrapper,
        VLMRewardWrapper,
    )
    from vlm_rewards.rewards import (
        CameraReward,
        ContrastReward,
        DemonstrationReward,
        GoalPictureReward,
        PotentialShaping,
        SoftmaxReward,
        VLMReward,
        WeightedSum,
        goal_baseline_reward,
        goal_reward,
        register_form,
    )
    from vlm_rewards.simulation import PhotographedVecEnv

__version__ = "0.1.0"

_EXPORTS = {
    "CameraReward": "vlm_rewards.rewards",
    "ContrastReward": "vlm_rewards.rewards",
    "DemonstrationReward": "vlm_rewards.rewards",
    "FrameInInfo": "vlm_rewards.labelling",
    "GoalPictureReward": "vlm_rewards.rewards",
    "ImageTextEncoder": "vlm_rewards.encoders",
    "LabelRewards": "vlm_rewards.labelling",
    "LabelledNStepReplayBuffer": "vlm_rewards.labelling",
    "LabelledReplayBuffer": "vlm_rewards.labelling",
    "PhotographedVecEnv": "vlm_rewards.simulation",
    "PotentialShaping": "vlm_rewards.rewards",
    "SoftmaxReward": "vlm_rewards.rewards",
    "Task": "vlm_rewards.envs",
    "VLMReward": "vlm_rewards.rewards",
    "VLMRewardVectorWrapper": "vlm_rewards.labelling",
    "VLMRewardWrapper": "vlm_rewards.labelling",
    "WeightedSum": "vlm_rewards.rewards",
    "get_task": "vlm_rewards.envs",
    "goal_baseline_reward": "vlm_rewards.rewards",
    "goal_reward": "vlm_rewards.rewards",
    "load_encoder": "vlm_rewards.encoders",
    "register_form": "vlm_rewards.rewards",
    "register_task": "vlm_rewards.envs",
}

__all__ = [
    "CameraReward",
    "ContrastReward",
    "DemonstrationReward",
    "FrameInInfo",
    "GoalPictureReward",
    "ImageTextEncoder",
    "LabelRewards",
    "LabelledNStepReplayBuffer",
    "LabelledReplayBuffer",
    "PhotographedVecEnv",
    "PotentialShaping",
    "SoftmaxReward",
    "Task",
    "VLMReward",
    "VLMRewardVectorWrapper",
    "VLMRewardWrapper",
    "WeightedSum",
    "__version__",
    "get_task",
    "goal_baseline_reward",
    "goal_reward",
    "load_encoder",
    "register_form",
    "register_task",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
