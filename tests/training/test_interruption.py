"""Ctrl-C: waits for a good moment, is forced by a second one or by time, and is given back."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from vlm_rewards.training import checkpoints as interruption
from vlm_rewards.training.checkpoints import Interruption


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_press_only_asks() -> None:
    with Interruption() as ours:
        assert not ours.requested
        press()
        assert ours.requested
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_press_ends_at_once() -> None:
    with Interruption():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_time_ends_it_even_in_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.2)
    started = time.monotonic()
    with Interruption():
        press()
        with pytest.raises(KeyboardInterrupt):
            threading.Semaphore(0).acquire()
    assert time.monotonic() - started < 50


def test_last_words_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_LAST_WORDS_SECONDS", 0.2)
    with Interruption() as ours:
        ours.limit_last_words()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)


def test_nothing_comes_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.1)
    with Interruption():
        press()
    time.sleep(0.3)  # a late KeyboardInterrupt would end the test


def test_somebody_elses_handler_is_left_alone() -> None:
    seen: list[int] = []
    old = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with Interruption() as ours:
            press()
            assert seen == [signal.SIGINT]
            assert not ours.requested
    finally:
        signal.signal(signal.SIGINT, old)


def test_other_threads_leave_it_alone() -> None:
    errors: list[BaseException] = []

    def use() -> None:
        try:
            with Interruption() as ours:
                ours.limit_last_words()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
