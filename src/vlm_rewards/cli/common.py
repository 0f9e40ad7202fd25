"""What several verbs need: the reward of a configuration, a result on the screen."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlm_rewards.collection.shaping import shaped_by
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.loading import load_encoder, trained_on
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.rewards.config import build_reward
from vlm_rewards.tasks.task import Task, get_task, list_tasks
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.watch import watched_against

IN_DOMAIN_NOTE = (
    "encoder {encoder!r} was trained on frames of these very simulators: it is in-domain, not zero-shot. "
    "See its MODEL_CARD.md, and --encoder for a pretrained CLIP."
)
STRANGER_WARNING = (
    "encoder {encoder!r} was trained on frames of a few simulators, and {task!r} is none of them: its scores mean "
    "little there. Use --encoder for a pretrained CLIP."
)


def command_line(verb: str, arguments: Sequence[str]) -> str:
    """The command as it was typed, for a record."""
    return shlex.join(["vlm-rewards", verb, *arguments])


def warn_of_unknown_words(encoder: ImageTextEncoder, prompts: Sequence[str], console: Console) -> None:
    """Say which words an encoder has never seen: it reads a sentence without them."""
    unknown_words = getattr(encoder, "unknown_words", lambda prompt: ())  # encoders need not know
    words = list(dict.fromkeys(word for prompt in prompts for word in unknown_words(prompt)))
    if words:
        text = f"warning: encoder {encoder.name!r} has never seen {', '.join(map(repr, words))} and reads on without."
        console.print(text, style="yellow", markup=False)


def say(console: Console, text: str) -> None:
    """Print a line as it is: nothing in it is markup, and it is not broken to the width of the screen."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def load_encoder_for(
    task: Task, name: str, sentences: Sequence[str], console: Console, *, device: str, dtype: str
) -> ImageTextEncoder:
    """Load an encoder, and say what is to be known of it before its scores of a task are trusted.

    Args:
        task: The task.
        name: As `load_encoder` takes it.
        sentences: What it will read.
        console: Where notes go: whether it was trained on the task's simulator, or on none but others, and which words
            it has never seen.
        device: As `load_encoder` takes it.
        dtype: The same.
    """
    encoder = load_encoder(name, device=device, dtype=dtype)
    if encoder.describe().get("in_domain"):
        if knows(name, task):
            text, style = f"note: {IN_DOMAIN_NOTE.format(encoder=encoder.name)}", "dim"
        else:
            text, style = f"warning: {STRANGER_WARNING.format(encoder=encoder.name, task=task.name)}", "yellow"
        console.print(text, style=style, markup=False, highlight=False)
    warn_of_unknown_words(encoder, sentences, console)
    return encoder


def knows(name: str, task: Task) -> bool:
    """Whether an encoder that was trained on frames of simulators was trained on this task's.

    Args:
        name: As `load_encoder` takes it; of one that was not trained so it says whether it could have been.
        task: The task.
    """
    if task.captioner is None:
        return False
    tasks = trained_on(name)
    if tasks is None:  # nothing says on which: take its word
        return True
    others = [get_task(one) for one in tasks if one in list_tasks()]
    return task.name in tasks or any(other.captioner is task.captioner for other in others)


def captioned_for(encoders: Sequence[Mapping[str, Any]], task: Task) -> bool:
    """Whether what a record says of encoders trained on simulators is of this task's: all of them know it.

    Args:
        encoders: As they describe themselves.
        task: The task.
    """
    trained = [str(encoder["name"]) for encoder in encoders if encoder.get("in_domain")]
    return task.captioner is not None and all(knows(name, task) for name in trained)


def load_reward(config: TrainConfig, console: Console) -> FrameReward:
    """Make the reward of a configuration; the encoder is loaded only where the reward is made of one."""
    task = task_of(config)  # a bad task ends before a model is loaded or fetched
    prompts = (config.goal, config.baseline, *config.reward.others)

    def encoder() -> OpenCLIPEncoder:
        return load_encoder_for(task, config.encoder, prompts, console, device=config.device, dtype=config.dtype)

    reward = build_reward(
        config.reward,
        encoder,
        goal=config.goal,
        baseline=config.baseline,
        alpha=config.alpha,
        cameras=task.cameras,
    )
    return shaped_by(reward, config.reward.shaping, config.algorithm.gamma)


def load_held_out(config: TrainConfig, reward: FrameReward, console: Console) -> FrameReward | None:
    """Make the reward that a run is watched against: the same form with another sentence or encoder; None without."""
    if not config.has_held_out:
        return None
    if watched_against(config, task_of(config)) != "held-out":
        text = (
            f"warning: {config.task!r} is watched against its criterion; a held-out sentence or encoder is of use with "
            "--watch held-out alone."
        )
        console.print(text, style="yellow", markup=False, highlight=False)
        return None

    def encoder() -> ImageTextEncoder:
        own: ImageTextEncoder | None = getattr(reward, "encoder", None)
        if own is not None and config.watch_encoder in (None, config.encoder):
            return own  # the same object: frames are embedded once for both
        return load_encoder(config.watch_encoder or config.encoder, device=config.device, dtype=config.dtype)

    return build_reward(
        config.reward,
        encoder,
        goal=config.watch_goal or config.goal,
        baseline=config.watch_baseline or config.baseline,
        alpha=config.alpha,
        cameras=task_of(config).cameras,
    )


def print_evaluation(console: Console, evaluation: dict[str, Any], *, heading: str) -> None:
    """Print an evaluation as a small table."""
    console.print(Text(heading, style="italic"))  # as a table's title it would be broken to the table's width
    table = Table(show_header=False, box=None)
    table.add_row("episodes", str(evaluation["episodes"]))
    if evaluation.get("success_rate") is not None:
        low, high = evaluation["success_interval_95"]
        rate = f"{evaluation['success_rate']:.1%} (95 % interval {low:.1%} to {high:.1%})"
        table.add_row("success rate", rate)
    if evaluation.get("held_share") is not None:
        table.add_row("criterion held", f"on {evaluation['held_share']:.1%} of the steps")
        kept = evaluation["held_last_half"]
        table.add_row("", f"on all of the last half in {kept} of {evaluation['episodes']} episodes")
    table.add_row("VLM return", f"{evaluation['vlm_return']:.2f} ± {evaluation['vlm_return_std']:.2f}")
    table.add_row("true return", f"{evaluation['true_return']:.2f} ± {evaluation['true_return_std']:.2f}")
    console.print(table)
