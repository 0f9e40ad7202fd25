"""The resume state's file: what goes in comes out, and nothing else is let in."""

from __future__ import annotations

import errno
import io
import json
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlm_rewards.errors import CheckpointError
from vlm_rewards.files import read_state, seconds_to_wait, write_state

DTYPES = st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.uint32, np.bool_, np.float16])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | ARRAYS
TREES = st.dictionaries(
    NAMES, st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            isinstance(two, np.ndarray)
            and one.dtype == two.dtype
            and one.shape == two.shape
            and one.tobytes() == two.tobytes()
        )
    if isinstance(one, dict):
        return isinstance(two, dict) and list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return isinstance(two, list) and len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two


@given(TREES)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("state") / "state.npz"
    assert write_state(path, tree) == path.stat().st_size
    assert same(read_state(path), tree)


def test_numbers_of_numpy_and_tuples_become_plain(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"a": np.float64(0.5), "b": (1, np.int64(2)), "c": 2**200})
    assert same(read_state(path), {"a": 0.5, "b": [1, 2], "c": 2**200})


def test_numpy_opens_it_too(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"replay": {"rewards": np.arange(3.0)}})
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["replay/rewards"], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("bad", [{1: 2}, {"__array__": 1}, {"a": np.array([None])}, {"a": {1, 2}}, {"a": b"bytes"}])
def test_what_is_no_data_is_refused_and_the_old_state_stays(tmp_path: Path, bad: Any) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"kept": 1})
    with pytest.raises(TypeError):
        write_state(path, bad)
    assert read_state(path) == {"kept": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


def test_any_damaged_byte_of_an_array_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"a": np.arange(1000, dtype=np.int64)})
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be read.*CRC"):
        read_state(path)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_noticed(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"a": np.arange(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(path)


class Trap:
    def __reduce__(self) -> Any:
        return (sys.exit, ("unpickled!",))


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.npz"
    pickled.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError):
        read_state(pickled)
    hidden = tmp_path / "hidden.npz"
    member = io.BytesIO()
    np.save(member, np.array([Trap()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("state.json", json.dumps({"a": {"__array__": "a"}}))
        archive.writestr("a.npy", member.getvalue())
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        read_state(hidden)


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', '{"a": {"__array__": "missing"}}', "{"])
def test_a_zip_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state.json", content)
    with pytest.raises(CheckpointError):
        read_state(path)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_state(tmp_path / "none.npz")


def test_a_disk_that_is_full_leaves_the_old_state(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    write_state(path, {"kept": np.arange(4)})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # the kernel refuses to let a file grow beyond this, as a full disk would
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
        with pytest.raises(OSError, match="File too large") as caught:
            write_state(path, {"new": np.arange(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert same(read_state(path), {"kept": np.arange(4)})
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


WRITER = """
import itertools, sys
from pathlib import Path
import numpy as np
from vlm_rewards.files import write_state
for number in itertools.count():
    write_state(Path(sys.argv[1]), {"number": number, "a": np.full(50_000, number)})
    if number == 0:
        print("ready", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    rng = np.random.default_rng(0)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.05 * rng.random())
            writer.kill()
            writer.wait()
        state = read_state(path)
        assert (state["a"] == state["number"]).all()


@pytest.mark.parametrize(
    ("interval", "duration", "seconds"),
    [(60, 1, 60), (60, 4, 76), (0, 4, 0), (float("inf"), 1, float("inf"))],  # 76 s: 4 of 80 are 5 %
)
def test_writing_takes_a_twentieth_of_the_time_at_most(interval: float, duration: float, seconds: float) -> None:
    assert seconds_to_wait(interval, duration) == seconds
