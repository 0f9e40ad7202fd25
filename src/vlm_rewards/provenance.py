"""Where a number comes from: versions, commit and machine, for every record."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from vlm_rewards import __version__

_PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "gymnasium",
    "mujoco",
    "stable_baselines3",
    "sb3_contrib",
    "sbx-rl",
    "jax",
    "numpy",
    "pillow",
)


def provenance() -> dict[str, Any]:
    """Describe what ran and on what.

    Returns:
        ``version`` of this package, ``versions`` of what results depend on,
        ``commit`` (see `source_commit`) and ``machine`` (kind of processor,
        cores, accelerator; nothing that names the host). JSON-able.
    """
    return {
        "version": __version__,
        "versions": {"python": platform.python_version(), **package_versions()},
        "commit": source_commit(),
        "machine": _machine(),
    }


def package_versions() -> dict[str, str]:
    """Releases of the packages that may compute, draw or draw random numbers differently, as far as installed."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def source_commit() -> str | None:
    """Commit of this package's source, ``-dirty`` behind it where its files differ; None outside of a checkout."""
    try:
        # An installed copy may lie, ignored, in somebody else's checkout.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        dirty = "-dirty" if _git("status", "--porcelain", "--", ".") else ""
        return _git("rev-parse", "--short=12", "HEAD") + dirty
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
    }
    torch = sys.modules.get("torch")  # not imported for this: a record without torch needs no accelerator
    if torch is not None and torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
