"""``vlm-rewards cache list|clear``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.errors import InvalidInputError, unknown_name


@dataclass(frozen=True)
class _List:
    """List the embeddings that are kept."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class _Clear:
    """Forget embeddings; also mends a damaged cache."""

    encoder: str | None = None
    """Only those of the encoder that is listed under this name. Default: all."""


_Action: TypeAlias = (
    Annotated[_List, tyro.conf.subcommand("list", prefix_name=False)]
    | Annotated[_Clear, tyro.conf.subcommand("clear", prefix_name=False)]
)


def main(arguments: list[str]) -> int:
    """List or clear the cache."""
    chosen = tyro.cli(
        _Action,
        prog="vlm-rewards cache",
        description="List or clear the embeddings kept on disk.",
        args=arguments,
    )
    cache = EmbeddingCache()
    if isinstance(chosen, _Clear):
        _clear(cache, chosen.encoder)
    elif chosen.json:
        entries = [dataclasses.asdict(entry) for entry in cache.entries()]
        facts = {"file": str(cache.path), "size_bytes": cache.size_bytes(), "max_bytes": cache.max_bytes}
        print(json.dumps({**facts, "encoders": entries}, indent=2))
    else:
        _show(cache)
    return 0


def _show(cache: EmbeddingCache) -> None:
    entries = cache.entries()
    console = Console()
    if entries:
        table = Table("encoder", "weights and settings", "embeddings", "size")
        for entry in entries:
            table.add_row(escape(entry.name), entry.key[:12], f"{entry.embeddings:,}", _size(entry.size_bytes))
        console.print(table)
    size, bound = _size(cache.size_bytes()), _size(cache.max_bytes)
    # A path is not to be broken to the width of the screen.
    console.print(f"{cache.path}: {size} of at most {bound}", markup=False, highlight=False, soft_wrap=True)


def _clear(cache: EmbeddingCache, name: str | None) -> None:
    if name is not None:
        _check_name(cache, name)
    before = cache.size_bytes()
    count = cache.clear(name)
    what = f"{count:,} embedding{'' if count == 1 else 's'}{'' if name is None else f' of {name}'}"
    print(f"forgot {what}, freed {_size(before - cache.size_bytes())}")


def _check_name(cache: EmbeddingCache, name: str) -> None:
    names = {entry.name for entry in cache.entries()}
    if not names:
        raise InvalidInputError(f"encoder must be one in the cache, got {name!r}: the cache is empty.")
    if name not in names:
        raise unknown_name("encoder in the cache", name, names)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
