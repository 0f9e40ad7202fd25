"""Gymnasium's MuJoCo environments with an edited model: through MjSpec, so that no XML is copied."""

# pyright: reportAttributeAccessIssue=false
# mujoco's names come from a compiled module.
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np

from vlm_rewards.envs.mujoco_textures import paint
from vlm_rewards.errors import InvalidInputError

Textures = Literal["original", "realistic"]


@dataclass(frozen=True)
class View:
    """Where a free camera stands and looks to; it does not follow anybody."""

    distance: float
    """Metres from the point that it looks at."""
    lookat: tuple[float, float, float]
    """The point, in metres."""
    azimuth: float
    """Degrees; 0 looks along +x, 90 along +y, 180 along -x."""
    elevation: float
    """Degrees; negative looks down."""

    def __post_init__(self) -> None:
        numbers = (self.distance, *self.lookat, self.azimuth, self.elevation)
        if len(self.lookat) != 3 or not np.isfinite(numbers).all() or self.distance <= 0:
            raise InvalidInputError(
                f"view must be finite numbers, the distance above 0 and lookat three of them, got {asdict(self)}."
            )

    def __str__(self) -> str:
        point = ", ".join(f"{one:g}" for one in self.lookat)
        return f"free, {self.distance:g} m from ({point}), azimuth {self.azimuth:g}, elevation {self.elevation:g}"

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> View:
        """Make a view of six numbers: distance, lookat x y z, azimuth, elevation.

        Raises:
            InvalidInputError: They are not six, or break a rule.
        """
        given: list[object] = list(numbers) if isinstance(numbers, (tuple, list)) else []
        plain = [float(one) for one in given if isinstance(one, (int, float)) and not isinstance(one, bool)]
        if not len(given) == len(plain) == 6:
            raise InvalidInputError(
                f"view must be six numbers (distance, lookat x y z, azimuth, elevation), got {numbers!r}."
            )
        distance, x, y, z, azimuth, elevation = plain
        return cls(distance, (x, y, z), azimuth, elevation)

    def camera_config(self) -> dict[str, Any]:
        """As Gymnasium's ``default_camera_config``."""
        return {
            "type": 0,  # mjCAMERA_FREE
            "trackbodyid": -1,
            "distance": self.distance,
            "lookat": np.array(self.lookat, dtype=np.float64),
            "azimuth": self.azimuth,
            "elevation": self.elevation,
        }


def look_from(env: gym.Env[Any, Any], view: View) -> None:
    """Draw from a free camera; before the first picture.

    Args:
        env: A MuJoCo environment of Gymnasium.
        view: Where the camera stands.
    """
    renderer = env.unwrapped.mujoco_renderer
    renderer.default_cam_config = view.camera_config()
    renderer.camera_id = -1


def check_textures(textures: object) -> None:
    """Refuse what are no textures.

    Raises:
        InvalidInputError: Neither ``"original"`` nor ``"realistic"``.
    """
    if textures not in get_args(Textures):
        raise InvalidInputError(f"textures must be one of {', '.join(get_args(Textures))}, got {textures!r}.")


def with_textures(kind: type[Any], textures: Textures) -> type[Any]:
    """An environment class whose models are drawn in other textures.

    Args:
        kind: A class of Gymnasium that derives from ``MujocoEnv``.
        textures: ``"original"`` as they come, ``"realistic"`` as `vlm_rewards.envs.mujoco_textures.paint` does.

    Returns:
        The class itself, or one derived from it with the same arguments and the same physics.

    Raises:
        InvalidInputError: ``textures`` is neither, or the class builds its model in a way of its own.
    """
    check_textures(textures)
    if textures == "original":
        return kind
    from gymnasium.envs.mujoco import MujocoEnv

    if kind._initialize_simulation is not MujocoEnv._initialize_simulation:
        raise InvalidInputError(f"textures must be 'original': {kind.__name__} builds its model in a way of its own.")
    return _edited(kind, paint)


def _edited(kind: type[Any], edit: Callable[[Any], None]) -> type[Any]:
    class Edited(kind):
        # Gymnasium's own place to build the model in; it reads XML files and knows no MjSpec.
        def _initialize_simulation(self) -> tuple[Any, Any]:
            import mujoco

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what the model's own XML holds
                spec = mujoco.MjSpec.from_file(self.fullpath)
                try:
                    edit(spec)
                    model = spec.compile()
                except (ValueError, mujoco.FatalError) as error:
                    super()._initialize_simulation()  # raises where the fault is the model's own
                    raise InvalidInputError(
                        f"textures must be 'original': the model of {kind.__name__} cannot be drawn in others: {error}"
                    ) from error
            buffer = model.vis.global_
            buffer.offwidth, buffer.offheight = max(buffer.offwidth, self.width), max(buffer.offheight, self.height)
            return model, mujoco.MjData(model)

    Edited.__name__ = Edited.__qualname__ = kind.__name__
    return Edited
