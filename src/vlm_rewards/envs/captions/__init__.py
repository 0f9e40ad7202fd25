"""Captions of simulator states, for `vlm-rewards finetune`."""

from vlm_rewards.envs.captions.cartpole import CartPoleCaptioner
from vlm_rewards.envs.captions.grammar import PAPER_PROMPTS, content_words, is_held_out, jaccard
from vlm_rewards.envs.captions.mountain_car import MountainCarCaptioner

__all__ = [
    "PAPER_PROMPTS",
    "CartPoleCaptioner",
    "MountainCarCaptioner",
    "content_words",
    "is_held_out",
    "jaccard",
]
