"""The runs of a sweep: their names, their settings, and the file that keeps a folder to one sweep."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_json, write_json
from vlm_rewards.provenance import provenance
from vlm_rewards.sweeping.request import SweepRequest, Value
from vlm_rewards.training.config import TrainConfig

_PLAN = "plan.json"
_LONGEST_WORD = 24


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str
    """Of its folder, inside the sweep's."""
    arguments: tuple[str, ...]
    """Of ``train``, all but the folder."""
    config: TrainConfig
    """What they amount to."""


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep, each of which can be started."""

    out: Path
    """The sweep's folder."""
    runs: tuple[PlannedRun, ...]
    """In the order in which they are started."""

    def folder(self, run: PlannedRun) -> Path:
        """Where a run writes."""
        return self.out / run.name

    def log(self, run: PlannedRun) -> Path:
        """What a run prints."""
        return self.out / "logs" / f"{run.name}.log"

    def failure(self, run: PlannedRun) -> Path:
        """Why a run failed; there is no such file if it did not."""
        return self.out / "logs" / f"{run.name}.failed.json"


def make_plan(request: SweepRequest, out: Path, configure: Callable[[list[str]], TrainConfig]) -> SweepPlan:
    """Plan a sweep; nothing is written.

    Args:
        request: What was asked for.
        out: The sweep's folder. Runs that it knows already keep their names.
        configure: Arguments of ``train`` to settings, as ``train`` itself reads them.

    Returns:
        The plan. Every configuration has been built, and every encoder's name understood.

    Raises:
        InvalidInputError: A run is not possible, two are the same, or the folder holds another sweep or something else.
        WeightsNotFoundError: An encoder's file or folder does not exist.
    """
    if (request.task is None) == (request.env_id is None):
        raise InvalidInputError(f"give a task or --env-id, one of them: got {request.task!r} and {request.env_id!r}.")
    known = _read_known(out)
    names = {_identity(run.config): run.name for run in known}
    taken = {run.name for run in known}
    planned: dict[str, PlannedRun] = {}
    for settings in request.combinations():
        arguments = _arguments(request, settings)
        config = configure(arguments)
        parse_source(config.encoder)
        identity, usual = _identity(config), run_name(settings)
        if identity in planned:
            raise InvalidInputError(f"runs must differ, {planned[identity].name!r} and {usual!r} are the same.")
        name = names.get(identity) or (usual if usual not in taken else f"{usual},{_digest(identity)}")
        taken.add(name)
        planned[identity] = PlannedRun(name, tuple(arguments), config)
    plan = SweepPlan(out, tuple(planned.values()))
    _check_only_grown(known, plan)
    return plan


def read_plan(out: Path) -> SweepPlan:
    """Read the plan of a sweep that has been started.

    Raises:
        InvalidInputError: The folder holds no sweep.
        CheckpointError: The plan is damaged.
    """
    known = _read_known(out)
    if not known:
        raise InvalidInputError(f"out must be a folder that `vlm-rewards sweep` wrote, got {str(out)!r}.")
    return SweepPlan(out, tuple(known))


def write_plan(plan: SweepPlan, command: str) -> None:
    """Write the plan into the sweep's folder, which exists.

    Raises:
        InvalidInputError: Another sweep has begun there since this one was planned.
    """
    _check_only_grown(_read_known(plan.out), plan)
    runs = [{"name": r.name, "arguments": list(r.arguments), "config": r.config.to_dict()} for r in plan.runs]
    write_json(plan.out / _PLAN, {"kind": "sweep-plan", "command": command, "runs": runs, **provenance()})


def run_name(settings: Mapping[str, Value]) -> str:
    """A readable name for a folder, such as ``alpha-0.5,seed-0``.

    Sentences and paths are cut short, with six digits of a digest behind them.
    """
    return ",".join(f"{key}-{_word(value)}" for key, value in settings.items())


def _word(value: Value) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    if re.fullmatch(rf"[\w.+-]{{1,{_LONGEST_WORD}}}", text, re.ASCII):
        return text
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(slug) > _LONGEST_WORD:
        slug = slug[: _LONGEST_WORD + 1].rpartition("-")[0] or slug[:_LONGEST_WORD]  # whole words, where there are any
    return f"{slug}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _arguments(request: SweepRequest, settings: Mapping[str, Value]) -> list[str]:
    about = [str(request.task)] if request.env_id is None else [f"--env-id={request.env_id}"]
    if request.preset is not None:
        about.append(f"--preset={request.preset}")
    return [*about, *(f"--{key}={value}" for key, value in settings.items()), *request.train]


def _identity(config: TrainConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True)


def _read_known(out: Path) -> list[PlannedRun]:
    """The runs that a folder was made for; none where it is new or empty."""
    file = out / _PLAN
    try:
        if not file.is_file():
            # Hidden files alone are what a sweep leaves that was killed as it began.
            if out.exists() and not (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir())):
                raise InvalidInputError(f"out {str(out)!r} is in use and holds no sweep; choose another folder.")
            return []
    except OSError as error:
        raise InvalidInputError(f"out {str(out)!r} cannot be read: {error.strerror or error}.") from None
    plan = read_json(file)
    try:
        return [
            PlannedRun(run["name"], tuple(run["arguments"]), TrainConfig.from_dict(run["config"]))
            for run in plan["runs"]
        ]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{str(file)!r} is no plan of a sweep: {error!r}.") from None


def _check_only_grown(known: Sequence[PlannedRun], plan: SweepPlan) -> None:
    kept = {run.name: run for run in plan.runs}
    for old in known:
        if old.name in kept:
            continue
        usual = [run for run in plan.runs if run.name.startswith(f"{old.name},")]
        reason = f": {_difference(old.config, usual[0].config)}" if usual else ""
        raise InvalidInputError(
            f"out {str(plan.out)!r} holds another sweep, and a plan may only grow. Run {old.name!r} is not in this "
            f"one{reason}. Choose another folder."
        )


def _difference(old: TrainConfig, new: TrainConfig) -> str:
    before, after = (_flat(config.to_dict()) for config in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} was {before.get(name)!r} and is now {after.get(name)!r}" for name in names)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return flat
