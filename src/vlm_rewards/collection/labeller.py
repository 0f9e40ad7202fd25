"""Scores frames in the background while the simulators step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np

from vlm_rewards.collection.ring import FrameRing, StepGate
from vlm_rewards.errors import InvalidInputError, LabellerError
from vlm_rewards.rewards.base import AnyReward, check_scores


def chunk_length(chunk_frames: int, simulators: int, slots: int) -> int:
    """Vector steps whose frames are scored in one go: about so many frames, but the slot that is being written."""
    return min(-(-chunk_frames // simulators), slots - 1)


class Labeller:
    """A thread that turns the frames of vector steps into rewards.

    Chunks are cut by vector step, never by arrival time: frames embedded in
    batches of another shape differ in the last bits, so this is what makes runs
    with equal seeds equal. A chunk's frames are copied out of the ring and
    their slots released before the (slow) scoring, so the simulators go on.

    Args:
        reward: Scores frames.
        ring: Where the frames are.
        gate: Tells the simulators which slots have been read.
        first_step: The first vector step that will be submitted.
        chunk_steps: Vector steps in a chunk, at most ``ring.slots - 1``.
        columns: None for a reward ``[n]``; a number where ``reward`` gives that many values a frame, ``[n columns]``.
        look: Shown every chunk, in the same thread: the vector steps, their frames and what they scored, which is
            NaN where there is no frame.

    Raises:
        InvalidInputError: ``chunk_steps`` is out of range.
    """

    def __init__(
        self,
        reward: AnyReward,
        ring: FrameRing,
        gate: StepGate,
        first_step: int,
        chunk_steps: int,
        columns: int | None = None,
        look: Callable[[range, np.ndarray, np.ndarray], None] | None = None,
    ) -> None:
        if not 1 <= chunk_steps < ring.slots:
            raise InvalidInputError(
                f"chunk_steps must be from 1 to {ring.slots - 1} (the ring has {ring.slots} slots and one is being "
                f"written), got {chunk_steps}."
            )
        self._reward = reward
        self._ring = ring
        self._gate = gate
        self._chunk_steps = chunk_steps
        self._chunk_start = first_step
        self._next_step = first_step
        self._columns = () if columns is None else (columns,)
        self._look = look
        self._resets: list[tuple[int, int]] = []
        self._taken: list[np.ndarray] = []
        self._results: list[np.ndarray] = []
        self._reset_results: list[np.ndarray] = []
        self._results_start = first_step
        self._failure: BaseException | None = None
        self._closed = False
        self._work: queue.SimpleQueue[tuple[range, np.ndarray, list[tuple[int, int]]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._outstanding = 0
        gate.hold(first_step)
        self._thread = threading.Thread(target=self._run, name="vlm-rewards-labeller", daemon=True)
        self._thread.start()

    def submit(self, step: int, resets: Sequence[int] = (), rendered: np.ndarray | None = None) -> None:
        """Say that the frames of a vector step, which must follow the one submitted before, are in the ring.

        Args:
            step: The step.
            resets: Simulators that were reset after this step and whose frame since then is to be scored, too.
            rendered: Which simulators have a frame, bool ``[simulators]``; None where all have.

        Raises:
            LabellerError: Scoring failed; the cause is chained.
        """
        if step != self._next_step:
            raise InvalidInputError(f"vector step {self._next_step} must be submitted next, got {step}.")
        self._check()
        self._next_step += 1
        # Cut by vector step, however long scoring takes: an encoder's last bits depend on what else is in a batch.
        self._resets.extend((step, simulator) for simulator in resets)
        self._taken.append(np.ones(self._ring.simulators, dtype=bool) if rendered is None else rendered)
        if self._next_step - self._chunk_start == self._chunk_steps:
            self._cut()

    def drain(self) -> tuple[int, np.ndarray]:
        """Wait until everything submitted has its reward.

        Returns:
            The first vector step that had not been drained before, and float32
            rewards ``[steps simulators]`` from that step on (``[steps simulators columns]`` with ``columns``); NaN
            where there was no frame. Those of resets come from `drain_resets`.

        Raises:
            LabellerError: Scoring failed; the cause is chained.
        """
        self._check()
        if self._next_step > self._chunk_start:
            self._cut()
        while self._outstanding:
            self._idle.acquire()
            self._outstanding -= 1
        self._check()
        start, results = self._results_start, self._results
        self._results, self._results_start = [], self._next_step
        rewards = np.concatenate(results) if results else np.empty(0, dtype=np.float32)
        return start, rewards.reshape(-1, self._ring.simulators, *self._columns)

    def drain_resets(self) -> np.ndarray:
        """What the frames after resets scored, in order, float32 ``[n]``, or ``[n columns]``; call it after `drain`."""
        results, self._reset_results = self._reset_results, []
        return np.concatenate(results) if results else np.empty((0, *self._columns), dtype=np.float32)

    def close(self) -> None:
        """Stop the thread, whatever is not scored yet, and let the simulators run on. Safe to call twice."""
        self._closed = True
        self._work.put(None)
        self._thread.join()
        self._gate.open()

    def _cut(self) -> None:
        self._work.put((range(self._chunk_start, self._next_step), np.concatenate(self._taken), self._resets))
        self._chunk_start, self._taken, self._resets = self._next_step, [], []
        self._outstanding += 1

    def _check(self) -> None:
        if self._closed:
            raise LabellerError("the labeller has been closed.")
        if self._failure is not None:
            raise LabellerError(f"scoring frames failed: {self._failure!r}") from self._failure

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                if self._failure is None and not self._closed:
                    self._score(*work)
            except BaseException as error:
                self._failure = error
                failure = LabellerError(f"scoring frames failed: {error!r}")
                failure.__cause__ = error
                self._gate.fail(failure)
            finally:
                self._idle.release()

    def _score(self, steps: range, taken: np.ndarray, resets: list[tuple[int, int]]) -> None:
        """``taken``, bool ``[steps*simulators]``, says of what there is a frame."""
        # Copied first: the slots go back to the simulators before the slow part begins.
        states = self._ring.copy_steps(steps)
        frames = states if taken.all() else states[taken]
        count = len(frames)
        if resets:
            frames = np.concatenate([frames, self._ring.copy_resets(resets)])
        self._gate.release(steps.stop)
        scores = np.empty((0, *self._columns), dtype=np.float32)
        if len(frames):
            scores = check_scores(self._reward(frames), (len(frames), *self._columns))
        rewards = np.full((len(states), *self._columns), np.nan, dtype=np.float32)
        rewards[taken] = scores[:count]
        if self._look is not None:
            self._look(steps, states, rewards)
        self._results.append(rewards)
        self._reset_results.append(scores[count:])
