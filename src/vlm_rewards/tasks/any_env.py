"""Any Gymnasium environment as a task: a sentence is all that is missing."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import re
import time
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.settings import Count, Rule, Settings
from vlm_rewards.tasks.mujoco import (
    CameraStrip,
    Textures,
    View,
    camera_id,
    draw_cheaply,
    look_from,
    mujoco_class,
    with_textures,
)
from vlm_rewards.tasks.rendering import configure_headless
from vlm_rewards.tasks.task import Task

_PROBE_EPISODES = 8
_PROBE_SECONDS = 3.0
_FLAT = (gym.spaces.Box, gym.spaces.Discrete)
_OWN_CAMERA = ("camera_id", "camera_name", "default_camera_config")

_ID = Rule("the id of a Gymnasium environment", lambda value: isinstance(value, str) and bool(value.strip()))


@dataclass(frozen=True)
class EnvironmentConfig(Settings):
    """A Gymnasium environment by its id, and how it is drawn. A docstring under each field is also its ``--help``."""

    env_id: Annotated[str, _ID]
    """Gymnasium's id, such as Hopper-v5, or module:Name-v0 for one that a module registers."""
    horizon: Count | None = None
    """Steps after which an episode is truncated; None is the environment's own limit."""
    env_kwargs: str = "{}"
    """Arguments for the environment, as a JSON object: '{"terminate_when_unhealthy": false}'."""
    cameras: tuple[str, ...] = ()
    """MuJoCo: names or numbers of the model's cameras; several see each state together. None is the free camera."""
    full_drawing: bool = False
    """MuJoCo: keep the simulator's own size, shadows, reflections and smoothing; many times slower."""
    textures: Textures = "original"
    """MuJoCo: "original" (as the model comes) or "realistic" (sky, tiled floor, bodies of metal)."""
    view: tuple[float, ...] = ()
    """MuJoCo: a free camera that follows nobody, as six numbers: its distance in m from a point, the point's x, y and z
    in m, azimuth and elevation in degrees. None is the environment's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments = self.arguments()
        if self.free_camera() is None:
            return
        if self.cameras:
            raise InvalidInputError(
                f"view must be left out where cameras are named, got {self.view} and {self.cameras}."
            )
        clash = sorted(set(arguments) & set(_OWN_CAMERA))
        if clash:
            raise InvalidInputError(f"env_kwargs must not hold {', '.join(map(repr, clash))} where view is given.")

    def free_camera(self) -> View | None:
        """What `view` says; None where it says nothing."""
        return View.from_numbers(self.view) if self.view != () else None

    def arguments(self) -> dict[str, Any]:
        """The environment's arguments; what is no JSON object is refused."""
        try:
            values = json.loads(self.env_kwargs)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"env_kwargs must be a JSON object, got {self.env_kwargs!r}: {error}.") from None
        if not isinstance(values, dict):
            raise InvalidInputError(f"env_kwargs must be a JSON object, got {self.env_kwargs!r}.")
        return values


def environment_task(config: EnvironmentConfig, *, goal: str, baseline: str) -> Task:
    """Make a task of an environment.

    Episodes end as the environment ends them. There is no criterion: the
    environment's own return is logged, and seen by nobody else.

    Args:
        config: Which environment, and how it is drawn.
        goal: What the state should look like.
        baseline: What any state looks like.

    Returns:
        The task; it is not registered.

    Raises:
        InvalidInputError: The environment does not exist, cannot be built, drawn or acted in, or has no time limit.
    """
    spec = find_spec(config.env_id)
    env = _make(config, spec, None)  # draws nothing: this process may need torch later
    try:
        _check_spaces(env, config.env_id)
        horizon = config.horizon or (env.spec and env.spec.max_episode_steps)
        for camera in config.cameras:
            camera_id(env, camera)
    finally:
        env.close()
    if horizon is None:
        raise InvalidInputError(f"horizon must be given: {config.env_id!r} has no time limit of its own.")
    return Task(
        name=re.sub(r"[^A-Za-z0-9_-]+", "-", config.env_id),
        goal=goal,
        baseline=baseline,
        simulator=functools.partial(build_environment, config),
        horizon=horizon,
        camera=str(config.free_camera() or ", ".join(config.cameras) or "the environment's own"),
        cameras=max(1, len(config.cameras)),
        metadata={"environment": config.to_dict()},
    )


def find_spec(env_id: str) -> EnvSpec:
    """Look an environment up; an unknown id, or a module that cannot be imported, is refused."""
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)  # gymnasium.make does it, too; gymnasium.spec does not
        except ImportError as error:
            raise InvalidInputError(f"env_id {env_id!r} names a module that cannot be imported: {error}.") from None
    try:
        return gym.spec(name)
    except gym.error.Error:
        raise unknown_name("environment", env_id, gym.registry) from None


def build_environment(config: EnvironmentConfig, image_size: int) -> gym.Env[Any, Any]:
    """Build the simulator; see `vlm_rewards.tasks.task.SimulatorFactory`."""
    env = _make(config, find_spec(config.env_id), image_size)
    if len(config.cameras) > 1:
        env = CameraStrip(env, config.cameras)
    if not isinstance(env.observation_space, _FLAT):
        env = gym.wrappers.FlattenObservation(env)
    return env


def termination_warning(task: Task) -> str:
    """Say so if episodes end before time, which tells the learner about the task beyond the sentence; else nothing.

    A few episodes of a task of `environment_task` are looked at, of random actions, undrawn, for at most a few seconds.
    """
    config = EnvironmentConfig.from_dict(task.metadata["environment"])
    env = _make(config, find_spec(config.env_id), None)
    lengths: list[int] = []
    played = 0
    deadline = time.monotonic() + _PROBE_SECONDS
    try:
        env.action_space.seed(0)
        while played < _PROBE_EPISODES and (played == 0 or time.monotonic() < deadline):
            length, terminated = _play(env, task.horizon, played, deadline)
            played += 1
            if terminated:
                lengths.append(length)
    finally:
        env.close()
    if not lengths:
        return ""
    return (
        f"{config.env_id} ends episodes by itself ({len(lengths)} of {played} random ones, after "
        f"{sum(lengths) / len(lengths):.0f} steps on average). How long it lives then tells the learner more than your "
        "sentence does: positive rewards make it stay alive, negative ones make it end. Some environments can be told "
        "not to, as with --env-kwargs '{\"terminate_when_unhealthy\": false}'."
    )


def _play(env: gym.Env[Any, Any], horizon: int, seed: int, deadline: float) -> tuple[int, bool]:
    env.reset(seed=seed)
    for length in range(1, horizon + 1):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated:
            return length, True
        if truncated or time.monotonic() > deadline:
            break
    return horizon, False


def _make(config: EnvironmentConfig, spec: EnvSpec, image_size: int | None) -> gym.Env[Any, Any]:
    """Build an environment that draws at a size, or with None one that is not going to draw."""
    configure_headless()  # before MuJoCo or pygame is imported
    settings = config.arguments()
    for name in ("render_mode", "max_episode_steps"):
        if name in settings:
            raise InvalidInputError(f"env_kwargs must not hold {name!r}; it is set by itself or by horizon.")
    mujoco, view = mujoco_class(spec), config.free_camera()
    given = {"cameras": config.cameras, "textures": config.textures != "original", "view": view}
    for name, value in given.items():
        if value and not mujoco:
            raise InvalidInputError(
                f"{name} must be left out: {config.env_id!r} is no MuJoCo environment of Gymnasium."
            )
    if mujoco and image_size is not None and not config.full_drawing:
        settings = {"width": image_size, "height": image_size, **settings}
    limit = {} if config.horizon is None else {"max_episode_steps": config.horizon}
    try:
        chosen: str | EnvSpec = config.env_id
        if mujoco is not None and config.textures != "original":
            chosen = copy.deepcopy(spec)  # id, arguments and limit stay
            chosen.entry_point = with_textures(mujoco, config.textures)
        env = gym.make(chosen, render_mode="rgb_array", disable_env_checker=True, **limit, **settings)
    except InvalidInputError:
        raise
    except Exception as error:  # whatever the environment's constructor raises
        raise InvalidInputError(f"{config.env_id!r} cannot be built: {type(error).__name__}: {error}") from error
    if env.render_mode != "rgb_array" or "rgb_array" not in env.metadata.get("render_modes", ["rgb_array"]):
        env.close()
        raise InvalidInputError(
            f'{config.env_id!r} must render "rgb_array", it has {env.metadata.get("render_modes")}.'
        )
    if mujoco and not config.full_drawing:
        draw_cheaply(env)
    if mujoco and config.cameras:
        env.unwrapped.mujoco_renderer.camera_id = camera_id(env, config.cameras[0])  # pyright: ignore
    if view is not None:
        look_from(env, view)
    return env


def _check_spaces(env: gym.Env[Any, Any], env_id: str) -> None:
    if not isinstance(env.action_space, _FLAT):
        raise InvalidInputError(
            f"the action space of {env_id!r} must be Box or Discrete, got {env.action_space!r}. Wrap it in an "
            "environment of your own."
        )
    if not env.observation_space.is_np_flattenable:
        raise InvalidInputError(f"the observation space of {env_id!r} must be one that can be flattened to a vector.")
