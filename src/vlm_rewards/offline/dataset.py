"""Recorded episodes as every format offers them, and the settings with which they are relabelled."""

from __future__ import annotations

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, LabellerError, VLMRewardsError, check_count
from vlm_rewards.files import read_json, sync_folder, write_json
from vlm_rewards.offline.files import clear_folder, put_folder
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import FrameReward, check_scores

Scorer: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Frames, uint8 ``[n h w 3]``, to values ``[n]`` or ``[n columns]``."""


def score_episodes(
    score: Scorer, episodes: Iterable[tuple[int, Iterator[Frame]]], batch_size: int, columns: int = 1
) -> Iterator[tuple[int, Float32[np.ndarray, "states columns"]]]:
    """Score the frames of episodes, one episode after another.

    A chunk holds ``batch_size`` successive frames of one episode, the last one
    what remains. So a value depends on its episode and place alone, never on
    timing or on what was scored before: frames embedded in batches of another
    shape differ in the last bits. One chunk is scored in a thread while the
    next is filled here, so at most ``2 * batch_size`` frames are held.

    Yields:
        Number and values, float32 ``[states columns]``, of each episode, in order.

    Raises:
        LabellerError: Scoring failed; the cause is chained.
    """
    waiting: _Waiting = []  # all but the last are complete
    with ThreadPoolExecutor(1, thread_name_prefix="vlm-rewards-scorer") as pool:
        for number, frames in episodes:
            waiting.append((number, []))
            for chunk in _chunks(frames, batch_size):
                yield from _finished(waiting, 1, columns)
                waiting[-1][1].append(pool.submit(_score, score, chunk, columns))
                del chunk  # the thread has it: a name for it would keep a third one while the next is filled
        yield from _finished(waiting, 0, columns)


_Waiting: TypeAlias = list[tuple[int, list[Future[np.ndarray]]]]
"""Episodes with their chunks."""


def _chunks(frames: Iterator[Frame], size: int) -> Iterator[np.ndarray]:
    chunk: np.ndarray | None = None
    filled = 0
    for frame in frames:
        if chunk is None:
            chunk = np.empty((size, *frame.shape), dtype=np.uint8)
        chunk[filled] = frame
        filled += 1
        if filled == size:
            full, chunk, filled = chunk, None, 0
            yield full
            del full
    if chunk is not None:
        yield chunk[:filled]


def _finished(
    waiting: _Waiting, kept: int, columns: int
) -> Iterator[tuple[int, Float32[np.ndarray, "states columns"]]]:
    """Wait for the chunk on its way, and give the episodes but for the last ones."""
    for _, chunks in waiting:
        if chunks:
            chunks[-1].result()
    while len(waiting) > kept:
        number, chunks = waiting.pop(0)
        values = [chunk.result() for chunk in chunks]
        yield number, np.concatenate([np.empty((0, columns), dtype=np.float32), *values])


def _score(score: Scorer, frames: np.ndarray, columns: int) -> np.ndarray:
    try:
        values = np.asarray(score(frames), dtype=np.float32).reshape(-1, columns)
        return check_scores(values, (len(frames), columns))
    except VLMRewardsError:
        raise
    except Exception as error:
        raise LabellerError(f"scoring frames failed: {error!r}") from error


_FILE = "settings.json"


def settings_of(dataset: OfflineDataset, reward: FrameReward, options: RelabelOptions) -> dict[str, Any]:
    """What decides the rewards, to the last bit; JSON-able."""
    settings = {
        "source": dataset.name,
        "kind": dataset.kind,
        "frames_from": list(dataset.frames_from),
        "image_size": reward.frame_size,
        "batch_size": options.batch_size,
        "env_kwargs": dict(options.env_kwargs),
        "reward": reward.describe(),
        "versions": {"vlm_rewards": provenance()["version"], **provenance()["versions"]},
    }
    try:
        return json.loads(json.dumps(settings))
    except TypeError as error:
        raise InvalidInputError(f"env_kwargs and the reward's describe() must be JSON-able: {error}.") from error


def is_complete(
    dataset: OfflineDataset, output: RelabelledOutput, settings: dict[str, Any], options: RelabelOptions
) -> bool:
    """Whether there is nothing left to do; what is in the output's place and may not be replaced is refused."""
    record = output.read_record()
    same = record is not None and record.get("settings") == digest(settings)
    if options.in_place:
        return same and record is not None and record.get("frames") == sum(dataset.steps) and not options.overwrite
    if not output.path.exists() or (options.overwrite and record is not None):
        return False
    if record is None:
        raise InvalidInputError(
            f"out {output.name!r} is in use and holds no relabelled dataset; it will not be replaced."
        )
    if same and record.get("fingerprint") == dataset.fingerprint():
        return True
    changed = _differences(record, settings) if not same else ["the source, which has changed since"]
    raise InvalidInputError(
        f"out {output.name!r} is there already, made with other settings ({', '.join(changed)}). "
        "Choose another out, or pass overwrite."
    )


def begin(work: Path, settings: dict[str, Any], dataset: OfflineDataset, *, overwrite: bool) -> None:
    """Note what the work is done with; unfinished work that was begun with something else is refused or forgotten."""
    path, present = work / _FILE, {**settings, "fingerprint": dataset.fingerprint()}
    if path.is_file():
        begun = read_json(path)
        if begun.get("labelled"):
            present["fingerprint"] = begun.get("fingerprint")  # the frames are needed no more, and may be replaced
        present["labelled"] = begun.get("labelled")
        if begun == present:
            return
        if not overwrite:
            raise InvalidInputError(
                f"out has unfinished work in {str(work)!r} that was begun with other settings "
                f"({', '.join(_differences(begun, present))}). Go on with those, or pass overwrite to start again."
            )
        clear_folder(work)
    write_json(path, {**present, "labelled": False})


def note_labelled(work: Path) -> None:
    """Note that every episode is labelled: the frames are needed no more."""
    write_json(work / _FILE, {**read_json(work / _FILE), "labelled": True})


def _differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of the settings that differ, those inside of others with a dot."""
    names = []
    for key in two:
        if isinstance(one.get(key), dict) and isinstance(two[key], dict):
            inner = [*two[key], *(name for name in one[key] if name not in two[key])]
            names += [f"{key}.{name}" for name in inner if one[key].get(name) != two[key].get(name)]
        elif one.get(key) != two[key]:
            names.append(key)
    return names or ["unknown"]


def digest(settings: dict[str, Any]) -> str:
    """A short name for settings, equal only for equal ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


ReadValues: TypeAlias = Callable[[int], np.ndarray]
"""Number of an episode to the values of its rendered states, float32 ``[states columns]``."""
RewardRule: TypeAlias = Callable[[np.ndarray, np.ndarray | None, np.ndarray | None], np.ndarray]
"""Makes rewards of steps, float32 ``[steps]``, of an episode's values, of the rewards that it had first (None where it
had none), and of where it terminated, bool ``[steps]`` (None where nobody knows)."""


@dataclass(frozen=True)
class RelabelOptions:
    """How a dataset is relabelled. Which reward it gets is not said here."""

    out: str | None = None
    """Id (Minari) or folder (LeRobot) of the new dataset; default: the old one's with "-vlm"."""
    frames: tuple[str, ...] = ()
    """Where the frames are: names as the error message lists them, several for several cameras; default: look."""
    in_place: bool = False
    """Change the dataset itself, each of its files in one go."""
    copy_frames: bool = False
    """Copy images and videos, in place of links to those of the old dataset."""
    overwrite: bool = False
    """Replace a dataset that an earlier relabelling wrote, and forget unfinished work."""
    batch_size: int = 64
    """Frames embedded in one go. Another number gives rewards that differ in the last bits."""
    tolerance: float = 0.0
    """Replayed observations may differ by this much from the recorded ones."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for the environment that is replayed, such as a camera's name."""

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        if isinstance(self.tolerance, bool) or not 0.0 <= self.tolerance < float("inf"):
            raise InvalidInputError(f"tolerance must be a number of at least 0, got {self.tolerance!r}.")
        if self.in_place and self.out is not None:
            raise InvalidInputError(f"out and in_place exclude each other, got out={self.out!r}.")
        if len(set(self.frames)) != len(self.frames):
            raise InvalidInputError(f"frames must name each frame once, got {', '.join(self.frames)}.")


class OfflineDataset(ABC):
    """A dataset on disk: episodes of rendered states.

    An episode of ``n`` steps has ``n + 1`` states. `frames` gives ``n`` of them,
    or all: which ones is the format's matter, and its output knows it.
    """

    name: str
    """Id or folder, for records."""
    kind: str
    """``"minari"`` or ``"lerobot"``, with the version of the format."""
    frames_from: tuple[str, ...]
    """Where the frames come from, one name a camera."""
    steps: Sequence[int]
    """Steps of each episode."""

    @abstractmethod
    def check_resets(self) -> None:
        """Refuse where `frames` cannot give the state before the first step and the one after the last."""

    @abstractmethod
    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Frames of an episode's states in order, with ``resets`` also of that before the first step; few in memory.

        Yields:
            uint8 ``[size size 3]``; a strip ``[cameras*size size 3]`` for several cameras.
        """

    @abstractmethod
    def fingerprint(self) -> list[Any]:
        """What changes when the frames do; JSON-able, quick."""

    @abstractmethod
    def output(self, options: RelabelOptions) -> RelabelledOutput:
        """Where the new rewards go; refused where they cannot."""

    @abstractmethod
    def close(self) -> None:
        """Close files and environments. Safe to call twice."""


class RelabelledOutput(ABC):
    """The dataset with new rewards in its folder, before and after it exists; its name is for records."""

    def __init__(self, name: str, path: Path, *, in_place: bool, copy_frames: bool) -> None:
        self.name, self.path = name, path
        self._in_place, self._copy_frames = in_place, copy_frames

    @property
    def work(self) -> Path:
        """Folder for what is unfinished, beside it; hidden, so that no library lists it."""
        return self.path.with_name(f".{self.path.name}.relabel{'-in-place' if self._in_place else ''}")

    @abstractmethod
    def bytes_needed(self) -> int:
        """Room that it will take on disk, about."""

    @abstractmethod
    def read_record(self) -> dict[str, Any] | None:
        """What an earlier relabelling recorded; None where there was none, in place or elsewhere."""

    def write(self, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]) -> None:
        """Write the dataset and put it into place, in one go for each file or folder.

        ``record`` is called when every episode has passed through ``rewards``; it gives what is to be recorded.
        """
        made = self.work / "output"
        shutil.rmtree(made, ignore_errors=True)
        for file in self._write(made, rewards, read, record):
            if self._in_place:  # doing it all once more, after a crash, gives the same files
                (made / file).replace(self.path / file)
                sync_folder((self.path / file).parent)
        if not self._in_place:
            put_folder(made, self.path)

    @abstractmethod
    def _write(
        self, made: Path, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]
    ) -> Iterator[str]:
        """Write the files that change; give the place of each, those that say that the work is done last."""
