"""Rewards of a whole recorded dataset, episode by episode, with their statistics."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vlm_rewards.collection.shaping import TransitionRule, rule_of
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.dataset import (
    OfflineDataset,
    RelabelledOutput,
    RelabelOptions,
    begin,
    digest,
    is_complete,
    note_labelled,
    score_episodes,
    settings_of,
)
from vlm_rewards.offline.files import Journal, check_disk, check_writable, clear_disk_errors, locked
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import FrameReward, as_frame_reward


@dataclass
class Tally:
    """Count, mean, deviation, least and greatest of numbers that arrive in parts (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, values: ArrayLike) -> None:
        """Take numbers in: ``[n]``."""
        numbers = np.asarray(values, dtype=np.float64).reshape(-1)
        if numbers.size == 0:
            return
        mean, total = float(numbers.mean()), self.count + numbers.size
        step = mean - self.mean
        self.squares += float(np.square(numbers - mean).sum()) + step**2 * self.count * numbers.size / total
        self.mean += step * numbers.size / total
        self.count = total
        self.least, self.greatest = min(self.least, float(numbers.min())), max(self.greatest, float(numbers.max()))

    @property
    def std(self) -> float:
        """Deviation of the population; 0 for none."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able ``mean``, ``std``, ``min`` and ``max``; empty for no number."""
        if not self.count:
            return {}
        return {"mean": self.mean, "std": self.std, "min": self.least, "max": self.greatest}


@dataclass
class RewardStatistics:
    """The new rewards, the old ones, and how far they go together."""

    new: Tally = field(default_factory=Tally)
    old: Tally = field(default_factory=Tally)
    products: float = 0.0

    def add(self, new: np.ndarray, old: np.ndarray | None) -> None:
        """Take an episode in: VLM rewards, ``[steps]``, and the dataset's own where there are some."""
        if old is not None and len(new):
            one, two = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
            steps = (one.mean() - self.new.mean) * (two.mean() - self.old.mean)
            seen, total = self.old.count, self.old.count + len(one)
            self.products += float(((one - one.mean()) * (two - two.mean())).sum()) + steps * seen * len(one) / total
            self.old.add(two)
        self.new.add(new)

    @property
    def correlation(self) -> float | None:
        """Pearson's r over all steps; None where a reward is missing or constant."""
        if self.old.count != self.new.count or not all(part.greatest > part.least for part in (self.new, self.old)):
            return None
        r = self.products / math.sqrt(self.new.squares * self.old.squares)
        return max(-1.0, min(1.0, r)) if math.isfinite(r) else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able ``rewards``, ``true_rewards`` (None where there is none) and ``correlation``."""
        return {
            "rewards": self.new.to_dict(),
            "true_rewards": self.old.to_dict() or None,
            "correlation": self.correlation,
        }


Progress: TypeAlias = Callable[[int, int], None]
"""Told of the episodes labelled so far and of all of them."""


def relabel(
    dataset: str | Path | OfflineDataset,
    reward: FrameReward,
    options: RelabelOptions | None = None,
    *,
    progress: Progress | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Write the rewards of a dataset's frames into a copy of it, or into itself.

    Labelled episodes are kept beside the output until it is complete. Killed at
    any moment and called again, it goes on with the next episode, and the
    rewards are the same, bit for bit. What is complete is not done again.

    Args:
        dataset: A Minari id, the folder of a Minari or LeRobot dataset, or what `open_dataset` gave.
        reward: Scores frames; any `FrameReward`. `CallableReward` makes one of a plain function.
        options: Where frames come from, and where the result goes.
        progress: Called after each episode.
        command: For the record.

    Returns:
        The record: ``source``, ``out``, ``kind``, ``frames_from``, ``episodes``, ``frames``, statistics of ``rewards``
        and ``true_rewards``, their ``correlation``, the settings and provenance; and of this call alone,
        ``labelled_frames``, ``seconds`` and ``frames_per_second`` (None where nothing was left to label). JSON-able.

    Raises:
        InvalidInputError: The dataset, its frames or the output are not usable.
        MissingExtraError: A library for the dataset's format is missing.
        RunFolderError: The disk failed; what is labelled is kept.
    """
    options = options or RelabelOptions()
    if not isinstance(dataset, (str, Path)):
        return _relabel(dataset, as_frame_reward(reward), options, progress, command)
    with contextlib.closing(open_dataset(dataset, options)) as opened:
        return relabel(opened, reward, options, progress=progress, command=command)


def open_dataset(dataset: str | Path, options: RelabelOptions | None = None) -> OfflineDataset:
    """Open a dataset and find its frames, without loading it.

    Args:
        dataset: A Minari id, or the folder of a Minari or LeRobot dataset.
        options: Where frames come from.

    Raises:
        InvalidInputError: There is no such dataset, or it has no usable frames.
        MissingExtraError: A library for its format is missing.
    """
    # The formats' libraries are extras: nothing of them is imported before it is needed.
    from vlm_rewards.offline.lerobot_layout import is_lerobot
    from vlm_rewards.offline.minari_files import locate_minari, unknown_dataset

    options = options or RelabelOptions()
    folder = Path(dataset).expanduser().absolute()
    if is_lerobot(folder):
        from vlm_rewards.offline.lerobot import LeRobotEpisodes

        return LeRobotEpisodes(folder, options)
    place = locate_minari(str(dataset))
    if place is None:
        if folder.is_dir():
            raise InvalidInputError(
                f"dataset {str(dataset)!r} must be a Minari dataset (data/metadata.json) or a LeRobot one "
                "(meta/info.json); the folder is neither."
            )
        raise unknown_dataset(str(dataset))
    from vlm_rewards.offline.minari import open_minari

    return open_minari(*place, options)


def _relabel(
    dataset: OfflineDataset,
    reward: FrameReward,
    options: RelabelOptions,
    progress: Progress | None,
    command: str | None,
) -> dict[str, Any]:
    rule = rule_of(reward)
    expected, given = int(getattr(reward, "cameras", 1)), len(dataset.frames_from)
    if expected != given:
        raise InvalidInputError(
            f"frames must name as many frames of a state as the reward scores, {expected}, got "
            f"{', '.join(dataset.frames_from)}. CameraReward scores several."
        )
    if rule.needs_resets:
        dataset.check_resets()
    output = dataset.output(options)
    settings = settings_of(dataset, reward, options)
    if is_complete(dataset, output, settings, options):
        shutil.rmtree(output.work, ignore_errors=True)
        record = output.read_record() or {}
        return {**record, "labelled_frames": 0, "seconds": 0.0, "frames_per_second": None}
    check_writable(output.work)
    check_disk(output.work, output.bytes_needed())
    output.work.mkdir(parents=True, exist_ok=True)
    with clear_disk_errors(output.work), locked(output.work):
        return _work(dataset, output, rule, settings, options, progress, command)


def _work(
    dataset: OfflineDataset,
    output: RelabelledOutput,
    rule: TransitionRule,
    settings: dict[str, Any],
    options: RelabelOptions,
    progress: Progress | None,
    command: str | None,
) -> dict[str, Any]:
    started = time.perf_counter()
    begin(output.work, settings, dataset, overwrite=options.overwrite)
    with contextlib.closing(Journal(output.work, rule.columns)) as journal:
        frames = _label(dataset, journal, rule, options, settings["image_size"], progress)
        note_labelled(output.work)
        seconds = time.perf_counter() - started
        statistics = RewardStatistics()

        def rewards(values: np.ndarray, old: np.ndarray | None, terminated: np.ndarray | None) -> np.ndarray:
            before, after = (values[:-1], values[1:]) if rule.needs_resets else (values, values)
            made = rule.rewards(before, after, old, terminated)
            statistics.add(made, old)
            return made

        output.write(rewards, journal.read, lambda: _record(dataset, output, settings, statistics, command))
    shutil.rmtree(output.work, ignore_errors=True)
    rate = frames / seconds if frames else None
    made = output.read_record() or {}
    return {**made, "labelled_frames": frames, "seconds": round(seconds, 3), "frames_per_second": rate}


def _label(
    dataset: OfflineDataset,
    journal: Journal,
    rule: TransitionRule,
    options: RelabelOptions,
    size: int,
    progress: Progress | None,
) -> int:
    """Label the episodes that are not in the journal; give the number of frames."""
    before, total = journal.states, len(dataset.steps)
    left = range(journal.episodes, total)
    episodes = ((episode, dataset.frames(episode, size, resets=rule.needs_resets)) for episode in left)
    for episode, values in score_episodes(rule.score, episodes, options.batch_size, rule.columns):
        expected = dataset.steps[episode] + rule.needs_resets
        if len(values) != expected:
            raise InvalidInputError(
                f"episode {episode} of {dataset.name!r} must have {expected} frames, got {len(values)}."
            )
        journal.append(episode, values)
        if progress is not None:
            progress(journal.episodes, total)
    journal.sync()
    return journal.states - before


def _record(
    dataset: OfflineDataset,
    output: RelabelledOutput,
    settings: dict[str, Any],
    statistics: RewardStatistics,
    command: str | None,
) -> dict[str, Any]:
    return {
        **settings,
        "out": Path(output.name).name if Path(output.name).is_absolute() else output.name,
        "command": command,
        "settings": digest(settings),
        "fingerprint": dataset.fingerprint(),
        "episodes": len(dataset.steps),
        "frames": sum(dataset.steps),
        **statistics.to_dict(),
        **{key: value for key, value in provenance().items() if key not in settings},
    }
