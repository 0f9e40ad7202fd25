"""The table of results: a row a policy, failures included, and what must be said below it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm_rewards.errors import UnknownNameError
from vlm_rewards.reporting.report.blocks import Cell, Table
from vlm_rewards.reporting.report.runs import Gathered, Run
from vlm_rewards.reporting.report.seeds import Aggregate, Setting, identities, settings_of
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task

COLUMNS = (
    "task",
    "policy",
    "success (95 % interval)",
    "steps held",
    "all of last half",
    "true return",
    "VLM return",
    "steps",
    "training [s]",
)
"""Heads of the table of results."""
HELD_COLUMNS = COLUMNS[3:5]
"""Those that are left out where no record says anything of them."""
SEED_COLUMNS = (
    "setting",
    "seeds evaluated",
    "success: IQM (95 % interval)",
    "success: mean, worst to best",
    "true return: IQM (95 % interval)",
    "VLM return: IQM",
)
"""Heads of the table over seeds."""

_BASELINE_NAMES = {"random": "random actions", "zero": "zero actions", "rule": "one-line rule"}
_FEW_SEEDS = 5
_DRAWING = tuple(
    f"{of}.{name}"
    for of in ("humanoid", "environment")
    for name in ("textures", "camera", "cameras", "view", "full_drawing")
)
"""Settings that decide what a frame looks like."""


@dataclass(frozen=True)
class ResultRow:
    """A policy and how it did, in words."""

    task: str
    """Name of the task."""
    policy: str
    """Which policy."""
    success: str
    """Successes of how many episodes with their interval, or why there are none."""
    held: str = ""
    """Share of the steps on which the criterion held."""
    last_half: str = ""
    """Episodes in which it held on all of the last half of the steps."""
    true_return: str = ""
    """Mean and deviation of the environment's own return."""
    vlm_return: str = ""
    """Mean and deviation of the VLM's."""
    steps: str = ""
    """Environment steps taken."""
    seconds: str = ""
    """What training took."""
    run: Run | None = None
    """The run, where the policy was learned."""
    command: str | None = None
    """What to type, where the row says that something is missing."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row in the order of `COLUMNS`."""
        scores = self.success, self.held, self.last_half, self.true_return, self.vlm_return
        return (self.task, self.policy, *scores, self.steps, self.seconds)


def result_rows(gathered: Gathered) -> list[ResultRow]:
    """One row a policy, baselines first; nothing is left out.

    Args:
        gathered: Runs and records.

    Returns:
        The rows, by task. A task without a record of baselines has a row that says so.
    """
    rows: list[ResultRow] = []
    for task in gathered.tasks:
        runs = [run for run in gathered.runs if run.task == task]
        baselines = [record for record in gathered.baselines if record["task"] == task]
        for record, label in zip(baselines, _distinctions(baselines), strict=True):
            rows += [_baseline_row(record, name, label) for name in record["policies"]]
        if not baselines:
            command = baselines_command(runs[0])
            rows.append(ResultRow(task, "baselines", "not among the inputs; make them with", command=command))
        settings = settings_of(runs)
        for setting in settings:
            again = setting.repeated_seeds
            rows += [_run_row(run, setting.label, with_name=run.seed in again) for run in setting.runs]
    return rows


def seed_rows(settings: Sequence[Setting]) -> list[tuple[str, ...]]:
    """One row a setting, in the order of `SEED_COLUMNS`; none where no setting has several seeds."""
    if all(len(setting.runs) < 2 for setting in settings):
        return []
    return [
        (
            setting.label,
            f"{setting.evaluated} of {len(setting.runs)}",
            _with_interval(setting.success, 100, " %", 1),
            _with_range(setting.success, 100, " %", 1),
            _with_interval(setting.true_return, 1, "", 1),
            "-" if setting.vlm_return is None else f"{setting.vlm_return.iqm:.2f}",
        )
        for setting in settings
    ]


def seed_notes(settings: Sequence[Setting]) -> list[str]:
    """What must be said of the table over seeds."""
    notes = ["IQM is the interquartile mean over seeds, of fewer than four their mean; its interval is a bootstrap's."]
    several = [setting.evaluated for setting in settings if setting.evaluated > 1]
    if several and min(several) < _FEW_SEEDS:
        notes.append(
            f"An interval from {min(several)} seeds says little: it cannot be wider than the seeds lie apart. "
            "Look at each of them."
        )
    for setting in settings:
        if setting.evaluated < len(setting.runs):
            missing = len(setting.runs) - setting.evaluated
            notes.append(f"{setting.label}: {missing} of {len(setting.runs)} runs have no evaluation and do not count.")
        if setting.repeated_seeds:
            seeds = ", ".join(map(str, setting.repeated_seeds))
            several = "seeds {} are" if len(setting.repeated_seeds) > 1 else "seed {} is"
            notes.append(f"{setting.label}: {several.format(seeds)} there more than once, and counted as often.")
    return notes


def results_table(rows: Sequence[ResultRow], *, with_task: bool, anchors: Mapping[str, str] | None = None) -> Table:
    """Put rows into a table; learned policies stand out.

    Args:
        rows: What `result_rows` returns, or those of a task.
        with_task: Whether there is a column for the task.
        anchors: The section of each run, by the run's name.

    Returns:
        The table.
    """
    silent = {
        place
        for place, head in enumerate(COLUMNS)
        if head in HELD_COLUMNS and all(row.cells[place] in ("", "-") for row in rows)
    }
    shown = [place for place in range(0 if with_task else 1, len(COLUMNS)) if place not in silent]
    lines: list[tuple[Cell | str, ...]] = []
    for row in rows:
        anchor = (anchors or {}).get(row.run.name, "") if row.run is not None else ""
        policy = Cell(row.policy, strong=row.run is not None, anchor=anchor)
        success = row.success if row.command is None else Cell(row.success, code=row.command)
        cells = (row.task, policy, success, *row.cells[3:])
        lines.append(tuple(cells[place] for place in shown))
    return Table(tuple(COLUMNS[place] for place in shown), tuple(lines))


def footnotes(gathered: Gathered) -> list[str]:
    """What holds for the whole table: where it comes from and what it does not say."""
    told = [run.record for run in gathered.runs if run.state not in ("unfinished", "not started")]
    records = [*told, *gathered.baselines] or [run.record for run in gathered.runs]
    commits = sorted({str(record.get("commit") or "unknown") for record in records})
    machines = sorted({machine_text(record) for record in records if "machine" in record})
    notes = [
        "Bold: learned from the sentence alone. Success is a share of evaluation episodes, by a criterion that the "
        "learner never sees, with a 95 % Wilson interval.",
        "Actions are deterministic; the snapshot was chosen by VLM return on seeds of its own, never by success.",
        "Encoder: " + "; ".join(sorted({encoder_text(record) for record in records})) + ".",
        "Commit: " + ", ".join(commits) + ".",
    ]
    if machines:
        notes.append("Machine: " + "; ".join(machines) + ".")
    return notes


def comparability_note(runs: Sequence[Run], baselines: Sequence[dict[str, Any]]) -> str | None:
    """Say so where VLM returns of a task are of several rewards, and so not of one scale."""
    kept = ("goal", "baseline", "alpha", "weights", "reward.form", "reward.shaping", *_DRAWING)
    rewards = {tuple(str(told.get(name)) for name in kept) for told in identities(runs)}
    for record in baselines:
        told = (record.get("goal"), record.get("baseline"), record.get("alpha"), _digest(record["encoder"]))
        if not any(reward[:4] == tuple(map(str, told)) for reward in rewards):
            rewards.add(tuple(map(str, told)))
    if len(rewards) < 2:
        return None
    return (
        f"VLM returns here are of {len(rewards)} different rewards (sentences, alpha, form, encoder or drawing): "
        "compare them only between rows with the same. Success and true return compare all."
    )


def watch_notes(runs: Sequence[Run]) -> list[str]:
    """Say what the watch for reward hacking saw; nothing where no run was watched."""
    watched = [run for run in runs if run.record.get("watch")]
    if not watched:
        return []
    alarmed = [run for run in watched if alarms_of(run)]
    notes = [
        f"Possible reward hacking, {run.name}: {len(alarms_of(run))} "
        f"alarm{'s' if len(alarms_of(run)) > 1 else ''} against the {run.record['watch'].get('reference')}."
        for run in alarmed
    ]
    quiet, blind = len(watched) - len(alarmed), len(runs) - len(watched)
    if quiet:
        what = "run" if quiet == 1 else "runs"
        notes.append(f"No alarm of reward hacking in {'the other ' if alarmed else ''}{quiet} watched {what}.")
    if blind:
        notes.append(f"{blind} {'run has' if blind == 1 else 'runs have'} no record of a watch for reward hacking.")
    return notes


def alarms_of(run: Run) -> list[dict[str, Any]]:
    """Alarms of reward hacking that a run raised."""
    return list((run.record.get("watch") or {}).get("alarms") or ())


def state_text(run: Run) -> str:
    """How far a run has come, in words; empty where it is complete."""
    planned, steps = run.record.get("planned_steps"), f"{run.record['steps']:,}"
    of = f"{steps} of {planned:,} steps" if isinstance(planned, int) else f"{steps} steps"
    told = {
        "complete": "",
        "not evaluated": f"not evaluated (trained for {of})",
        "interrupted": f"interrupted after {of}, not evaluated",
        "unfinished": f"unfinished: killed or still going, at {of}",
        "not started": "planned, not started",
    }[run.state]
    return f"{told}; it failed with: {run.last_words}" if run.last_words and run.state != "complete" else told


def encoder_text(record: dict[str, Any]) -> str:
    """An encoder and what is to be known before its scores are trusted."""
    encoder = record["encoder"]
    digest = _digest(encoder)
    facts = [encoder_note(record), f"weights {digest}" if digest else "weights not recorded"]
    return f"{encoder.get('name')} ({'; '.join(fact for fact in facts if fact)})"


def encoder_note(record: dict[str, Any]) -> str:
    """Whether an encoder knew the simulator, or knows nothing; empty where neither is known."""
    encoder, config = record["encoder"], record.get("config") or {}
    words = " ".join(str(encoder.get(key) or "") for key in ("source", "name", "pretrained_tag"))
    if re.search(r"\brandom\b", words.replace("_", " ").lower()):
        return "random weights: its scores mean nothing"
    if not encoder.get("in_domain") and encoder.get("name") != "bundled":
        return ""
    if config.get("environment") or config.get("task_file") or record.get("captioned") is False:
        return "trained on frames of other simulators, not zero-shot: its scores mean little here"
    return "in-domain, not zero-shot"


def machine_text(record: dict[str, Any]) -> str:
    """Processor, cores and accelerator."""
    machine = record.get("machine") or {}
    parts = [str(machine.get("processor", "unknown")), f"{machine.get('cores', '?')} cores"]
    return ", ".join([*parts, *([machine["accelerator"]] if machine.get("accelerator") else [])])


def baselines_command(run: Run) -> str:
    """What to type for the baselines of a run's task, under the same sentences and encoder."""
    config = run.config
    environment = config.get("environment")
    words = ["vlm-rewards", "baselines"]
    if environment:
        words += ["--env-id", environment["env_id"]]
        words += ["--horizon", str(environment["horizon"])] if environment.get("horizon") else []
        words += ["--env-kwargs", environment["env_kwargs"]] if environment.get("env_kwargs", "{}") != "{}" else []
        words += ["--cameras", *environment["cameras"]] if environment.get("cameras") else []
        own: tuple[str, str] | None = None
    else:
        words.append(f"{config['task_file']}:{run.task}" if config.get("task_file") else run.task)
        own = _own_sentences(run.task)
    words += _drawing_words(config.get("environment") or config.get("humanoid") or {})
    said = tuple(str(config.get(name)) for name in ("goal", "baseline"))
    if own != said and not (config.get("task_file") and own is None):
        words += ["--goal", said[0], "--baseline", said[1]]
    if config.get("encoder") not in (None, "bundled"):
        words += ["--encoder", str(config["encoder"])]
    return shlex.join([*words, "--out", f"baselines-{run.task}.json"])


def _drawing_words(drawing: dict[str, Any]) -> list[str]:
    """Flags of what an environment or the humanoid is drawn with, where it is not the usual."""
    usual = {"textures": EnvironmentConfig.textures} if "env_id" in drawing else HumanoidConfig().to_dict()
    named = [name for name in ("textures", "camera") if drawing.get(name, usual.get(name)) != usual.get(name)]
    words = [word for name in named for word in (f"--{name}", drawing[name])]
    words += ["--view", *map(str, drawing["view"])] if drawing.get("view") else []
    return words + (["--full-drawing"] if drawing.get("full_drawing") else [])


def commands(gathered: Gathered) -> list[str]:
    """What was typed for all that is here, in order."""
    records = [*gathered.baselines, *(run.record for run in gathered.runs), *(s.record for s in gathered.studies)]
    return list(dict.fromkeys(str(record["command"]) for record in records if record.get("command")))


def _baseline_row(record: dict[str, Any], name: str, label: str) -> ResultRow:
    policy = f"{_BASELINE_NAMES.get(name, name)}{label}"
    return ResultRow(record["task"], policy, *score_texts(record["policies"][name]), "-", "-")


def _distinctions(baselines: Sequence[dict[str, Any]]) -> list[str]:
    """What tells several records of a task's baselines apart; nothing where there is one."""
    told = [
        {
            "goal": f"“{record.get('goal')}”",
            "baseline": f"baseline “{record.get('baseline')}”",
            "alpha": f"alpha {record.get('alpha')}",
            "encoder": encoder_text(record),
            "seed": f"seed {record['seed']}",
        }
        for record in baselines
    ]
    differing = [name for name in told[0] if any(own[name] != told[0][name] for own in told)] if told else []
    labels = ["".join(f", {own[name]}" for name in differing) for own in told]
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[:place].count(label) + 1})"
        for place, label in enumerate(labels)
    ]


def _run_row(run: Run, label: str, *, with_name: bool) -> ResultRow:
    seconds = run.record["seconds"].get("training")
    rest = f"{run.record['steps']:,}", "-" if seconds is None else f"{seconds:.0f}"
    policy = f"{label}, seed {run.seed}" + (f" ({run.name})" if with_name else "")
    if run.evaluation is None:
        return ResultRow(run.task, policy, state_text(run), "", "", "", "", *rest, run)
    return ResultRow(run.task, policy, *score_texts(run.evaluation), *rest, run)


def score_texts(summary: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """An evaluation in words: success, how often the criterion held, true return and VLM return.

    Args:
        summary: Of an evaluation; older ones do not say how often the criterion held.

    Returns:
        Success, share of the steps on which the criterion held, episodes in which it held on all of the last half,
        true return and VLM return.
    """
    known = summary.get("held_share") is not None
    held = f"{100 * summary['held_share']:.1f} %" if known else "-"
    last_half = f"{summary['held_last_half']}/{summary['episodes']}" if known else "-"
    true = f"{summary['true_return']:.1f} ± {summary['true_return_std']:.1f}"
    vlm = f"{summary['vlm_return']:.2f} ± {summary['vlm_return_std']:.2f}"
    return success_text(summary), held, last_half, true, vlm


def success_text(summary: dict[str, Any]) -> str:
    """Successes of how many episodes, with their interval; a dash where the task has no criterion."""
    if summary.get("successes") is None:
        return "-"
    share = f"{summary['successes']}/{summary['episodes']}"
    if summary.get("success_interval_95") is None:
        return share
    low, high = summary["success_interval_95"]
    return f"{share} ({100 * low:.1f} to {100 * high:.1f} %)"


def _with_interval(score: Aggregate | None, scale: float, unit: str, digits: int) -> str:
    if score is None:
        return "-"
    ends = "one seed"
    if score.interval is not None:
        low, high = (f"{scale * end:.{digits}f}" for end in score.interval)
        ends = f"{low} to {high}{unit}"
    return f"{scale * score.iqm:.{digits}f}{unit} ({ends})"


def _with_range(score: Aggregate | None, scale: float, unit: str, digits: int) -> str:
    if score is None:
        return "-"
    worst, best = (f"{scale * end:.{digits}f}" for end in (min(score.values), max(score.values)))
    return f"{scale * score.mean:.{digits}f}{unit}, {worst} to {best}{unit}"


def _digest(encoder: dict[str, Any]) -> str:
    return str(encoder.get("weights_sha256") or "")[:12]


def _own_sentences(task: str) -> tuple[str, str] | None:
    try:
        known = get_task(task)
    except UnknownNameError:
        return None
    return known.goal, known.baseline
