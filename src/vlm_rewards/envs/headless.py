"""Settings for drawing without a display."""

from __future__ import annotations

import os
import sys


def configure_headless() -> None:
    """Choose off-screen drawing where there is no display, unless the user chose already.

    Sets ``MUJOCO_GL=egl`` and ``SDL_VIDEODRIVER=dummy``. Call it before MuJoCo
    or pygame is imported.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
