"""The checker that jaxtyping's import hook applies to every annotated function, under pytest alone."""

from beartype import BeartypeConf, beartype

tower = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is accepted where a float is annotated, as type checkers do."""
