import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.canvas import Sprite, View, check_size, disc, rectangle

BLACK = (0, 0, 0)


def blank(height=40, width=40):
    return np.full((height, width, 3), 255, dtype=np.uint8)


def ink(frame):
    """How much of each pixel is black, 0 to 1."""
    return 1 - frame[..., 0] / 255.0


@pytest.mark.parametrize("size", [0, 31, -96, 96.0, "96", True, None])
def test_sizes_that_are_refused(size):
    with pytest.raises(InvalidInputError, match="image size must be an int of at least 32 pixels, got"):
        check_size(size)


def test_numpy_sizes_are_ints():
    assert check_size(np.int64(96)) == 96


def test_view_puts_the_corners_where_they_belong():
    view = View(left=-1.0, bottom=-2.0, extent=4.0, size=80)
    assert view.scale == 20
    assert view.pixel(-1.0, -2.0) == (0, 80)  # y points up in the world and down in the frame
    assert view.pixel(3.0, 2.0) == (80, 0)


def test_rectangle_on_whole_pixels_is_exact():
    sprite = Sprite([rectangle(-3, -2, 3, 2, (10, 20, 30))], scale=1.0, samples=4)
    frame = blank()
    sprite.stamp(frame, 20, 10)
    inside = np.zeros((40, 40), dtype=bool)
    inside[9:11, 18:22] = True  # without the border, which is mixed with white by less than a fifth of a pixel
    assert (frame[inside] == (10, 20, 30)).all()
    assert (frame[:7] == 255).all()
    assert (frame[13:] == 255).all()


@settings(max_examples=60, deadline=None)
@given(x=st.floats(15, 25), y=st.floats(15, 25), angle=st.floats(-7, 7))
def test_area_and_centre_do_not_depend_on_place_and_angle(x, y, angle):
    frame = blank()
    Sprite([rectangle(-6, -1.5, 6, 1.5, BLACK)], scale=1.0, samples=4).stamp(frame, x, y, angle)
    weights = ink(frame)
    rows, columns = np.mgrid[:40, :40] + 0.5
    assert weights.sum() == pytest.approx(12 * 3, rel=0.12)  # Pillow's polygons include their outline
    assert (weights * columns).sum() / weights.sum() == pytest.approx(x, abs=0.08)
    assert (weights * rows).sum() / weights.sum() == pytest.approx(y, abs=0.08)


def test_angles_are_counter_clockwise():
    frame = blank()
    Sprite([rectangle(0, -1, 12, 1, BLACK)], scale=1.0, samples=4).stamp(frame, 20, 20, math.pi / 2)
    rows = np.nonzero(ink(frame).sum(axis=1) > 1)[0]
    assert rows.max() < 21
    assert rows.min() == 8


@pytest.mark.parametrize("place", [(-30, 20), (20, 90), (1000, -1000)])
def test_outside_of_the_picture_nothing_happens(place):
    frame = blank()
    Sprite([disc((0, 0), 5, BLACK)], scale=1.0, samples=4).stamp(frame, *place)
    assert (frame == 255).all()


def test_what_sticks_out_is_cut_off_at_every_border():
    sprite = Sprite([disc((0, 0), 5, BLACK)], scale=1.0, samples=4)
    large = blank(60, 60)
    sprite.stamp(large, 20, 41)
    small = blank(31, 25)
    sprite.stamp(small, 10, 31)
    assert (small == large[10:41, 10:35]).all()


def test_later_shapes_cover_earlier_ones():
    frame = blank()
    Sprite([disc((0, 0), 8, (255, 0, 0)), disc((0, 0), 4, (0, 0, 255))], scale=1.0, samples=4).stamp(frame, 20, 20)
    assert tuple(frame[20, 20]) == (0, 0, 255)
    assert tuple(frame[20, 26]) == (255, 0, 0)
