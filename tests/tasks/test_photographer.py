import gymnasium as gym
import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.rendering import BAR_COLOUR, FrameRenderer, letterbox


class Renders(gym.Env):
    """Renders what it was given."""

    def __init__(self, picture, render_mode="rgb_array"):
        self.picture = picture
        self.render_mode = render_mode

    def render(self):
        return self.picture


def test_a_picture_of_the_right_size_is_passed_through(rng):
    picture = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    assert FrameRenderer(Renders(picture), 48).render() is picture


def test_wide_pictures_get_bars_above_and_below():
    frame = FrameRenderer(Renders(np.full((400, 600, 3), 255, dtype=np.uint8)), 96).render()
    assert frame.shape == (96, 96, 3)
    assert (frame[:16] == BAR_COLOUR).all()  # 96 * 400 / 600 = 64 rows of frame, 16 of bar on either side
    assert (frame[16:80] == 255).all()
    assert (frame[80:] == BAR_COLOUR).all()


def test_tall_pictures_get_bars_beside_them_and_small_ones_grow():
    frame = letterbox(np.zeros((20, 10, 3), dtype=np.uint8), 41)
    columns = np.nonzero((frame == 0).all(axis=(0, 2)))[0]
    assert frame.shape == (41, 41, 3)
    assert len(columns) == round(10 * 41 / 20)
    assert (frame[:, 0] == BAR_COLOUR).all()
    assert (frame[:, -1] == BAR_COLOUR).all()


def test_nothing_is_squashed():
    picture = np.zeros((200, 400, 3), dtype=np.uint8)
    picture[60:140, 160:240] = 255  # a square
    rows, columns = np.nonzero(letterbox(picture, 100)[..., 0] > 191)
    assert np.ptp(rows) == np.ptp(columns)


def test_nothing_is_cropped():
    picture = np.zeros((90, 300, 3), dtype=np.uint8)
    picture[:30, :30] = (255, 0, 0)
    picture[-30:, -30:] = (0, 255, 0)
    frame = letterbox(picture, 100)
    assert tuple(frame[40, 4]) == (255, 0, 0)
    assert tuple(frame[60, 95]) == (0, 255, 0)


def test_shrinking_is_antialiased():
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    frame = letterbox(stripes, 64)
    assert np.abs(frame[:, 4:-4].astype(int) - 127).max() < 6


def test_pictures_that_are_views_are_accepted(rng):
    picture = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    assert (letterbox(picture[::-1], 64) == letterbox(picture[::-1].copy(), 64)).all()


@pytest.mark.parametrize(
    ("picture", "message"),
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
def test_what_is_not_a_picture_is_named(picture, message):
    renderer = FrameRenderer(Renders(picture), 64)
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


def test_gymnasiums_own_pictures_are_letterboxed():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    frame = FrameRenderer(env, 96).render()
    env.close()
    assert (frame[:16] == BAR_COLOUR).all()
    assert (frame[17] == 255).all()


def test_sizes_that_are_refused():
    with pytest.raises(InvalidInputError, match="at least 32 pixels, got 8"):
        FrameRenderer(Renders(None), 8)
