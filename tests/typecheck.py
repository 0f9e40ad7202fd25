"""The checker that jaxtyping's import hook applies to every annotated function, under pytest alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
from beartype import BeartypeConf, beartype

tower = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is accepted where a float is annotated, as type checkers do."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Leave the checks out while thousands of states or captions are drawn: they take far longer than the drawing."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
