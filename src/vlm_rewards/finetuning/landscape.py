"""How a model ranks a task's states: what a fine-tuning must get right for a reward to be of use."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.envs.tasks import Task
from vlm_rewards.finetuning.dataset import CaptionedStates, draw_states
from vlm_rewards.rewards import goal_baseline_reward

ALPHAS = (0.0, 0.5, 1.0)
_GROUP = 64


def retrieval(encoder: ImageTextEncoder, data: CaptionedStates, rng: np.random.Generator) -> dict[str, float]:
    """How often the right one of (up to) 64 captions, or pictures, of one task is nearest.

    It cannot reach 1: most captions are true of several of the 64 states.

    Returns:
        ``picture_to_caption``, ``caption_to_picture`` and ``chance``, each in [0, 1].
    """
    count = len(data.states)
    seen = encoder.embed_images(data.pictures)
    said = encoder.embed_texts(data.captions(np.arange(count), rng))
    forth, back, size = [], [], min(_GROUP, count)
    for start in range(0, count - size + 1, size):
        scores = seen[start : start + size] @ said[start : start + size].T
        forth += (scores.argmax(1) == np.arange(size)).tolist()
        back += (scores.argmax(0) == np.arange(size)).tolist()
    return {
        "picture_to_caption": round(float(np.mean(forth)), 4),
        "caption_to_picture": round(float(np.mean(back)), 4),
        "chance": round(1 / size, 4),
    }


def landscape(encoder: ImageTextEncoder, task: Task) -> dict[str, Any] | None:
    """Reward of the task's own prompts along the axis that its captioner offers.

    Returns:
        Per alpha: where the mean reward is greatest, the range of that place over all other
        coordinates, and the mean reward at some places, scaled to [0, 1]. None if the captioner has
        no ``axis`` method.
    """
    axis_of = getattr(task.captioner, "axis", None)
    if axis_of is None or task.captioner is None:
        return None
    axis = axis_of()
    places, others = axis.states.shape[:2]
    frames = draw_states(task.captioner, axis.states.reshape(places * others, -1), encoder.image_size)
    seen = encoder.embed_images(frames)
    goal, baseline = encoder.embed_texts([task.goal, task.baseline])
    report: dict[str, Any] = {"axis": axis.label, "unit": axis.unit}
    for alpha in ALPHAS:
        rewards = goal_baseline_reward(seen, goal, baseline, alpha).reshape(places, others)
        report[f"alpha {alpha:g}"] = _facts(axis.values, rewards, axis.marks)
    return report


def _facts(values: np.ndarray, rewards: np.ndarray, marks: tuple[float, ...]) -> dict[str, Any]:
    mean = rewards.astype(np.float64).mean(1)
    scaled = (mean - mean.min()) / max(float(np.ptp(mean)), 1e-12)
    best = values[rewards.argmax(0)]
    return {
        "best": round(float(values[mean.argmax()]), 4),
        "best_lowest": round(float(best.min()), 4),
        "best_highest": round(float(best.max()), 4),
        "spread": round(float(np.ptp(mean)), 4),
        "scaled_reward": {f"{mark:g}": round(float(np.interp(mark, values, scaled)), 3) for mark in marks},
    }
