"""Videos are read back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import read_frames
from vlm_rewards.reporting.videos import write_gif, write_video


def ramp(n: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Frames whose brightness counts them, with a dark left half."""
    for index in range(n):
        frame = np.full((height, width, 3), 10 * index, np.uint8)
        frame[:, : width // 2] = 0
        yield frame


def facts(path: Path) -> str:
    """What ffmpeg says about a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(("height", "width"), [(96, 96), (51, 67), (2, 3)])
def test_every_frame_comes_back(height: int, width: int, tmp_path: Path) -> None:
    path = write_video(ramp(20, height, width), tmp_path / "new" / "v.mp4", fps=25)
    assert re.search(r"Video: h264.*yuv420p.*25 fps", facts(path))
    frames = [frame.pixels for frame in read_frames(path)]
    assert len(frames) == 20
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    for index, frame in enumerate(frames):
        assert frame[:, -1].mean() == pytest.approx(10 * index, abs=12)
    assert [p.name for p in path.parent.iterdir()] == ["v.mp4"]


def test_the_index_comes_first_so_that_browsers_start_at_once(tmp_path: Path) -> None:
    data = write_video(ramp(5, 16, 16), tmp_path / "v.mp4", fps=12.5).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_gif_comes_back(tmp_path: Path) -> None:
    with Image.open(write_gif(ramp(6, 20, 30), tmp_path / "v.gif", fps=20)) as image:
        assert (image.n_frames, image.size) == (6, (30, 20))
        assert (image.info["duration"], image.info["loop"]) == (50, 0)
        image.seek(5)
        pixels = np.array(image.convert("RGB"))
    assert pixels[:, 0].max() == 0
    assert pixels[:, -1].min() == pixels[:, -1].max() == 50


def test_a_gif_is_never_faster_than_browsers_show_it(tmp_path: Path) -> None:
    with Image.open(write_gif(ramp(2, 4, 4), tmp_path / "v.gif", fps=100)) as image:
        assert image.info["duration"] == 20


@pytest.mark.parametrize(("write", "suffix"), [(write_video, ".mp4"), (write_gif, ".gif")])
def test_bad_input_is_refused_and_leaves_no_file(write, suffix: str, tmp_path: Path) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    for frames, fps, message in [
        ([], 25, "frames must hold at least one frame, got none"),
        ([good, good[:2]], 25, r"frame 1 must have the first frame's shape \(4, 4, 3\), got \(2, 4, 3\)"),
        ([good.astype(float)], 25, r"frame 0 must be uint8 \[h w 3\], got float64 \(4, 4, 3\)"),
        ([good[..., 0]], 25, r"frame 0 must be uint8 \[h w 3\], got uint8 \(4, 4\)"),
        ([good], 0, r"fps must be positive, got 0\.0"),
        ([good], float("nan"), "fps must be positive, got nan"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            write(frames, tmp_path / f"v{suffix}", fps)
    with pytest.raises(InvalidInputError, match=rf"path must end in \{suffix}, got '.*v\.avi'"):
        write([good], tmp_path / "v.avi", 25)
    assert list(tmp_path.iterdir()) == []
