"""Which reward form a run uses. A docstring under each field is also its ``--help``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.rewards.combined import CameraReward
from vlm_rewards.rewards.registry import OPTIONAL_INPUTS, Form, RewardInputs, get_form
from vlm_rewards.settings import Positive, Prompt, Settings

OBJECT = " (object)"
"""Ends the name of a form or an encoder that was given as an object: settings hold no more of it."""


@dataclass(frozen=True)
class RewardConfig(Settings):
    """How frames become rewards; prompts and alpha are settings of the run."""

    form: str = "goal-baseline"
    """Formula: goal-baseline (eq. 3), contrast, softmax, goal-pictures, demonstration, or your own: its name, or
    "module:attribute" or "file.py:attribute"."""
    others: tuple[Prompt, ...] = ()
    """softmax: prompts that compete with the goal; default: the baseline."""
    temperature: Positive | None = None
    """softmax: how sharply one prompt wins; default 0.01, CLIP's own."""
    goal_pictures: tuple[str, ...] = ()
    """goal-pictures: files that show the goal."""
    demonstration: str | None = None
    """demonstration: a video of how it is done."""
    camera_rule: Literal["mean", "min"] = "mean"
    """Several cameras: whether their rewards are averaged or the lowest counts."""
    shaping: bool = False
    """Learn from the environment's own reward, and use the frames' reward as a potential that guides towards it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Settings are read from records, too, which must not run anybody's code: what a place (with a colon) holds.
        if not (self.form.endswith(OBJECT) or ":" in self.form):
            self.check_form()

    def check_form(self) -> Form:
        """Look the form up, and check that it has the inputs that it needs and no others."""
        form = get_form(self.form)
        for name in OPTIONAL_INPUTS:
            given = getattr(self, name) not in ((), None)
            if given and name not in (*form.needs, *form.takes):
                raise InvalidInputError(f"{name} is of no use to the reward form {self.form!r}; leave it out.")
            if name in form.needs and not given:
                raise InvalidInputError(f"the reward form {self.form!r} needs {name}.")
        return form

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the reward is made of."""
        return self.goal_pictures if self.demonstration is None else (*self.goal_pictures, self.demonstration)


def build_reward(
    config: RewardConfig,
    encoder: ImageTextEncoder | Callable[[], ImageTextEncoder],
    *,
    goal: str,
    baseline: str,
    alpha: float,
    cameras: int = 1,
) -> FrameReward:
    """Make the reward of a state that settings ask for; `vlm_rewards.collection.shaping.shaped_by` shapes by it.

    Args:
        config: The settings.
        encoder: Embeds frames and prompts; or loads what does, which is called only where the form asks for it.
        goal: What the frame should show.
        baseline: What any frame shows.
        alpha: Strength of the baseline, in [0, 1].
        cameras: Frames of each state.

    Returns:
        The reward.

    Raises:
        InvalidInputError: A prompt, a file or an input of the form is not usable.
    """
    form = config.check_form()
    load = encoder if callable(encoder) and not hasattr(encoder, "embed_images") else lambda: encoder
    optional = {name: getattr(config, name) for name in OPTIONAL_INPUTS}
    reward: Any = form.build(RewardInputs(load, goal, baseline, alpha, **optional))  # type: ignore[arg-type]
    if not isinstance(reward, FrameReward) or isinstance(reward, type):
        raise InvalidInputError(
            f"the builder of the reward form {config.form!r} must return a FrameReward, got {reward!r}. A plain "
            "function of frames needs an attribute frame_size, or register_reward(name, frame_size=...)."
        )
    return CameraReward(reward, cameras=cameras, rule=config.camera_rule) if cameras > 1 else reward


def needs_encoder(config: RewardConfig) -> bool:
    """Whether the reward that settings ask for is made of an encoder and prompts; refuses settings as it does."""
    return config.check_form().encoder
