"""Gymnasium's Humanoid-v5 that goes on whatever happens, as it comes or as the paper draws it.

The humanoid as a thing of joints: set into poses and stood on the floor, without drawing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from vlm_rewards.errors import unknown_name
from vlm_rewards.settings import Settings
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.mujoco import Textures, View, draw_cheaply, with_textures
from vlm_rewards.tasks.rendering import import_mujoco

_LEG, _ARM = ("hip_x", "hip_z", "hip_y", "knee"), ("shoulder1", "shoulder2", "elbow")
JOINTS = (
    *("abdomen_z", "abdomen_y", "abdomen_x"),
    *(f"{side}_{joint}" for limb in (_LEG, _ARM) for side in ("right", "left") for joint in limb),
)
"""The hinges in the order in which they follow the root's seven numbers in ``qpos``."""

POSITIONS, VELOCITIES = 24, 23
"""Numbers in ``qpos`` (root position, root quaternion, hinges) and ``qvel``."""

HORIZON = 100
"""Steps of an episode, 1.5 s."""

FRAME_SKIP = 5
"""Physics steps of 3 ms to an environment step, as in Humanoid-v5."""

_START_HEIGHT, _RESET_NOISE = 1.4, 0.01  # Humanoid-v5's

_STIFFNESS, _DAMPING = 200.0, 20.0  # N m / rad, N m s / rad


class HumanoidModel:
    """Kinematics and physics of Humanoid-v5.

    Attributes:
        model: ``mujoco.MjModel``.
        data: ``mujoco.MjData``; what it holds is of the last call.
        low: float64 ``[17]``: least angle of each of `JOINTS`, in rad.
        high: The greatest.
    """

    def __init__(self) -> None:
        import_mujoco()
        import mujoco as bindings
        from gymnasium.envs.mujoco.mujoco_env import expand_model_path

        mujoco: Any = bindings  # compiled: its names are not known to type checkers
        self._mujoco = mujoco
        self.model = mujoco.MjModel.from_xml_path(expand_model_path("humanoid.xml"))
        self.data = mujoco.MjData(self.model)
        # The same robot with springs in its hinges, integrated so that stiff ones stay stable.
        self._held = mujoco.MjModel.from_xml_path(expand_model_path("humanoid.xml"))
        self._held.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        self._held.jnt_stiffness[1:], self._held.dof_damping[6:] = _STIFFNESS, _DAMPING
        self.low, self.high = self.model.jnt_range[1:].T.copy()
        self._geoms = np.flatnonzero(self.model.geom_bodyid > 0)

    def place(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> None:
        """Put the robot into a state: ``qpos``, float64 ``[24]``, and ``qvel``, float64 ``[23]``, or rest."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = positions
        self.data.qvel[:] = 0.0 if velocities is None else velocities
        self.refresh()

    def start(self, rng: np.random.Generator, positions: np.ndarray | None = None) -> None:
        """Put the robot where an episode begins, with Gymnasium's noise, or into a pose (``qpos``) with that noise."""
        if positions is None:
            positions = np.zeros(POSITIONS)
            positions[2:4] = _START_HEIGHT, 1.0
        self.place(
            positions + rng.uniform(-_RESET_NOISE, _RESET_NOISE, POSITIONS),
            rng.uniform(-_RESET_NOISE, _RESET_NOISE, VELOCITIES),
        )

    def lowest(self) -> float:
        """Height of the robot's lowest point, in m; below 0 it is in the floor."""
        return float(clearances(self.model, self.data, self._geoms).min())

    def support_centre(self) -> np.ndarray:
        """Middle of the parts that are within 3 cm of the lowest: float64 ``[3]``, in m."""
        heights = clearances(self.model, self.data, self._geoms)
        touching = self._geoms[heights < heights.min() + 0.03]
        points = self.data.geom_xpos[touching]
        return (points.min(axis=0) + points.max(axis=0)) / 2

    def step(self, action: np.ndarray, steps: int = 1) -> None:
        """Go on by environment steps (15 ms each) under the same torques, float64 ``[17]`` in [-0.4, 0.4]."""
        self.data.ctrl[:] = action
        self._mujoco.mj_step(self.model, self.data, nstep=steps * FRAME_SKIP)

    def hold(self, joints: np.ndarray, steps: int) -> None:
        """Go on by environment steps with every hinge held near an angle, float64 ``[17]``.

        It is held stiffly enough to keep a pose and to let the robot come to rest. Springs hold, not actuators: no
        policy could hold like that.
        """
        held, mujoco = self._held, self._mujoco
        held.qpos_spring[7:] = joints
        mujoco.mj_step(held, self.data, nstep=steps * FRAME_SKIP)
        mujoco.mj_forward(self.model, self.data)

    def refresh(self) -> None:
        """Bring kinematics up to the present positions: physics leaves those of the step before."""
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_comPos(self.model, self.data)

    def state(self) -> np.ndarray:
        """``qpos`` and ``qvel`` one after the other: float64 ``[47]``, a copy."""
        return np.concatenate([self.data.qpos, self.data.qvel])


@lru_cache(maxsize=1)
def shared_model() -> HumanoidModel:
    """One model for all who need it in this process, one after another."""
    return HumanoidModel()


def clearances(model: Any, data: Any, geoms: np.ndarray) -> np.ndarray:
    """Height of the lowest point of spheres and capsules (ids ``[n]``) above the floor, in m: float64 ``[n]``."""
    radius, half = model.geom_size[geoms, 0], model.geom_size[geoms, 1]
    rise = np.abs(data.geom_xmat[geoms, 8])  # how steep a capsule's axis is
    capsule = model.geom_type[geoms] == 3  # mjGEOM_CAPSULE
    return data.geom_xpos[geoms, 2] - radius - np.where(capsule, half * rise, 0.0)


def quaternion(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Unit quaternion (w, x, y, z) of a turn about x, then y, then z, each in rad and about the world's axes."""
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll / 2, pitch / 2, yaw / 2]), np.cos([roll / 2, pitch / 2, yaw / 2])
    return np.array(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ]
    )


def joint_vector(angles: Mapping[str, float]) -> np.ndarray:
    """Angles by name, in degrees, as float64 ``[17]`` in rad; those that are not named are 0.

    Names without a side stand for both: ``hip_y`` is right and left hip. The
    model's left shoulders turn the other way; the sign of a name without a side
    is that of the right one. Unknown names are refused.
    """
    values: dict[str, float] = dict.fromkeys(JOINTS, 0.0)
    for name, angle in angles.items():
        if name in values:
            values[name] = angle
            continue
        if f"right_{name}" not in values:
            raise unknown_name("hinge", name, JOINTS)
        values[f"right_{name}"] = angle
        values[f"left_{name}"] = -angle if name.startswith("shoulder") else angle
    return np.radians([values[name] for name in JOINTS])


Camera = Literal["original", "fixed"]
Observations = Literal["full", "compact"]

FIXED_VIEW = View(distance=3.5, lookat=(0.0, 0.0, 1.0), azimuth=180.0, elevation=-10.0)
"""The paper's fixed camera: before the robot, slightly above and looking down (section 4.3)."""


@dataclass(frozen=True)
class HumanoidConfig(Settings):
    """How the humanoid is drawn and what is observed of it. A docstring under each field is also its ``--help``."""

    textures: Textures = "realistic"
    """Humanoid: "realistic" (sky, tiled floor, skin of metal) or "original" (as MuJoCo's model comes)."""
    camera: Camera = "fixed"
    """Humanoid: "fixed" (before the robot, slightly above) or "original" (from its side, follows the body)."""
    observations: Observations = "full"
    """Humanoid: "full" (348 numbers, the paper's) or "compact" (45: positions and velocities of root and joints)."""
    full_drawing: bool = False
    """Humanoid: keep shadows, reflections, smoothing and all facets; many times slower."""


def build_humanoid(image_size: int, config: HumanoidConfig | None = None) -> gym.Env[Any, Any]:
    """Build a humanoid that never terminates: an end would tell the learner what the task is.

    Physics, actions (17 torques), reset and the environment's own reward are
    Gymnasium's, which adds 5 a step for a torso between 1 and 2 m, 1.25 times
    the forward velocity in m/s, and costs of control and contact.

    Args:
        image_size: Side of the frames in pixels, at least 32.
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
