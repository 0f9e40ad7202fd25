"""``vlm-rewards score IMAGES|VIDEO``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlm_rewards.cli.common import IN_DOMAIN_NOTE, warn_of_unknown_words
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.scoring import Score, frames_per_second, score_paths, scores_to_csv, scores_to_json
from vlm_rewards.media import expand_paths
from vlm_rewards.reporting.figures.curves import plot_video_rewards
from vlm_rewards.rewards.goal_baseline import check_alpha
from vlm_rewards.rewards.model import VLMReward


@dataclass(frozen=True)
class _Arguments:
    """Score images or videos against a sentence."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Images, videos, or folders of images."""
    goal: str
    """What the frame should show."""
    baseline: str | None = None
    """What any of the frames shows; without it the plain similarity is the reward (eq. 2)."""
    alpha: float = 0.5
    """Strength of the baseline, 0 to 1."""
    encoder: str = "bundled"
    """"bundled", "Name/tag" of open_clip, "hf-hub:org/name", a folder, or "Name=/path/file"."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "mps"."""
    dtype: str = "auto"
    """"auto", "fp32", "bf16" or "fp16"."""
    batch_size: int = 64
    """Frames embedded in one go."""
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
    encoder = load_encoder(chosen.encoder, device=chosen.device, dtype=chosen.dtype)
    if encoder.describe().get("in_domain"):
        console.print(f"note: {IN_DOMAIN_NOTE.format(encoder=encoder.name)}", style="dim", markup=False)
    prompts = [chosen.goal] if chosen.baseline is None else [chosen.goal, chosen.baseline]
    warn_of_unknown_words(encoder, prompts, console)
    reward = VLMReward(encoder, goal=chosen.goal, baseline=chosen.baseline, alpha=chosen.alpha)
    scores = score_paths(reward, chosen.paths, batch_size=chosen.batch_size)
    if chosen.plot is not None:
        _plot(chosen, scores, chosen.plot)
    if chosen.json:
        print(scores_to_json(scores, reward), end="")
    elif chosen.csv:
        print(scores_to_csv(scores), end="")
    else:
        console.print(_table(scores))
    return 0


def _plot(chosen: _Arguments, scores: list[Score], out: Path) -> None:
    rate = frames_per_second(scores)
    plot_video_rewards(
        [score.reward for score in scores],
        rate,
        out,
        goal=chosen.goal,
        encoder=chosen.encoder,
        baseline=chosen.baseline,
        alpha=None if chosen.baseline is None else chosen.alpha,
    )


def _table(scores: list[Score]) -> Table:
    with_baseline = any(score.baseline_similarity is not None for score in scores)
    with_frames = any(score.frame is not None for score in scores)
    columns = ["file", *(["frame", "time [s]"] if with_frames else []), "goal . x"]
    columns += ["baseline . x"] if with_baseline else []
    table = Table(*columns, "reward")
    for score in scores:
        row = [escape(score.path)]
        if with_frames:
            row += ["" if score.frame is None else str(score.frame)]
            row += ["" if score.time_s is None else f"{score.time_s:.2f}"]
        row.append(f"{score.goal_similarity:.4f}")
        if with_baseline:
            row.append("" if score.baseline_similarity is None else f"{score.baseline_similarity:.4f}")
        table.add_row(*row, f"{score.reward:.4f}")
    return table
