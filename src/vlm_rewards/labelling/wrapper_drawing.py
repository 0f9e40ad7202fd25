"""Makes a process that is to draw and to learn safe for both."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from vlm_rewards.envs.headless import configure_headless
from vlm_rewards.errors import InvalidInputError

_MAPS = Path("/proc/self/maps")


def prepare_drawing() -> None:
    """Load the compilers of torch before the first OpenGL context of this process.

    Mesa's software drivers, which EGL uses where there is no graphics card,
    bring a copy of LLVM, and so does triton. A process that draws first and
    loads triton afterwards, as building any torch optimiser does
    (``torch._dynamo``), dies of a segmentation fault; the other order is fine.

    Also chooses off-screen drawing where there is no display.

    Raises:
        InvalidInputError: Something has been drawn already, and triton is not loaded: going on would crash.
    """
    configure_headless()
    if "torch._dynamo" in sys.modules:
        return
    if "triton" not in sys.modules and importlib.util.find_spec("triton") is not None and driver_has_llvm():
        raise InvalidInputError(
            "the environment must be wrapped before anything is drawn in this process: OpenGL has been used already, "
            "and loading torch's compilers (torch._dynamo, triton) after it would crash. Load the encoder and wrap "
            "the environment before its first render(), or put `import torch._dynamo` at the top of the program."
        )
    importlib.import_module("torch._dynamo")


def driver_has_llvm() -> bool:
    """Whether a graphics driver with LLVM is in this process; False where the system does not say."""
    return _MAPS.exists() and "/libLLVM" in _MAPS.read_text(encoding="utf-8", errors="replace")
