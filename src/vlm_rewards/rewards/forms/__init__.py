"""Other formulas than the paper's. Each is one file, and `register_form` takes one of your own."""

from __future__ import annotations

from vlm_rewards.rewards.forms.cameras import CameraReward
from vlm_rewards.rewards.forms.contrast import ContrastReward
from vlm_rewards.rewards.forms.demonstration import DemonstrationReward
from vlm_rewards.rewards.forms.pictures import GoalPictureReward
from vlm_rewards.rewards.forms.softmax import SoftmaxReward
from vlm_rewards.rewards.forms.weighted import WeightedSum

__all__ = [
    "CameraReward",
    "ContrastReward",
    "DemonstrationReward",
    "GoalPictureReward",
    "SoftmaxReward",
    "WeightedSum",
]
