"""Embeddings to scalars: the reward formulas, a reward with prompts, and a fixed affine map.

Nothing here needs torch, and nothing here encodes a picture twice: embeddings
are the thing to cache, rewards can be computed again for any prompt or alpha.
"""

from __future__ import annotations

from vlm_rewards.rewards.base import EmbeddingReward, StateReward
from vlm_rewards.rewards.config import RewardConfig, build_reward
from vlm_rewards.rewards.forms import (
    CameraReward,
    ContrastReward,
    DemonstrationReward,
    GoalPictureReward,
    SoftmaxReward,
    WeightedSum,
)
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, goal_baseline_sweep, goal_reward, mean_prompt
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.rewards.registry import FormInputs, list_forms, register_form
from vlm_rewards.rewards.shaping import PotentialShaping, shaped
from vlm_rewards.rewards.standardise import Standardiser

__all__ = [
    "CameraReward",
    "ContrastReward",
    "DemonstrationReward",
    "EmbeddingReward",
    "FormInputs",
    "GoalPictureReward",
    "PotentialShaping",
    "RewardConfig",
    "SoftmaxReward",
    "Standardiser",
    "StateReward",
    "VLMReward",
    "WeightedSum",
    "build_reward",
    "goal_baseline_reward",
    "goal_baseline_sweep",
    "goal_reward",
    "list_forms",
    "mean_prompt",
    "register_form",
    "shaped",
]
