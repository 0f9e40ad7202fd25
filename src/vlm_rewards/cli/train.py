"""``vlm-rewards train TASK``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line, load_reward, print_evaluation
from vlm_rewards.cli.judge_run import evaluate_run, record_video, selection_evaluator
from vlm_rewards.envs import get_task, list_tasks
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.reporting.figures import plot_learning_curve
from vlm_rewards.rewards import VLMReward
from vlm_rewards.simulation.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.presets import PAPER_TASKS, PRESETS, preset
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.runner import TrainingOutcome, train

_USAGE = """usage: vlm-rewards train TASK [--preset {presets}] [--run-dir DIR] [--overwrite] [...]

Tasks: {tasks}.
`vlm-rewards train TASK --help` lists every setting with the preset's value.
"""


@dataclass(frozen=True)
class _Arguments:
    """Train an agent on a task from its sentence."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]
    """The settings."""
    run_dir: Path | None = None
    """Folder of the run; default: runs/TASK-SEED-TIME."""
    overwrite: bool = False
    """Replace a run that is there already."""
    video: bool = True
    """Record a video of the best snapshot."""


def main(arguments: list[str]) -> int:
    """Train, evaluate the best snapshot, draw the curve, record the video."""
    name, preset_name, rest = _split(arguments)
    if name is None:
        print(_USAGE.format(presets=",".join(PRESETS), tasks=", ".join(list_tasks())))
        return 0 if arguments else 2
    start = _Arguments(config=preset(name, preset_name))
    chosen = tyro.cli(
        Annotated[_Arguments, tyro.conf.AvoidSubcommands, tyro.conf.SuppressFixed],
        prog=f"vlm-rewards train {name} --preset {preset_name}",
        default=start,
        args=rest,
    )
    return _run(chosen, command_line("train", arguments))


def _split(arguments: list[str]) -> tuple[str | None, str, list[str]]:
    """Take the task and the preset out of the arguments: they decide every other setting's default."""
    rest, preset_name, task = [], None, None
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument == "--preset":
            if not pending or pending[0].startswith("-"):
                raise InvalidInputError(f"--preset needs a value. Choices: {', '.join(PRESETS)}.")
            preset_name = pending.pop(0)
        elif argument.startswith("--preset="):
            preset_name = argument.split("=", 1)[1]
        elif task is None and not rest and not argument.startswith("-"):
            task = argument
        else:
            rest.append(argument)
    if task is None and rest and rest[0] not in ("-h", "--help"):
        raise InvalidInputError(f"the task must come first, got {rest[0]!r}. Choices: {', '.join(list_tasks())}.")
    return task, preset_name or default_preset(task), rest


def default_preset(task: str | None) -> str:
    """``"paper"`` where there is a GPU and the paper has the task, ``"cpu"`` elsewhere."""
    import torch

    return "paper" if task in PAPER_TASKS and torch.cuda.is_available() else "cpu"


def _run(chosen: _Arguments, command: str) -> int:
    console = Console()
    config = chosen.config
    run_dir = chosen.run_dir or Path("runs") / f"{config.task}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    RunFolder(run_dir).check_free(overwrite=chosen.overwrite)  # before a model is loaded or fetched
    reward = load_reward(config, console)
    _announce(console, config, run_dir)
    with selection_evaluator(get_task(config.task), reward, config) as evaluate:
        outcome = train(config, run_dir, reward, evaluate, overwrite=chosen.overwrite, console=console, command=command)
    _draw_curve(outcome.run, config)
    if outcome.interrupted:
        text = f"interrupted after {outcome.record['steps']:,} steps; what was learned is in {run_dir}"
        console.print(text, markup=False, soft_wrap=True)
        return 130
    return _finish(console, outcome, config, reward, video=chosen.video)


def _draw_curve(run: RunFolder, config: TrainConfig) -> None:
    if len(run.metrics.read_text(encoding="utf-8").splitlines()) > 1:  # an early Ctrl-C leaves the header alone
        plot_learning_curve(run.metrics, run.curve, title=f'{config.task}: "{config.goal}" (seed {config.seed})')


def _finish(console: Console, outcome: TrainingOutcome, config: TrainConfig, reward: VLMReward, *, video: bool) -> int:
    run, record = outcome.run, outcome.record
    seed = derive_seed(config.seed, "evaluate")
    started = time.time()
    evaluation, policy = evaluate_run(
        run, config, reward, episodes=config.evaluation_episodes, seed=seed, console=console
    )
    record["evaluation"] = evaluation
    record["seconds"]["evaluation"] = round(time.time() - started, 2)
    run.write_json(run.record, record)  # before the video, which may fail
    if video:
        evaluation["video"] = record_video(run, config, policy, evaluation["snapshot"], seed)
        run.write_json(run.record, record)
    print_evaluation(console, evaluation, heading=f"{config.task}, seed {config.seed}, best snapshot by VLM return")
    console.print(f"training took {outcome.record['seconds']['training']:.0f} s")
    for label, path in (("record", run.record), ("curve", run.curve), ("video", evaluation.get("video"))):
        if path:
            shown = run.path / str(path) if label == "video" else path
            console.print(f"{label + ':':<8}{shown}", markup=False, soft_wrap=True)
    return 0


def _announce(console: Console, config: TrainConfig, run_dir: Path) -> None:
    budget = update_budget(config)
    sentences = f'"{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})'
    console.print(f"task      {config.task}: {sentences}", markup=False)
    console.print(
        f"plan      {config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators, "
        f"{budget.updates:,} updates, each transition used {budget.replay_ratio:.1f} times"
    )
    console.print(f"run       {run_dir}", markup=False, soft_wrap=True)
