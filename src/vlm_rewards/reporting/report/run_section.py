"""What a report says of one run."""

from __future__ import annotations

from typing import Any

from vlm_rewards.reporting.report.blocks import Beside, Block, Commands, Facts, Fold, Media, Section, Table, present
from vlm_rewards.reporting.report.drawings import run_figure
from vlm_rewards.reporting.report.names import Names
from vlm_rewards.reporting.report.runs import Run
from vlm_rewards.reporting.report.settings import differences, settings_rows
from vlm_rewards.reporting.results import HELD_COLUMNS, alarms_of, encoder_text, machine_text, score_texts, state_text

CURVES, ALARMS, VIDEOS = 1, 2, 4
"""Ranks: where there is not room for everything, videos go first."""


def run_section(run: Run, label: str, anchor: str, turn: int, names: Names) -> Section:
    """Say everything of a run.

    Args:
        run: The run.
        label: Its setting.
        anchor: The section's name.
        turn: Its place among the runs of its setting: the first ones' videos have precedence.
        names: Names for files.

    Returns:
        The section: the outcome, the curve beside the video, alarms with their frames, settings, and how it was made.
    """
    title = f"{run.task}: {label}, seed {run.seed}"
    curve = run_figure(run, title)
    shown: list[Media] = []
    if curve is not None:
        name = names.new(f"{run.name}-curve", "png")
        shown.append(Media(name, "png", curve, f"Learning curve of {run.name}", (CURVES, turn)))
    shown += _video(run, turn, names)
    blocks = present(
        Facts(_outcome(run, nothing_to_draw=curve is None)),
        Beside(tuple(shown)),
        *_alarms(run, turn, names),
        _settings(run),
        _making(run),
    )
    return Section(f"{label}, seed {run.seed}: {run.name}", anchor, blocks)


def _outcome(run: Run, *, nothing_to_draw: bool) -> tuple[tuple[str, str], ...]:
    scores, facts = run.evaluation, []
    if run.state != "complete":
        facts.append(("state", state_text(run)))
    if scores is not None:
        told = zip(("success", *HELD_COLUMNS, "true return", "VLM return"), score_texts(scores), strict=True)
        facts += [(name, text) for name, text in told if name not in HELD_COLUMNS or text != "-"]
        facts.append(("snapshot", str(scores.get("snapshot"))))
    if nothing_to_draw:
        facts.append(("curve", "none: no numbers over time came with this run"))
    if scores is not None and run.file(scores.get("video")) is None:
        why = "its record came without its folder" if run.folder is None else "none was recorded"
        facts.append(("video", f"none: {why}"))
    return tuple(facts)


def _video(run: Run, turn: int, names: Names) -> list[Media]:
    path = run.file((run.evaluation or {}).get("video"))
    if path is None or path.suffix.lower() != ".mp4" or not path.stat().st_size:
        return []
    caption = f"{run.name}, {path.stem}: the best snapshot by VLM return"
    return [Media(names.new(f"{run.name}-{path.stem}", "mp4"), "mp4", path.read_bytes(), caption, (VIDEOS, turn))]


def _alarms(run: Run, turn: int, names: Names) -> list[Block]:
    alarms = alarms_of(run)
    if not alarms:
        return []
    reference = str(run.record["watch"].get("reference"))
    heads = ("alarm at step", "VLM reward a step", f"{reference} a step", "correlation")
    rows = tuple(
        (
            f"{alarm['step']:,}" if isinstance(alarm.get("step"), int) else "-",
            _change(alarm, "vlm"),
            _change(alarm, "reference"),
            f"{_number(alarm.get('correlation_before'))} → {_number(alarm.get('correlation'))}",
        )
        for alarm in alarms
    )
    frames: list[Media] = []
    for alarm in alarms:
        path = run.file(alarm.get("picture"))
        if path is not None and path.suffix.lower() == ".png":
            caption = f"{run.name}, alarm at step {alarm.get('step')}: high by the reward, low by the {reference}"
            name = names.new(f"{run.name}-alarm-{path.stem}", "png")
            frames.append(Media(name, "png", path.read_bytes(), caption, (ALARMS, turn)))
    return [Table(heads, rows), Beside(tuple(frames))]


def _change(alarm: dict[str, Any], name: str) -> str:
    return f"{_number(alarm.get(f'{name}_before'))} → {_number(alarm.get(f'{name}_now'))}"


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def _settings(run: Run) -> Fold:
    usual, changed = differences(run)
    everything = Fold("Every setting", (Table(("setting", "value"), tuple(settings_rows(run))),))
    table = Table(("not as usual", "here", usual), tuple(changed))
    heading = f"Settings: {len(changed)} not as in {usual}" if changed else f"Settings: as in {usual}"
    return Fold(heading, present(table, everything))


def _making(run: Run) -> Fold:
    record = run.record
    versions = ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())
    seconds = {name: value for name, value in record["seconds"].items() if isinstance(value, int | float)}
    facts = [
        ("encoder", encoder_text(record)),
        ("started", record.get("started")),
        ("wall time", ", ".join(f"{name.replace('_', ' ')} {value:,.0f} s" for name, value in seconds.items())),
        ("machine", machine_text(record) if record.get("machine") else None),
        ("commit", record.get("commit")),
        ("vlm-rewards", record.get("version")),
        ("versions", versions),
        ("folder", None if run.folder is None else str(run.folder)),
    ]
    typed = (str(record["command"]),) if record.get("command") else ()
    told = Facts(tuple((name, str(value)) for name, value in facts if value))
    return Fold("How it was made", present(Commands(typed), told))
