"""Frames side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import montage, write_png

GAP = 6


def flat(*levels: int, side: int = 96) -> np.ndarray:
    return np.stack([np.full((side, side, 3), level, dtype=np.uint8) for level in levels])


def test_where_pictures_lie() -> None:
    sheet = montage(flat(10, 20, 30), columns=2)
    assert sheet.shape == (GAP + 2 * (96 + GAP), GAP + 2 * (96 + GAP), 3)
    assert sheet.dtype == np.uint8
    for index, level in enumerate((10, 20, 30)):
        y, x = (GAP + part * (96 + GAP) for part in divmod(index, 2))
        assert (sheet[y : y + 96, x : x + 96] == level).all()
    assert (sheet[-96 - GAP :, -96 - GAP :] == 255).all()  # there is no fourth


def test_small_pictures_are_enlarged_without_smoothing(rng: np.random.Generator) -> None:
    frame = rng.integers(0, 256, (40, 20, 3)).astype(np.uint8)
    sheet = montage([frame])
    assert (sheet[GAP : GAP + 120, GAP : GAP + 60] == frame.repeat(3, axis=0).repeat(3, axis=1)).all()
    assert montage(flat(0, side=97)).shape == (97 + 2 * GAP, 97 + 2 * GAP, 3)


def test_captions_and_heading_have_room_of_their_own() -> None:
    bare = montage(flat(0, 0), columns=2)
    lines = montage(flat(0, 0), ["a", "b\nc"], columns=2)
    assert lines.shape == (bare.shape[0] + 2 * 16, bare.shape[1], 3)
    assert montage(flat(0, 0), heading="both").shape[0] == bare.shape[0] + 16 + GAP
    # Text is below the frame of which it speaks, and nowhere else.
    below = lines[GAP + 96 :] < 128
    middle = GAP + 96 + GAP // 2
    assert below[:, :middle].any()
    assert below[:, middle:].any()
    assert not (montage(flat(0, 0), ["", "b"], columns=2)[GAP + 96 :, :middle] < 128).any()


def test_long_captions_do_not_run_into_each_other() -> None:
    long = "held-out reward 0.1234567"
    sheet = montage(flat(255, 255), [long, ""], columns=2)
    width = (sheet.shape[1] - GAP) // 2
    assert width > 96 + GAP
    assert not (sheet[:, GAP + width :] < 255).any()  # all of the first caption is left of the second frame
    assert (sheet[:, :width] < 128).any()
    heading = montage(flat(255), heading=4 * long)
    assert not (heading[:, -GAP:] < 255).any()
    assert heading.shape[1] > 4 * 96


@pytest.mark.parametrize(("count", "captions"), [(0, []), (2, ["one"]), (1, ["one", "two"])])
def test_what_cannot_be_laid_out_is_refused(count: int, captions: list[str]) -> None:
    message = f"captions must be as many as frames, at least 1, got {len(captions)}, {count}"
    with pytest.raises(InvalidInputError, match=message):
        montage(list(flat(*range(count))) if count else [], captions)
    with pytest.raises(InvalidInputError, match="columns must be an int of at least 1"):
        montage(flat(1), columns=0)


def test_a_png_is_written_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    path = write_png(picture, tmp_path / "new" / "folder" / "a.png")
    assert np.array_equal(np.asarray(Image.open(path)), picture)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
