"""``vlm-rewards relabel DATASET``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlm_rewards.cli.common import ConsoleProgress, command_line
from vlm_rewards.collection.shaping import shaped_by
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError, check_prompt
from vlm_rewards.offline.dataset import RelabelOptions
from vlm_rewards.offline.relabelling import open_dataset, relabel
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.rewards.config import RewardConfig, build_reward, needs_encoder
from vlm_rewards.rewards.goal_baseline import check_alpha
from vlm_rewards.rewards.registry import get_form
from vlm_rewards.training.rewards import load_encoder_for

_WITHOUT_GOAL = {"goal_pictures", "demonstration"}
"""Inputs of a reward form that stand for a goal in words."""


@dataclass(frozen=True)
class _Arguments:
    """Write VLM rewards into a Minari dataset or a LeRobot folder, or rather into a copy of it.

    Run the same command again after an interruption: it goes on where it was.
    """

    dataset: tyro.conf.Positional[str]
    """Minari id, or the folder of a Minari or LeRobot dataset."""
    reward: tyro.conf.OmitArgPrefixes[RewardConfig]
    """How frames become rewards."""
    goal: str | None = None
    """What the frame should show."""
    baseline: str | None = None
    """What any of the frames shows."""
    alpha: float = 0.5
    """Strength of the baseline, from 0 (ignored: the plain similarity, eq. 2) to 1."""
    gamma: float = 0.99
    """Shaping: the discount of whoever learns from the dataset."""
    encoder: str = "bundled"
    """"bundled", "Name/tag" of open_clip, "hf-hub:org/name", a folder, or "Name=/path/file"."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""
    out: str | None = None
    """Id (Minari) or folder (LeRobot) of the new dataset; default: the old one's with "-vlm"."""
    in_place: bool = False
    """Change the dataset itself, each of its files in one go."""
    overwrite: bool = False
    """Replace what an earlier relabelling wrote, and forget unfinished work."""
    copy_frames: bool = False
    """Copy images and videos; otherwise the new dataset links to those of the old one."""
    frames: tuple[str, ...] = ()
    """Where the frames are: "observations", "infos/KEY", "replay", or a camera; several are several cameras."""
    env_kwargs: str = "{}"
    """Replay: arguments for the environment, as a JSON object."""
    tolerance: float = 0.0
    """Replay: how far observations may be from the recorded ones."""
    batch_size: int = 64
    """Frames embedded in one go."""
    json: bool = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """Relabel a dataset."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards relabel", args=arguments)
    options = _options(chosen)
    goal, baseline = _sentences(chosen)
    check_alpha(chosen.alpha)
    console, errors = Console(quiet=chosen.json), Console(stderr=True)
    errors.quiet = chosen.json or not errors.is_terminal  # the bar is for a person
    bar = ConsoleProgress(errors)
    dataset = open_dataset(chosen.dataset, options)
    try:
        size = f"{len(dataset.steps):,} episodes, {sum(dataset.steps):,} steps"
        console.print(f"{dataset.name}: {size}, frames from {', '.join(dataset.frames_from)}")
        reward = _reward(chosen, goal, baseline, cameras=len(dataset.frames_from), console=console)
        bar.start("episodes", len(dataset.steps))
        command = command_line("relabel", arguments)
        record = relabel(dataset, reward, options, progress=lambda done, _: bar.advance(done), command=command)
    finally:
        bar.stop()
        dataset.close()
    if chosen.json:
        print(json.dumps(record, indent=2))
    else:
        _show(console, record)
    return 0


def _options(chosen: _Arguments) -> RelabelOptions:
    try:
        env_kwargs = json.loads(chosen.env_kwargs)
    except ValueError as error:
        raise InvalidInputError(f"env_kwargs must be a JSON object, got {chosen.env_kwargs!r}: {error}.") from None
    if not isinstance(env_kwargs, dict):
        raise InvalidInputError(f"env_kwargs must be a JSON object, got {chosen.env_kwargs!r}.")
    names = {field.name for field in dataclasses.fields(RelabelOptions)} - {"env_kwargs"}
    return RelabelOptions(env_kwargs=env_kwargs, **{name: getattr(chosen, name) for name in names})


def _sentences(chosen: _Arguments) -> tuple[str, str]:
    """The goal and the baseline; empty where the reward form has no use for them."""
    form = chosen.reward.form
    for field in ("goal", "baseline"):
        sentence = getattr(chosen, field)
        if sentence is not None:
            check_prompt(field, sentence)
        elif field == "baseline" and chosen.reward.others:
            continue  # they compete with the goal in its place
        elif needs_encoder(chosen.reward) and not _WITHOUT_GOAL & set(get_form(form).needs):
            raise InvalidInputError(f"the reward form {form!r} needs a {field}: --{field} TEXT.")
    return chosen.goal or "", chosen.baseline or ""


def _reward(chosen: _Arguments, goal: str, baseline: str, *, cameras: int, console: Console) -> FrameReward:
    def encoder() -> ImageTextEncoder:
        prompts, how = [text for text in (goal, baseline) if text], {"device": chosen.device, "dtype": chosen.dtype}
        return load_encoder_for(None, chosen.encoder, prompts, ConsoleProgress(console), **how)

    reward = build_reward(chosen.reward, encoder, goal=goal, baseline=baseline, alpha=chosen.alpha, cameras=cameras)
    return shaped_by(reward, chosen.reward.shaping, chosen.gamma)


def _show(console: Console, record: dict[str, Any]) -> None:
    table = Table(
        title=Text(f"{record['source']} -> {record['out']}"), title_justify="left", show_header=False, box=None
    )
    table.add_row("episodes", f"{record['episodes']:,}")
    table.add_row("frames", f"{record['frames']:,}")
    rate = record["frames_per_second"]
    labelled = "0 (all of them were labelled before)" if rate is None else f"{record['labelled_frames']:,}"
    table.add_row("labelled now", labelled if rate is None else f"{labelled}, {rate:,.0f} a second")
    for label, key in (("VLM reward", "rewards"), ("true reward", "true_rewards")):
        facts = record[key]
        if facts:
            spread = f"{facts['mean']:.4f} ± {facts['std']:.4f}, from {facts['min']:.4f} to {facts['max']:.4f}"
            table.add_row(label, spread)
    if record["correlation"] is not None:
        table.add_row("correlation", f"{record['correlation']:.3f}")
    console.print(table)
