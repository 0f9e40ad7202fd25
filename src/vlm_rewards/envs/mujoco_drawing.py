"""Cameras of Gymnasium's MuJoCo environments, and drawing that a small picture does not miss.

Shadows are drawn at 4096 x 4096 for a picture of 96 x 96, reflections draw the
scene twice, and round bodies have more facets than pixels. None of it is seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator

from vlm_rewards.envs.headless import import_mujoco
from vlm_rewards.errors import InvalidInputError, unknown_name

Luxury = Literal["shadows", "reflections", "multisampling", "facets"]
"""What a small picture does without."""

_SLICES, _STACKS = 12, 8
"""Facets around and along round bodies; MuJoCo's own are 28 and 16."""


def mujoco_class(spec: EnvSpec) -> type[Any] | None:
    """The class of an environment of Gymnasium's MuJoCo kind, which takes ``width``, ``height`` and cameras.

    Args:
        spec: Of any environment.

    Returns:
        Its class; None where it is of another kind.

    Raises:
        InvalidInputError: It is of that kind, and MuJoCo has nothing to draw with.
    """
    creator = spec.entry_point
    try:
        if isinstance(creator, str):
            if creator.startswith("gymnasium.envs.mujoco"):
                import_mujoco()
            creator = load_env_creator(creator)
        if not isinstance(creator, type):
            return None
        from gymnasium.envs.mujoco import MujocoEnv
    except ImportError:
        return None
    return creator if issubclass(creator, MujocoEnv) else None


def draw_cheaply(env: gym.Env[Any, Any], without: Sequence[Luxury] = get_args(Luxury)) -> None:
    """Turn off shadows, reflections and multisampling, and take coarser round bodies; before the first picture.

    Args:
        env: A MuJoCo environment of Gymnasium.
        without: Which of them; default: all.
    """
    model = env.unwrapped.model  # pyright: ignore[reportAttributeAccessIssue]
    quality = model.vis.quality
    if "shadows" in without:
        model.light_castshadow[:] = 0
        quality.shadowsize = 0
    if "reflections" in without:
        model.mat_reflectance[:] = 0.0
    if "multisampling" in without:
        quality.offsamples = 0
    if "facets" in without:
        quality.numslices = min(quality.numslices, _SLICES)
        quality.numstacks = min(quality.numstacks, _STACKS)


def camera_id(env: gym.Env[Any, Any], camera: str) -> int:
    """Find a camera of the model by name or number; -1 is the free camera.

    Raises:
        InvalidInputError: The model has no such camera; the message names those that it has.
    """
    model = env.unwrapped.model  # pyright: ignore[reportAttributeAccessIssue]
    names = [model.camera(index).name for index in range(model.ncam)]
    if camera in names:
        return names.index(camera)
    if re.fullmatch(r"-?[0-9]+", camera):
        if -1 <= int(camera) < model.ncam:
            return int(camera)
        raise InvalidInputError(f"camera must be a number from -1 (free) to {model.ncam - 1}, got {camera}.")
    raise unknown_name("camera", camera, [*names, *map(str, range(-1, model.ncam))])


class CameraStrip(gym.Wrapper[Any, Any, Any, Any]):
    """Draws every state from several cameras.

    Args:
        env: A MuJoCo environment of Gymnasium with ``render_mode="rgb_array"``.
        cameras: Names or numbers of its cameras.
    """

    def __init__(self, env: gym.Env[Any, Any], cameras: Sequence[str]) -> None:
        super().__init__(env)
        self._cameras = [camera_id(env, camera) for camera in cameras]

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The state from each camera: uint8 ``[cameras h w 3]``."""
        renderer = self.env.unwrapped.mujoco_renderer  # pyright: ignore[reportAttributeAccessIssue]
        pictures = []
        for camera in self._cameras:
            renderer.camera_id = camera
            pictures.append(np.array(self.env.render()))
        return np.stack(pictures)
