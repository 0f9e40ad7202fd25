"""Drawing without a display: settings, and what must be there."""

from __future__ import annotations

import importlib
import os
import sys

from vlm_rewards.errors import InvalidInputError


def configure_headless() -> None:
    """Choose off-screen drawing where there is no display, unless the user chose already.

    Sets ``MUJOCO_GL=egl`` and ``SDL_VIDEODRIVER=dummy``. Call it before MuJoCo
    or pygame is imported.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def import_mujoco() -> None:
    """Import MuJoCo, which looks for an OpenGL library as it is imported.

    Raises:
        InvalidInputError: There is none that it can draw with; the message says what to install.
    """
    configure_headless()
    try:
        importlib.import_module("mujoco")
    except Exception as error:  # PyOpenGL trips over what it does not find, in more than one way
        raise InvalidInputError(
            f"MuJoCo cannot be imported, with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} in the environment "
            f"({type(error).__name__}: {error}). It needs an OpenGL library to draw with; on Debian and Ubuntu: "
            "apt-get install libegl1 libgl1-mesa-dri."
        ) from error
