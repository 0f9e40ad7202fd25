"""The shared memory of fixed size, and the gate that keeps it from being overwritten unread."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlm_rewards.collection import ring as ring_module
from vlm_rewards.collection.ring import FrameRing, StepGate, free_bytes, ring_folder, ring_shape
from vlm_rewards.errors import InvalidInputError

SHM = Path("/dev/shm")


def test_copies_steps_in_order_and_around_the_end(rng: np.random.Generator) -> None:
    ring = FrameRing(3, 2, 4)
    pictures = rng.integers(0, 256, (5, 2, 4, 4, 3), dtype=np.uint8)
    for step, picture in enumerate(pictures):
        ring.frames[step % 3] = picture
    copied = ring.copy_steps(range(2, 5))
    np.testing.assert_array_equal(copied, pictures[2:].reshape(6, 4, 4, 3))
    ring.frames[:] = 0
    assert copied.any(), "a copy must not change with the ring"
    ring.close()


def test_two_rings_on_one_descriptor_see_the_same_bytes() -> None:
    ours = FrameRing(2, 3, 5)
    theirs = FrameRing(2, 3, 5, descriptor=os.dup(ours.descriptor))
    theirs.frames[1, 2] = 77
    assert (ours.frames[1, 2] == 77).all()
    assert ours.frames.sum() == 77 * 5 * 5 * 3
    os.close(theirs.descriptor)
    theirs.close()
    ours.close()


def test_memory_is_what_the_formula_says_and_has_no_name() -> None:
    before = set(SHM.glob("tmp*"))
    ring = FrameRing(6, 7, 32)
    assert ring.nbytes == 6 * 7 * 32 * 32 * 3 == os.fstat(ring.descriptor).st_size
    assert set(SHM.glob("tmp*")) <= before
    ring.close()
    ring.close()


def test_the_shape_and_the_place_are_known_before(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ring = FrameRing(3, 2, 8, cameras=2, resets=True)
    assert ring.frames.shape == ring_shape(3, 2, 8, cameras=2, resets=True) == (3, 4, 16, 8, 3)
    assert folders == [ring_folder(ring.nbytes)]
    ring.close()
    with pytest.raises(InvalidInputError, match=r"frames in flight need 1073741824 MiB .*only \d+ MiB of memory"):
        ring_folder(2**50)
    monkeypatch.setattr(ring_module.os, "statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    assert free_bytes(SHM) == 40_960
    assert ring_folder(40_000) == Path(tempfile.gettempdir())
    with pytest.raises(InvalidInputError, match=r"the frames in flight need .*: 0 MiB free"):
        ring_folder(50_000)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_refuses_an_empty_ring(shape: tuple[int, int, int]) -> None:
    with pytest.raises(
        InvalidInputError, match=r"slots, simulators, size and cameras must be at least 1, got \(\d, \d, \d, 1\)"
    ):
        FrameRing(*shape)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Where files were made, with tmp_path as the folder for temporary files."""
    used: list[Path] = []
    original = tempfile.TemporaryFile

    def temporary_file(dir: Path):
        used.append(Path(dir))
        return original(dir=dir)

    monkeypatch.setattr(ring_module.tempfile, "TemporaryFile", temporary_file)
    monkeypatch.setattr(ring_module.tempfile, "gettempdir", lambda: str(tmp_path))
    return used


@pytest.mark.skipif(not SHM.is_dir(), reason="has no /dev/shm")
def test_lies_in_dev_shm_where_that_has_room(folders: list[Path], tmp_path: Path) -> None:
    FrameRing(2, 1, 8).close()
    assert folders == [SHM]


def test_falls_back_to_a_file_when_dev_shm_has_no_room(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module.os, "statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    ring = FrameRing(2, 1, 8)
    ring.frames[:] = 5
    assert folders == [tmp_path]
    assert (ring.copy_steps(range(2)) == 5).all()
    ring.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not SHM.is_dir(), reason="has no /dev/shm")
def test_falls_back_when_dev_shm_fills_up_in_between(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.posix_fallocate
    device = SHM.stat().st_dev

    def fallocate(descriptor: int, offset: int, length: int) -> None:
        if os.fstat(descriptor).st_dev == device:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor, offset, length)

    if tmp_path.stat().st_dev == device:
        pytest.skip("temporary files lie in /dev/shm too")
    monkeypatch.setattr(ring_module.os, "posix_fallocate", fallocate)
    FrameRing(2, 1, 8).close()
    assert folders == [SHM, tmp_path]


def test_says_so_when_nothing_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ring_module.os, "posix_fallocate", fallocate)
    # 64 slots x 16 simulators x 32 x 32 x 3 bytes are 3 MiB.
    with pytest.raises(InvalidInputError, match=r"need 3 MiB .*No space left on device.*Use fewer simulators"):
        FrameRing(64, 16, 32)


def test_says_so_when_no_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def temporary_file(dir: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(ring_module.tempfile, "TemporaryFile", temporary_file)
    with pytest.raises(InvalidInputError, match=r"could not be had .*Permission denied"):
        FrameRing(1, 1, 1)


def waits(gate: StepGate, step: int) -> bool:
    """Whether a writer of this step is held up."""
    thread = threading.Thread(target=gate.wait_for, args=(step,), daemon=True)
    thread.start()
    thread.join(timeout=0.1)
    held = thread.is_alive()
    gate.open()
    thread.join(timeout=100)
    assert not thread.is_alive()
    return held


def test_gate_without_reader_is_open() -> None:
    assert not waits(StepGate(2), 10_000)


@pytest.mark.parametrize(("step", "held"), [(12, False), (13, True)])
def test_gate_holds_back_what_would_overwrite_an_unread_picture(step: int, held: bool) -> None:
    # Three slots, read up to step 10: steps 10, 11, 12 have slots of their own, 13 would overwrite 10.
    gate = StepGate(3)
    gate.hold(7)
    gate.release(10)
    gate.release(8)  # late news change nothing
    assert waits(gate, step) is held


def test_release_lets_a_waiting_writer_go() -> None:
    gate = StepGate(2)
    gate.hold(0)
    timer = threading.Timer(0.05, gate.release, args=(1,))
    timer.start()
    started = time.monotonic()
    gate.wait_for(2)
    assert time.monotonic() - started < 100
    timer.join()


def test_a_reader_that_fails_wakes_the_writer_with_its_error() -> None:
    gate = StepGate(1)
    gate.hold(0)
    timer = threading.Timer(0.05, gate.fail, args=(ZeroDivisionError("the reader's"),))
    timer.start()
    with pytest.raises(ZeroDivisionError, match="the reader's"):
        gate.wait_for(1)
    with pytest.raises(ZeroDivisionError, match="the reader's"):
        gate.wait_for(0)
    timer.join()
    gate.open()
    gate.wait_for(1)  # nobody reads any more, so nobody has failed
    gate.hold(5)
    gate.wait_for(5)
