"""``vlm-rewards landscape TASK``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlm_rewards.cli.common import captioned_for, command_line, load_encoder_for, say
from vlm_rewards.cli.judging import check_alphas, check_encoders, check_out
from vlm_rewards.cli.task_choice import AboutTask, read_about_task
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.errors import InvalidInputError, check_count, check_prompt
from vlm_rewards.evaluation.judging import ALPHAS
from vlm_rewards.evaluation.landscape import POINTS, Landscape, StateLine, landscape, line_along, line_between
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.files import write_json
from vlm_rewards.media import montage, write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.figures.landscapes import plot_landscape, shown_places
from vlm_rewards.tasks.state_access import StateSpace

RECORD = "landscape.json"
_SMALL = 32  # frames of a simulator that is only asked what its state is
_Values = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")]
_Number = Annotated[float | None, tyro.conf.arg(metavar="X")]


@dataclass(frozen=True)
class _Arguments:
    """Draw rewards over a dimension of the state, or between two states, with the goal marked."""

    dimension: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The dimension; default: the task's. --list names all."""
    low: _Number = None
    """Where to begin; default: the least value that the dimension can have."""
    high: _Number = None
    """Where to end; default: the greatest."""
    at: _Values = ()
    """Values of other dimensions; default: as at the start of an episode."""
    from_state: _Values = ()
    """In place of a dimension: the state to begin with, as far as it differs from the start of an episode."""
    to_state: _Values = ()
    """The state to end with."""
    points: int = POINTS
    """States on the line."""
    list: bool = False
    """List the dimensions of the state with their bounds, and draw nothing."""
    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Encoders; default: the task's preset."""
    goal: str | None = None
    """What the state should look like; default: the task's sentence."""
    baseline: str | None = None
    """What any state looks like; default: the task's sentence."""
    alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar="X ...")] = ALPHAS
    """Strengths of the baseline, 0 to 1."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the record and the figure; default: nothing is written."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""
    json: bool = False
    """Print the record as JSON instead of a table."""


def main(arguments: list[str]) -> int:
    """Draw a landscape."""
    about = read_about_task("landscape", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, task = about.settings, about.task
    console = Console(quiet=chosen.json)
    goal, baseline, names = _check(about)
    with open_studio(task, _SMALL) as studio:
        space = studio.space
    if chosen.list:
        if chosen.json:
            print(json.dumps(_dimensions(space), indent=2))
        _list(console, space, task.dimension)
        return 0
    line, embed = _line(chosen, space, task.dimension), EmbeddingCache().embed
    found: list[Landscape] = []
    for name in names:
        encoder = load_encoder_for(task, name, (goal, baseline), console, device=chosen.device, dtype=chosen.dtype)
        found.append(landscape(encoder, task, line, chosen.alpha, goal=goal, baseline=baseline, embed=embed))
        del encoder  # before the next is loaded
    verdicts = found[0].goal
    record = {
        "kind": "landscape",
        "command": command_line("landscape", arguments),
        "task": task.name,
        "criterion": task.criterion_text,
        "captioned": captioned_for([one.encoder for one in found], task),
        "goal": goal,
        "baseline": baseline,
        "dimension": line.label,
        "unit": line.unit,
        "fixed": line.fixed,
        "ends": [dict(zip(space.names, line.states[end].round(5).tolist(), strict=True)) for end in (0, -1)],
        "alphas": list(chosen.alpha),
        "values": line.values.round(5).tolist(),
        "goal_states": None if verdicts is None else verdicts.tolist(),
        "encoders": [one.encoder for one in found],
        "maxima": [one.maxima(line.values) for one in found],
        "rewards": [one.rewards.astype(float).round(5).tolist() for one in found],
        **provenance(),
    }
    if chosen.json:
        print(json.dumps(record, indent=2))
    _print(console, record)
    if chosen.out is not None:
        _write(chosen.out, record, found[0], console)
    return 0


def _check(about: AboutTask[_Arguments]) -> tuple[str, str, tuple[str, ...]]:
    """Everything that can be wrong before a simulator is opened or a model loaded."""
    chosen, config = about.settings, about.config
    check_count("points", chosen.points, least=2)
    check_alphas(chosen.alpha)
    between = chosen.from_state or chosen.to_state
    along = {"dimension": chosen.dimension, "low": chosen.low, "high": chosen.high, "at": chosen.at or None}
    given = [f"--{name}" for name, value in along.items() if value is not None]
    if between and given:
        raise InvalidInputError(f"from_state and to_state draw a line of their own: leave out {', '.join(given)}.")
    if about.task.cameras > 1:
        raise InvalidInputError(f"cameras must be one for a landscape, got {about.task.cameras}.")
    names = chosen.encoder or (config.encoder,)
    check_encoders(names)
    check_out(chosen.out)
    goal = check_prompt("goal", config.goal if chosen.goal is None else chosen.goal)
    baseline = check_prompt("baseline", config.baseline if chosen.baseline is None else chosen.baseline)
    return goal, baseline, names


def _line(chosen: _Arguments, space: StateSpace, default: str | None) -> StateLine:
    if chosen.from_state or chosen.to_state:
        ends = (_values("from_state", chosen.from_state), _values("to_state", chosen.to_state))
        return line_between(space, *ends, points=chosen.points)
    dimension = chosen.dimension or default
    if dimension is None:
        raise InvalidInputError(
            f"dimension is needed: the task has none of its own. Choices: {', '.join(space.names)}."
        )
    at = _values("at", chosen.at)
    return line_along(space, dimension, low=chosen.low, high=chosen.high, at=at, points=chosen.points)


def _values(field: str, given: tuple[str, ...]) -> dict[str, float]:
    values: dict[str, float] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            equals = ""
        if not name or not equals:
            raise InvalidInputError(f"{field} must be NAME=VALUE with a number, got {text!r}.")
        if sum(other.partition("=")[0] == name for other in given) > 1:
            raise InvalidInputError(f"{field} must name {name!r} once, got {' '.join(given)}.")
    return values


def _dimensions(space: StateSpace) -> list[dict[str, Any]]:
    """JSON-able; what has no bound has None."""
    ends = [[float(end) if np.isfinite(end) else None for end in bounds] for bounds in (space.low, space.high)]
    rows = zip(space.names, *ends, space.start.tolist(), strict=True)
    return [
        {"dimension": name, "unit": space.unit(name), "low": low, "high": high, "start": start}
        for name, low, high, start in rows
    ]


def _list(console: Console, space: StateSpace, default: str | None) -> None:
    table = Table("dimension", "unit", "low", "high", "start", box=None, pad_edge=False)
    for index, name in enumerate(space.names):
        numbers = (f"{ends[index]:g}" for ends in (space.low, space.high, space.start))
        table.add_row(name, space.unit(name), *numbers, style="bold" if name == default else None)
    console.print(table)


def _print(console: Console, record: dict[str, Any]) -> None:
    known = record["goal_states"] is not None
    unit = f" in {record['unit']}" if record["unit"] else ""
    where = ["the criterion holds there"] if known else []
    table = Table("encoder", "alpha", f"greatest at {record['dimension']}{unit}", *where, box=None, pad_edge=False)
    for encoder, maxima in zip(record["encoders"], record["maxima"], strict=True):
        for alpha, best in zip(record["alphas"], maxima, strict=True):
            verdict = ["yes" if best["goal"] else "no"] if known else []
            table.add_row(escape(str(encoder["name"])), f"{alpha:g}", f"{best['value']:g}", *verdict)
    console.print(table)


def _write(out: Path, record: dict[str, Any], found: Landscape, console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    places = shown_places(len(record["values"]))
    pictures = found.frames[places]
    captions = [f"{record['values'][place]:.3g}" for place in places]
    write_json(out / RECORD, record)
    plot_landscape(record, out / "landscape.png", list(pictures))
    write_png(montage(pictures, captions, columns=len(places)), out / "states.png")
    for name in (RECORD, "landscape.png", "states.png"):
        say(console, str(out / name))
