"""Free cameras and painted models: checked before use, and no different to physics, shapes and masses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch._dynamo  # noqa: F401 - before anything is drawn in this process
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.registration import load_env_creator

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.mujoco import View, floor, paint, skin, sky, with_textures
from vlm_rewards.tasks.rendering import configure_headless

IDS = [
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v4",
    "Hopper-v5",
    "HumanoidStandup-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
]


def course(env: gym.Env[Any, Any], steps: int = 100) -> list[Any]:
    """All that a learner gets."""
    found = [env.reset(seed=3)[0]]
    env.action_space.seed(3)
    for _ in range(steps):
        observation, reward, terminated, _, _ = env.step(env.action_space.sample())
        found += [observation, reward, terminated]
        if terminated:
            found.append(env.reset()[0])
    env.close()
    return found


def kind_of(env_id: str) -> Any:
    return load_env_creator(str(gym.spec(env_id).entry_point))


def realistic(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    return with_textures(kind_of(env_id), "realistic")(**options)


@pytest.mark.parametrize("env_id", IDS)
def test_textures_change_nothing_but_the_picture(env_id: str) -> None:
    pairs = zip(course(realistic(env_id)), course(kind_of(env_id)()), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_original_textures_are_the_class_itself() -> None:
    assert with_textures(HopperEnv, "original") is HopperEnv
    edited = with_textures(HopperEnv, "realistic")
    assert issubclass(edited, HopperEnv)
    assert edited.__name__ == "HopperEnv"
    assert edited.metadata == HopperEnv.metadata


def test_a_class_with_a_model_of_its_own_is_refused() -> None:
    class Own(HopperEnv):
        def _initialize_simulation(self) -> Any:
            return super()._initialize_simulation()

    with pytest.raises(InvalidInputError, match="textures must be 'original': Own builds its model in a way of its"):
        with_textures(Own, "realistic")


def in_hoppers_file(folder: Path, edit: Callable[[str], str]) -> Path:
    path = folder / "hopper.xml"
    path.write_text(edit((Path(gym.__file__).parent / "envs/mujoco/assets/hopper.xml").read_text()))
    return path


def test_a_model_that_cannot_be_painted_says_so(tmp_path: Path) -> None:
    path = in_hoppers_file(
        tmp_path, lambda text: text.replace('name="geom"', 'name="vlm_skin"').replace('material="geom"', "")
    )
    with pytest.raises(
        InvalidInputError, match=r"textures must be 'original': the model of HopperEnv cannot .*vlm_skin"
    ):
        realistic("Hopper-v5", xml_file=str(path))


def test_a_model_that_is_broken_itself_is_not_blamed_on_textures(tmp_path: Path) -> None:
    path = in_hoppers_file(tmp_path, lambda text: text.replace('joint="thigh_joint"', 'joint="nobody"'))
    with pytest.raises(ValueError, match="nobody") as raised:
        realistic("Hopper-v5", xml_file=str(path))
    assert not isinstance(raised.value, InvalidInputError)


def test_pictures_may_be_larger_than_the_models_own() -> None:
    configure_headless()
    env = realistic("Hopper-v5", render_mode="rgb_array", width=700, height=500)
    assert isinstance(env, MujocoEnv)
    env.reset(seed=0)
    assert np.asarray(env.render()).shape == (500, 700, 3)
    env.close()


class TestView:
    def test_is_six_numbers(self) -> None:
        view = View.from_numbers((3.5, 0, 0, 1, 180, -10))
        assert view == View(3.5, (0.0, 0.0, 1.0), 180.0, -10.0)
        assert str(view) == "free, 3.5 m from (0, 0, 1), azimuth 180, elevation -10"
        config = view.camera_config()
        assert config["lookat"].tolist() == [0, 0, 1]
        assert (config["type"], config["trackbodyid"], config["distance"]) == (0, -1, 3.5)

    @pytest.mark.parametrize("numbers", [(), (1.0,) * 5, (1.0,) * 7, (1, 0, 0, 1, 180, "-10"), (True, 0, 0, 1, 180, 0)])
    def test_or_is_refused(self, numbers: Any) -> None:
        with pytest.raises(Exception, match=r"view must be six numbers|violates type hint"):
            View.from_numbers(numbers)

    @pytest.mark.parametrize("change", [{0: 0.0}, {0: -1.0}, {3: float("nan")}, {5: float("inf")}])
    def test_with_numbers_that_make_sense(self, change: dict[int, float]) -> None:
        numbers = [change.get(place, 1.0) for place in range(6)]
        with pytest.raises(InvalidInputError, match="view must be finite numbers, the distance above 0, got"):
            View.from_numbers(numbers)


MODEL = """
<mujoco>
  <asset><material name="red" rgba="1 0 0 1"/></asset>
  <worldbody>{light}
    <geom name="ground" type="plane" size="{size} {size} 1" rgba="0 1 0 1"/>
    <body name="torso" pos="0 0 1">
      <freejoint/>
      <geom name="chest" type="capsule" size="0.1 0.3" {chest}/>
      <body name="arm" pos="0 0 0.5"><joint/><geom name="hand" type="sphere" size="0.1" {hand}/></body>
      <body name="leg" pos="0 0 -0.5"><joint/><geom name="shin" type="capsule" size="0.1 0.2" {shin}/></body>
    </body>
  </worldbody>
</mujoco>
"""
GREY = [0.5, 0.5, 0.5, 1.0]


def painted(light: str = "<light/>", size: float = 20, chest: str = "", hand: str = "", shin: str = "") -> Any:
    spec = mujoco.MjSpec.from_string(MODEL.format(light=light, size=size, chest=chest, hand=hand, shin=shin))
    paint(spec)
    spec.compile()
    return spec


def looks(spec: Any) -> dict[str, tuple[str, list[float]]]:
    return {geom.name: (geom.material, geom.rgba.round(3).tolist()) for geom in spec.geoms}


def test_the_sky_is_blue_above_grey_below_and_has_no_seams() -> None:
    faces = sky().reshape(6, 128, 128, 3).astype(int)
    right, left, up, down, front, back = faces
    red, _, blue = up.reshape(-1, 3).mean(axis=0)
    assert blue > red + 40
    assert (down == (150, 158, 160)).all()
    for one, other in ((right, back), (back, left), (left, front), (front, right)):
        assert np.abs(one[:, -1] - other[:, 0]).max() <= 12


def test_the_floor_has_four_tiles_and_repeats() -> None:
    picture = floor().astype(int)
    assert picture.shape == (256, 256, 3)
    assert np.abs(picture[0] - picture[-1]).max() <= 12
    assert np.abs(picture[:, 0] - picture[:, -1]).max() <= 12
    tiles = [picture[y : y + 64, x : x + 64].mean() for y in (32, 160) for x in (32, 160)]
    assert np.diff(sorted(tiles)).min() > 0.5  # no two alike
    assert picture[0].mean() < min(tiles) - 30  # the joints


def test_the_skin_is_light_and_has_six_faces() -> None:
    assert skin().shape == (6 * 64, 64, 3)
    assert skin()[20:44, 20:44].mean() > 190


def test_planes_are_floor_limbs_end_dark_and_spheres_are_orange() -> None:
    assert looks(painted()) == {
        "ground": ("vlm_floor", GREY),
        "chest": ("vlm_skin", GREY),
        "hand": ("vlm_ends", GREY),
        "shin": ("vlm_dark_skin", GREY),
    }


def test_bodies_that_differ_in_colour_keep_their_colours() -> None:
    told = looks(painted(chest='material="red"', hand='rgba="0 0 1 1"', shin='rgba="0 0 0 0"'))
    assert told == {
        "ground": ("vlm_floor", GREY),
        "chest": ("vlm_skin", [1, 0, 0, 1]),
        "hand": ("vlm_skin", [0, 0, 1, 1]),
        "shin": ("vlm_skin", [0, 0, 0, 0]),  # what cannot be seen stays so
    }


@pytest.mark.parametrize(("size", "repeats"), [(20, 1.0), (4, 1.0), (1, 4.0), (0, 1.0)])
def test_tiles_are_smaller_on_a_small_floor(size: float, repeats: float) -> None:
    """Two tiles a repeat and sixteen across: 2 m make tiles of 0.125 m, four repeats a metre."""
    assert painted(size=size).material("vlm_floor").texrepeat.tolist() == [repeats, repeats]


def test_the_sun_shines_where_there_is_no_light() -> None:
    assert [light.name for light in painted(light="").lights] == ["vlm_sun"]
    assert len(painted().lights) == 1


def test_shapes_and_masses_stay() -> None:
    spec = mujoco.MjSpec.from_string(MODEL.format(light="", size=20, chest="", hand="", shin=""))
    before = spec.compile()
    after = painted(light="").compile()
    for name in ("body_mass", "body_inertia", "geom_size", "geom_pos", "geom_friction", "dof_damping", "qpos0"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
