"""Fakes that tests, examples and users share."""

from __future__ import annotations

from vlm_rewards.testing.counting import (
    CountingEnv,
    CountingPotential,
    DelayedReward,
    counting_label,
    counting_reward,
    counting_task,
)
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import PointEnv, brightness_reward, darkness_reward, point_task

__all__ = [
    "CountingEnv",
    "CountingPotential",
    "DelayedReward",
    "FakeEncoder",
    "PointEnv",
    "brightness_reward",
    "counting_label",
    "counting_reward",
    "counting_task",
    "darkness_reward",
    "point_task",
]
