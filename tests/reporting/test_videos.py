"""Videos are read back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import read_frames
from vlm_rewards.reporting.videos import write_video


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


def test_bad_input_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    good = np.zeros((4, 4, 3), np.uint8)
    for frames, message in [
        ([], "frames must hold at least one frame, got none"),
        ([good, good[:2]], r"frame 1 must have the first frame's shape \(4, 4, 3\), got \(2, 4, 3\)"),
        ([good.astype(float)], r"frame 0 must be uint8 \[h w 3\], got float64 \(4, 4, 3\)"),
        ([good[..., 0]], r"frame 0 must be uint8 \[h w 3\], got uint8 \(4, 4\)"),
    ]:
        with pytest.raises(InvalidInputError, match=message):
            write_video(frames, tmp_path / "v.mp4", 25)
    assert list(tmp_path.iterdir()) == []
