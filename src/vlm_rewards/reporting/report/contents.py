"""What a report says: of all, of each task, of each run, of each study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlm_rewards.errors import UnknownNameError
from vlm_rewards.reporting.report.blocks import Block, Commands, Document, Facts, Media, Notes, Section, Table, present
from vlm_rewards.reporting.report.drawings import runs_figure
from vlm_rewards.reporting.report.names import Names
from vlm_rewards.reporting.report.run_section import run_section
from vlm_rewards.reporting.report.runs import Gathered, Run
from vlm_rewards.reporting.report.seeds import Setting, settings_of
from vlm_rewards.reporting.report.study_section import study_section
from vlm_rewards.reporting.results import (
    SEED_COLUMNS,
    commands,
    comparability_note,
    encoder_text,
    footnotes,
    result_rows,
    results_table,
    seed_notes,
    seed_rows,
    watch_notes,
)
from vlm_rewards.tasks.task import get_task

COMPARISONS = 0
"""Rank of the figures of all runs of a task."""


def document(gathered: Gathered, title: str, command: str) -> Document:
    """Say everything.

    Args:
        gathered: Runs and records.
        title: Heading of all.
        command: What was typed for this report.

    Returns:
        The report: a section a task with its runs inside, a section a study, and how to do it again.
    """
    names = Names()
    anchors = {run.name: f"run-{number}" for number, run in enumerate(gathered.runs, start=1)}
    sections = [
        _task_section(gathered, task, f"task-{number}", anchors, names)
        for number, task in enumerate(gathered.tasks, start=1)
    ]
    sections += [
        study_section(study, f"study-{number}", names) for number, study in enumerate(gathered.studies, start=1)
    ]
    again = Section("To do it again", "again", present(Commands(tuple(commands(gathered)))))
    made = Section("How this report was made", "made", (Commands((command,)),))
    return Document(title, _summary(gathered), (*sections, *([again] if again.blocks else []), made))


def tables(gathered: Gathered) -> tuple[Block, ...]:
    """Say the numbers alone, of all tasks in one table: for a page that has its own words and frames.

    Args:
        gathered: Runs and records.

    Returns:
        The table of results with its notes, the tables over seeds with theirs, and the commands.
    """
    notes = footnotes(gathered)
    settings: list[Setting] = []
    for task in gathered.tasks:
        runs = _runs(gathered, task)
        comparable = comparability_note(runs, _baselines(gathered, task))
        notes += [f"{task}: {comparable}"] if comparable else []
        settings += [replace(setting, label=f"{task}: {setting.label}") for setting in settings_of(runs)]
    notes += watch_notes(gathered.runs)
    rows = tuple(seed_rows(settings))
    over_seeds = [Table(SEED_COLUMNS, rows), Notes(tuple(seed_notes(settings)))] if rows else []
    typed = Commands(tuple(commands(gathered)))
    left_out = Notes(tuple(f"Left out: {what}" for what in gathered.left_out))
    table = results_table(result_rows(gathered), with_task=True)
    return present(left_out, table, Notes(tuple(notes)), *over_seeds, typed)


def _summary(gathered: Gathered) -> tuple[Block, ...]:
    states = Counter(run.state for run in gathered.runs)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    counts = [
        (
            "runs",
            f"{len(gathered.runs)}, of {_count(len(gathered.tasks), 'task')}: {told}" if gathered.runs else "none",
        ),
        ("records of baselines", str(len(gathered.baselines))),
        ("other records", ", ".join(f"{study.name} ({study.kind})" for study in gathered.studies)),
    ]
    left_out = Notes(tuple(f"Left out: {what}" for what in gathered.left_out))
    watched = Notes(tuple(watch_notes(gathered.runs)))
    read = Notes(tuple(footnotes(gathered))) if gathered.tasks else None
    return present(left_out, Facts(tuple(pair for pair in counts if pair[1])), watched, read)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _task_section(gathered: Gathered, task: str, anchor: str, anchors: Mapping[str, str], names: Names) -> Section:
    runs, baselines = _runs(gathered, task), _baselines(gathered, task)
    settings = settings_of(runs)
    rows = [row for row in result_rows(gathered) if row.task == task]
    comparable = comparability_note(runs, baselines)
    over_seeds = seed_rows(settings)
    content = runs_figure(settings, f"{task}: all runs") if runs else None
    figure = None
    if content is not None:
        caption = f"{task}: all runs. A star is the snapshot with a run's highest VLM return."
        figure = Media(names.new(f"{task}-runs", "png"), "png", content, caption, (COMPARISONS, 0))
    inside = [
        run_section(run, setting.label, anchors[run.name], turn, names)
        for setting in settings
        for turn, run in enumerate(setting.runs)
    ]
    blocks = present(
        Facts(tuple(_about(task, runs, baselines))),
        results_table(rows, with_task=False, anchors=anchors),
        Notes(tuple([*([comparable] if comparable else []), *watch_notes(runs)])),
        Table(SEED_COLUMNS, tuple(over_seeds)),
        Notes(tuple(seed_notes(settings))) if over_seeds else None,
        figure,
        *inside,
    )
    return Section(task, anchor, blocks)


def _about(task: str, runs: Sequence[Run], baselines: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Sentences, strengths, encoders and the criterion, each that occurs."""
    records = [*(run.record for run in runs), *baselines]
    facts = [
        ("goal", _each(f"“{record.get('goal')}”" for record in records)),
        ("baseline", _each(f"“{record.get('baseline')}”" for record in records)),
        ("alpha", _each(str(record.get("alpha")) for record in records)),
        ("encoder", _each(encoder_text(record) for record in _told_most(records))),
        ("an episode succeeds when", _criterion(task, runs, records)),
    ]
    return facts


def _told_most(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records that say which weights they had, or all where none does."""
    return [record for record in records if record["encoder"].get("weights_sha256")] or list(records)


def _each(texts: Any) -> str:
    return "; ".join(dict.fromkeys(texts))


def _criterion(task: str, runs: Sequence[Run], records: Sequence[dict[str, Any]]) -> str:
    said = _each(str(record["criterion"]) for record in records if record.get("criterion"))
    if said:
        return said
    own = any(run.config.get("environment") or run.config.get("task_file") for run in runs)
    try:
        known = "" if own else get_task(task).criterion_text
    except UnknownNameError:
        known = ""
    return known or "nobody can say: no criterion is known"


def _runs(gathered: Gathered, task: str) -> list[Run]:
    return [run for run in gathered.runs if run.task == task]


def _baselines(gathered: Gathered, task: str) -> list[dict[str, Any]]:
    return [record for record in gathered.baselines if record["task"] == task]
