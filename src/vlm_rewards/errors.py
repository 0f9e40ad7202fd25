"""Every exception that the package raises on purpose.

Each message names the field, the rule, the value received and, where there are
some, the choices. The command line prints it alone and exits with code 2, or 1
once a run has started.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral


class VLMRewardsError(Exception):
    """Base class: catch this to catch everything that the package raises itself."""


class InvalidInputError(VLMRewardsError, ValueError):
    """An argument or a setting breaks a rule; nothing has been started."""


class UnknownNameError(InvalidInputError):
    """A task, encoder or preset of that name does not exist."""


class WeightsNotFoundError(VLMRewardsError, OSError):
    """Weights were asked for and cannot be had; nothing was initialised at random."""


class CheckpointError(VLMRewardsError):
    """A file or folder that should hold a model or a run does not."""


class RunFolderError(VLMRewardsError, OSError):
    """A run's folder can no longer be written; what was complete before is intact."""


class CacheError(VLMRewardsError, OSError):
    """The cache of embeddings is damaged or cannot be written; nothing depends on it but time."""


class MissingExtraError(VLMRewardsError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


class UnlabelledSampleError(VLMRewardsError, RuntimeError):
    """A replay buffer was sampled while a row had no reward yet."""


class WorkerError(VLMRewardsError, RuntimeError):
    """A simulator worker raised or died; the message carries its own traceback."""


class LabellerError(VLMRewardsError, RuntimeError):
    """The background embedding of frames failed; the cause is chained."""


def check_count(field: str, value: object, least: int = 1) -> int:
    """Check that a value is a whole number, of Python's or numpy's, that is not too small.

    Args:
        field: What the value is for, as the message names it.
        value: The value received.
        least: The smallest that is allowed.

    Returns:
        The value, as an int.

    Raises:
        InvalidInputError: It is something else, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(f"{field} must be an int of at least {least}, got {value!r}.")
    return int(value)


_LONGEST_PROMPT = 1_000


def check_prompt(field: str, value: object) -> str:
    """Check that a value is a sentence.

    Args:
        field: What it is for, as the message names it.
        value: The value received.

    Returns:
        The sentence.

    Raises:
        InvalidInputError: It is no string, is empty, or has more than 1,000 characters. CLIP's text towers read at most
            some 77 tokens; what is much longer was not meant as a prompt, and would be cut off without a word.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"{field} must be a sentence, got {value!r}.")
    if not value.strip():
        raise InvalidInputError(f"{field} must be a sentence that is not empty, got {value!r}.")
    if len(value) > _LONGEST_PROMPT:
        raise InvalidInputError(
            f"{field} must have at most {_LONGEST_PROMPT:,} characters (encoders read some 77 tokens), "
            f"got {len(value):,}: {value[:40]!r}..."
        )
    return value


_FEW_CHOICES = 12


def unknown_name(kind: str, value: object, choices: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not among ``choices``, nearest names first.

    Args:
        kind: What the name names, such as ``"task"``.
        value: The name received.
        choices: The names that exist.

    Returns:
        The exception, to be raised by the caller.
    """
    known = sorted(choices)
    near = difflib.get_close_matches(str(value), known, n=5, cutoff=0.4)
    hints = ["Did you mean " + " or ".join(repr(name) for name in near) + "?"] if near else []
    if len(known) <= _FEW_CHOICES:
        hints.append("Choices: " + ", ".join(known) + ".")
    elif not near:
        hints.append(f"There are {len(known)} choices; none is close.")
    hint = " ".join(hints)
    return UnknownNameError(f"unknown {kind} {value!r}. {hint}")
