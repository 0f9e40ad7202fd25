"""Gymnasium's Humanoid-v5 that goes on whatever happens, as it comes or as the paper draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import gymnasium as gym

from vlm_rewards.envs.canvas import check_size
from vlm_rewards.envs.headless import import_mujoco
from vlm_rewards.envs.mujoco_drawing import draw_cheaply
from vlm_rewards.envs.mujoco_models import Textures, View, check_textures, with_textures
from vlm_rewards.errors import InvalidInputError, check_settings

Camera = Literal["original", "fixed"]
Observations = Literal["full", "compact"]

FIXED_VIEW = View(distance=3.5, lookat=(0.0, 0.0, 1.0), azimuth=180.0, elevation=-10.0)
"""The paper's fixed camera: before the robot, slightly above and looking down (section 4.3)."""


@dataclass(frozen=True)
class HumanoidConfig:
    """How the humanoid is drawn and what is observed of it. A docstring under each field is also its ``--help``."""

    textures: Textures = "realistic"
    """Humanoid: "realistic" (sky, tiled floor, skin of metal) or "original" (as MuJoCo's model comes)."""
    camera: Camera = "fixed"
    """Humanoid: "fixed" (before the robot, slightly above) or "original" (from its side, follows the body)."""
    observations: Observations = "full"
    """Humanoid: "full" (348 numbers, the paper's) or "compact" (45: positions and velocities of root and joints)."""
    full_drawing: bool = False
    """Humanoid: keep shadows, reflections, smoothing and all facets; many times slower."""

    def __post_init__(self) -> None:
        check_textures(self.textures)
        for name, choices in (("camera", get_args(Camera)), ("observations", get_args(Observations))):
            if getattr(self, name) not in choices:
                raise InvalidInputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able settings; `from_dict` restores them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HumanoidConfig:
        """Restore settings from `to_dict`.

        Raises:
            InvalidInputError: A setting is unknown or breaks a rule.
        """
        check_settings("humanoid", values, cls)
        return cls(**values)


def build_humanoid(image_size: int, config: HumanoidConfig | None = None) -> gym.Env[Any, Any]:
    """Build a humanoid that never terminates: an end would tell the learner what the task is.

    Physics, actions (17 torques), reset and the environment's own reward are
    Gymnasium's, which adds 5 a step for a torso between 1 and 2 m, 1.25 times
    the forward velocity in m/s, and costs of control and contact.

    Args:
        image_size: Side of the pictures in pixels, at least 32.
        config: How it is drawn and observed; default: realistic, fixed camera, full observations.

    Returns:
        Gymnasium's ``HumanoidEnv`` with ``render_mode="rgb_array"``, without a time limit.

    Raises:
        InvalidInputError: ``image_size`` is not an int of at least 32, or MuJoCo has nothing to draw with.
    """
    size = check_size(image_size)
    import_mujoco()
    from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv

    chosen = config or HumanoidConfig()
    full = chosen.observations == "full"
    view: dict[str, Any] = {"camera_name": "track"}
    if chosen.camera == "fixed":
        view = {"default_camera_config": FIXED_VIEW.camera_config(), "camera_id": -1}
    env = with_textures(HumanoidEnv, chosen.textures)(
        terminate_when_unhealthy=False,
        include_cinert_in_observation=full,
        include_cvel_in_observation=full,
        include_qfrc_actuator_in_observation=full,
        include_cfrc_ext_in_observation=full,
        render_mode="rgb_array",
        width=size,
        height=size,
        **view,
    )
    if not chosen.full_drawing:
        draw_cheaply(env)
    return env
