"""Cameras of Gymnasium's MuJoCo environments, and drawing that a small frame does not miss.

Shadows are drawn at 4096 x 4096 for a frame of 96 x 96, reflections draw the
scene twice, and round bodies have more facets than pixels. None of it is seen.

Gymnasium's MuJoCo environments with an edited model: through MjSpec, so that no XML is copied. A sky, a tiled floor
and a robot's skin for MuJoCo models, painted from noise with a fixed seed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator

from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.tasks.canvas import flat, mix, smoothstep, to_picture
from vlm_rewards.tasks.rendering import import_mujoco

# pyright: reportAttributeAccessIssue=false
# mujoco's names come from a compiled module.


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
        if not np.isfinite((self.distance, *self.lookat, self.azimuth, self.elevation)).all() or self.distance <= 0:
            raise InvalidInputError(f"view must be finite numbers, the distance above 0, got {asdict(self)}.")

    def __str__(self) -> str:
        point = ", ".join(f"{one:g}" for one in self.lookat)
        return f"free, {self.distance:g} m from ({point}), azimuth {self.azimuth:g}, elevation {self.elevation:g}"

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> View:
        """Make a view of six numbers: distance, lookat x y z, azimuth, elevation; anything else is refused."""
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
    """Draw a MuJoCo environment of Gymnasium from a free camera; before the first frame."""
    renderer = env.unwrapped.mujoco_renderer
    renderer.default_cam_config = view.camera_config()
    renderer.camera_id = -1


def with_textures(kind: type[Any], textures: Textures) -> type[Any]:
    """An environment class whose models are drawn as they come, or as `paint` does; arguments and physics are the same.

    Args:
        kind: A class of Gymnasium that derives from ``MujocoEnv``.
        textures: ``"original"`` gives the class itself, ``"realistic"`` one derived from it.

    Raises:
        InvalidInputError: The class builds its model in a way of its own.
    """
    if textures == "original":
        return kind
    from gymnasium.envs.mujoco import MujocoEnv

    if kind._initialize_simulation is not MujocoEnv._initialize_simulation:
        raise InvalidInputError(f"textures must be 'original': {kind.__name__} builds its model in a way of its own.")

    class Painted(kind):
        # Gymnasium's own place to build the model in; it reads XML files and knows no MjSpec.
        def _initialize_simulation(self) -> tuple[Any, Any]:
            import mujoco

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what the model's own XML holds
                spec = mujoco.MjSpec.from_file(self.fullpath)
                try:
                    paint(spec)
                    model = spec.compile()
                except (ValueError, mujoco.FatalError) as error:
                    super()._initialize_simulation()  # raises where the fault is the model's own
                    raise InvalidInputError(
                        f"textures must be 'original': the model of {kind.__name__} cannot be drawn in others: {error}"
                    ) from error
            buffer = model.vis.global_
            buffer.offwidth, buffer.offheight = max(buffer.offwidth, self.width), max(buffer.offheight, self.height)
            return model, mujoco.MjData(model)

    Painted.__name__ = Painted.__qualname__ = kind.__name__
    return Painted


_SEED = 3
_SKY_SIZE, _FLOOR_SIZE, _SKIN_SIZE = 128, 256, 64
_ZENITH, _HORIZON, _GROUND, _CLOUD = (58, 122, 200), (206, 226, 242), (150, 158, 160), (250, 251, 253)
_TILE, _GROUT = (142, 134, 122), (92, 86, 80)
_TILE_METRES, _TILES_ACROSS = 0.5, 16
_GREY = [0.5, 0.5, 0.5, 1.0]
_SUN = [0.2, 0.3, -1.0]
_METAL, _SEAM = (214, 218, 224), (126, 132, 142)
_DARK = (0.36, 0.38, 0.44, 1.0)
_ORANGE = (0.93, 0.42, 0.08, 1.0)


def paint(spec: Any) -> None:
    """Give a model a sky with clouds, a tiled floor and a skin of light metal.

    Planes are floor, everything else is body. Bodies at the end of a limb are
    dark, so that an arm is seen before a chest, and round ends are orange. A
    model whose bodies differ in colour keeps its colours: they tell left from
    right, or a target from an arm. Shapes and masses stay as they are. The
    model is a ``mujoco.MjSpec`` that is not compiled yet.
    """
    import mujoco

    kinds, kinds_of_geom = mujoco.mjtTexture, mujoco.mjtGeom
    for texture in list(spec.textures):
        if texture.type == kinds.mjTEXTURE_SKYBOX:
            spec.delete(texture)
    frames = {"sky": (kinds.mjTEXTURE_SKYBOX, sky()), "floor": (kinds.mjTEXTURE_2D, floor())}
    for name, (kind, frame) in {**frames, "skin": (kinds.mjTEXTURE_CUBE, skin())}.items():
        height, width = frame.shape[:2]
        texture = spec.add_texture(name=f"vlm_{name}", type=kind, width=width, height=height, nchannel=3)
        texture.data = frame.tobytes()
    repeats = 1 / (2 * _tile_metres(spec))  # the texture shows two tiles by two
    _add_material(spec, "vlm_floor", texture="vlm_floor", texrepeat=[repeats, repeats], texuniform=True)
    _add_material(spec, "vlm_skin", texture="vlm_skin", specular=0.4, shininess=0.4)
    _add_material(spec, "vlm_dark_skin", texture="vlm_skin", specular=0.4, shininess=0.4, rgba=list(_DARK))
    _add_material(spec, "vlm_ends", specular=0.3, shininess=0.3, rgba=list(_ORANGE))
    bodies = [geom for geom in spec.geoms if geom.type != kinds_of_geom.mjGEOM_PLANE]
    coloured = len({_colour(spec, geom) for geom in bodies}) > 1
    for geom in spec.geoms:
        # A geom's own colour replaces the material's where it is not this grey, MuJoCo's default.
        colour = list(_colour(spec, geom)) if coloured else _GREY
        if geom.type == kinds_of_geom.mjGEOM_PLANE:
            geom.material, colour = "vlm_floor", _GREY
        elif geom.type == kinds_of_geom.mjGEOM_SPHERE and not coloured:
            geom.material = "vlm_ends"
        else:
            geom.material = "vlm_skin" if geom.parent.bodies or coloured else "vlm_dark_skin"
        geom.rgba = colour
    if not spec.lights:
        spec.worldbody.add_light(
            name="vlm_sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, 0, 3], dir=_SUN, diffuse=[0.9] * 3
        )
    for light in spec.lights:
        light.specular = [0.2, 0.2, 0.2]
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]


def _tile_metres(spec: Any) -> float:
    """Side of a tile, in m: half a metre, and less where the whole floor is small."""
    import mujoco

    halves = [side for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE for side in geom.size[:2]]
    return min([_TILE_METRES, *(half * 2 / _TILES_ACROSS for half in halves if half > 0)])  # 0 has no end


def _colour(spec: Any, geom: Any) -> tuple[float, ...]:
    """What a geom is drawn in: red, green, blue, alpha."""
    own = geom.rgba.tolist()
    material = spec.material(geom.material) if geom.material and own == _GREY else None
    return tuple(own if material is None else material.rgba.tolist())


def _add_material(spec: Any, name: str, texture: str = "", **settings: Any) -> None:
    import mujoco

    material = spec.add_material(name=name, reflectance=0.0, **settings)
    if texture:
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture


@lru_cache(maxsize=1)
def sky() -> np.ndarray:
    """Six faces of a cube below one another, uint8 ``[6*128 128 3]``: blue above, hazy at the horizon, with clouds."""
    side = (np.arange(_SKY_SIZE) + 0.5) / _SKY_SIZE * 2 - 1
    across, down = np.meshgrid(side, side)
    one = np.ones_like(across)
    # OpenGL's order and orientation of a cube's faces: +x, -x, +y (up), -y, +z, -z.
    faces = (
        (one, -down, -across),
        (-one, -down, across),
        (across, one, down),
        (across, -one, -down),
        (across, -down, one),
        (-across, -down, -one),
    )
    directions = np.concatenate([np.stack(face, axis=-1) for face in faces])
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    height = directions[..., 1]
    frame = mix(flat(_HORIZON), flat(_ZENITH), smoothstep(0.0, 0.7, height))
    # Clouds lie in a layer: seen flatter and denser towards the horizon.
    layer = directions[..., [0, 2]] / (np.maximum(height, 0.0)[..., None] + 0.25)
    noise = _cloud_noise(layer)
    cover = smoothstep(0.5, 0.72, noise) * smoothstep(0.02, 0.2, height)
    frame = mix(frame, flat(_CLOUD), 0.85 * cover)
    frame = mix(frame, flat(_GROUND), smoothstep(0.0, 0.06, -height))
    return to_picture(frame)


@lru_cache(maxsize=1)
def floor() -> np.ndarray:
    """Two tiles by two with their joints, uint8 ``[256 256 3]``; repeats without a seam."""
    rng = np.random.default_rng(_SEED)
    half = _FLOOR_SIZE // 2
    shades = np.array([[1.04, 0.95], [0.93, 1.02]]) + rng.uniform(-0.01, 0.01, (2, 2))
    shade = np.kron(shades, np.ones((half, half)))
    grain = 1 + 0.05 * (_repeating_noise(rng, _FLOOR_SIZE, 8, 4) - 0.5)
    frame = flat(_TILE) * (shade * grain)[..., None]
    place = (np.arange(_FLOOR_SIZE) + 0.5) % half
    edge = np.minimum(place, half - place)
    joint = 1 - smoothstep(1.0, 3.0, np.minimum(edge[:, None], edge[None, :]))
    return to_picture(mix(frame, flat(_GROUT), joint))


@lru_cache(maxsize=1)
def skin() -> np.ndarray:
    """Brushed metal with a seam along each edge, six faces below one another: uint8 ``[6*64 64 3]``."""
    rng = np.random.default_rng(_SEED + 1)
    place = np.arange(_SKIN_SIZE) + 0.5
    edge = np.minimum(place, _SKIN_SIZE - place)
    seam = 1 - smoothstep(0.5, 2.0, np.minimum(edge[:, None], edge[None, :]))
    faces = []
    for _ in range(6):
        strokes = np.repeat(_repeating_noise(rng, _SKIN_SIZE, 16, 2)[:, :1], _SKIN_SIZE, axis=1)
        shade = 1 + 0.06 * (strokes - 0.5) + 0.03 * (_repeating_noise(rng, _SKIN_SIZE, 4, 3) - 0.5)
        faces.append(mix(flat(_METAL) * shade[..., None], flat(_SEAM), 0.8 * seam))
    return to_picture(np.concatenate(faces))


def _cloud_noise(points: np.ndarray) -> np.ndarray:
    """Value noise in [0, 1] at points of a plane, ``[... 2]``; the same point has the same value on every face."""
    grid = np.random.default_rng(_SEED + 2).random((64, 64))
    total = np.zeros(points.shape[:-1])
    for octave in range(4):
        place = points * 1.7 * 2**octave + 17 * octave
        low = np.floor(place).astype(np.int64)
        part = place - low
        part = part * part * (3 - 2 * part)
        x, y = part[..., 0], part[..., 1]
        corner = [[grid[(low[..., 0] + i) % 64, (low[..., 1] + j) % 64] for j in (0, 1)] for i in (0, 1)]
        value = (corner[0][0] * (1 - y) + corner[0][1] * y) * (1 - x) + (corner[1][0] * (1 - y) + corner[1][1] * y) * x
        total += value * 0.5**octave
    return total / (2 - 0.5**3)


def _repeating_noise(rng: np.random.Generator, size: int, cells: int, octaves: int) -> np.ndarray:
    """Value noise in [0, 1] that repeats at its edges: float64 ``[size size]``."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        count = cells * 2**octave
        grid = rng.random((count, count))
        place = (np.arange(size) + 0.5) / size * count
        low = np.floor(place).astype(np.int64) % count
        high, part = (low + 1) % count, place - np.floor(place)
        rows = grid[low] * (1 - part)[:, None] + grid[high] * part[:, None]
        total += (rows[:, low] * (1 - part) + rows[:, high] * part) * 0.5**octave
    return total / (2 - 0.5 ** (octaves - 1))


Luxury = Literal["shadows", "reflections", "multisampling", "facets"]
"""What a small frame does without."""

_SLICES, _STACKS = 12, 8
"""Facets around and along round bodies; MuJoCo's own are 28 and 16."""


def mujoco_class(spec: EnvSpec) -> type[Any] | None:
    """The class of an environment of Gymnasium's MuJoCo kind, which takes ``width``, ``height`` and cameras, or None.

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
    """Turn off shadows, reflections and multisampling, and take coarser round bodies; before the first frame."""
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
    """Find a camera of the model by name or number; -1 is the free camera. Others are refused, with the choices."""
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
    """Draws every state of a MuJoCo environment of Gymnasium from several of its cameras, by name or number."""

    def __init__(self, env: gym.Env[Any, Any], cameras: Sequence[str]) -> None:
        super().__init__(env)
        self._cameras = [camera_id(env, camera) for camera in cameras]

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The state from each camera: uint8 ``[cameras h w 3]``."""
        renderer = self.env.unwrapped.mujoco_renderer  # pyright: ignore[reportAttributeAccessIssue]
        frames = []
        for camera in self._cameras:
            renderer.camera_id = camera
            frames.append(np.array(self.env.render()))
        return np.stack(frames)
