"""A reward formula of your own, in one file: usable by hand, composed with others, and on the command line.

The formula: how far the frame has turned from the baseline sentence towards the goal sentence, as an angle. Only
`_score` is needed, from unit embeddings to numbers; `FormulaReward` does the rest, checks included. `register_reward`
gives it a name for settings. This file also names a task, so that the command line can run it:

    python examples/09_own_reward_form.py
    vlm-rewards train examples/09_own_reward_form.py --form angle
    vlm-rewards train cartpole --form examples/09_own_reward_form.py:build
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards import VLMReward, WeightedSum, get_task, load_encoder, register_reward
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.rewards.base import FormulaReward
from vlm_rewards.rewards.config import RewardConfig, build_reward
from vlm_rewards.rewards.registry import RewardInputs
from vlm_rewards.tasks.cartpole import draw_cartpole


class AngleReward(FormulaReward):
    """Angle between frame and baseline minus angle between frame and goal, in radians over pi: from -1 to 1."""

    def __init__(self, encoder: ImageTextEncoder, *, goal: str, baseline: str) -> None:
        super().__init__(encoder)
        self._sentences = (goal, baseline)
        self._directions = encoder.embed_texts([goal, baseline]).astype(np.float64)

    def _score(self, embeddings: NDArray[np.float64]) -> NDArray[np.float64]:
        angles = np.arccos(np.clip(embeddings @ self._directions.T, -1.0, 1.0))
        return (angles[:, 1] - angles[:, 0]) / np.pi

    def _facts(self) -> dict[str, Any]:  # goes into a run's record
        return {"goal": self._sentences[0], "baseline": self._sentences[1]}


@register_reward("angle")
def build(inputs: RewardInputs) -> AngleReward:
    return AngleReward(inputs.encoder, goal=inputs.goal, baseline=inputs.baseline)


TASK = dataclasses.replace(get_task("cartpole"), name="cartpole-by-angle")


def main() -> None:
    encoder = load_encoder("bundled")
    frames = np.stack([draw_cartpole(0.0, angle, encoder.image_size) for angle in (0.0, np.pi / 2, np.pi)])

    angle = build_reward(
        RewardConfig(form="angle"), encoder, goal=TASK.goal, baseline=TASK.baseline, alpha=0.0
    )  # as the command line does it
    paper = VLMReward(encoder, goal=TASK.goal, baseline=TASK.baseline, alpha=0.5)
    both = WeightedSum([AngleReward(encoder, goal=TASK.goal, baseline=TASK.baseline), paper], [2.0, 1.0])
    for name, reward in (("angle", angle), ("paper, eq. 3", paper), ("2 angle + paper", both)):
        upright, level, hanging = reward(frames)
        print(f"{name:15}  upright {upright:6.3f}  level {level:6.3f}  hanging {hanging:6.3f}")


if __name__ == "__main__":
    main()
