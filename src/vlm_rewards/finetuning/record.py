"""Facts about the machine and the software, for the training record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

import vlm_rewards

_PACKAGES = ("torch", "open_clip_torch", "timm", "numpy", "pillow")


def describe_machine() -> dict[str, str | int]:
    """Kind of processor, number of cores in use and accelerator; nothing that names the host."""
    facts: dict[str, str | int] = {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_versions() -> dict[str, str]:
    """Versions of Python, of this package and of what the weights depend on."""
    versions = {"python": platform.python_version(), "vlm_rewards": vlm_rewards.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return versions


def source_commit() -> str:
    """Commit of this package's source, ``"+changes"`` after it if files differ; "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "HEAD")
    if not commit:
        return "unknown"
    return commit + ("+changes" if _git(here, "status", "--porcelain", "--", str(here.parent)) else "")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
