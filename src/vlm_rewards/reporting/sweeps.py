"""What the runs of a sweep amount to, one row a setting with all of its seeds, and the page that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlm_rewards.errors import check_count
from vlm_rewards.evaluation.statistics import probability_of_improvement
from vlm_rewards.files import write_atomically, write_json
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.figures.sweeps import plot_sweep
from vlm_rewards.reporting.settings import RESAMPLES, aggregate
from vlm_rewards.templates import number, percent, render
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.sweep import RunStatus, execute, locked, status_of
from vlm_rewards.training.sweep_plan import PlannedRun, SweepPlan, write_plan

SCORES = ("success_rate", "true_return", "vlm_return")
"""Of a run: means over the episodes of its final evaluation, for its best snapshot by VLM return."""


def write_summary(plan: SweepPlan, command: str | None) -> dict[str, Any]:
    """Write ``summary.json``, ``summary.md`` and ``summary.png`` into the sweep's folder, each whole or not at all.

    Args:
        plan: The sweep.
        command: As it was typed, for the record.

    Returns:
        The record.
    """
    record = summarise(plan, command)
    write_json(plan.out / "summary.json", record)
    write_atomically(plan.out / "summary.md", summary_page(record).encode())
    unfinished = plan.out / ".summary.png"
    plot_sweep(record, unfinished)
    unfinished.replace(plan.out / "summary.png")
    return record


def sweep(
    plan: SweepPlan,
    *,
    jobs: int = 1,
    resume_options: Sequence[str] = (),
    command: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train all runs of a plan that are not complete, each in a process of its own, and sum up after each.

    Args:
        plan: The sweep; its folder is made. The same plan goes on with a sweep that was stopped.
        jobs: Runs at a time.
        resume_options: Arguments of ``train --resume`` for runs that are started from their folders.
        command: As it was typed, for the record.
        say: Told, in a line each, which runs are started and how they ended.

    Returns:
        The record of the summary; see `summarise`. A run that failed stops no other.

    Raises:
        InvalidInputError: The folder cannot be made, is in use by another process, or holds other runs.
        RunFolderError: The folder can no longer be written.
        KeyboardInterrupt: Ctrl-C. The runs have ended, with checkpoints, and the summary is written.
    """
    check_count("jobs", jobs)
    for run in plan.runs:
        status_of(plan, run)  # refuses folders that hold other runs

    def started(run: PlannedRun, before: RunStatus) -> None:
        say(f"{'start' if before.state == 'new' else 'go on':<9} {run.name}")

    def ended(run: PlannedRun, now: RunStatus, seconds: float) -> None:
        runs = write_summary(plan, command)["runs"]
        complete = f"[{sum(one['state'] == 'complete' for one in runs)} of {len(runs)} complete]"
        say(f"{now.state:<9} {run.name} ({seconds:.0f} s): {_outcome(plan, run, now)} {complete}")

    with locked(plan):
        write_plan(plan, command)
        write_summary(plan, command)
        try:
            execute(plan, jobs=jobs, resume_options=resume_options, started=started, ended=ended)
        finally:
            record = write_summary(plan, command)
    return record


def _outcome(plan: SweepPlan, run: PlannedRun, status: RunStatus) -> str:
    if status.record is None:
        return f"{status.last_words}; all that it said is in {plan.log(run)}"
    evaluation = status.record["evaluation"]
    success = evaluation["success_rate"]
    text = "" if success is None else f"success {percent(success)} %, "
    text += f"true return {number(evaluation['true_return'])}"
    return text if status.last_words is None else f"{text}; without a video, {status.last_words}"


def summarise(plan: SweepPlan, command: str | None = None) -> dict[str, Any]:
    """Aggregate the runs of a sweep over seeds.

    Args:
        plan: The sweep.
        command: As it was typed, for the record.

    Returns:
        A JSON-able record. ``settings`` has a row for each setting, which is
        everything but the seed: its ``label``, its ``seeds`` by state, and for
        each of `SCORES` the seeds' own values, their ``mean`` and ``iqm``
        (interquartile mean) with 95 % bootstrap intervals over seeds; None
        where there are too few. ``improvement`` is the probability that a run
        scores higher than one of the first setting. ``score`` says which score
        that is about: success where the task has a criterion, else the true
        return.
    """
    runs = [(run, status_of(plan, run)) for run in plan.runs]
    groups: dict[str, list[tuple[PlannedRun, RunStatus]]] = {}
    varied = _varied([run.config for run in plan.runs])
    for run, status in runs:
        groups.setdefault(repr(_setting(run.config)), []).append((run, status))
    rows = [_row(group, varied) for group in groups.values()]
    records = [status.record for _, status in runs if status.record is not None]
    judged = not records or any(record["evaluation"]["success_rate"] is not None for record in records)
    score = "success_rate" if judged else "true_return"
    for row in rows:
        row["improvement"] = None if row is rows[0] else _improvement(row[score]["seeds"], rows[0][score]["seeds"])
    return {
        "kind": "sweep",
        "command": command,
        "task": plan.runs[0].config.task,
        "criterion": records[0]["criterion"] if records else None,
        "score": score,
        "varied": varied,
        "encoders": _encoders(records),
        "commits": sorted({str(record.get("commit")) for record in records}),
        "confidence": 0.95,
        "resamples": RESAMPLES,
        "settings": rows,
        "runs": [_run(run, status) for run, status in runs],
        **provenance(),
    }


def _setting(config: TrainConfig) -> dict[str, Any]:
    return {
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "form": config.reward.form,
        "encoder": config.encoder,
        "algorithm": config.algorithm_name,
    }


def _varied(configs: Sequence[TrainConfig]) -> list[str]:
    settings = [_setting(config) for config in configs]
    return [name for name in settings[0] if any(setting[name] != settings[0][name] for setting in settings)]


def _row(group: Sequence[tuple[PlannedRun, RunStatus]], varied: Sequence[str]) -> dict[str, Any]:
    setting = _setting(group[0][0].config)
    seeds = {
        state: [run.config.seed for run, status in group if status.state in states]
        for state, states in (("done", ("complete",)), ("failed", ("failed",)), ("missing", ("stopped", "new")))
    }
    return {
        "label": _label(setting, varied),
        "setting": setting,
        "seeds": {"planned": [run.config.seed for run, _ in group], **seeds},
        **{score: aggregate(_values(group, score)) for score in SCORES},
    }


def _label(setting: dict[str, Any], varied: Sequence[str]) -> str:
    said = {
        **setting,
        "goal": f"“{setting['goal']}”",
        "baseline": f"baseline “{setting['baseline']}”",
        "alpha": f"alpha {setting['alpha']:.12g}",
        "algorithm": setting["algorithm"].upper(),
    }
    return ", ".join(said[name] for name in varied) or said["algorithm"]


def _values(group: Sequence[tuple[PlannedRun, RunStatus]], score: str) -> list[float]:
    """Of the seeds that are done, in order; empty where the task has no such score."""
    found = [status.record["evaluation"][score] for _, status in group if status.record is not None]
    return [float(value) for value in found if value is not None]


def _improvement(seeds: list[float], first: list[float]) -> dict[str, Any] | None:
    if min(len(seeds), len(first)) < 2:
        return None
    estimate = probability_of_improvement(seeds, first, resamples=RESAMPLES)
    return {"probability": estimate.value, "interval_95": [estimate.low, estimate.high]}


def _run(run: PlannedRun, status: RunStatus) -> dict[str, Any]:
    evaluation = {} if status.record is None else status.record["evaluation"]
    return {
        "name": run.name,
        "seed": run.config.seed,
        "state": status.state,
        **{score: evaluation.get(score) for score in SCORES},
        "training_seconds": None if status.record is None else status.record["seconds"]["training"],
        "last_words": status.last_words,
    }


def _encoders(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("name", "in_domain", "weights_sha256")
    found = {str(r["encoder"].get("name")): {key: r["encoder"].get(key) for key in kept} for r in records}
    return list(found.values())


def summary_page(record: dict[str, Any]) -> str:
    """Format a sweep's record as Markdown: a row a setting, then a row a run; nothing is left out.

    Args:
        record: What `vlm_rewards.reporting.sweeps.summarise` returns.
    """
    states = [run["state"] for run in record["runs"]]
    complete, failed = states.count("complete"), states.count("failed")
    counts = {"complete": complete, "failed": failed, "missing": len(states) - complete - failed}
    return render("reporting/templates/sweep.md.j2", record=record, **counts)
