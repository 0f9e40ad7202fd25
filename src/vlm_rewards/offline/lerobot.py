"""LeRobot datasets: their frames (videos or PNG files), and new rewards beside the old ones or in their place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.files import read_json, sync_file, write_json
from vlm_rewards.media import read_coded_frames
from vlm_rewards.offline.dataset import OfflineDataset, ReadValues, RelabelledOutput, RelabelOptions, RewardRule
from vlm_rewards.offline.files import decode_frame, naming
from vlm_rewards.offline.lerobot_layout import (
    INFO_FILE,
    REWARD,
    STATE_REWARD,
    TRUE_REWARD,
    LeRobotEpisode,
    LeRobotLayout,
    check_rows,
    episode_files,
    read_columns,
    reading,
    relabelled,
    rewrite,
    with_rewards,
)
from vlm_rewards.tasks.rendering import letterbox

_ROWS = 16
"""Rows with frames that are read in one go."""


class LeRobotEpisodes(OfflineDataset):
    """A folder of videos or frames in LeRobot's format, 2.0 to 3.0.

    An episode of ``n`` rows has ``n`` frames: row ``t`` shows the state *before*
    action ``t``, and the state after the last action is not recorded. Episodes
    that follow one another in a file are read in one pass. What cannot be read,
    or has no usable frames, is refused.
    """

    def __init__(self, root: Path, options: RelabelOptions) -> None:
        if options.env_kwargs:
            raise InvalidInputError("env_kwargs are of use only where frames are replayed, and LeRobot has videos.")
        self._layout = LeRobotLayout(root)
        check_rows(self._layout)
        # A record that is shared should not say where the dataset was: the folder's own name is enough.
        self.name, self.kind = root.name, f"lerobot {self._layout.version}"
        self.steps = [episode.length for episode in self._layout.episodes]
        self.frames_from = options.frames or choose_frames(self._layout)
        choices = [*self._layout.video_keys, *self._layout.image_keys]
        for name in self.frames_from:
            feature = self._layout.features.get(name)
            if feature is None:
                raise unknown_name("frames", name, choices)
            if name not in choices:
                raise InvalidInputError(
                    f"frames {name!r} must be a video or an image of 3 channels, got {feature.get('dtype')} "
                    f"{feature.get('shape')}. Choices: {', '.join(choices) or 'none'}."
                )
        self._cameras = {
            name: _Cursor(
                read_coded_frames if name in self._layout.video_keys else partial(_encoded_frames, column=name)
            )
            for name in self.frames_from
        }
        next(self.frames(0, 32, resets=False))
        self.close()  # a video that waits to be read on would keep its process

    def check_resets(self) -> None:
        """Refuse always: a difference of potentials needs the last state, too."""
        raise InvalidInputError("shaping needs a frame of the last state, which LeRobot datasets do not have.")

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Frames of an episode's rows; ``resets`` changes nothing."""
        cameras = [self._frames(self._layout.episodes[episode], name) for name in self.frames_from]
        for seen in zip(*cameras, strict=True):
            fitted = [letterbox(frame, size) for frame in seen]
            yield fitted[0] if len(fitted) == 1 else np.concatenate(fitted)

    def fingerprint(self) -> list[Any]:
        """Sizes and times of the files that hold the frames."""
        layout = self._layout
        videos = [name for name in self.frames_from if name in layout.video_keys]
        files = list(layout.data_files) if len(videos) < len(self.frames_from) else []
        files = [*files, *{episode.videos[name][0] for episode in layout.episodes for name in videos}]
        facts = [(layout.root / file).stat() for file in sorted(files)]
        sizes, times = sum(fact.st_size for fact in facts), max(fact.st_mtime_ns for fact in facts)
        return [len(self.steps), sum(self.steps), sizes, times]

    def output(self, options: RelabelOptions) -> LeRobotOutput:
        """Where the new rewards go."""
        root = self._layout.root
        if options.in_place:
            return LeRobotOutput(self._layout, root, copy_frames=False)
        out = root.with_name(root.name + "-vlm") if options.out is None else Path(options.out).expanduser().absolute()
        if out == root or root in out.parents or out in root.parents:
            raise InvalidInputError(
                f"out must be a folder beside the dataset's, got {str(out)!r}. To change the dataset, say in_place."
            )
        return LeRobotOutput(self._layout, out, copy_frames=options.copy_frames)

    def close(self) -> None:
        """End what is being read."""
        for camera in self._cameras.values():
            camera.close()

    def _frames(self, episode: LeRobotEpisode, name: str) -> Iterator[Frame]:
        if name in self._layout.video_keys:
            file, first = episode.videos[name]
        else:
            file, first = episode.data_file, episode.first_row
        count = 0
        for item in self._cameras[name].read(self._layout.root / file, first, episode.length):
            if item is None or isinstance(item, bytes):
                with naming(self.name, episode.index):
                    if item is None:
                        raise InvalidInputError(f"a frame of {name!r} is not in the data file itself")
                    item = decode_frame(item)
            yield item
            count += 1
        if count < episode.length:
            raise InvalidInputError(
                f"{file!r} of {str(self._layout.root)!r} must hold frames {first} to {first + episode.length - 1} for "
                f"episode {episode.index}, got {first + count} frames."
            )


class _Cursor:
    """Reads parts of files; what comes next in the same file is read on, not sought from the start."""

    def __init__(self, opener: Callable[[Path], Iterator[Any]]) -> None:
        self._open = opener
        self._path: Path | None = None
        self._items: Iterator[Any] = iter(())
        self._next = 0

    def read(self, path: Path, first: int, count: int) -> Iterator[Any]:
        """Give up to ``count`` items from the ``first`` one on."""
        if path != self._path or first < self._next:
            self.close()
            self._path, self._items, self._next = path, self._open(path), 0
        while self._next < first + count:
            item = next(self._items, self)
            if item is self:
                return
            self._next += 1
            if self._next > first:
                yield item

    def close(self) -> None:
        """Forget the file; ends the process that decodes it."""
        items, self._path, self._items, self._next = self._items, None, iter(()), 0
        if hasattr(items, "close"):
            items.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator


def choose_frames(layout: LeRobotLayout) -> tuple[str, ...]:
    """Choose the only camera; none or several are refused."""
    names = [*layout.video_keys, *layout.image_keys]
    if not names:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has no frames: none of its features is a video or an image of 3 channels."
        )
    if len(names) > 1:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has several cameras; choose with frames: {', '.join(names)}."
        )
    return (names[0],)


def _encoded_frames(path: Path, column: str) -> Iterator[bytes | None]:
    """The encoded frames of a file's rows, a few rows at a time."""
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
            for cell in batch.column(0):
                yield (cell.as_py() or {}).get("bytes")


EpisodeRewards: TypeAlias = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Number of an episode to its ``next.reward`` and ``vlm_reward``, each ``[rows]``."""

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def feature_statistics(values: np.ndarray, *, quantiles: bool) -> dict[str, list[Any]]:
    """Statistics of a feature of one number a row, ``[rows]``, as LeRobot writes them (newer ones with quantiles)."""
    numbers = np.asarray(values, dtype=np.float64)
    facts: dict[str, list[Any]] = {
        "min": [float(numbers.min())],
        "max": [float(numbers.max())],
        "mean": [float(numbers.mean())],
        "std": [float(numbers.std())],
        "count": [len(numbers)],
    }
    if quantiles:
        values_of = np.quantile(numbers, list(_QUANTILES.values())).tolist()
        facts |= {name: [value] for name, value in zip(_QUANTILES, values_of, strict=True)}
    return facts


def _with_statistics(stats: dict[str, Any], rewards: Iterable[np.ndarray]) -> dict[str, Any]:
    quantiles = any("q01" in facts for facts in stats.values() if isinstance(facts, dict))
    return relabelled(stats, *(feature_statistics(values, quantiles=quantiles) for values in rewards))


def _with_columns(table: Any, rewards: EpisodeRewards) -> Any:
    import pyarrow as pa

    names = table.column_names
    if not any(name.startswith("stats/") for name in names):
        return table
    quantiles = any(name.endswith("/q01") for name in names)
    if any(name.startswith(f"stats/{STATE_REWARD}/") for name in names):
        table = table.drop_columns([name for name in names if name.split("/")[1:2] in ([REWARD], [STATE_REWARD])])
    else:
        prefix = f"stats/{REWARD}/"
        table = table.rename_columns([name.replace(prefix, f"stats/{TRUE_REWARD}/", 1) for name in names])
    pairs = [rewards(int(index)) for index in table.column("episode_index").to_pylist()]
    for place, feature in enumerate((REWARD, STATE_REWARD)):
        rows = [feature_statistics(pair[place], quantiles=quantiles) for pair in pairs]
        for name in rows[0]:
            kind = pa.int64() if name == "count" else pa.float64()
            table = table.append_column(
                f"stats/{feature}/{name}", pa.array([row[name] for row in rows], pa.list_(kind))
            )
    # The types that the `datasets` library noted are those of the old columns; without them it looks for itself.
    notes = dict(table.schema.metadata or {})
    notes.pop(b"huggingface", None)
    return table.replace_schema_metadata(notes)


RECORD_FILE = "meta/vlm_rewards.json"


class LeRobotOutput(RelabelledOutput):
    """The new dataset: three reward features, all else as it was.

    ``next.reward`` is what the action of a row led to: the reward of the *next*
    row's frame; in the last row, whose next state was not recorded, that of
    its own. ``vlm_reward`` is the reward of the row's own frame. A
    ``next.reward`` that was there becomes ``true_reward``. Videos and frames
    outside of the rows are linked, or copied if that is asked for. The old
    dataset's own folder stands for replacing its files.
    """

    def __init__(self, layout: LeRobotLayout, path: Path, *, copy_frames: bool) -> None:
        super().__init__(str(path), path, in_place=path == layout.root, copy_frames=copy_frames)
        self._layout = layout
        self._positions = {episode.index: position for position, episode in enumerate(layout.episodes)}

    def bytes_needed(self) -> int:
        """Room that it will take on disk, about."""
        rows = sum(episode.length for episode in self._layout.episodes)
        written = set(self._rewritten())
        kept = () if self._in_place else (file for file in self._files() if file not in written)
        copied = [file for file in kept if not self._is_linked(file)]
        return 16 * rows + sum((self._layout.root / file).stat().st_size for file in [*written, *copied])

    def read_record(self) -> dict[str, Any] | None:
        """What an earlier relabelling recorded."""
        file = self.path / RECORD_FILE
        return read_json(file) if file.is_file() else None

    def _write(
        self, made: Path, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]
    ) -> Iterator[str]:
        if not self._in_place:
            self._carry(made)
        for file in self._rewritten():
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            self._rewrite(file, made / file, rewards, read)
            sync_file(made / file)
            yield file
        write_json(made / RECORD_FILE, record())
        yield RECORD_FILE

    def _rewritten(self) -> Iterator[str]:
        """Files that change, rows first, what speaks of them last."""
        yield from self._layout.data_files
        for file in ("meta/stats.json", "meta/episodes_stats.jsonl"):
            if (self._layout.root / file).is_file():
                yield file
        if self._layout.version == "v3.0":
            yield from (file.relative_to(self._layout.root).as_posix() for file in episode_files(self._layout.root))
        yield INFO_FILE

    def _rewrite(self, file: str, target: Path, rewards: RewardRule, read: ReadValues) -> None:
        source = self._layout.root / file

        def pair(index: int) -> tuple[np.ndarray, np.ndarray]:
            own = read(self._positions[index])[:, 0]
            return following(own), own

        if file == INFO_FILE:
            new = [{"dtype": "float32", "shape": [1], "names": None} for _ in range(2)]
            write_json(target, {**self._layout.info, "features": relabelled(self._layout.features, *new)})
        elif file == "meta/stats.json":
            parts = [pair(episode.index) for episode in self._layout.episodes]
            write_json(target, _with_statistics(read_json(source), map(np.concatenate, zip(*parts, strict=True))))
        elif file == "meta/episodes_stats.jsonl":
            with source.open(encoding="utf-8") as old, target.open("w", encoding="utf-8") as new:
                for entry in map(json.loads, filter(str.strip, old)):
                    entry["stats"] = _with_statistics(entry["stats"], pair(int(entry["episode_index"])))
                    new.write(json.dumps(entry) + "\n")
        elif file.startswith("meta/episodes/"):
            rewrite(source, target, lambda table, first: _with_columns(table, pair))
        else:
            self._rewrite_rows(file, target, rewards, read)

    def _rewrite_rows(self, file: str, target: Path, rewards: RewardRule, read: ReadValues) -> None:
        columns = read_columns(self._layout.root / file, [REWARD, STATE_REWARD, TRUE_REWARD])
        first_rewards = columns.get(TRUE_REWARD if STATE_REWARD in columns else REWARD)
        parts = []
        for episode in self._layout.data_files[file]:
            own = read(self._positions[episode.index])
            rows = slice(episode.first_row, episode.first_row + episode.length)
            old = None if first_rewards is None else first_rewards[rows]
            parts.append((rewards(following(own), old, None), own[:, 0]))
        both = [np.concatenate(column) for column in zip(*parts, strict=True)]

        def change(table: Any, first: int) -> Any:
            return with_rewards(table, *(values[first : first + len(table)] for values in both))

        rewrite(self._layout.root / file, target, change)

    def _files(self) -> Iterator[str]:
        """Every file of the old dataset that is not hidden."""
        for folder, folders, files in os.walk(self._layout.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self._layout.root).as_posix()

    def _is_linked(self, file: str) -> bool:
        return not self._copy_frames and file.split("/")[0] in ("videos", "images")

    def _carry(self, made: Path) -> None:
        """Link or copy the files that stay as they are."""
        written = {*self._rewritten(), RECORD_FILE}
        for file in self._files():
            if file in written:
                continue
            target = made / file
            target.parent.mkdir(parents=True, exist_ok=True)
            source = os.path.realpath(self._layout.root / file)
            if self._is_linked(file):
                # From where the folder will be, not from where it is made.
                target.symlink_to(os.path.relpath(source, (self.path / file).parent))
            else:
                shutil.copyfile(source, target)


def following(values: np.ndarray) -> np.ndarray:
    """What each row's action led to, ``[rows]`` or ``[rows columns]``: the next row's value, or in the last its own."""
    return np.concatenate([values[1:], values[-1:]])
