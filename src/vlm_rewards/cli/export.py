"""``vlm-rewards export RUN``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from vlm_rewards.cli.common import say
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.run import Run
from vlm_rewards.training.export import FORMATS, export_policy
from vlm_rewards.training.run_folder import find_snapshot


@dataclass(frozen=True)
class _Arguments:
    """Write a trained policy for other programs: an SB3 zip, TorchScript or ONNX."""

    run: tyro.conf.Positional[Path]
    """Folder that `vlm-rewards train` wrote."""
    kind: Annotated[str, tyro.conf.arg(name="format")] = "sb3"
    """"sb3" (load it with the algorithm of Stable-Baselines3), "torchscript" or "onnx" (plain functions)."""
    snapshot: str | None = None
    """File name inside the run's checkpoints; default: the best by VLM return."""
    out: Path | None = None
    """The file; default: policy.zip, policy.pt or policy.onnx in the run's folder."""
    overwrite: bool = False
    """Replace the file if it is there."""


def main(arguments: list[str]) -> int:
    """Export a policy."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards export", args=arguments)
    run = Run.open(chosen.run, device="cpu")
    if chosen.kind not in FORMATS:
        raise InvalidInputError(f"format must be one of {', '.join(FORMATS)}, got {chosen.kind!r}.")
    path = chosen.out or run.folder / f"policy{FORMATS[chosen.kind]}"
    if path.exists() and not chosen.overwrite:
        raise InvalidInputError(f"out must be new, got {str(path)!r}. Choose another, or pass --overwrite.")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"out must be in a folder that exists, got {str(path)!r}.")
    snapshot = find_snapshot(run.files, chosen.snapshot).name
    export_policy(run.load_model(snapshot), path, chosen.kind)
    say(Console(), f"{snapshot} -> {path}")
    return 0
