"""The journal keeps whole episodes, whatever a crash leaves behind them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.files import Journal

LENGTHS = (3, 0, 5, 1)


def values(episode: int, columns: int = 1) -> np.ndarray:
    rng = np.random.default_rng(episode)
    return rng.standard_normal((LENGTHS[episode], columns)).astype(np.float32)


def fill(folder: Path, columns: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    with closing(Journal(folder, columns)) as journal:
        for episode in range(journal.episodes, len(LENGTHS)):
            journal.append(episode, values(episode, columns))


def check(folder: Path, episodes: int, columns: int = 1) -> None:
    with closing(Journal(folder, columns)) as journal:
        assert journal.episodes == episodes
        assert journal.states == sum(LENGTHS[:episodes])
        for episode in range(episodes):
            assert journal.read(episode).tobytes() == values(episode, columns).tobytes()


@pytest.mark.parametrize("columns", [1, 2])
def test_what_is_appended_is_read_again(tmp_path: Path, columns: int) -> None:
    fill(tmp_path, columns)
    check(tmp_path, 4, columns)


def test_episodes_come_in_order(tmp_path: Path) -> None:
    told = "episode 0 must be appended next, got 1"
    with closing(Journal(tmp_path)) as journal, pytest.raises(InvalidInputError, match=told):
        journal.append(1, values(0))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_cut_leaves_whole_episodes_and_work_goes_on(tmp_path: Path, data: st.DataObject) -> None:
    # A crash may cut either file anywhere: the file system writes them back in any order.
    whole = tmp_path / "whole"
    fill(whole)
    folder = tmp_path / "cut"
    folder.mkdir(exist_ok=True)
    for name in ("values.f32", "episodes.jsonl"):
        content = (whole / name).read_bytes()
        cut = data.draw(st.integers(0, len(content)), label=name)
        (folder / name).write_bytes(content[:cut] + data.draw(st.sampled_from([b"", b"\0" * 9, b"{"])))
    with closing(Journal(folder)) as journal:
        kept = journal.episodes
        for episode in range(kept):
            assert journal.read(episode).tobytes() == values(episode).tobytes()
    fill(folder)
    check(folder, 4)
    for name in ("values.f32", "episodes.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    content = bytearray((tmp_path / "values.f32").read_bytes())
    content[3 * 4 + 2] ^= 1  # in episode 2, the first after the empty one
    (tmp_path / "values.f32").write_bytes(bytes(content))
    check(tmp_path, 2)
