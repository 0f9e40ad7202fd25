"""What a report says of a record that is no run: its settings, a table if it is a simple one, its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_rewards.reporting.report.blocks import Beside, Cell, Commands, Facts, Media, Paragraph, Section, Table, present
from vlm_rewards.reporting.report.names import Names
from vlm_rewards.reporting.report.runs import Study
from vlm_rewards.reporting.results import encoder_text, machine_text

PICTURES = 3
"""Rank of a study's frames."""

_TITLES = {
    "judge": "Rewards judged before training",
    "landscape": "Reward landscape",
    "scaling": "Encoders of several sizes",
    "sweep": "Sweep",
}
_LONGEST_TABLE = 40
_WIDEST_TABLE = 10
_ELSEWHERE = frozenset(
    {"kind", "command", "version", "versions", "commit", "commits", "machine", "encoder", "captioned"}
)


def study_section(study: Study, anchor: str, names: Names) -> Section:
    """Show a record of `vlm_rewards.reporting.report.runs.STUDIES`.

    Args:
        study: The record and the frames beside it.
        anchor: The section's name.
        names: Names for files.

    Returns:
        The section. What is too long for a table is left to the frames, and it says so.
    """
    record = study.record
    facts = [(name.replace("_", " "), _text(value)) for name, value in record.items() if _is_fact(name, value)]
    states = record.get("states")
    if isinstance(states, dict):
        told = [f"{name.replace('_', ' ')} {_text(value)}" for name, value in states.items() if _is_scalar(value)]
        facts.append(("states", ", ".join(told)))
    encoders = [*(record.get("encoders") or ()), record.get("encoder")]
    facts += [
        ("encoder", encoder_text({"encoder": each, "captioned": record.get("captioned")}))
        for each in encoders
        if isinstance(each, dict)
    ]
    facts += [("commit", str(record["commit"]))] if record.get("commit") else []
    facts += [("machine", machine_text(record))] if record.get("machine") else []
    try:
        table = _sweep(record) if study.kind == "sweep" else _rows(record)
    except (KeyError, TypeError, ValueError):  # of another version
        table = Paragraph("The record has rows that this version does not know how to show.")
    frames = tuple(
        Media(names.new(f"{study.name}-{path.stem}", "png"), "png", path.read_bytes(), path.stem, (PICTURES, place))
        for place, path in enumerate(study.pictures)
    )
    command = (str(record["command"]),) if record.get("command") else ()
    blocks = present(Commands(command), Facts(tuple(facts)), table, Beside(frames))
    return Section(f"{_TITLES[study.kind]}: {study.name}", anchor, blocks)


def _is_fact(name: str, value: Any) -> bool:
    if name in _ELSEWHERE or value is None:
        return False
    return _is_scalar(value) or (isinstance(value, list) and 0 < len(value) <= 12 and all(map(_is_scalar, value)))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: Mapping[str, Any]) -> Table | Paragraph | None:
    """The record's rows, where it has some; a column that counts another list of the record names what it counts."""
    rows = record.get("rows")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    heads = [name for name, value in rows[0].items() if value is None or _is_scalar(value)][:_WIDEST_TABLE]
    alone = {name for name in heads if len(record.get(f"{name}s") or ()) == 1}  # the same in every row
    heads = [name for name in heads if name not in alone or len(rows) == 1]
    if len(rows) > _LONGEST_TABLE or not heads:
        return Paragraph(f"The record has {len(rows)} rows, too many for a table here; its frames show them.")
    lines = tuple(tuple(_cell(record, name, row.get(name)) for name in heads) for row in rows)
    return Table(tuple(name.replace("_", " ") for name in heads), lines)


def _cell(record: Mapping[str, Any], name: str, value: Any) -> str:
    named = record.get(f"{name}s")
    if isinstance(value, int) and isinstance(named, Sequence) and 0 <= value < len(named):
        told = named[value]
        if isinstance(told, dict):
            told = told.get("name") or ", ".join(f"{key} “{text}”" for key, text in told.items() if _is_scalar(text))
        return str(told)
    return "-" if value is None else _text(value)


def _sweep(record: Mapping[str, Any]) -> Table | None:
    rows: list[tuple[Cell | str, ...]] = []
    for row in record.get("settings") or ():
        seeds = row["seeds"]
        rows.append(
            (
                Cell(str(row["label"]), strong=True),
                f"{len(seeds['done'])} of {len(seeds['planned'])}",
                _score(row.get("success_rate"), 100, " %"),
                _score(row.get("true_return"), 1, ""),
            )
        )
    heads = ("setting", "seeds done", "success: IQM (95 % interval)", "true return: IQM (95 % interval)")
    return Table(heads, tuple(rows))


def _score(score: Mapping[str, Any] | None, scale: float, unit: str) -> str:
    if score is None or score.get("iqm") is None:
        return "-"
    interval = score.get("iqm_interval_95")
    ends = "one seed" if interval is None else f"{scale * interval[0]:.1f} to {scale * interval[1]:.1f}{unit}"
    return f"{scale * score['iqm']:.1f}{unit} ({ends})"
