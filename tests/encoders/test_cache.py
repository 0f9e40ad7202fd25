"""Embeddings on disk: found again, kept apart, bounded, and usable whatever happens to the file or a writer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_rewards.encoders.cache import DEFAULT_BYTES, EmbeddingCache, default_folder, encoder_key
from vlm_rewards.errors import CacheError, InvalidInputError
from vlm_rewards.testing.fakes import FakeEncoder


class Digested(FakeEncoder):
    """Has a digest of its weights, and notes how many frames each call was given."""

    def __init__(self, dim: int = 16, **facts: Any) -> None:
        super().__init__(dim)
        self.facts = {"weights_sha256": "ab", **facts}
        self.name = str(facts.get("name", "fake"))
        self.calls: list[int] = []

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        self.calls.append(len(frames))
        return super().embed_images(frames)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **self.facts}


WRITER = """
import sys
from test_cache import Digested, numbered
from vlm_rewards.encoders.cache import EmbeddingCache

folder, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
cache, encoder = EmbeddingCache(folder), Digested()
print("ready", flush=True)
sys.stdin.readline()
for start in range(first, first + count, 40):
    frames = numbered(start, 80)
    vectors = cache.embed(encoder, frames)
    assert (vectors == encoder.embed_images(frames)).all()
    print(start, flush=True)
"""


def numbered(first: int, count: int, size: int = 8) -> np.ndarray:
    """The frames of these numbers, all different."""
    return np.stack(
        [
            np.random.default_rng(n).integers(0, 256, (size, size, 3), dtype=np.uint8)
            for n in range(first, first + count)
        ]
    )


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache")


def start_writer(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_each_frame_is_embedded_once_whatever_is_asked_later(cache: EmbeddingCache) -> None:
    encoder, plain = Digested(), FakeEncoder()
    first = cache.embed(encoder, numbered(0, 5))
    again = EmbeddingCache(cache.path.parent)  # another process would see the same
    later = again.embed(encoder, numbered(3, 5)[::-1])
    assert encoder.calls == [5, 3]
    assert (cache.embedded, cache.found, again.embedded, again.found) == (5, 0, 3, 2)
    np.testing.assert_array_equal(first, plain.embed_images(numbered(0, 5)))
    np.testing.assert_array_equal(later, plain.embed_images(numbered(3, 5)[::-1]))
    assert later.dtype == np.float32
    assert again.embed(encoder, numbered(0, 8)).shape == (8, 16)
    assert encoder.calls == [5, 3]


def test_equal_frames_of_a_request_are_embedded_once(cache: EmbeddingCache) -> None:
    encoder, frames = Digested(), numbered(0, 3)[[2, 0, 2, 1, 0, 2]]
    done: list[int] = []
    np.testing.assert_array_equal(cache.embed(encoder, frames, done.append), FakeEncoder().embed_images(frames))
    assert (encoder.calls, cache.embedded, cache.found) == ([3], 3, 3)
    cache.embed(encoder, frames, done.append)
    assert done == [0, 6, 6]


def test_long_requests_are_embedded_and_stored_in_chunks(cache: EmbeddingCache) -> None:
    encoder, done = Digested(), list[int]()
    frames = numbered(0, 1_100, size=2)
    cache.embed(encoder, frames[::2], done.append)
    np.testing.assert_array_equal(cache.embed(encoder, frames, done.append), FakeEncoder().embed_images(frames))
    assert encoder.calls == [512, 38, 512, 38]
    assert done == [0, 512, 38, 550, 512, 38]


def test_the_key_is_content_and_shape(cache: EmbeddingCache) -> None:
    encoder = Digested()
    flat = np.arange(4 * 9 * 3, dtype=np.uint8)
    shapes = [(4, 9, 3), (9, 4, 3), (6, 6, 3)]
    for shape in shapes:  # the same bytes each time
        cache.embed(encoder, flat.reshape(1, *shape))
    assert encoder.calls == [1, 1, 1]
    for shape in shapes:
        frames = flat.reshape(1, *shape)
        np.testing.assert_array_equal(cache.embed(encoder, frames), FakeEncoder().embed_images(frames))
    changed = flat.reshape(1, *shapes[0]).copy()
    changed[0, 3, 8, 2] += 1
    cache.embed(encoder, changed)
    assert encoder.calls == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("facts", "kept_apart"),
    [
        ({"weights_sha256": "cd"}, True),
        ({"config_sha256": "cd"}, True),
        ({"dtype": "bf16"}, True),
        ({"device": "cuda:0"}, True),
        ({"name": "by another name"}, False),
        ({"batch_size": 7}, False),
        ({"in_domain": True}, False),
        ({"source": "folder"}, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_key_is_what_decides_embeddings(cache: EmbeddingCache, facts: dict[str, Any], kept_apart: bool) -> None:
    common = {"config_sha256": "12", "dtype": "fp32", "device": "cpu", "batch_size": 64}
    cache.embed(Digested(**common), numbered(0, 4))
    other = Digested(**{**common, **facts})
    cache.embed(other, numbered(0, 4))
    assert other.calls == ([4] if kept_apart else [])
    assert [entry.embeddings for entry in cache.entries()] == ([4, 4] if kept_apart else [4])


def test_two_of_the_same_device_are_one_kind() -> None:
    keys = {encoder_key(Digested(device=device)) for device in ("cuda:0", "cuda:1", "cuda")}
    assert len(keys) == 1


def test_an_encoder_without_a_digest_is_never_stored(cache: EmbeddingCache) -> None:
    encoder = Digested(weights_sha256=None)
    for _ in range(2):
        cache.embed(encoder, numbered(0, 3))
    assert encoder.calls == [3, 3]
    assert not cache.path.exists()
    assert cache.entries() == []


def test_entries_and_clear(cache: EmbeddingCache) -> None:
    assert (cache.entries(), cache.size_bytes(), cache.clear()) == ([], 0, 0)
    cache.embed(Digested(name="b"), numbered(0, 5))
    cache.embed(Digested(8, name="a", weights_sha256="cd"), numbered(0, 3))
    facts = [(entry.name, entry.embeddings, entry.size_bytes) for entry in cache.entries()]
    assert facts == [("a", 3, 3 * 8 * 4), ("b", 5, 5 * 16 * 4)]
    assert cache.entries()[1].key == encoder_key(Digested(name="c"))
    assert cache.size_bytes() == cache.path.stat().st_size > 0
    assert cache.clear("nobody") == 0
    assert cache.clear("b") == 5
    assert [entry.name for entry in cache.entries()] == ["a"]
    encoder = Digested()
    cache.embed(encoder, numbered(0, 5))
    assert encoder.calls == [5]
    assert cache.clear() == 8
    assert cache.entries() == []


def test_clear_gives_the_space_back(cache: EmbeddingCache) -> None:
    cache.embed(Digested(256), numbered(0, 1_000, size=2))
    assert cache.size_bytes() > 2**20
    cache.clear()
    assert cache.size_bytes() < 2**18


def test_no_frame_is_refused(cache: EmbeddingCache) -> None:
    with pytest.raises(InvalidInputError, match="frames must hold at least one frame, got none"):
        cache.embed(Digested(), np.zeros((0, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(InvalidInputError, match="max_bytes must be an int of at least 1048576, got 1000"):
        EmbeddingCache(max_bytes=1_000)


def test_writers_at_the_same_time(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writers = [start_writer(folder, first, 400) for first in (0, 0, 200)]
    for writer in writers:
        go(writer)
    for writer in writers:
        writer.communicate(timeout=500)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    cache, encoder = EmbeddingCache(folder), Digested()
    frames = numbered(0, 640)
    np.testing.assert_array_equal(cache.embed(encoder, frames), FakeEncoder().embed_images(frames))
    assert encoder.calls == []
    assert [entry.embeddings for entry in cache.entries()] == [640]


def test_a_cache_that_is_cleared_disturbs_no_writer(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writer = start_writer(folder, 0, 400)
    go(writer)
    cleared = 0
    while writer.poll() is None:
        cleared += EmbeddingCache(folder).clear()
    writer.communicate()
    assert writer.returncode == 0
    assert cleared > 0


@pytest.mark.parametrize("lines", [1, 4, 9])
def test_a_killed_writer_leaves_a_usable_cache(tmp_path: Path, lines: int) -> None:
    folder = tmp_path / "cache"
    writer = start_writer(folder, 0, 100_000)
    go(writer)
    assert writer.stdout is not None
    done = [int(writer.stdout.readline()) for _ in range(lines)]
    time.sleep(0.001 * lines)  # anywhere in the next step
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.communicate()
    cache, encoder = EmbeddingCache(folder), Digested()
    frames = numbered(0, done[-1] + 80)
    np.testing.assert_array_equal(cache.embed(encoder, frames), FakeEncoder().embed_images(frames))
    assert encoder.calls == []


def test_a_transaction_cut_short_is_rolled_back(cache: EmbeddingCache) -> None:
    # A process that dies between writing pages and removing the journal: SQLite calls that journal hot.
    cache.embed(Digested(), numbered(0, 20))
    code = (
        "import os, sqlite3, sys; database = sqlite3.connect(sys.argv[1]); database.execute('PRAGMA cache_size = 1');"
        "database.execute('PRAGMA cache_spill = 1'); database.execute('UPDATE vector SET value = zeroblob(50000)');"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(cache.path)], check=False).returncode == -signal.SIGKILL
    journal = cache.path.with_name(f"{cache.path.name}-journal")
    assert journal.stat().st_size > 0
    encoder = Digested()
    expected = FakeEncoder().embed_images(numbered(0, 20))
    np.testing.assert_array_equal(cache.embed(encoder, numbered(0, 20)), expected)
    assert encoder.calls == []
    assert not journal.exists()


def test_what_was_used_longest_ago_is_dropped(tmp_path: Path) -> None:
    bound = 2**20
    cache, encoder = EmbeddingCache(tmp_path, max_bytes=bound), Digested(512)  # some 400 of 2 KiB
    treasured = numbered(0, 50, size=2)
    for start in range(1_000, 3_000, 100):
        cache.embed(encoder, treasured)
        cache.embed(encoder, numbered(start, 100, size=2))
        assert cache.size_bytes() <= bound
    (entry,) = cache.entries()
    assert 0.6 * bound < entry.size_bytes < bound
    encoder.calls.clear()
    cache.embed(encoder, treasured)
    cache.embed(encoder, numbered(2_800, 200, size=2))
    assert encoder.calls == []
    cache.embed(encoder, numbered(1_000, 100, size=2))
    assert encoder.calls == [100]


def test_a_request_beyond_the_bound_is_answered(tmp_path: Path) -> None:
    cache, encoder = EmbeddingCache(tmp_path, max_bytes=2**20), Digested(512)
    frames = numbered(0, 1_500, size=2)
    np.testing.assert_array_equal(cache.embed(encoder, frames), FakeEncoder(512).embed_images(frames))
    assert encoder.calls == [512, 512, 476]
    assert cache.size_bytes() <= 2**20


def test_a_smaller_bound_holds_from_the_next_write_on(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).embed(Digested(512), numbered(0, 1_500, size=2))
    smaller = EmbeddingCache(tmp_path, max_bytes=2**20)
    assert smaller.size_bytes() > 3 * 2**20
    smaller.embed(Digested(512), numbered(5_000, 1, size=2))
    assert smaller.size_bytes() <= 2**20


def test_space_that_a_killed_process_left_is_given_back(tmp_path: Path) -> None:
    # It had dropped embeddings, and did not come to make the file smaller.
    EmbeddingCache(tmp_path).embed(Digested(512), numbered(0, 1_500, size=2))
    cache = EmbeddingCache(tmp_path, max_bytes=2**20)
    database = sqlite3.connect(cache.path)
    database.executescript("PRAGMA foreign_keys = ON; DELETE FROM frame")
    database.commit()
    database.close()
    assert cache.size_bytes() > 3 * 2**20
    cache.embed(Digested(512), numbered(0, 1, size=2))
    assert cache.size_bytes() <= 2**20


def overwrite_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[16384:] = os.urandom(len(content) - 16384)
    path.write_bytes(content)


DAMAGES = {
    "not a database": lambda path: path.write_bytes(b"no database, " * 100),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "overwritten": overwrite_middle,
    "another's": lambda path: (
        path.unlink(),
        sqlite3.connect(path).executescript("CREATE TABLE frame (a)").connection.close(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_can_be_cleared(cache: EmbeddingCache, damage: str) -> None:
    cache.embed(Digested(), numbered(0, 300, size=2))
    DAMAGES[damage](cache.path)
    encoder = Digested()
    with pytest.raises(CacheError, match=r"sqlite' cannot be used: .*`vlm-rewards list cached --clear-all` starts"):
        cache.embed(encoder, numbered(0, 300, size=2))
    assert encoder.calls == []  # found out before the work
    for reading in (cache.entries, lambda: cache.clear("fake")):
        with pytest.raises(CacheError, match=r"VLM_REWARDS_CACHE names another folder"):
            reading()
    assert cache.clear() == 0
    assert cache.entries() == []
    cache.embed(encoder, numbered(0, 300, size=2))
    cache.embed(encoder, numbered(0, 300, size=2))
    assert encoder.calls == [300]


def test_a_file_that_somebody_writes_is_not_damaged(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.embed(Digested(), numbered(0, 3))
    monkeypatch.setattr("vlm_rewards.encoders.cache._PATIENCE_S", 0.05)
    writer = sqlite3.connect(cache.path)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CacheError, match="database is locked"):
        cache.clear()
    writer.rollback()
    writer.close()
    assert [entry.embeddings for entry in cache.entries()] == [3]


def test_vectors_of_another_length_are_damage(cache: EmbeddingCache) -> None:
    cache.embed(Digested(), numbered(0, 3))
    database = sqlite3.connect(cache.path)
    database.execute("UPDATE vector SET value = zeroblob(7)")
    database.commit()
    database.close()
    with pytest.raises(CacheError, match="an embedding has another length than the encoder's"):
        cache.embed(Digested(), numbered(0, 3))


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encoder = Digested()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CacheError, match=r"cannot be opened: .*The environment variable VLM_REWARDS_CACHE names"):
            EmbeddingCache(folder).embed(encoder, numbered(0, 3))
    assert encoder.calls == []


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLM_REWARDS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "vlm-rewards"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "vlm-rewards"
    monkeypatch.setenv("VLM_REWARDS_CACHE", str(tmp_path / "own"))
    cache = EmbeddingCache()
    assert (cache.path, cache.max_bytes) == (tmp_path / "own" / "embeddings-2.sqlite", DEFAULT_BYTES)
    cache.embed(Digested(), numbered(0, 1))
    assert cache.path.is_file()
