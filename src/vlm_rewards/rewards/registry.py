"""Reward forms by name, for settings and the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import unknown_name
from vlm_rewards.registry import Registry
from vlm_rewards.rewards.base import EmbeddingReward


@dataclass(frozen=True)
class FormInputs:
    """All that a form may be made of; each takes what it needs."""

    encoder: ImageTextEncoder
    """Embeds frames and sentences."""
    goal: str
    """What the frame should show."""
    baseline: str
    """What any frame shows."""
    alpha: float
    """Strength of the baseline, in [0, 1]."""
    others: tuple[str, ...] = ()
    """Sentences that compete with the goal."""
    temperature: float | None = None
    """How sharply one sentence wins; None is the form's own."""
    goal_pictures: tuple[str, ...] = ()
    """Files that show the goal."""
    demonstration: str | None = None
    """A video of how it is done."""


FormBuilder: TypeAlias = Callable[[FormInputs], EmbeddingReward]
"""Makes a reward."""


@dataclass(frozen=True)
class Form:
    """A reward form."""

    build: FormBuilder
    """Makes the reward."""
    needs: tuple[str, ...] = ()
    """Names of the `FormInputs` fields, of the optional ones, that must be given."""
    takes: tuple[str, ...] = ()
    """Names of those that may be."""


_OWN = {
    "contrast": "vlm_rewards.rewards.contrast",
    "demonstration": "vlm_rewards.rewards.demonstration",
    "goal-baseline": "vlm_rewards.rewards.model",
    "goal-pictures": "vlm_rewards.rewards.goal_pictures",
    "softmax": "vlm_rewards.rewards.softmax",
}
FORMS: Registry[Form] = Registry("reward form", "vlm_rewards.rewards", _OWN)
"""All forms. An entry point of a package brings a function that is decorated with `register_form`."""
OPTIONAL_INPUTS = ("others", "temperature", "goal_pictures", "demonstration")
"""Fields of `FormInputs` that a form uses only if it says so."""


def register_form(
    name: str, *, needs: tuple[str, ...] = (), takes: tuple[str, ...] = (), replace: bool = False
) -> Callable[[FormBuilder], FormBuilder]:
    """Add a reward form, as a decorator of a function that builds it from `FormInputs`.

    Args:
        name: What it is called on the command line.
        needs: Optional inputs that must be given, of ``others``, ``temperature``, ``goal_pictures``, ``demonstration``.
        takes: Optional inputs that may be given.
        replace: Whether a form of that name may be replaced.

    Raises:
        InvalidInputError: A form of that name exists, or there is no such input.
    """
    unknown = [field for field in (*needs, *takes) if field not in OPTIONAL_INPUTS]
    if unknown:
        raise unknown_name("input of a reward form", unknown[0], OPTIONAL_INPUTS)

    def register(build: FormBuilder) -> FormBuilder:
        FORMS.register(name, Form(build, needs, takes), replace=replace)
        return build

    return register


def get_form(name: str) -> Form:
    """Look a form up.

    Raises:
        UnknownNameError: There is none of that name.
    """
    return FORMS.get(name)


def list_forms() -> list[str]:
    """Names of all forms, sorted."""
    return FORMS.names()
