"""What the runs of a sweep amount to, one row a setting with all of its seeds, and the page that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vlm_rewards.errors import check_count
from vlm_rewards.evaluation.statistics import (
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap_interval,
)
from vlm_rewards.files import write_atomically, write_json
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.figures.sweeps import plot_sweep
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.sweep import RunStatus, execute, locked, status_of
from vlm_rewards.training.sweep_plan import PlannedRun, SweepPlan, write_plan

SCORES = ("success_rate", "true_return", "vlm_return")
"""Of a run: means over the episodes of its final evaluation, for its best snapshot by VLM return."""
_RESAMPLES = 10_000


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
        "resamples": _RESAMPLES,
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
        **{score: _aggregate(_values(group, score)) for score in SCORES},
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


def _aggregate(seeds: list[float]) -> dict[str, Any]:
    summary: dict[str, Any] = {"seeds": seeds}
    for name, statistic in (("mean", np.mean), ("iqm", interquartile_mean)):
        summary[name] = float(statistic(seeds)) if seeds else None
        enough = len(seeds) > 1
        interval = stratified_bootstrap_interval([seeds], statistic, resamples=_RESAMPLES) if enough else None
        summary[f"{name}_interval_95"] = None if interval is None else list(interval)
    return summary


def _improvement(seeds: list[float], first: list[float]) -> dict[str, Any] | None:
    if min(len(seeds), len(first)) < 2:
        return None
    estimate = probability_of_improvement(seeds, first, resamples=_RESAMPLES)
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


_FEW_SEEDS = 3
_SEEDS_OF_A_TRIMMED_MEAN = 4


def summary_page(record: dict[str, Any]) -> str:
    """Format a sweep's record as Markdown: a row a setting, then a row a run; nothing is left out.

    Args:
        record: What `vlm_rewards.reporting.sweeps.summarise` returns.
    """
    rows, runs = record["settings"], record["runs"]
    counts = {state: sum(run["state"] == state for run in runs) for state in ("complete", "failed")}
    missing = len(runs) - sum(counts.values())
    parts = [
        f"# Sweep of {record['task']}",
        f"{len(runs)} runs: {counts['complete']} complete, {counts['failed']} failed, {missing} missing.",
        _settings_table(record),
        "\n".join(f"* {note}" for note in _notes(record, rows)),
        "![Each setting: interquartile mean, interval, and every seed](summary.png)",
        "## Every run",
        _runs_table(runs),
        f"```console\n$ {record['command']}\n```" if record.get("command") else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def percent(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f}"


def number(value: float) -> str:
    """A return."""
    return f"{value:.1f}"


def with_interval(score: dict[str, Any], name: str, form: Callable[[float], str], unit: str = "") -> str:
    """A mean or IQM with its interval, as ``66.7 % (33.3 to 100.0 %)``."""
    if score[name] is None:
        return "-"
    interval = score[f"{name}_interval_95"]
    ends = "(one seed)" if interval is None else f"({form(interval[0])} to {form(interval[1])}{unit})"
    return f"{form(score[name])}{unit} {ends}"


def _settings_table(record: dict[str, Any]) -> str:
    judged, rows = record["score"] == "success_rate", record["settings"]
    columns = ["setting", "seeds", "failed or missing"]
    columns += ["success: mean", "success: IQM (95 % interval)"] if judged else []
    columns += ["true return: mean", "true return: IQM (95 % interval)"]
    columns += ["better than the first row"] if len(rows) > 1 else []
    return _table([*columns, "VLM return: mean †"], [_cells(row, judged, len(rows) > 1) for row in rows])


def _cells(row: dict[str, Any], judged: bool, compared: bool) -> list[str]:
    seeds, success, true, vlm = row["seeds"], row["success_rate"], row["true_return"], row["vlm_return"]
    cells = [row["label"], f"{len(seeds['done'])} of {len(seeds['planned'])}", _absent(seeds)]
    if judged:
        mean = "-" if success["mean"] is None else f"{percent(success['mean'])} %"
        cells += [mean, with_interval(success, "iqm", percent, " %")]
    mean = "-" if true["mean"] is None else number(true["mean"])
    cells += [mean, with_interval(true, "iqm", number)]
    if compared:
        better = row["improvement"]
        cells.append("-" if better is None else _share(better["probability"], better["interval_95"]))
    return [*cells, "-" if vlm["mean"] is None else f"{vlm['mean']:.2f}"]


def _share(value: float, interval: Sequence[float]) -> str:
    return f"{percent(value)} % ({percent(interval[0])} to {percent(interval[1])} %)"


def _absent(seeds: dict[str, Any]) -> str:
    parts = [
        f"{len(seeds[state])} {state} (seed {', '.join(map(str, seeds[state]))})"
        for state in ("failed", "missing")
        if seeds[state]
    ]
    return "; ".join(parts) or "0"


def _notes(record: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    fewest = min(len(row["seeds"]["done"]) for row in rows)
    if fewest < _FEW_SEEDS:
        notes.append(
            f"**With fewer than {_FEW_SEEDS} seeds an interval says little** (the smallest row here has {fewest}): one "
            "or two values show next to nothing of how far other seeds would lie apart."
        )
    if fewest < _SEEDS_OF_A_TRIMMED_MEAN:
        notes.append(f"IQM is the mean of the middle half; of fewer than {_SEEDS_OF_A_TRIMMED_MEAN} seeds, of all.")
    else:
        notes.append("IQM is the mean of the middle half of the seeds.")
    notes += [
        "A seed's score is the final evaluation of its best snapshot by VLM return, over other episodes than those "
        "that chose the snapshot. All seeds that are done count; none is picked.",
        f"Intervals: percentile bootstrap over seeds, {record['resamples']:,} resamples. They say how the number would "
        "vary with other seeds. Seeds that failed or are missing are not in them: where failing has to do with the "
        "setting, the row is too good.",
    ]
    if len(rows) > 1:
        notes.append(
            "Better than the first row: probability that a run of this row scores higher than one of the first, by "
            f"{'success' if record['score'] == 'success_rate' else 'true return'}, ties counting half."
        )
    notes.append("† VLM returns of different alphas, prompts or encoders are different units: not to be compared.")
    notes.append(
        f"An episode succeeds when: {record['criterion']}."
        if record["criterion"]
        else "The task has no criterion of success, or no run is done."
    )
    if record["encoders"]:
        encoders = "; ".join(map(_encoder, record["encoders"]))
        notes.append(f"Encoder: {encoders}. Commit: {', '.join(f'`{commit}`' for commit in record['commits'])}.")
    notes.append("To compare with policies that learned nothing on this task: `vlm-rewards baselines`.")
    return notes


def _encoder(encoder: dict[str, Any]) -> str:
    kind = "in-domain, not zero-shot" if encoder["in_domain"] else "as named"
    return f"{encoder['name']} ({kind}; weights {str(encoder['weights_sha256'])[:12]})"


def _runs_table(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        success, true, vlm, seconds = (
            run[key] for key in ("success_rate", "true_return", "vlm_return", "training_seconds")
        )
        rows.append(
            [
                run["name"],
                run["state"],
                "-" if success is None else f"{percent(success)} %",
                "-" if true is None else number(true),
                "-" if vlm is None else f"{vlm:.2f}",
                "-" if seconds is None else f"{seconds:.0f}",
                run["last_words"] or "",
            ]
        )
    return _table(["run", "state", "success", "true return", "VLM return †", "training [s]", "last words"], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
