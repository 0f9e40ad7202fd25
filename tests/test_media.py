"""Reading images and videos as people see them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import expand_paths, quietly, read_frames
from vlm_rewards.reporting.videos import write_video

RED, WHITE = (255, 0, 0), (255, 255, 255)


def read_picture(path: Path) -> np.ndarray:
    (frame,) = read_frames(path)
    assert (frame.index, frame.time_s) == (None, None)
    assert frame.pixels.dtype == np.uint8
    return frame.pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".ppm"])
def test_pictures_come_back_as_they_were(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}"), pixels)


def test_a_wrong_suffix_does_not_matter_for_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), RED).save(tmp_path / "a.dat", format="PNG")
    assert read_picture(tmp_path / "a.dat").shape == (2, 3, 3)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").tolist() == [[list(RED), list(WHITE)]]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 0, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_picture(tmp_path / "p.png").tolist() == [[list(WHITE)]]


def test_sixteen_bit_grey_keeps_its_tones(tmp_path: Path) -> None:
    # 65535 is white and 257 is the first of the 255 steps: 0x0101 to 0x01.
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_grey_and_cmyk_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 77).save(tmp_path / "l.png")
    assert read_picture(tmp_path / "l.png").tolist() == [[[77] * 3]]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    assert read_picture(tmp_path / "c.jpg")[4, 4] == pytest.approx(RED, abs=8)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), WHITE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png").tolist() == [[list(RED)], [list(WHITE)]]


def test_video_frames_come_with_their_times(tmp_path: Path) -> None:
    levels = range(0, 250, 10)
    path = write_video((np.full((16, 24, 3), level, np.uint8) for level in levels), tmp_path / "v.mp4", fps=12.5)
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 12.5 for i in range(25)])
    assert [frame.pixels.mean() for frame in frames] == pytest.approx(list(levels), abs=3)
    assert frames[0].pixels.shape == (16, 24, 3)


def test_animations_come_with_their_own_times(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (4, 4), (v, v, v)) for v in (0, 100, 200)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[50, 200, 50])
    frames = list(read_frames(tmp_path / "a.gif"))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.05, 0.25])
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 100, 200]
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif")
    assert read_picture(tmp_path / "still.gif").shape == (4, 4, 3)


def test_further_pages_of_a_tiff_are_not_frames(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.tiff", save_all=True, append_images=[Image.new("RGB", (1, 1))])
    assert read_picture(tmp_path / "a.tiff").tolist() == [[list(RED)]]


def test_a_folder_stands_for_its_pictures_in_counting_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.png", "F1.PNG", "notes.txt", "clip.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    other = tmp_path / "notes.txt"
    assert [p.name for p in expand_paths([other, tmp_path])] == ["notes.txt", "F1.PNG", "f2.png", "f10.png"]


def test_paths_that_cannot_be_read_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "empty").mkdir()
    for paths, message in [
        ([], "paths must name at least one frame, video or folder, got none"),
        ([tmp_path / "no.png"], r"paths must exist, there is no '.*no\.png'\.$"),
        ([tmp_path / "*.png"], "No file matched the pattern"),
        ([tmp_path / "empty"], r"folder '.*empty' holds no frame; .*\.jpg"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            expand_paths(paths)
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "none.mp4").touch()
    (tmp_path / "none.png").touch()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:6000])
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tiff")
    for name, message in [
        ("text.png", r"text\.png' is no frame that can be read\. Videos are known by .*\.mp4"),
        ("none.png", "is no frame that can be read"),
        ("half.png", r"frame '.*half\.png' cannot be read: "),
        ("float.tiff", r"frame '.*float\.tiff' cannot be read: its pixels are floating-point"),
        ("text.mp4", r"video '.*text\.mp4' cannot be read: .*[Ii]nvalid data"),
        ("none.mp4", r"video '.*none\.mp4' cannot be read: .*[Ii]nvalid data"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            list(read_frames(tmp_path / name))


def test_leaving_a_video_early_is_fine(tmp_path: Path) -> None:
    path = write_video((np.zeros((64, 64, 3), np.uint8) for _ in range(50)), tmp_path / "-v.mp4", fps=25)
    stream = read_frames(path)
    assert next(stream).index == 0
    stream.close()  # type: ignore[attr-defined]  # a generator; ffmpeg must end without a complaint


def test_jaxs_fear_of_forks_is_not_the_users() -> None:
    def warn(text: str) -> None:
        warnings.warn(text, RuntimeWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quietly(lambda: warn("os.fork() was called. os.fork() is incompatible with multithreaded code, and JAX is"))
        with pytest.raises(RuntimeWarning, match="overflow"):
            quietly(lambda: warn("overflow"))
