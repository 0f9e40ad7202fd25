"""``vlm-rewards judge TASK``."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.cli.common import ConsoleProgress, command_line, say
from vlm_rewards.cli.task_choice import AboutTask, read_about_task
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.encoders.loading import check_encoder_name
from vlm_rewards.encoders.openclip import resolve_device, resolve_dtype
from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError, check_count
from vlm_rewards.evaluation.dataset import (
    DATASET_STATES,
    StateDataset,
    check_place,
    portable_command,
    state_dataset,
    write_folder,
    write_npz,
)
from vlm_rewards.evaluation.judging import (
    ALPHAS,
    Judgeable,
    Judged,
    PromptPair,
    check_alphas,
    extremes,
    form_configs,
    judge,
    named_rewards,
    prompt_pairs,
)
from vlm_rewards.evaluation.landscape import (
    POINTS,
    StateLine,
    dimensions,
    landscape,
    line_along,
    line_between,
    read_values,
)
from vlm_rewards.evaluation.states import (
    RECIPE,
    ChosenStates,
    Policies,
    StateSet,
    goal_files,
    open_studio,
    states_of,
    write_states,
)
from vlm_rewards.files import write_json
from vlm_rewards.finetuning.config import FROM_SCRATCH
from vlm_rewards.finetuning.sizes import PAPER, SIZES_FOLDER, expand, plan_encoders, trained_sizes, training_facts
from vlm_rewards.media import montage, write_png
from vlm_rewards.offline.files import check_writable, put_folder
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting.figures.landscapes import plot_landscape, shown_places
from vlm_rewards.reporting.figures.records import draw_figures
from vlm_rewards.rewards.config import RewardConfig, needs_encoder
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.state_access import StateSpace
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.rewards import captioned_for, load_encoder_for
from vlm_rewards.training.run_folder import RunFolder, load_policy

_MANY_ROWS = 40
_SHOWN_STATES = 3
_SMALL = 32  # pixels of a simulator that is only asked what its state is
_OWN_DIMENSION, _LIST = "default", "list"
_Texts = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")]
_Values = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")]
_Number = Annotated[float | None, tyro.conf.arg(metavar="X")]


@dataclass(frozen=True)
class FormInputs:
    """What forms of reward may be made of besides the prompts; each takes its own."""

    others: _Texts = ()
    """softmax: prompts that compete with the goal; default: the baseline."""
    temperature: _Number = None
    """softmax: how sharply one prompt wins; default 0.01, CLIP's own."""
    goal_pictures: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE|DIR ...")] = ()
    """goal-pictures: files that show the goal, or folders that `judge --save-states DIR` wrote: of these the frames
    that labels.csv calls goals."""
    demonstration: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """demonstration: a video of how it is done."""

    def configs(self, forms: Sequence[str]) -> tuple[RewardConfig, ...]:
        """Settings of forms, each with those of these inputs that it takes."""
        given = {**dataclasses.asdict(self), "goal_pictures": goal_files(self.goal_pictures)}
        return form_configs(forms, **given)


@dataclass(frozen=True)
class _Rewards:
    """Which rewards are judged."""

    form: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ("goal-baseline",)
    """Forms: goal-baseline (eq. 3, at every alpha), contrast, softmax, goal-pictures, demonstration, or your own, as
    package.module:name or file.py:name."""
    inputs: tyro.conf.OmitArgPrefixes[FormInputs] = field(default_factory=FormInputs)
    """What forms are made of."""
    goal: _Texts = ()
    """Prompts: what the state should look like; default: the task's."""
    baseline: _Texts = ()
    """Prompts: what any state looks like; each goes with each goal. Default: the task's."""
    alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar="X ...")] = ALPHAS
    """Strengths of the baseline, 0 to 1."""
    focus: _Number = None
    """The strength of histograms, montages and the figure over parameters; default: the one nearest 0.5."""
    encoder: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Encoders: pretrained models; paper (RN50, ViT-L-14, ViT-H-14 and ViT-bigG-14); tiny-xs, tiny, tiny-m and tiny-l,
    once `vlm-rewards finetune --model` has trained them. Default: the task's preset."""
    trained: Annotated[Path, tyro.conf.arg(metavar="DIR")] = SIZES_FOLDER
    """Folder of the trained sizes."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""


@dataclass(frozen=True)
class _States:
    """Which states rewards are judged on."""

    states: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FROM ...")] = ()
    """uniform (within the bounds of the state), random (random actions), rule (the task's one-line rule, with shares of
    random actions from none to all), visited or posed (the humanoid's poses: what policies of every quality visit, or
    families of poses; half of them goals), the folder of a run (all of its policies), or a folder of images (all of
    them). Default: visited, or else rule, or else random."""
    count: int | None = None
    """How many states, in equal parts from each source but folders of images. Default: 5,000; 2,000 for the
    humanoid's poses, since goals of some are rarely visited, and for a data set."""
    state_seed: int = 0
    """Seeds them."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """Labels in place of the criterion's, with the columns file (or index) and label; states without one are dropped.
    --save-states DIR writes the file to fill in."""
    save_states: Annotated[Path | None, tyro.conf.arg(metavar="DIR|FILE.npz")] = None
    """Write the states and judge nothing."""
    format: Literal["npz", "hf", "png"] | None = None
    """npz: a data set in one file of numpy arrays, the default for FILE.npz. hf: the same as a folder of PNGs with a
    metadata.jsonl, which Hugging Face's datasets read as an image folder. png: frames with a labels.csv to fill in, the
    default for DIR."""
    size: int = 224
    """Side in pixels of the frames that are written."""
    overwrite: bool = False
    """Replace an earlier data set; nothing else is ever replaced."""


@dataclass(frozen=True)
class _Line:
    """Rewards along a line of states, drawn in place of a judgement."""

    along: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Draw rewards along this dimension of the state, with the goal marked; default: the task's own dimension; list:
    list all with their bounds, and draw nothing."""
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


@dataclass(frozen=True)
class _Arguments:
    """Say how far rewards are from the truth, for every form, encoder, pair of prompts and alpha, before anything is
    trained; or draw them along a line of states.

    Each state is embedded once an encoder, and not again by later commands: see `vlm-rewards list cached`.
    """

    rewards: tyro.conf.OmitArgPrefixes[_Rewards] = field(default_factory=_Rewards)
    """Forms, prompts, strengths, encoders."""
    source: tyro.conf.OmitArgPrefixes[_States] = field(default_factory=_States)
    """Where the states come from."""
    line: tyro.conf.OmitArgPrefixes[_Line] = field(default_factory=_Line)
    """A line of states instead."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the record, the figures and the montages; default: nothing is written."""
    dry_run: bool = False
    """Check the whole plan without weights and print it: names, sizes, memory, prompts, states. Nothing is written."""
    json: bool = False
    """Print the record as JSON instead of a table."""


@dataclass(frozen=True)
class _Plan:
    """What was asked for, checked before a simulator is opened or a model loaded."""

    task: Task
    chosen: _Arguments
    command: str
    forms: tuple[RewardConfig, ...]
    prompts: tuple[PromptPair, ...]
    alphas: tuple[float, ...]
    encoders: tuple[str, ...]
    trainings: dict[str, dict[str, Any]]

    def rewards(self, console: Console) -> Iterator[tuple[str, Judgeable]]:
        """Make the rewards one after another; encoders are loaded when it is their turn."""
        options, progress = self.chosen.rewards, ConsoleProgress(console)
        sentences = [text for pair in self.prompts for text in (pair.goal, pair.baseline)] + [*options.inputs.others]
        load = functools.partial(load_encoder_for, self.task, device=options.device, dtype=options.dtype)
        makers = [functools.partial(load, name, list(dict.fromkeys(sentences)), progress) for name in self.loaded]
        return named_rewards(self.forms, makers, self.prompts, self.alphas, focus=options.focus)

    @property
    def loaded(self) -> dict[str, str]:
        """What is loaded, and what the command calls it."""
        # A relative path without a dot would be taken for the name of a pretrained model.
        folder = self.chosen.rewards.trained.absolute()
        return {str(folder / name) if name in FROM_SCRATCH else name: name for name in self.encoders}

    def named(self, encoders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Encoders by the names of the command: the path of a size's folder is of no interest to others."""
        return [{**encoder, "name": self.loaded.get(encoder["name"], encoder["name"])} for encoder in encoders]

    def save(self, record: dict[str, Any]) -> Path | None:
        """Print and write a record, as was asked for; says where the figures go."""
        if self.chosen.json:
            print(json.dumps(record, indent=2))
        if self.chosen.out is not None:
            self.chosen.out.mkdir(parents=True, exist_ok=True)
        return self.chosen.out


def main(arguments: list[str]) -> int:
    """Judge rewards on a set of states, draw them along a line, or write the states."""
    about = read_about_task("judge", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    plan = _checked(about, command_line("judge", arguments))
    console = Console(quiet=plan.chosen.json)
    line = plan.chosen.line
    if line.along is not None or line.from_state or line.to_state:
        return _draw_line(plan, console)
    source = plan.chosen.source
    if source.save_states is not None:
        return _save_states(plan, source.save_states, arguments)
    states_at = _states_of(plan.task, source)
    return _print_plan(plan, states_at, console) if plan.chosen.dry_run else _judge(plan, states_at, console)


def _checked(about: AboutTask[_Arguments], command: str) -> _Plan:
    """Everything that can be wrong before a simulator is opened or a model loaded."""
    chosen, options, line = about.settings, about.settings.rewards, about.settings.line
    forms = options.inputs.configs(options.form)
    alphas = check_alphas(options.alpha, options.focus)
    resolve_dtype(options.dtype, resolve_device(options.device))
    prompts = prompt_pairs(options.goal or (about.config.goal,), options.baseline or (about.config.baseline,))
    encoders = expand(options.encoder or (about.config.encoder,)) if any(map(needs_encoder, forms)) else ()
    for name in set(encoders) - set(FROM_SCRATCH):
        check_encoder_name(name)
    trainings = trained_sizes(encoders, options.trained, about.task.name)
    if chosen.out is not None and chosen.out.exists() and not chosen.out.is_dir():
        raise InvalidInputError(f"out must be a folder, got the file {str(chosen.out)!r}.")
    check_count("points", line.points, least=2)
    between = bool(line.from_state or line.to_state)
    along = {"along": line.along, "low": line.low, "high": line.high, "at": line.at or None}
    given = [f"--{name}" for name, value in along.items() if value is not None]
    if between and given:
        raise InvalidInputError(f"from_state and to_state draw a line of their own: leave out {', '.join(given)}.")
    if line.along is None and given:
        raise InvalidInputError(f"{given[0]} is of use with --along NAME alone.")
    source = chosen.source
    if source.save_states is None and (source.format is not None or source.overwrite):
        raise InvalidInputError("format and overwrite are of use with --save-states alone.")
    drawn = between or line.along is not None
    unused = [name for name in ("states", "count", "labels", "save_states") if getattr(source, name) not in ((), None)]
    if drawn and unused:
        raise InvalidInputError(f"{unused[0]} is of no use where rewards are drawn along a line; leave it out.")
    if chosen.dry_run and (drawn or source.save_states is not None or chosen.json):
        raise InvalidInputError(
            "dry_run plans a judgement, as a table: leave it out with --along, --from-state, --to-state, --save-states "
            "and --json."
        )
    return _Plan(about.task, chosen, command, forms, prompts, alphas, encoders, trainings)


def _states_of(task: Task, options: _States) -> ChosenStates:
    policies_of = functools.partial(_policies_of, task)
    count, seed, labels = options.count, options.state_seed, options.labels
    return states_of(task, options.states, count=count, seed=seed, labels=labels, policies_of=policies_of)


def _policies_of(task: Task, folder: Path) -> Policies:
    """Every snapshot of a run, from the first, that can do nothing, to the last."""
    run = RunFolder(folder)
    config = run.read_config()
    if config.task != task.name:
        raise InvalidInputError(f"states from run {str(folder)!r} are of task {config.task!r}, not of {task.name!r}.")
    snapshots = sorted(path.name for path in run.checkpoints.glob("*.safetensors"))
    if not snapshots:
        raise CheckpointError(f"run {str(folder)!r} has no snapshot yet.")
    load = functools.partial(load_policy, run, config)
    return Policies(
        f"run {folder.name}", lambda venv, seed: [load(venv, snapshot) for snapshot in snapshots], len(snapshots)
    )


def _judge(plan: _Plan, states_at: ChosenStates, console: Console) -> int:
    task, chosen = plan.task, plan.chosen
    cache = EmbeddingCache()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def embed(encoder: ImageTextEncoder, frames: Frames) -> Embeddings:
            bar = progress.add_task(f"embedding, {encoder.name}", total=len(frames))
            return cache.embed(encoder, frames, lambda count: progress.advance(bar, count))

        judged = judge(plan.rewards(console), states_at, embed=embed, focus=chosen.rewards.focus)
    console.print(f"embedded {cache.embedded:,} frames, found {cache.found:,} in the cache", style="dim")
    states, told = states_at.last(), judged.to_dict(states_at.last())
    study = len(plan.encoders) > 1 and (plan.trainings or PAPER in chosen.rewards.encoder)
    record = {
        "kind": "scaling" if study else "judge",
        "command": plan.command,
        "task": task.name,
        "criterion": task.criterion_text,
        "camera": task.camera,
        "metadata": dict(task.metadata),
        "captioned": captioned_for(told["encoders"], task),
        "states": states.facts,
        "labels": None if chosen.source.labels is None else chosen.source.labels.name,
        **told,
        **provenance(),
    }
    record["encoders"] = plan.named(told["encoders"])
    if plan.trainings:
        record["trainings"] = [training_facts(size, training) for size, training in plan.trainings.items()]
    out = plan.save(record)
    _print_judged(console, judged, states)
    if out is not None:
        for path in _write_judged(out, record, judged, states):
            say(console, str(path))
    return 0


def _print_judged(console: Console, judged: Judged, states: StateSet) -> None:
    """Print a row a reward; where there are too many of eq. 3, those at one alpha."""
    facts = states.facts
    balance = "no labels" if "goal_share" not in facts else f"{facts['goal_share']:.1%} of them goal states"
    say(console, f"{facts['states']:,} states from {facts['generator']}, {balance}")
    several, labelled = len(judged.prompts) > 1, judged.reference == "labels"
    formed = any(row.facts is not None for row in judged.rows)
    table = Table(box=None, pad_edge=False)
    heads = ["encoder", *(["form"] if formed else []), *(["prompts"] if several else []), "alpha"]
    for head in [*heads, "EPIC (95 % interval)", "AUROC" if labelled else "Spearman", "highest", "lowest"]:
        table.add_column(head, no_wrap=head.startswith("EPIC"), overflow="fold")
    many = len(judged.rows) > _MANY_ROWS
    shown = [row for row in judged.rows if not many or row.alpha in (None, judged.focus)]
    best = min(shown, key=lambda row: row.epic.value)
    for row in shown:
        told = row.to_dict(states)
        epic = f"{row.epic.value:.3f} ({row.epic.low:.3f} to {row.epic.high:.3f})"
        cells = ["-" if row.encoder is None else escape(str(judged.encoders[row.encoder]["name"]))]
        cells += [escape(row.form)] if formed else []
        cells += [_prompt(row.prompt, row.facts)] if several else []
        cells += ["-" if row.alpha is None else f"{row.alpha:g}", epic]
        cells += [f"{row.spearman if row.auroc is None else row.auroc:.3f}"]
        cells += [" ".join(map(str, told[end][:_SHOWN_STATES])) for end in ("highest", "lowest")]
        table.add_row(*cells, style="bold" if row.epic.value == best.epic.value and len(shown) > 1 else None)
    console.print(table)
    if several:
        for number, pair in enumerate(judged.prompts, start=1):
            say(console, f"  {number}: “{pair.goal}”, baseline “{pair.baseline}”")
    if len(shown) < len(judged.rows):
        say(console, f"of {len(judged.rows)} rows those at alpha {judged.focus:g}; the record has all")
    against = "the criterion" if labelled else "the true reward"
    against = f"the labels of {facts['labels_from']}" if "labels_from" in facts else against
    say(console, f"EPIC distance to {against}: 0 agrees, 0.707 is unrelated, 1 is opposite")


def _prompt(number: int | None, facts: dict[str, Any] | None) -> str:
    goal = (facts or {}).get("goal", "-") if number is None else number + 1
    return escape(", ".join(goal) if isinstance(goal, list) else str(goal))


def _write_judged(out: Path, record: dict[str, Any], judged: Judged, states: StateSet) -> list[Path]:
    """Write the record, its figures, and a montage of the highest and lowest states of each reward."""
    path = out / f"{record['kind']}.json"
    if path.is_file():  # what an earlier judgement left here: its frames would pass for those of this one
        for pattern in ("epic-over-*.png", "histograms.png", "states-*-*.png"):
            for old in out.glob(pattern):
                old.unlink()
    write_json(path, record)
    written = [path, *draw_figures(record, out, "")]
    for row in judged.rows:
        name = "no encoder" if row.encoder is None else str(record["encoders"][row.encoder]["name"])
        place = "0" if row.encoder is None else str(row.encoder + 1)
        if row.prompt is not None and row.alpha == judged.focus:
            heading = f"{name}, alpha {row.alpha:g}, “{judged.prompts[row.prompt].goal}”"
            file = out / f"states-{place}-{row.prompt + 1}.png"
        elif row.facts is not None:
            heading = f"{name}, {row.form}"
            stem = f"states-{place}-{Path(row.form).name.replace(':', '-')}"
            again = sum(path.stem.startswith(stem) for path in written)
            file = out / f"{stem}{f'-{again + 1}' if again else ''}.png"
        else:
            continue
        written.append(write_png(extremes(row, states, heading), file))
    return written


def _draw_line(plan: _Plan, console: Console) -> int:
    task, chosen, options = plan.task, plan.chosen, plan.chosen.line
    if task.cameras > 1:
        raise InvalidInputError(f"cameras must be one for a landscape, got {task.cameras}.")
    with open_studio(task, _SMALL) as studio:
        space = studio.space
    if options.along == _LIST:
        if chosen.json:
            print(json.dumps(dimensions(space), indent=2))
        table = Table("dimension", "unit", "low", "high", "start", box=None, pad_edge=False)
        for index, name in enumerate(space.names):
            numbers = (f"{ends[index]:g}" for ends in (space.low, space.high, space.start))
            table.add_row(name, space.unit(name), *numbers, style="bold" if name == task.dimension else None)
        console.print(table)
        return 0
    if len(plan.prompts) != 1:
        raise InvalidInputError("goal and baseline must be one each for a landscape, got several.")
    line = _line(options, space, task.dimension)
    found = landscape(plan.rewards(console), task, line)
    record = {
        "kind": "landscape",
        "command": plan.command,
        "task": task.name,
        "criterion": task.criterion_text,
        "captioned": captioned_for(found.encoders, task),
        "goal": plan.prompts[0].goal,
        "baseline": plan.prompts[0].baseline,
        **found.to_dict(),
        **provenance(),
    }
    record["encoders"] = plan.named(found.encoders)
    out = plan.save(record)
    _print_maxima(console, record)
    if out is not None:
        places = shown_places(len(record["values"]))
        shown, captions = found.frames[places], [f"{record['values'][place]:.3g}" for place in places]
        write_json(out / "landscape.json", record)
        plot_landscape(record, out / "landscape.png", list(shown))
        write_png(montage(shown, captions, columns=len(places)), out / "states.png")
        for name in ("landscape.json", "landscape.png", "states.png"):
            say(console, str(out / name))
    return 0


def _line(options: _Line, space: StateSpace, own: str | None) -> StateLine:
    if options.along is None:
        ends = (read_values("from_state", options.from_state), read_values("to_state", options.to_state))
        return line_between(space, *ends, points=options.points)
    dimension = own if options.along == _OWN_DIMENSION else options.along
    if dimension is None:
        raise InvalidInputError(
            f"dimension is needed: the task has none of its own. Choices: {', '.join(space.names)}."
        )
    at = read_values("at", options.at)
    return line_along(space, dimension, low=options.low, high=options.high, at=at, points=options.points)


def _print_maxima(console: Console, record: dict[str, Any]) -> None:
    known = record["goal_states"] is not None
    unit = f" in {record['unit']}" if record["unit"] else ""
    where = ["the criterion holds there"] if known else []
    table = Table("encoder", "alpha", f"greatest at {record['dimension']}{unit}", *where, box=None, pad_edge=False)
    for encoder, maxima in zip(record["encoders"], record["maxima"], strict=True):
        curves = [encoder["form"]] if "form" in encoder else [f"{alpha:g}" for alpha in record["alphas"]]
        for curve, best in zip(curves, maxima, strict=True):
            verdict = ["yes" if best["goal"] else "no"] if known else []
            table.add_row(escape(str(encoder["name"])), escape(curve), f"{best['value']:g}", *verdict)
    console.print(table)


def _save_states(plan: _Plan, out: Path, arguments: Sequence[str]) -> int:
    """Write the states as frames to label, or as a data set."""
    task, options = plan.task, plan.chosen.source
    layout = options.format or ("npz" if out.suffix == ".npz" else "png")
    check_size(options.size, "size")
    check_place(out, layout, overwrite=options.overwrite)
    check_writable(out, "save_states")
    if layout == "png":
        states_at = _states_of(task, options)
        file = write_states(states_at(options.size), out)
        write_json(out / RECIPE, states_at.recipe)
        print(f"fill in: {file}   (then judge with --labels {file}, and the same --states, --count and --state-seed)")
        return 0
    # All kinds of states that the task generates, in equal parts: a data set is for more than one question.
    sources = options.states or (() if task.generator is None else tuple(task.generator.sources))
    count = DATASET_STATES if options.count is None else options.count
    states = _states_of(task, dataclasses.replace(options, states=sources, count=count))(options.size)
    (pair, *_) = plan.prompts
    command = portable_command("judge", arguments)
    dataset = state_dataset(states, task, command=command, goal=pair.goal, baseline=pair.baseline)
    try:
        write_npz(dataset, out) if layout == "npz" else _put(dataset, out.absolute())
    except OSError as error:
        reason = error.strerror or error
        raise RunFolderError(f"save_states {str(out)!r} cannot be written: {reason}.") from error
    _print_dataset(dataset, task, out)
    return 0


def _put(dataset: StateDataset, final: Path) -> None:
    """Write a folder beside its place, and put it there when it is complete."""
    staged = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        put_folder(write_folder(dataset, staged), final)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _print_dataset(dataset: StateDataset, task: Task, out: Path) -> None:
    console, states = Console(), dataset.states
    told = f"a state of {len(dataset.state_names)} numbers" if dataset.state_names else "no state: it is not told"
    say(console, f"{len(states):,} states of {task.name} from {states.facts['generator']}; {told}")
    table = Table("label", "goal states", "share", box=None, pad_edge=False)
    own = {} if states.labels is None else {"label": states.labels}
    for name, held in (own | dict(states.all_labels or {})).items():
        table.add_row(name, f"{int(held.sum()):,}", f"{held.mean():.1%}")
    if table.row_count:
        console.print(table)
    else:
        say(console, "no labels: the task has no criterion")
    say(console, str(out))


def _print_plan(plan: _Plan, states_at: ChosenStates, console: Console) -> int:
    """Draw a few states, describe the encoders without their weights, and say what would be done."""
    options, labels = plan.chosen.rewards, plan.chosen.source.labels
    planned = plan_encoders(plan.encoders)
    device = resolve_device(options.device)
    dtype = resolve_dtype(options.dtype, device)
    drawn = {size: states_at.few(size) for size in sorted({one.image_size for one in planned} or {_SMALL})}
    size = max(drawn)
    states, count = drawn[size], states_at.recipe["count"]
    if labels is None and states.labels is None and states.true_rewards is None:
        raise InvalidInputError("the states have neither labels nor true rewards: give --labels or other --states.")
    table = Table(box=None, pad_edge=False)
    for head in ("encoder", "weights", "image tower", "pixels", f"in {dtype}"):
        table.add_column(head, no_wrap=True, justify="left" if head == "encoder" else "right")
    for one in planned:
        counts = (f"{parameters / 1e6:,.1f} M" for parameters in (one.parameters, one.image_parameters))
        table.add_row(one.name, *counts, str(one.image_size), f"{one.memory_bytes(dtype) / 2**30:.2f} GiB")
    console.print(table)
    reference = f"the criterion: {plan.task.criterion_text}" if states.labels is not None else "the true reward"
    lines = [
        *(f"{one.name} is to be fetched from {one.origin}" for one in planned if one.origin is not None),
        f"device: {device.type}; one encoder is in memory at a time",
        f"states: {count:,} from {states.facts['generator']}, at {', '.join(map(str, drawn))} pixels, at most "
        f"{count * size**2 * 3 / 2**30:.2f} GiB; {len(states)} of them were drawn to see that they can be",
        f"forms: {', '.join(form.form for form in plan.forms)}",
        f"rewards of goal-baseline: {len(plan.prompts)} pair{'s' if len(plan.prompts) > 1 else ''} of prompts at "
        f"{len(plan.alphas)} alphas, {len(plan.prompts) * len(plan.alphas)} an encoder",
        *(f"  “{pair.goal}”, baseline “{pair.baseline}”" for pair in plan.prompts),
        f"judged against: {reference if labels is None else f'the labels of {labels}'}",
        "nothing was loaded or written",
    ]
    for line in lines:
        say(console, line)
    return 0
