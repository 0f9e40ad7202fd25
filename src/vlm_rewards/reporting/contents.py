"""What a report says, as plain lists and dictionaries that the templates put into words."""

from __future__ import annotations

import io
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from vlm_rewards.errors import UnknownNameError, VLMRewardsError
from vlm_rewards.files import read_columns
from vlm_rewards.reporting.figures.curves import RunCurve, plot_learning_curve, plot_runs
from vlm_rewards.reporting.gathering import Gathered, Run, Study
from vlm_rewards.reporting.settings import Setting, differences, identities, settings_of, settings_rows
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import get_task
from vlm_rewards.templates import number, percent, with_interval

COMPARISONS, CURVES, ALARMS, STUDIES, VIDEOS = range(5)
"""Ranks of figures and videos: where there is not room for everything, videos go first."""

_COLUMNS = ("task", "policy", "success (95 % interval)", "steps held", "all of last half", "true return", "VLM return")
_COLUMNS += ("steps", "training [s]")
_HELD = _COLUMNS[3:5]  # left out where no record says anything of them
_SEED_COLUMNS = ("setting", "seeds evaluated", "success: IQM (95 % interval)", "success: mean, worst to best")
_SEED_COLUMNS += ("true return: IQM (95 % interval)", "VLM return: IQM")
_REFERENCES = {"random": "random actions", "zero": "zero actions", "rule": "one-line rule"}
_DRAWING = ("textures", "camera", "cameras", "view", "full_drawing")  # what decides how a frame looks
_TITLES = {
    "judge": "Rewards judged before training",
    "landscape": "Reward landscape",
    "scaling": "Encoders of several sizes",
    "sweep": "Sweep",
}
_COLOURS = 256  # of a palette: a third of the size, and no difference to be seen
_LONGEST_TABLE, _WIDEST_TABLE, _LONGEST_NAME = 40, 10, 80
_ELSEWHERE = ("kind", "command", "version", "versions", "commit", "commits", "machine", "encoder", "captioned")


@dataclass(frozen=True)
class Media:
    """A figure, a frame or a video."""

    name: str
    """Different from all others of a report, and good as a file's."""
    kind: Literal["png", "mp4"]
    content: bytes
    caption: str
    rank: tuple[int, int]
    """Where there is not room for everything, lower comes first."""


class Shelf:
    """Every figure and video of a report, in order; no two names are the same, in whatever case."""

    def __init__(self) -> None:
        self.media: list[Media] = []

    def add(
        self, wanted: str, kind: Literal["png", "mp4"], content: bytes, caption: str, rank: tuple[int, int]
    ) -> Media:
        """Add one, under a name of letters, digits, dashes, underscores and dots that is like the one wanted."""
        taken = {one.name.lower() for one in self.media}
        stem = re.sub(r"[^A-Za-z0-9_.]+", "-", wanted).strip("-.")[:_LONGEST_NAME] or "file"
        name, count = f"{stem}.{kind}", 1
        while name.lower() in taken:
            count += 1
            name = f"{stem}-{count}.{kind}"
        self.media.append(Media(name, kind, content, caption, rank))
        return self.media[-1]


def contents(gathered: Gathered) -> tuple[dict[str, Any], list[Media]]:
    """What the templates of a whole page name, and every figure and video in it, in order."""
    shelf = Shelf()
    anchors = {run.name: f"run-{number}" for number, run in enumerate(gathered.runs, start=1)}
    tasks = [
        {"anchor": f"task-{place}", **_task(gathered, task, anchors, shelf)}
        for place, task in enumerate(gathered.tasks, start=1)
    ]
    studies = [{"anchor": f"study-{place}", **_study(study, shelf)} for place, study in enumerate(gathered.studies, 1)]
    commands = _commands(gathered)
    sections = [(task["name"], task["anchor"], [(r["heading"], r["anchor"]) for r in task["runs"]]) for task in tasks]
    sections += [(study["heading"], study["anchor"], []) for study in studies]
    sections += [("To do it again", "again", [])] if commands else []
    told = {
        "gathered": gathered,
        "told_states": ", ".join(f"{n} {state}" for state, n in Counter(run.state for run in gathered.runs).items()),
        "other_records": ", ".join(f"{study.name} ({study.kind})" for study in gathered.studies),
        "sections": [*sections, ("How this report was made", "made", [])],
        "tasks": tasks,
        "studies": studies,
        "watched": _watched(gathered.runs),
        "origin": _origin(gathered),
        "commands": commands,
    }
    return told, shelf.media


def tables(gathered: Gathered) -> dict[str, Any]:
    """The numbers alone, of all tasks in one table: for a page that has its own words and figures."""
    by_task = {task: _of_task(gathered, task) for task in gathered.tasks}
    settings = [(f"{task}: {one.label}", one) for task, (runs, _) in by_task.items() for one in settings_of(runs)]
    return {
        "gathered": gathered,
        "results": _table(_result_rows(gathered), with_task=True, anchors={}),
        "rewards": {task: _rewards(*records) for task, records in by_task.items()},
        "watched": _watched(gathered.runs),
        "origin": _origin(gathered),
        "seeds": _seeds(settings),
        "commands": _commands(gathered),
    }


def _task(gathered: Gathered, task: str, anchors: Mapping[str, str], shelf: Shelf) -> dict[str, Any]:
    runs, references = _of_task(gathered, task)
    settings = settings_of(runs)
    records = [*(run.record for run in runs), *references]
    told_most = [record for record in records if record["encoder"].get("weights_sha256")] or records
    figure = _runs_figure(settings, f"{task}: all runs") if runs else None
    caption = f"{task}: all runs. A star is the snapshot with a run's highest VLM return."
    shown = [] if figure is None else [shelf.add(f"{task}-runs", "png", figure, caption, (COMPARISONS, 0))]
    return {
        "name": task,
        "about": [
            ("goal", _each(f"“{record.get('goal')}”" for record in records)),
            ("baseline", _each(f"“{record.get('baseline')}”" for record in records)),
            ("alpha", _each(str(record.get("alpha")) for record in records)),
            ("encoder", _each(map(_encoder_text, told_most))),
            ("an episode succeeds when", _criterion(task, runs, records)),
        ],
        "results": _table(_result_rows(gathered, task), with_task=False, anchors=anchors),
        "rewards": _rewards(runs, references),
        "watched": _watched(runs),
        "seeds": _seeds([(setting.label, setting) for setting in settings]),
        "figure": shown,
        "runs": [
            _run(run, setting.label, anchors[run.name], turn, shelf)
            for setting in settings
            for turn, run in enumerate(setting.runs)
        ],
    }


def _of_task(gathered: Gathered, task: str) -> tuple[list[Run], list[dict[str, Any]]]:
    runs = [run for run in gathered.runs if run.task == task]
    return runs, [record for record in gathered.baselines if record["task"] == task]


def _each(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _criterion(task: str, runs: Sequence[Run], records: Sequence[dict[str, Any]]) -> str:
    said = _each(str(record["criterion"]) for record in records if record.get("criterion"))
    own = any(run.config.get("environment") or run.config.get("task_file") for run in runs)
    return said or ("" if own else _known(task, "criterion_text")) or "nobody can say: no criterion is known"


def _known(task: str, name: str) -> str:
    """What a task of the registry says; empty where there is no such task."""
    try:
        return getattr(get_task(task), name) or ""
    except UnknownNameError:
        return ""


# Rows of policies.


def _result_rows(gathered: Gathered, only: str | None = None) -> list[tuple[list[Any], Run | None]]:
    """One row a policy, reference policies first; nothing is left out."""
    rows: list[tuple[list[Any], Run | None]] = []
    for task in gathered.tasks if only is None else (only,):
        runs, references = _of_task(gathered, task)
        for record, label in zip(references, _distinctions(references), strict=True):
            for name, summary in record["policies"].items():
                rows.append(([task, f"{_REFERENCES.get(name, name)}{label}", *_score_texts(summary), "-", "-"], None))
        if not references:
            missing = {"text": "not among the inputs; make them with", "code": reference_command(runs[0])}
            rows.append(([task, "reference policies", missing, *[""] * 6], None))
        for setting in settings_of(runs):
            rows += [(_run_row(run, setting), run) for run in setting.runs]
    return rows


def _run_row(run: Run, setting: Setting) -> list[Any]:
    policy = f"{setting.label}, seed {run.seed}" + (f" ({run.name})" if run.seed in setting.repeated_seeds else "")
    seconds = run.record["seconds"].get("training")
    scores = (_state_text(run), *[""] * 4) if run.evaluation is None else _score_texts(run.evaluation)
    return [run.task, policy, *scores, f"{run.record['steps']:,}", "-" if seconds is None else f"{seconds:.0f}"]


def _table(
    rows: Sequence[tuple[list[Any], Run | None]], *, with_task: bool, anchors: Mapping[str, str]
) -> dict[str, Any]:
    """Columns that say nothing are left out; learned policies stand out."""
    kept = [
        place
        for place, head in enumerate(_COLUMNS)
        if (place or with_task) and (head not in _HELD or any(cells[place] not in ("", "-") for cells, _ in rows))
    ]
    for cells, run in rows:
        if run is not None:
            cells[1] = {"text": cells[1], "strong": True, "anchor": anchors.get(run.name)}
    return {"heads": [_COLUMNS[place] for place in kept], "rows": [[cells[p] for p in kept] for cells, _ in rows]}


def _distinctions(references: Sequence[dict[str, Any]]) -> list[str]:
    """What tells several records of a task's reference policies apart; nothing where there is one."""
    told = [
        {
            "goal": f"“{record.get('goal')}”",
            "baseline": f"baseline “{record.get('baseline')}”",
            "alpha": f"alpha {record.get('alpha')}",
            "encoder": _encoder_text(record),
            "seed": f"seed {record['seed']}",
        }
        for record in references
    ]
    labels = ["".join(f", {own[name]}" for name in own if any(o[name] != own[name] for o in told)) for own in told]
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[:place].count(label) + 1})"
        for place, label in enumerate(labels)
    ]


def _score_texts(summary: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """An evaluation in words: success, share of steps and episodes of which it held, true return and VLM return."""
    success, interval, episodes = summary.get("successes"), summary.get("success_interval_95"), summary["episodes"]
    share = "-" if success is None else f"{success}/{episodes}"
    if success is not None and interval is not None:
        share += f" ({percent(interval[0])} to {percent(interval[1])} %)"
    known = summary.get("held_share") is not None
    held = f"{percent(summary['held_share'])} %" if known else "-"
    last_half = f"{summary['held_last_half']}/{episodes}" if known else "-"
    true = f"{summary['true_return']:.1f} ± {summary['true_return_std']:.1f}"
    return share, held, last_half, true, f"{summary['vlm_return']:.2f} ± {summary['vlm_return_std']:.2f}"


def _state_text(run: Run) -> str:
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


def _seeds(settings: Sequence[tuple[str, Setting]]) -> dict[str, Any]:
    """A row a setting, where one has several seeds, and what the notes below need."""
    several = any(len(setting.runs) > 1 for _, setting in settings)
    rows = [
        [
            label,
            f"{setting.evaluated} of {len(setting.runs)}",
            with_interval(setting.success, "iqm", percent, " %"),
            "-" if mean is None else f"{percent(mean)} %, {percent(min(values))} to {percent(max(values))} %",
            with_interval(setting.true_return, "iqm", number),
            "-" if setting.vlm_return["iqm"] is None else f"{setting.vlm_return['iqm']:.2f}",
        ]
        for label, setting in settings
        for mean, values in [(setting.success["mean"], setting.success["seeds"])]
    ]
    fewest = min((setting.evaluated for _, setting in settings if setting.evaluated > 1), default=0)
    return {"heads": _SEED_COLUMNS, "rows": rows if several else [], "fewest": fewest, "settings": settings}


# What must be said beside the rows.


def _rewards(runs: Sequence[Run], references: Sequence[dict[str, Any]]) -> int:
    """How many different rewards the VLM returns of a task are of: they are of one scale only where it is one."""
    drawing = [f"{of}.{name}" for of in ("humanoid", "environment") for name in _DRAWING]
    kept = ("goal", "baseline", "alpha", "weights", "reward.form", "reward.shaping", *drawing)
    rewards = {tuple(str(told.get(name)) for name in kept) for told in identities(runs)}
    for record in references:
        digest = str(record["encoder"].get("weights_sha256") or "")[:12]
        told = tuple(map(str, (record.get("goal"), record.get("baseline"), record.get("alpha"), digest)))
        if not any(reward[:4] == told for reward in rewards):
            rewards.add(told)
    return len(rewards)


def _watched(runs: Sequence[Run]) -> dict[str, Any]:
    """What the watch for reward hacking saw, and how many runs it did not see."""
    watched = [run for run in runs if run.record.get("watch")]
    alarmed = [(run.name, len(_alarms(run)), run.record["watch"].get("reference")) for run in watched if _alarms(run)]
    return {
        "alarmed": alarmed,
        "quiet": len(watched) - len(alarmed),
        "blind": len(runs) - len(watched) if watched else 0,
    }


def _alarms(run: Run) -> list[dict[str, Any]]:
    return list((run.record.get("watch") or {}).get("alarms") or ())


def _origin(gathered: Gathered) -> dict[str, list[str]]:
    """Encoders, commits and machines of all records."""
    told = [run.record for run in gathered.runs if run.state not in ("unfinished", "not started")]
    records = [*told, *gathered.baselines] or [run.record for run in gathered.runs]
    return {
        "encoders": sorted({_encoder_text(record) for record in records}),
        "commits": sorted({str(record.get("commit") or "unknown") for record in records}),
        "machines": sorted({_machine_text(record) for record in records if "machine" in record}),
    }


def _encoder_text(record: Mapping[str, Any]) -> str:
    """An encoder and what is to be known before its scores are trusted."""
    encoder = record["encoder"]
    digest = str(encoder.get("weights_sha256") or "")[:12]
    facts = [encoder_note(record), f"weights {digest}" if digest else "weights not recorded"]
    return f"{encoder.get('name')} ({'; '.join(fact for fact in facts if fact)})"


def encoder_note(record: Mapping[str, Any]) -> str:
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


def _machine_text(record: Mapping[str, Any]) -> str:
    """Processor, cores and accelerator."""
    machine = record.get("machine") or {}
    text = f"{machine.get('processor', 'unknown')}, {machine.get('cores', '?')} cores"
    return f"{text}, {machine['accelerator']}" if machine.get("accelerator") else text


# Commands.


def reference_command(run: Run) -> str:
    """What to type for the reference policies of a run's task, under the same prompts, drawing and encoder."""
    config, environment = run.config, run.config.get("environment")
    words, own = ["vlm-rewards", "evaluate"], None
    if environment:
        words += ["--env-id", environment["env_id"]]
        words += ["--horizon", str(environment["horizon"])] if environment.get("horizon") else []
        words += ["--env-kwargs", environment["env_kwargs"]] if environment.get("env_kwargs", "{}") != "{}" else []
        words += ["--cameras", *environment["cameras"]] if environment.get("cameras") else []
    else:
        words.append(f"{config['task_file']}:{run.task}" if config.get("task_file") else run.task)
        own = _known(run.task, "goal"), _known(run.task, "baseline")
    words += ["--policy", "all", *_drawing_words(environment or config.get("humanoid") or {})]
    said = str(config.get("goal")), str(config.get("baseline"))
    if own != said and not (config.get("task_file") and own == ("", "")):
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


def _commands(gathered: Gathered) -> list[str]:
    """What was typed for all that is here, in order."""
    records = [*gathered.baselines, *(run.record for run in gathered.runs), *(s.record for s in gathered.studies)]
    return list(dict.fromkeys(record["command"] for record in records if record.get("command")))


# Of one run.


def _run(run: Run, label: str, anchor: str, turn: int, shelf: Shelf) -> dict[str, Any]:
    """``turn`` is the run's place among those of its setting: the first ones' videos have precedence."""
    scores, record = run.evaluation, run.record
    curve = _run_figure(run, f"{run.task}: {label}, seed {run.seed}")
    caption = f"Learning curve of {run.name}"
    shown = [] if curve is None else [shelf.add(f"{run.name}-curve", "png", curve, caption, (CURVES, turn))]
    video = run.file((scores or {}).get("video"))
    if video is not None and video.suffix.lower() == ".mp4" and video.stat().st_size:
        caption = f"{run.name}, {video.stem}: the best snapshot by VLM return"
        shown.append(shelf.add(f"{run.name}-{video.stem}", "mp4", video.read_bytes(), caption, (VIDEOS, turn)))
    usual, changed = differences(run)
    return {
        "heading": f"{label}, seed {run.seed}: {run.name}",
        "anchor": anchor,
        "outcome": _outcome(run, curve=curve is not None, video=video is not None),
        "media": shown,
        "reference": str((record.get("watch") or {}).get("reference")),
        "alarms": [_alarm(alarm) for alarm in _alarms(run)],
        "alarm_frames": _alarm_frames(run, turn, shelf),
        "usual": usual,
        "changed": changed,
        "settings": settings_rows(run),
        "command": [record["command"]] if record.get("command") else [],
        "making": _making(run),
    }


def _outcome(run: Run, *, curve: bool, video: bool) -> list[tuple[str, str]]:
    scores = run.evaluation
    facts = [] if run.state == "complete" else [("state", _state_text(run))]
    if scores is not None:
        told = zip(("success", *_COLUMNS[3:7]), _score_texts(scores), strict=True)
        facts += [(name, text) for name, text in told if name not in _HELD or text != "-"]
        facts.append(("snapshot", str(scores.get("snapshot"))))
    if not curve:
        facts.append(("curve", "none: no numbers over time came with this run"))
    if scores is not None and not video:
        why = "its record came without its folder" if run.folder is None else "none was recorded"
        facts.append(("video", f"none: {why}"))
    return facts


def _making(run: Run) -> list[tuple[str, str]]:
    record = run.record
    seconds = {name: value for name, value in record["seconds"].items() if isinstance(value, int | float)}
    facts = [
        ("encoder", _encoder_text(record)),
        ("started", record.get("started")),
        ("wall time", ", ".join(f"{name.replace('_', ' ')} {value:,.0f} s" for name, value in seconds.items())),
        ("machine", _machine_text(record) if record.get("machine") else None),
        ("commit", record.get("commit")),
        ("vlm-rewards", record.get("version")),
        ("versions", ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())),
        ("folder", run.folder),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _alarm(alarm: Mapping[str, Any]) -> list[str]:
    step = f"{alarm['step']:,}" if isinstance(alarm.get("step"), int) else "-"
    pairs = [("vlm_before", "vlm_now"), ("reference_before", "reference_now"), ("correlation_before", "correlation")]
    ends = [[alarm.get(name) for name in pair] for pair in pairs]
    return [step, *(" → ".join(f"{end:.3f}" if isinstance(end, int | float) else "-" for end in pair) for pair in ends)]


def _alarm_frames(run: Run, turn: int, shelf: Shelf) -> list[Media]:
    shown: list[Media] = []
    for alarm in _alarms(run):
        path = run.file(alarm.get("picture"))
        if path is not None and path.suffix.lower() == ".png":
            reference = run.record["watch"].get("reference")
            caption = f"{run.name}, alarm at step {alarm.get('step')}: high by the reward, low by the {reference}"
            shown.append(shelf.add(f"{run.name}-alarm-{path.stem}", "png", path.read_bytes(), caption, (ALARMS, turn)))
    return shown


def _runs_figure(settings: Sequence[Setting], title: str) -> bytes | None:
    """All runs of a task. What there is more of, settings or seeds, is told apart by colour, the other by line."""
    seeds = sorted({run.seed for setting in settings for run in setting.runs})
    curves: dict[str, RunCurve] = {}
    for place, setting in enumerate(settings):
        for run in setting.runs:
            label = f"{setting.label}, seed\N{NO-BREAK SPACE}{run.seed}"
            label = label if label not in curves else f"{label} ({run.name})"
            places = (seeds.index(run.seed), place)
            colour, line = places if len(seeds) >= len(settings) else places[::-1]
            curves[label] = RunCurve(label, colour, line, read_columns(run.metrics), read_columns(run.snapshots))
    return _drawn(lambda out: plot_runs(list(curves.values()), out, title=title))


def _run_figure(run: Run, title: str) -> bytes | None:
    """The learning curve of a run; where its record came without ``metrics.csv``, its snapshots are drawn."""
    metrics = run.metrics
    if run.folder is not None and metrics is not None and metrics.is_file():
        return _drawn(lambda out: plot_learning_curve(metrics, out, title=title))
    curve = RunCurve("snapshots, no exploration", 0, 0, read_columns(metrics), read_columns(run.snapshots))
    return _drawn(lambda out: plot_runs([curve], out, title=title))


def _drawn(draw: Callable[[Path], Path]) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = draw(Path(folder) / "figure.png")
        except VLMRewardsError:  # no numbers yet, or a table that was cut off before its first line
            return None
        content = io.BytesIO()
        with Image.open(path) as figure:
            figure.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


# Of a record that is no run.


def _study(study: Study, shelf: Shelf) -> dict[str, Any]:
    """Settings, a table where it is a simple one, figures. What is too long for a table is left to the figures."""
    record = study.record
    facts = [(name.replace("_", " "), _text(value)) for name, value in record.items() if _is_fact(name, value)]
    if isinstance(record.get("states"), dict):
        told = [f"{name.replace('_', ' ')} {_text(value)}" for name, value in record["states"].items() if _plain(value)]
        facts.append(("states", ", ".join(told)))
    for encoder in [*(record.get("encoders") or ()), record.get("encoder")]:
        if isinstance(encoder, dict):
            facts.append(("encoder", _encoder_text({"encoder": encoder, "captioned": record.get("captioned")})))
    facts += [("commit", str(record["commit"]))] if record.get("commit") else []
    facts += [("machine", _machine_text(record))] if record.get("machine") else []
    heads, rows, left_out = [], [], ""
    try:
        heads, rows, left_out = _sweep_rows(record) if study.kind == "sweep" else _rows(record)
    except (KeyError, TypeError, ValueError):  # of another version
        left_out = "The record has rows that this version does not know how to show."
    return {
        "heading": f"{_TITLES[study.kind]}: {study.name}",
        "command": [record["command"]] if record.get("command") else [],
        "facts": facts,
        "media": [
            shelf.add(f"{study.name}-{path.stem}", "png", path.read_bytes(), path.stem, (STUDIES, place))
            for place, path in enumerate(study.figures)
        ],
        "heads": heads,
        "rows": rows,
        "left_out": left_out,
    }


def _is_fact(name: str, value: Any) -> bool:
    if name in _ELSEWHERE or value is None:
        return False
    return _plain(value) or (isinstance(value, list) and 0 < len(value) <= 12 and all(map(_plain, value)))


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """The record's rows, if any, of sweeps and of other forms; a column that counts a list of the record names it."""
    rows = [row for kind in ("rows", "forms") for row in record.get(kind) or ()]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return [], [], ""
    known = {name: None for row in rows for name, value in row.items() if value is None or _plain(value)}
    heads = list(known)[:_WIDEST_TABLE]
    alone = {name for name in heads if name != "form" and len(record.get(f"{name}s") or ()) == 1}  # always the same
    heads = [name for name in heads if name not in alone or len(rows) == 1]
    if len(rows) > _LONGEST_TABLE or not heads:
        return [], [], f"The record has {len(rows)} rows, too many for a table here; its figures show them."
    lines = [[_cell(record, name, row.get(name)) for name in heads] for row in rows]
    return [name.replace("_", " ") for name in heads], lines, ""


def _cell(record: Mapping[str, Any], name: str, value: Any) -> str:
    named = record.get(f"{name}s")
    if isinstance(value, int) and isinstance(named, Sequence) and 0 <= value < len(named):
        told = named[value]
        if isinstance(told, dict):
            told = told.get("name") or ", ".join(f"{key} “{text}”" for key, text in told.items() if _plain(text))
        return str(told)
    return "-" if value is None else _text(value)


def _sweep_rows(record: Mapping[str, Any]) -> tuple[list[str], list[list[Any]], str]:
    def score(row: Mapping[str, Any], name: str, form: Callable[[float], str], unit: str = "") -> str:
        return with_interval({"iqm_interval_95": None, **(row.get(name) or {})}, "iqm", form, unit)

    rows = [
        [
            {"text": str(row["label"]), "strong": True},
            f"{len(row['seeds']['done'])} of {len(row['seeds']['planned'])}",
            score(row, "success_rate", percent, " %"),
            score(row, "true_return", number),
        ]
        for row in record.get("settings") or ()
    ]
    return ["setting", "seeds done", "success: IQM (95 % interval)", "true return: IQM (95 % interval)"], rows, ""
