"""Settings as frozen dataclasses whose fields carry their rules: checked when made, written to JSON and read back."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from vlm_rewards.errors import InvalidInputError, check_prompt, unknown_name

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Rule:
    """What a value must be, for ``Annotated[int, Rule(...)]`` at a field."""

    text: str
    """Ends the sentence "x must be ...", such as "an int of at least 1"."""
    holds: Callable[[Any], bool]
    """Whether a value of any type keeps to it."""

    def check(self, name: str, value: object) -> None:
        """Check a value.

        Raises:
            InvalidInputError: It breaks the rule.
        """
        if not self.holds(value):
            raise InvalidInputError(f"{name} must be {self.text}, got {value!r}.")


class _PromptRule(Rule):
    def check(self, name: str, value: object) -> None:
        check_prompt(name, value)


def whole(least: int = 1, most: int | None = None) -> Rule:
    """A plain int in a range: numpy's own go to no JSON."""
    text = f"an int of at least {least}" if most is None else f"an int from {least} to {most}"
    return Rule(text, lambda value: type(value) is int and least <= value and (most is None or value <= most))


def number(text: str, holds: Callable[[float], bool]) -> Rule:
    """A finite number, and no bool, for which a condition holds."""
    return Rule(
        text,
        lambda value: (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and holds(value)
        ),
    )


def one_of(*choices: str) -> Rule:
    """One of a few words."""
    return Rule(f"one of {', '.join(choices)}", lambda value: value in choices)


_WIDTHS = Rule(
    "a list of at least one positive width",
    lambda value: isinstance(value, tuple) and bool(value) and all(type(one) is int and one > 0 for one in value),
)
Count: TypeAlias = Annotated[int, whole()]
CountOrMinusOne: TypeAlias = Annotated[
    int, Rule("an int of at least 1, or -1", lambda value: type(value) is int and (value > 0 or value == -1))
]
Seed: TypeAlias = Annotated[int, whole(0, 2**32 - 1)]
Finite: TypeAlias = Annotated[float, number("finite", lambda value: True)]
Positive: TypeAlias = Annotated[float, number("positive", lambda value: value > 0)]
NotNegative: TypeAlias = Annotated[float, number("a number of at least 0", lambda value: value >= 0)]
Fraction: TypeAlias = Annotated[float, number("a number from 0 to 1", lambda value: 0 <= value <= 1)]
PositiveFraction: TypeAlias = Annotated[float, number("a number above 0 to 1", lambda value: 0 < value <= 1)]
Prompt: TypeAlias = Annotated[str, _PromptRule("a sentence", lambda value: True)]
Widths: TypeAlias = Annotated[tuple[int, ...], _WIDTHS]


def check_fields(settings: Any) -> None:
    """Check every field of a dataclass by the rules in its annotations, those of ``Literal`` included.

    None passes where the annotation allows it; rules of a tuple's elements hold for each of them.

    Raises:
        InvalidInputError: A value breaks a rule; the message names field, rule, value and choices.
    """
    for name, hint in _hints(type(settings)).items():
        _check(name, getattr(settings, name), hint)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _check(name: str, value: Any, hint: Any) -> None:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for rule in hint.__metadata__:
            if isinstance(rule, Rule):
                rule.check(name, value)
        _check(name, value, parts[0])
    elif origin is Literal:
        one_of(*parts).check(name, value)
    elif origin in (Union, types.UnionType):
        if value is not None or types.NoneType not in parts:
            for part in parts:
                _check(name, value, part)
    elif origin is tuple and isinstance(value, tuple):
        for one in value:
            _check(name, one, parts[0])


class Settings:
    """Base of frozen dataclasses of settings: checked by `check_fields`, written as JSON and read back."""

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able settings; `from_dict` restores them."""
        return plain(self)

    @classmethod
    def from_dict(cls: type[Kind], values: Mapping[str, Any], whose: str = "") -> Kind:
        """Restore settings from `to_dict`; what older versions did not have gets its default.

        Args:
            values: By name.
            whose: What they are settings of, as messages name it, such as ``"reward"``.

        Raises:
            InvalidInputError: A setting is missing, unknown or breaks a rule.
        """
        kind: Any = cls
        hints = _hints(kind)
        lacking = {field.name for field in dataclasses.fields(kind) if _is_required(field)} - set(values)
        wrong = [f"unknown {name!r}" for name in sorted(set(values) - set(hints))]
        wrong += [f"missing {name!r}" for name in sorted(lacking)]
        if wrong:
            owner = f"the {whose}'s settings" if whose else "the settings"
            raise InvalidInputError(f"{owner} do not fit this version: {', '.join(wrong)}.")
        return kind(**{name: _restored(name, value, hints[name]) for name, value in values.items()})


def plain(value: Any) -> Any:
    """Settings, or what is in them, as JSON has it."""
    if isinstance(value, Settings):
        fields: Any = value
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(fields)}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _restored(name: str, value: Any, hint: Any) -> Any:
    """A value as the field's annotation has it: JSON knows neither dataclasses nor tuples nor paths."""
    if value is None or isinstance(value, Settings):
        return value
    for kind in _kinds(hint):
        if isinstance(kind, type) and issubclass(kind, Settings):
            if not isinstance(value, Mapping):
                raise InvalidInputError(f"{name} must be an object with settings, got {value!r}.")
            return kind.from_dict(value, name)
        if get_origin(kind) is tuple and isinstance(value, list):
            return tuple(value)
        if kind is Path:
            return Path(value)
    return value


def _kinds(hint: Any) -> list[Any]:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kinds(parts[0])
    return [kind for part in parts for kind in _kinds(part)] if origin in (Union, types.UnionType) else [hint]


def change(settings: Any, changes: Mapping[str, Any]) -> Any:
    """Change settings by name, in a frozen dataclass or in one of those that it holds, and check them as a whole.

    Raises:
        UnknownNameError: There is no setting of that name; the message names the nearest ones.
        InvalidInputError: A value breaks a rule.
    """
    own = _hints(type(settings))
    held = {name: getattr(settings, name) for name in own}
    inner: dict[str, Any] = {name: part for name, part in held.items() if isinstance(part, Settings)}
    owners = {name: owner for owner, part in inner.items() for name in _hints(type(part))}
    new: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name in own:
            new[name] = _restored(name, value, own[name])
        elif name in owners:
            hint = _hints(type(inner[owners[name]]))[name]
            nested.setdefault(owners[name], {})[name] = _restored(name, value, hint)
        else:
            raise unknown_name("setting", name, [*own, *owners])
    parts = {owner: dataclasses.replace(inner[owner], **values) for owner, values in nested.items()}
    return dataclasses.replace(settings, **parts, **new)
