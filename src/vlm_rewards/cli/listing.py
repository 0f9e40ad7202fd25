"""``vlm-rewards list``: what can be named on the command line, and the embeddings that are kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.encoders.loading import ENCODERS, FORMS, Scheme, is_openclip
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.rewards.registry import FORMS as REWARD_FORMS
from vlm_rewards.rewards.registry import get_form
from vlm_rewards.tasks.task import get_task, list_tasks

ALGORITHMS = {
    "crossq": "CrossQ of sb3-contrib, continuous actions",
    "ddpg": "DDPG of Stable-Baselines3, continuous actions",
    "dqn": "DQN of Stable-Baselines3, discrete actions",
    "ppo": "PPO of Stable-Baselines3, any actions",
    "qrdqn": "QR-DQN of sb3-contrib, discrete actions",
    "sac": "SAC of Stable-Baselines3, continuous actions",
    "sbx-crossq": "CrossQ of sbx (JAX), continuous actions",
    "sbx-sac": "SAC of sbx (JAX), continuous actions",
    "td3": "TD3 of Stable-Baselines3, continuous actions",
    "tqc": "TQC of sb3-contrib, continuous actions",
}
"""The package's own; said here because the modules that define them load torch."""


@dataclass(frozen=True)
class _Arguments:
    """List what can be named on the command line, and the embeddings that are kept on disk."""

    what: tyro.conf.Positional[Literal["all", "tasks", "encoders", "rewards", "algorithms", "cached"]] = "all"
    """One of the lists; `encoders` adds open_clip's architectures and tags, which `all` leaves out."""
    json: bool = False
    """Print JSON."""
    clear: str | None = None
    """With `cached`: forget the embeddings of the encoder that is listed under this name."""
    clear_all: bool = False
    """With `cached`: forget all embeddings; also mends a damaged cache."""


Listed = tuple[Any, tuple[str, ...], Iterable[Sequence[str]]]
"""What is printed as JSON, the columns of its table, the rows."""


def main(arguments: list[str]) -> int:
    """List tasks, encoders, rewards, algorithms and cached embeddings, or forget the last."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards list", args=arguments)
    if chosen.clear is not None or chosen.clear_all:
        _check_clearing(chosen)
        _clear(EmbeddingCache(), chosen.clear)
        return 0
    lists = {chosen.what: _LISTS[chosen.what]} if chosen.what in _LISTS else _LISTS
    if chosen.json:
        values = {name: make()[0] for name, make in lists.items()}
        print(json.dumps(values if chosen.what == "all" else values[chosen.what], indent=2))
        return 0
    for make in lists.values():
        _, columns, rows = make()
        _show(columns, rows)
    if chosen.what == "encoders":
        _show(("architecture of open_clip", "tags of its pretrained weights"), _architectures())
    return 0


def _tasks() -> Listed:
    tasks = [get_task(name) for name in list_tasks()]
    keys = ("name", "goal", "baseline", "horizon", "criterion_text")
    facts = [{key: getattr(task, key) for key in keys} for task in tasks]
    columns = ("task", "goal", "baseline", "steps", "an episode succeeds when")
    return facts, columns, [[str(value) for value in one.values()] for one in facts]


def _encoders() -> Listed:
    others = {name: ENCODERS.get(name) for name in ENCODERS.names() if not is_openclip(f"{name}:")}
    abouts = {f"{name}:...": found.about if isinstance(found, Scheme) else "" for name, found in others.items()}
    forms = {**FORMS, **abouts}
    return forms, ("name of an encoder", "what it is"), forms.items()


def _architectures() -> Iterable[Sequence[str]]:
    from vlm_rewards.encoders.sources import list_architectures  # it loads open_clip

    return [(name, ", ".join(tags) or "none: give a file") for name, tags in list_architectures().items()]


def _rewards() -> Listed:
    forms = [(name, get_form(name)) for name in REWARD_FORMS.names()]
    facts = [{"name": name, "needs": list(form.needs), "takes": list(form.takes)} for name, form in forms]
    return facts, ("reward", "needs", "may take"), [(n, ", ".join(f.needs), ", ".join(f.takes)) for n, f in forms]


def _algorithms() -> Listed:
    others = {point.name: point.value for point in metadata.entry_points(group="vlm_rewards.algorithms")}
    known = {**ALGORITHMS, **others}
    return known, ("algorithm", "what it is"), known.items()


def _cached() -> Listed:
    cache = EmbeddingCache()
    entries = cache.entries()
    size, bound = cache.size_bytes(), cache.max_bytes
    facts = {"file": str(cache.path), "size_bytes": size, "max_bytes": bound}
    columns = ("cached encoder", "weights and settings", "embeddings", "size")
    rows = [(one.name, one.key[:12], f"{one.embeddings:,}", _size(one.size_bytes)) for one in entries]
    return {**facts, "encoders": [dataclasses.asdict(one) for one in entries]}, columns, rows


_LISTS: dict[str, Callable[[], Listed]] = {
    "tasks": _tasks,
    "encoders": _encoders,
    "rewards": _rewards,
    "algorithms": _algorithms,
    "cached": _cached,
}


def _show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console, table = Console(), Table(*columns)
    for row in rows:
        table.add_row(*map(escape, row))
    if table.row_count:
        console.print(table)
    if columns[0] == "cached encoder":
        cache = EmbeddingCache()
        size, bound = _size(cache.size_bytes()), _size(cache.max_bytes)
        # A path is not to be broken to the width of the screen.
        console.print(f"{cache.path}: {size} of at most {bound}", markup=False, highlight=False, soft_wrap=True)


def _check_clearing(chosen: _Arguments) -> None:
    if chosen.what != "cached" or chosen.json:
        raise InvalidInputError("clear and clear-all go with `vlm-rewards list cached`, and without --json.")
    if chosen.clear is not None and chosen.clear_all:
        raise InvalidInputError(f"give --clear or --clear-all, not both: got --clear {chosen.clear!r}.")


def _clear(cache: EmbeddingCache, name: str | None) -> None:
    names = set() if name is None else {entry.name for entry in cache.entries()}
    if name is not None and not names:
        raise InvalidInputError(f"clear must name an encoder in the cache, got {name!r}: the cache is empty.")
    if name is not None and name not in names:
        raise unknown_name("encoder in the cache", name, names)
    before = cache.size_bytes()
    count = cache.clear(name)
    what = f"{count:,} embedding{'' if count == 1 else 's'}{'' if name is None else f' of {name}'}"
    print(f"forgot {what}, freed {_size(before - cache.size_bytes())}")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
