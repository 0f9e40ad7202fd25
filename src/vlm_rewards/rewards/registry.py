"""Rewards by name, for settings and the command line: of the package, of installed packages, of a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, check_count, unknown_name
from vlm_rewards.registry import Registry
from vlm_rewards.rewards.base import CallableReward, FrameReward
from vlm_rewards.tasks.files import file_digest, run_file
from vlm_rewards.tasks.task import replacing_tasks


@dataclass(frozen=True)
class RewardInputs:
    """All that a reward may be made of; each form takes what it needs."""

    load_encoder: Callable[[], ImageTextEncoder]
    """Loads the encoder; called when a form first asks for it, at most once."""
    goal: str
    """What the frame should show."""
    baseline: str
    """What any frame shows."""
    alpha: float
    """Strength of the baseline, in [0, 1]."""
    others: tuple[str, ...] = ()
    """Prompts that compete with the goal."""
    temperature: float | None = None
    """How sharply one prompt wins; None is the form's own."""
    goal_pictures: tuple[str, ...] = ()
    """Files that show the goal."""
    demonstration: str | None = None
    """A video of how it is done."""

    @functools.cached_property
    def encoder(self) -> ImageTextEncoder:
        """Embeds frames and prompts."""
        return self.load_encoder()


RewardBuilder: TypeAlias = Callable[[RewardInputs], FrameReward]
"""Makes a reward."""


@dataclass(frozen=True)
class Form:
    """A reward that has a name."""

    build: RewardBuilder
    """Makes the reward."""
    needs: tuple[str, ...] = ()
    """Names of the `RewardInputs` fields, of the optional ones, that must be given."""
    takes: tuple[str, ...] = ()
    """Names of those that may be."""
    encoder: bool = True
    """Whether it is made of an encoder and prompts; a plain function of frames is not."""
    frame_size: int | None = None
    """Side in pixels of the frames that it wants, where that is known before it is built."""


_OWN = {
    **dict.fromkeys(("contrast", "goal-baseline", "softmax"), "vlm_rewards.rewards.model"),
    **dict.fromkeys(("demonstration", "goal-pictures"), "vlm_rewards.rewards.goal_pictures"),
}
FORMS: Registry[Any] = Registry("reward form", "vlm_rewards.rewards", _OWN)
"""All forms. An entry point of a package brings what `get_form` takes by ``module:attribute``."""
OPTIONAL_INPUTS = ("others", "temperature", "goal_pictures", "demonstration")
"""Fields of `RewardInputs` that a form uses only if it says so."""
Decorated = TypeVar("Decorated", bound=Callable[[Any], Any])
_MARK = "_vlm_reward_form"
_ORIGINS: dict[str, tuple[str, str]] = {}


def register_reward(
    name: str,
    *,
    needs: tuple[str, ...] = (),
    takes: tuple[str, ...] = (),
    encoder: bool = True,
    frame_size: int | None = None,
    replace: bool = False,
) -> Callable[[Decorated], Decorated]:
    """Give a reward a name, as a decorator of a function that builds it from `RewardInputs`.

    With ``frame_size`` the function is the reward itself: frames, uint8
    ``[n frame_size frame_size 3]``, to ``n`` finite numbers.

    Args:
        name: What it is called on the command line.
        needs: Optional inputs that must be given, of ``others``, ``temperature``, ``goal_pictures``, ``demonstration``.
        takes: Optional inputs that may be given.
        encoder: Whether the builder uses an encoder and prompts; False where neither need be given.
        frame_size: Side in pixels of the frames that a plain function wants.
        replace: Whether a reward of that name may be replaced.

    Raises:
        InvalidInputError: A reward of that name exists, there is no such input, or a plain function has inputs.
    """
    unknown = [field for field in (*needs, *takes) if field not in OPTIONAL_INPUTS]
    if unknown:
        raise unknown_name("input of a reward form", unknown[0], OPTIONAL_INPUTS)
    if frame_size is not None and (needs or takes):
        raise InvalidInputError(f"a plain function of frames takes no inputs, got {(*needs, *takes)!r}.")

    def register(function: Decorated) -> Decorated:
        form = Form(function, needs, takes, encoder)
        if frame_size is not None:
            form = _plain(CallableReward(function, frame_size=check_count("frame_size", frame_size), name=name))
        # A file of the user's may be run again, as a task's file is: its rewards replace their former selves.
        origin = (function.__module__, getattr(function, "__qualname__", ""))
        FORMS.register(name, form, replace=replace or _ORIGINS.get(name) == origin)
        _ORIGINS[name] = origin
        if hasattr(function, "__dict__"):
            setattr(function, _MARK, form)  # for those who name it by module:attribute
        return function

    return register


def get_form(name: str) -> Form:
    """Look a reward up.

    Args:
        name: A name, or ``module:attribute`` or ``path/file.py:attribute`` of a builder, of a `FrameReward`, or of a
            plain function of frames with an attribute ``frame_size``.

    Raises:
        UnknownNameError: There is none of that name.
        InvalidInputError: The module or file fails, or what it has of that name is no reward.
    """
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        if not Path(path).is_file():
            raise InvalidInputError(f"reward file {path!r} does not exist.")
        return _form_of_file(Path(path).resolve(), attribute, file_digest(Path(path)))
    return _as_form(FORMS.get(name), name, {})


@functools.lru_cache
def _form_of_file(path: Path, attribute: str, digest: str) -> Form:
    """Run a file once as long as its contents (the digest) are the same, and take a reward from it."""
    with replacing_tasks():  # it may be a task's file, too
        module = run_file(path, "reward file")
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown_name(f"reward in {str(path)!r}", attribute, own)
    return _as_form(getattr(module, attribute), f"{path.name}:{attribute}", {"sha256": digest})


def _as_form(value: Any, name: str, facts: Mapping[str, Any]) -> Form:
    """A form out of what a name stands for; what is no reward, and builds none, is refused."""
    known = value if isinstance(value, Form) else getattr(value, _MARK, None)
    if isinstance(known, Form):
        return known
    if not callable(value):
        raise InvalidInputError(f"reward {name!r} must be a FrameReward, a builder or a function, got {value!r}.")
    if isinstance(value, FrameReward) and not isinstance(value, type):
        return _plain(value)
    size: Any = getattr(value, "frame_size", None)
    if size is not None and not isinstance(value, type):
        return _plain(CallableReward(value, frame_size=size, facts=facts))
    return Form(cast("RewardBuilder", value))


def _plain(reward: FrameReward) -> Form:
    return Form(lambda inputs: reward, encoder=False, frame_size=reward.frame_size)
