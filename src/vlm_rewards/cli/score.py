"""``vlm-rewards score IMAGES|VIDEO``."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlm_rewards.cli.common import ConsoleProgress
from vlm_rewards.cli.judge import FormInputs
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.judging import GOAL_BASELINE
from vlm_rewards.evaluation.scoring import Score, frames_per_second, score_paths, scores_to_csv, scores_to_json
from vlm_rewards.media import expand_paths
from vlm_rewards.reporting.figures.curves import plot_video_rewards
from vlm_rewards.rewards.base import EmbeddingReward, FrameReward
from vlm_rewards.rewards.config import build_reward, needs_encoder
from vlm_rewards.rewards.goal_baseline import check_alpha
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.training.rewards import load_encoder_for

_WITHOUT_GOAL = ("goal-pictures", "demonstration")
_WITHOUT_BASELINE = (GOAL_BASELINE, *_WITHOUT_GOAL)
"""Forms that can do without one; of others nobody knows, and so both are asked for."""


@dataclass(frozen=True)
class _Arguments:
    """Score images or videos against a prompt, or with any other reward."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Images, videos, or folders of images."""
    goal: str | None = None
    """What the frame should show; goal-pictures, demonstration and a reward of your own can do without."""
    baseline: str | None = None
    """What any of the frames shows; without it the plain similarity is the reward (eq. 2)."""
    alpha: float = 0.5
    """Strength of the baseline, 0 to 1."""
    form: str = GOAL_BASELINE
    """Form of the reward: goal-baseline (eq. 2 or 3), contrast, softmax, goal-pictures, demonstration, or your own, as
    package.module:name or file.py:name."""
    inputs: tyro.conf.OmitArgPrefixes[FormInputs] = field(default_factory=FormInputs)
    """What forms are made of."""
    encoder: str = "bundled"
    """"bundled", "Name/tag" of open_clip, "hf-hub:org/name", a folder, or "Name=/path/file"."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""
    batch_size: int = 64
    """Frames scored in one go."""
    plot: Path | None = None
    """Image file for the reward over a video's frames."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV."""


def main(arguments: list[str]) -> int:
    """Score files."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards score", args=arguments)
    if chosen.json and chosen.csv:
        raise InvalidInputError("choose one of --json and --csv.")
    if not chosen.paths:
        raise InvalidInputError("paths must name at least one image or video.")
    check_count("batch_size", chosen.batch_size)
    check_alpha(chosen.alpha)
    files = expand_paths(chosen.paths)
    if chosen.plot is not None and len(files) != 1:
        raise InvalidInputError(f"plot needs exactly one video, got {len(files)} files.")
    console = Console(quiet=chosen.json or chosen.csv)
    reward = _reward(chosen, console)
    scores = score_paths(reward, chosen.paths, batch_size=chosen.batch_size)
    if chosen.plot is not None:
        _plot(chosen, reward, scores, chosen.plot)
    if chosen.json:
        print(scores_to_json(scores, reward), end="")
    elif chosen.csv:
        print(scores_to_csv(scores), end="")
    else:
        console.print(_table(scores))
    return 0


def _reward(chosen: _Arguments, console: Console) -> FrameReward:
    (config,) = chosen.inputs.configs((chosen.form,))
    goal, baseline = chosen.goal or "", chosen.baseline or ""
    build: Any = functools.partial(build_reward, config, goal=goal, baseline=baseline, alpha=chosen.alpha)
    if not needs_encoder(config):
        return build(None)
    for name, needed in (("goal", _WITHOUT_GOAL), ("baseline", _WITHOUT_BASELINE)):
        if getattr(chosen, name) is None and config.form not in needed and not (name == "baseline" and config.others):
            raise InvalidInputError(f"{name} is needed by the reward form {config.form!r}.")
    prompts = [prompt for prompt in (chosen.goal, chosen.baseline, *config.others) if prompt is not None]
    how: Any = {"device": chosen.device, "dtype": chosen.dtype}
    encoder = load_encoder_for(None, chosen.encoder, prompts, ConsoleProgress(console), **how)
    if config.form == GOAL_BASELINE and chosen.goal is not None:  # eq. 2 without a baseline
        return VLMReward(encoder, goal=chosen.goal, baseline=chosen.baseline, alpha=chosen.alpha)
    return build(encoder)


def _plot(chosen: _Arguments, reward: FrameReward, scores: list[Score], out: Path) -> None:
    rate = frames_per_second(scores)
    told = isinstance(reward, EmbeddingReward)
    plot_video_rewards(
        [score.reward for score in scores],
        rate,
        out,
        goal=chosen.goal or chosen.form,
        encoder=chosen.encoder if told else "none",
        baseline=chosen.baseline,
        alpha=None if chosen.baseline is None or chosen.form != GOAL_BASELINE else chosen.alpha,
    )


def _table(scores: list[Score]) -> Table:
    """A column for whatever is known of some score."""
    heads = {
        "frame": "frame",
        "time_s": "time [s]",
        "goal_similarity": "goal . x",
        "baseline_similarity": "baseline . x",
    }
    digits = {"frame": "d", "time_s": ".2f"}
    columns = [name for name in heads if any(getattr(score, name) is not None for score in scores)]
    table = Table("file", *(heads[name] for name in columns), "reward")
    for score in scores:
        cells = [(getattr(score, name), digits.get(name, ".4f")) for name in columns]
        row = ["" if value is None else f"{value:{form}}" for value, form in cells]
        table.add_row(escape(score.path), *row, f"{score.reward:.4f}")
    return table
