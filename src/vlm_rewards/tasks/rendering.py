"""Rendering a simulator's state without a display, at the size that the reward wants."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, TypeAlias, TypeGuard

import gymnasium as gym
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.tasks.canvas import check_size


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


BAR_COLOUR = 127
"""Grey of the bars beside or above a frame that is not square: about what encoders subtract as the mean."""

AnyEnv: TypeAlias = gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any]


def draw(env: AnyEnv) -> Any:
    """What ``env.render()`` returns, drawn in the environment's own OpenGL context where it is Gymnasium's with MuJoCo.

    Gymnasium draws in whatever context of the process was current last. Where
    two environments differ in size or quality, one of them would draw black
    frames.
    """
    if isinstance(env, gym.vector.VectorEnv):
        inner: Any = getattr(env.unwrapped, "envs", ())  # those that share this process
        mujoco = any(hasattr(one.unwrapped, "mujoco_renderer") for one in inner)
        return [draw(one) for one in inner] if mujoco else env.render()
    viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
    if viewer is not None:
        viewer.make_context_current()
    return env.render()


class FrameRenderer:
    """Takes square frames of an environment.

    A frame that already has the right size is passed through. Any other is
    letterboxed: resized with antialiasing so that all of it is seen in its own
    proportions, and centred between grey bars.

    Args:
        env: Made with ``render_mode="rgb_array"``; the frames of a vector environment go through `fit` one by one.
        size: Side of the frames in pixels, at least 32.
        cameras: Frames of each state. With more than one, ``render()`` must return them all, ``[cameras h w 3]``.

    Raises:
        InvalidInputError: The environment renders something else, or the size is too small.
    """

    def __init__(self, env: AnyEnv, size: int, cameras: int = 1) -> None:
        self.env = env
        self.size = check_size(size)
        self.cameras = check_count("cameras", cameras)
        if env.render_mode != "rgb_array":
            raise InvalidInputError(
                f'render_mode of the environment must be "rgb_array", got {env.render_mode!r}: '
                f'make it with gymnasium.make({_id(env)}, render_mode="rgb_array").'
            )

    def render(self) -> Frame:
        """Frame of the environment's present state: see `fit`."""
        return self.fit(draw(self.env))

    def fit(self, frame: object) -> Frame:
        """Make square what ``render()`` returned, for those who call it themselves, as vector environments are.

        Returns:
            uint8 ``[size size 3]``; with several cameras a strip, one frame below another, ``[cameras*size size 3]``.

        Raises:
            InvalidInputError: It is no uint8 ``[h w 3]`` array, or ``[cameras h w 3]`` where there are several.
        """
        if self.cameras > 1:
            return self._strip(frame)
        if not _is_picture(frame):
            raise InvalidInputError(
                f"render() of {_id(self.env)} must return a uint8 array [height width 3], got {_describe(frame)}."
            )
        return letterbox(frame, self.size)

    def _strip(self, frames: object) -> Frame:
        if not isinstance(frames, np.ndarray) or frames.ndim != 4 or len(frames) != self.cameras:
            raise InvalidInputError(
                f"render() of {_id(self.env)} must return the frames of {self.cameras} cameras, uint8 "
                f"[{self.cameras} height width 3], got {_describe(frames)}."
            )
        if not all(_is_picture(frame) for frame in frames):
            raise InvalidInputError(
                f"render() of {_id(self.env)} must return uint8 arrays [height width 3], got {_describe(frames[0])}."
            )
        return np.concatenate([letterbox(frame, self.size) for frame in frames])


def letterbox(frame: Frame, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Fit a frame into a square, neither squashed nor cropped.

    Args:
        frame: uint8 ``[h w 3]``.
        size: Side of the square in pixels.

    Returns:
        The square, uint8 ``[size size 3]``; the frame itself if it has that size already.
    """
    height, width = frame.shape[:2]
    if height == width == size:
        return frame
    scale = size / max(height, width)
    fitted = max(1, round(width * scale)), max(1, round(height * scale))
    resized = Image.fromarray(np.ascontiguousarray(frame)).resize(fitted, Image.Resampling.BICUBIC)
    square = np.full((size, size, 3), BAR_COLOUR, dtype=np.uint8)
    left, top = (size - fitted[0]) // 2, (size - fitted[1]) // 2
    square[top : top + fitted[1], left : left + fitted[0]] = np.asarray(resized)
    return square


def _is_picture(value: object) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape[2:] == (3,) and value.size > 0


def _describe(value: object) -> str:
    """What came instead of a frame, with the likely cause."""
    if value is None:
        return "None (has it been reset, and does it support rgb_array?)"
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}"
    text = f"an array of {value.dtype} {list(value.shape)}"
    if value.ndim == 3 and value.shape[2] == 4:
        return text + " (drop the alpha channel)"
    if value.dtype != np.uint8:
        return text + " (scale it to 0..255 and convert it to uint8)"
    return text


def _id(env: AnyEnv) -> str:
    """The environment's id in quotes, or the name of its class."""
    return repr(env.spec.id) if env.spec is not None else type(env.unwrapped).__name__
