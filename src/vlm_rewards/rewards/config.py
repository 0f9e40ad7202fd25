"""Which reward form a run uses. A docstring under each field is also its ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward
from vlm_rewards.rewards.cameras import CameraReward
from vlm_rewards.rewards.registry import OPTIONAL_INPUTS, FormInputs, get_form
from vlm_rewards.rewards.shaping import PotentialShaping
from vlm_rewards.settings import Positive, Prompt, Settings

OBJECT = " (object)"
"""Ends the name of a form or an encoder that was given as an object: settings hold no more of it."""


@dataclass(frozen=True)
class RewardConfig(Settings):
    """How frames become rewards; sentences and alpha are settings of the run."""

    form: str = "goal-baseline"
    """Formula: goal-baseline (eq. 3), contrast, softmax, goal-pictures, demonstration, or one of your own."""
    others: tuple[Prompt, ...] = ()
    """softmax: sentences that compete with the goal; default: the baseline."""
    temperature: Positive | None = None
    """softmax: how sharply one sentence wins; default 0.01, CLIP's own."""
    goal_pictures: tuple[str, ...] = ()
    """goal-pictures: files that show the goal."""
    demonstration: str | None = None
    """demonstration: a video of how it is done."""
    camera_rule: Literal["mean", "min"] = "mean"
    """Several cameras: whether their rewards are averaged or the lowest counts."""
    shaping: bool = False
    """Learn from the environment's own reward, and use the pictures' reward as a potential that guides towards it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form.endswith(OBJECT):
            return
        form = get_form(self.form)
        for name in OPTIONAL_INPUTS:
            given = getattr(self, name) not in ((), None)
            if given and name not in (*form.needs, *form.takes):
                raise InvalidInputError(f"{name} is of no use to the reward form {self.form!r}; leave it out.")
            if name in form.needs and not given:
                raise InvalidInputError(f"the reward form {self.form!r} needs {name}.")

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the reward is made of."""
        return self.goal_pictures if self.demonstration is None else (*self.goal_pictures, self.demonstration)


def build_reward(
    config: RewardConfig,
    encoder: ImageTextEncoder,
    *,
    goal: str,
    baseline: str,
    alpha: float,
    cameras: int = 1,
    gamma: float = 0.99,
) -> EmbeddingReward | PotentialShaping:
    """Make the reward that settings ask for.

    Args:
        config: The settings.
        encoder: Embeds frames and sentences.
        goal: What the frame should show.
        baseline: What any frame shows.
        alpha: Strength of the baseline, in [0, 1].
        cameras: Frames of each state.
        gamma: The learner's discount, for shaping.

    Returns:
        The reward.

    Raises:
        InvalidInputError: A sentence or file is not usable.
    """
    optional = {name: getattr(config, name) for name in OPTIONAL_INPUTS}
    reward = get_form(config.form).build(FormInputs(encoder, goal, baseline, alpha, **optional))
    if cameras > 1:
        reward = CameraReward(reward, cameras=cameras, rule=config.camera_rule)
    return PotentialShaping(reward, gamma=gamma) if config.shaping else reward
