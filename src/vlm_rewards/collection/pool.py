"""Starts worker processes, talks to them, and reports how they end."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym

from vlm_rewards.collection.ring import FrameRing
from vlm_rewards.errors import InvalidInputError, WorkerError

_CLOSE_SECONDS = 1.2


class _Worker:
    """One process and the connection to it."""

    def __init__(self, ring: FrameRing) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = theirs.fileno(), ring.descriptor
            self.process = subprocess.Popen(
                # -P: the current folder comes first only where it does so for the parent too
                [sys.executable, "-P", "-m", "vlm_rewards.collection.worker", *map(str, descriptors)],
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
                process_group=0,  # Ctrl-C in a terminal goes to a whole group; the parent decides
            )
        self.connection = Connection(ours.detach())
        self.replies_due = 0

    def receive(self) -> Any:
        """Wait for a reply; raise what the worker refused, or a `WorkerError` where it raised or died."""
        try:
            succeeded, result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise WorkerError(self._obituary()) from None
        self.replies_due -= 1
        if isinstance(result, InvalidInputError):
            raise result
        if not succeeded:
            raise WorkerError(f"a simulator raised in worker process {self.process.pid}:\n\n{result}")
        return result

    def send(self, method: str, *arguments: Any) -> None:
        if self.connection.closed:
            raise WorkerError("the simulators have been closed; make a new environment.")
        try:
            self.replies_due += 1  # first: an interruption in between must err on the safe side
            self.connection.send((method, arguments))
        except (BrokenPipeError, ConnectionResetError):
            self.receive()  # prefers the worker's last words to our broken pipe
            raise WorkerError(self._obituary()) from None

    def discard_replies(self) -> None:
        token = uuid.uuid4().hex
        self.send("echo", token)
        while True:  # whatever else was due comes before the echo
            reply = self.receive()
            if isinstance(reply, str) and reply == token:
                self.replies_due = 0
                return

    def _obituary(self) -> str:
        try:
            code = self.process.wait(timeout=_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"worker process {self.process.pid} closed its connection but is still alive."
        how = f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
        return (
            f"worker process {self.process.pid} died {how} while it hosted simulators. "
            "What it wrote to standard error, if anything, is above."
        )


class WorkerPool:
    """Simulators, each built by a callable, spread over at most so many processes, several in each.

    Raises:
        InvalidInputError: The simulators do not fit together, or their frames are none.
        WorkerError: A simulator could not be built.
    """

    def __init__(self, factories: Sequence[Callable[[], gym.Env[Any, Any]]], processes: int, ring: FrameRing) -> None:
        count = min(processes, len(factories))
        bounds = [len(factories) * index // count for index in range(count + 1)]
        self.shares = [range(low, high) for low, high in itertools.pairwise(bounds)]
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _end, self._workers)
        try:
            for _ in range(count):  # all are started before any is waited for
                self._workers.append(_Worker(ring))
            ring_facts = (ring.slots, ring.simulators, ring.size, ring.cameras, ring.resets)
            for worker, share in zip(self._workers, self.shares, strict=True):
                pickled = cloudpickle.dumps([factories[index] for index in share])
                worker.send("setup", pickled, share.start, ring_facts)
            self.spaces: list[tuple[gym.Space[Any], gym.Space[Any]]] = self.receive_all()
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Process identifiers of the workers."""
        return [worker.process.pid for worker in self._workers]

    def send_all(self, method: str, *arguments: Any, rows: Sequence[Any] = ()) -> None:
        """Send every worker a request, with its own simulators' part of each of ``rows`` at the end."""
        self._check_idle()
        with self._closing_on_failure():
            for worker, share in zip(self._workers, self.shares, strict=True):
                worker.send(method, *arguments, *(one[share.start : share.stop] for one in rows))

    def receive_all(self) -> list[Any]:
        """Wait for every worker's reply, in order; where one raised or died, the pool is closed (`WorkerError`)."""
        with self._closing_on_failure():
            return [worker.receive() for worker in self._workers]

    def discard_replies(self) -> None:
        """Throw away what an interrupted request (Ctrl-C while waiting) has left behind.

        Otherwise every later reply would be taken for the answer to the request after its own.
        """
        with self._closing_on_failure():
            for worker in self._workers:
                if worker.replies_due and not worker.connection.closed:
                    worker.discard_replies()

    def ask(self, simulator: int, method: str, *arguments: Any) -> Any:
        """Ask about one simulator and wait for the answer; an attribute that it lacks is an AttributeError."""
        self._check_idle()
        index = next(index for index, share in enumerate(self.shares) if simulator in share)
        with self._closing_on_failure():
            self._workers[index].send(method, simulator - self.shares[index].start, *arguments)
            answer = self._workers[index].receive()
        if isinstance(answer, AttributeError):
            raise answer
        return answer

    def close(self) -> None:
        """End all workers: politely, then by force. Safe to call twice."""
        self._finalizer()

    def _check_idle(self) -> None:
        if any(worker.replies_due and not worker.connection.closed for worker in self._workers):
            raise WorkerError("the last request was interrupted before its reply came; call reset() first.")

    @contextlib.contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        try:
            yield
        except WorkerError:
            self.close()
            raise


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()  # a worker ends when its connection does
    deadline = time.monotonic() + _CLOSE_SECONDS
    for worker in workers:
        try:
            worker.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
