"""How far each run of a sweep has come, from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_json, write_json
from vlm_rewards.sweeping.plan import PlannedRun, SweepPlan
from vlm_rewards.training.run_folder import RunFolder

State = Literal["complete", "failed", "stopped", "new"]
"""``complete`` is trained and evaluated; ``stopped`` has begun and can go on; ``failed`` ended by itself before."""

_LONGEST_WORDS = 300


@dataclass(frozen=True)
class RunStatus:
    """How far a run has come."""

    state: State
    """In a word."""
    record: dict[str, Any] | None = None
    """Of a complete run, with its evaluation."""
    last_words: str | None = None
    """Of a failed one."""


def status_of(plan: SweepPlan, run: PlannedRun) -> RunStatus:
    """Find out how far a run has come.

    Raises:
        InvalidInputError: Its folder holds a run with other settings.
        CheckpointError: Its settings are damaged.
    """
    folder = RunFolder(plan.folder(run))
    begun = folder.config.is_file()
    if begun and folder.read_config() != run.config:
        raise InvalidInputError(f"run {str(folder.path)!r} must have the settings of the plan; it has others.")
    record = _evaluated(folder) if begun else None
    if record is not None:
        return RunStatus("complete", record=record)
    if plan.failure(run).is_file():
        return RunStatus("failed", last_words=str(read_json(plan.failure(run))["last_words"]))
    return RunStatus("stopped" if begun else "new")


def note_failure(plan: SweepPlan, run: PlannedRun, exit_code: int, ended: str) -> None:
    """Write down why a run failed: how its process ended, and the last line that it printed."""
    try:
        lines = plan.log(run).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = said.removeprefix("vlm-rewards: ")
    words = f"{ended}: {said[:_LONGEST_WORDS]}" if said else ended
    write_json(plan.failure(run), {"exit_code": exit_code, "last_words": words})


def _evaluated(folder: RunFolder) -> dict[str, Any] | None:
    try:
        record = read_json(folder.record)
    except CheckpointError:  # not there yet; `train` decides the same way
        return None
    return record if "evaluation" in record else None
