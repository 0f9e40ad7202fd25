"""The painted sky, floor and skin, and what they leave of a model as it was."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from vlm_rewards.tasks.mujoco import floor, paint, skin, sky

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
