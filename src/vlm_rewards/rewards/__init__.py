"""Embeddings to scalars: the reward formulas, a reward with prompts, and a fixed affine map.

Nothing here needs torch, and nothing here encodes a picture twice: embeddings
are the thing to cache, rewards can be computed again for any prompt or alpha.
"""

from __future__ import annotations

from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, goal_reward, mean_prompt
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.rewards.standardise import Standardiser

__all__ = ["Standardiser", "VLMReward", "goal_baseline_reward", "goal_reward", "mean_prompt"]
