"""Implementations of a contract by name: the package's own, installed packages' and ``module:name``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar

from vlm_rewards.errors import InvalidInputError, UnknownNameError, unknown_name

Value = TypeVar("Value")


class Registry(Generic[Value]):
    """Names of one kind of thing, each with what stands behind it.

    A name is looked up among what was registered, then among the package's own (imported when first asked for), then
    among the entry points of installed packages. ``module:attribute`` names something that nobody registered.

    Args:
        kind: What is named, as messages call it.
        group: The group of entry points; each point's name is the name, and it loads the value, or a function of no
            arguments that returns it where ``is_value`` says that the function itself is none.
        own: The package's own: name to the module that registers it.
        is_value: Tells a value from a function that makes one; default: everything is a value.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Mapping[str, str] | None = None,
        is_value: Callable[[Any], bool] = lambda value: True,
    ) -> None:
        self.kind, self.group = kind, group
        self._own = dict(own or {})
        self._is_value = is_value
        self._values: dict[str, Value] = {}
        self._points: dict[str, Any] | None = None

    def register(self, name: str, value: Value, *, replace: bool = False) -> Value:
        """Add a value.

        Args:
            name: What it is called on the command line.
            value: What stands behind the name.
            replace: Whether another of that name may be replaced.

        Returns:
            The value, so that the call can be an assignment.

        Raises:
            InvalidInputError: The name is taken.
        """
        if name in self._own:  # first come the package's own, whoever asks first
            importlib.import_module(self._own[name])
        if name in self._values and not replace:
            raise InvalidInputError(f"{self.kind} {name!r} is already registered; pass replace=True to replace it.")
        self._values[name] = value
        return value

    def get(self, name: str) -> Value:
        """Look a value up.

        Raises:
            UnknownNameError: There is none of that name; the message names the nearest ones.
            InvalidInputError: A module or entry point that should bring it fails.
        """
        if name not in self._values and name in self._own:
            importlib.import_module(self._own[name])  # which registers it
        if name in self._values:
            return self._values[name]
        points = self._entry_points()
        if name in points:
            return self._values.setdefault(name, self._loaded(points[name].load, points[name].value))
        module, colon, attribute = name.partition(":")
        if colon and module and attribute.isidentifier():
            return self._loaded(lambda: getattr(importlib.import_module(module), attribute), name)
        raise unknown_name(self.kind, name, self.names())

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported for it."""
        return sorted({*self._values, *self._own, *self._entry_points()})

    def _entry_points(self) -> dict[str, Any]:
        if self._points is None:
            self._points = {point.name: point for point in metadata.entry_points(group=self.group)}
        return self._points

    def _loaded(self, load: Callable[[], Any], where: str) -> Value:
        try:
            value: Any = load()
            made: Any = value if self._is_value(value) or not callable(value) else value()
            return made
        except (UnknownNameError, InvalidInputError):
            raise
        except Exception as error:  # somebody else's code
            raise InvalidInputError(
                f"{self.kind} {where!r} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
