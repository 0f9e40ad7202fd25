import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.rendering import BAR_COLOUR, FrameRenderer, letterbox


class Renders(gym.Env):
    """Renders what it was given."""

    def __init__(self, image, render_mode="rgb_array"):
        self.image = image
        self.render_mode = render_mode

    def render(self):
        return self.image


def test_a_image_of_the_right_size_is_passed_through(rng):
    image = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    assert FrameRenderer(Renders(image), 48).render() is image


def test_wide_images_get_bars_above_and_below():
    frame = FrameRenderer(Renders(np.full((400, 600, 3), 255, dtype=np.uint8)), 96).render()
    assert frame.shape == (96, 96, 3)
    assert (frame[:16] == BAR_COLOUR).all()  # 96 * 400 / 600 = 64 rows of frame, 16 of bar on either side
    assert (frame[16:80] == 255).all()
    assert (frame[80:] == BAR_COLOUR).all()


def test_tall_images_get_bars_beside_them_and_small_ones_grow():
    frame = letterbox(np.zeros((20, 10, 3), dtype=np.uint8), 41)
    columns = np.nonzero((frame == 0).all(axis=(0, 2)))[0]
    assert frame.shape == (41, 41, 3)
    assert len(columns) == round(10 * 41 / 20)
    assert (frame[:, 0] == BAR_COLOUR).all()
    assert (frame[:, -1] == BAR_COLOUR).all()


def test_nothing_is_squashed():
    image = np.zeros((200, 400, 3), dtype=np.uint8)
    image[60:140, 160:240] = 255  # a square
    rows, columns = np.nonzero(letterbox(image, 100)[..., 0] > 191)
    assert np.ptp(rows) == np.ptp(columns)


def test_nothing_is_cropped():
    image = np.zeros((90, 300, 3), dtype=np.uint8)
    image[:30, :30] = (255, 0, 0)
    image[-30:, -30:] = (0, 255, 0)
    frame = letterbox(image, 100)
    assert tuple(frame[40, 4]) == (255, 0, 0)
    assert tuple(frame[60, 95]) == (0, 255, 0)


def test_shrinking_is_antialiased():
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    frame = letterbox(stripes, 64)
    assert np.abs(frame[:, 4:-4].astype(int) - 127).max() < 6


def test_images_that_are_views_are_accepted(rng):
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    assert (letterbox(image[::-1], 64) == letterbox(image[::-1].copy(), 64)).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, r"got None \(has it been reset"),
        ([np.zeros((8, 8, 3), dtype=np.uint8)], "got a list"),
        (np.zeros((8, 8, 3)), r"got an array of float64 \[8, 8, 3\] \(scale it"),
        (np.zeros((8, 8, 4), dtype=np.uint8), r"got an array of uint8 \[8, 8, 4\] \(drop the alpha channel\)"),
        (np.zeros((8, 8), dtype=np.uint8), r"got an array of uint8 \[8, 8\]"),
        (np.zeros((1, 8, 8, 3), dtype=np.uint8), r"got an array of uint8 \[1, 8, 8, 3\]"),
        (np.zeros((0, 8, 3), dtype=np.uint8), r"got an array of uint8 \[0, 8, 3\]"),
    ],
)
def test_what_is_not_a_image_is_named(image, message):
    renderer = FrameRenderer(Renders(image), 64)
    with pytest.raises(InvalidInputError, match=r"render\(\) of Renders must return a uint8 array.*" + message):
        renderer.render()


@pytest.mark.parametrize("mode", [None, "human", "rgb_array_list"])
def test_other_render_modes_are_refused_with_the_remedy(mode):
    with pytest.raises(InvalidInputError, match=f'must be "rgb_array", got {mode!r}.*render_mode="rgb_array"'):
        FrameRenderer(Renders(None, render_mode=mode), 64)


def test_the_remedy_names_the_environment():
    env = gym.make("CartPole-v1")
    with pytest.raises(InvalidInputError, match=r"gymnasium\.make\('CartPole-v1', render_mode"):
        FrameRenderer(env, 64)


HUMANOID = "from vlm_rewards.tasks.humanoid.model import build_humanoid as build; build(96)"
STATES = "from vlm_rewards.tasks.humanoid.model import HumanoidModel as Build; Build()"
HOPPER = (
    "from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task as build; "
    "build(EnvironmentConfig('Hopper-v5'), goal='a robot hopping', baseline='a robot')"
)


@pytest.mark.parametrize("code", [HUMANOID, STATES, HOPPER])
def test_without_opengl_the_packages_to_install_are_named(code: str) -> None:
    lacking = {**os.environ, "MUJOCO_GL": "nothing"}
    done = subprocess.run([sys.executable, "-c", code], env=lacking, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("vlm_rewards.errors.InvalidInputError: MuJoCo cannot be imported, with MUJOCO_GL='nothing'")
    assert last.endswith("apt-get install libegl1 libgl1-mesa-dri.")
