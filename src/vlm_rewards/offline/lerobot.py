"""LeRobot datasets: their frames (videos or PNG files), and new rewards beside the old ones or in their place."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.files import read_json, sync_file, sync_folder, write_json
from vlm_rewards.media import read_coded_frames
from vlm_rewards.offline.dataset import ReadValues, RelabelOptions, RewardRule
from vlm_rewards.offline.files import put_folder
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
    relabelled_features,
    rewrite,
    with_rewards,
)
from vlm_rewards.tasks.rendering import letterbox

_ROWS = 16
"""Rows with frames that are read in one go."""

_Opener: TypeAlias = Callable[[Path], Iterator[Any]]


class LeRobotPictures:
    """Frames of episodes, from one camera or several.

    Episodes that follow one another in a file are read in one pass.

    Args:
        layout: The dataset's layout.
        names: Features that are frames.

    Raises:
        InvalidInputError: A feature is no frame, or the first frame cannot be read.
    """

    def __init__(self, layout: LeRobotLayout, names: Sequence[str]) -> None:
        self._layout = layout
        self.names = tuple(names)
        choices = [*layout.video_keys, *layout.image_keys]
        for name in names:
            if name not in choices:
                raise _no_picture(layout, name, choices)
        self._cameras = {name: self._camera(name) for name in names}
        next(self.frames(0, 32))
        for camera in self._cameras.values():  # a video that waits to be read on would keep its process
            camera.close()

    def frames(self, position: int, size: int) -> Iterator[Frame]:
        """Frames of the rows of an episode: uint8 ``[size size 3]``, or strips.

        Args:
            position: Of the episode in the layout's list.
            size: Side of the square that each is fitted into.
        """
        episode = self._layout.episodes[position]
        cameras = [self._frames(episode, name) for name in self.names]
        for pictures in zip(*cameras, strict=True):
            fitted = [letterbox(frame, size) for frame in pictures]
            yield fitted[0] if len(fitted) == 1 else np.concatenate(fitted)

    def close(self) -> None:
        """End what is being read. Safe to call twice."""
        for camera in self._cameras.values():
            camera.close()

    def _camera(self, name: str) -> _Cursor:
        if name in self._layout.video_keys:
            return _Cursor(read_coded_frames)
        return _Cursor(lambda path: _encoded_pictures(path, name))

    def _frames(self, episode: LeRobotEpisode, name: str) -> Iterator[Frame]:
        if name in self._layout.video_keys:
            part = episode.videos[name]
            file, first = part.file, part.first
        else:
            file, first = episode.data_file, episode.first_row
        count = 0
        for item in self._cameras[name].read(self._layout.root / file, first, episode.length):
            yield _decode(item, episode.index, name) if isinstance(item, bytes | None) else item
            count += 1
        if count < episode.length:
            raise InvalidInputError(
                f"{file!r} of {str(self._layout.root)!r} must hold frames {first} to {first + episode.length - 1} for "
                f"episode {episode.index}, got {first + count} frames."
            )


class _Cursor:
    """Reads parts of files; what comes next in the same file is read on, not sought from the start."""

    def __init__(self, opener: _Opener) -> None:
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


def choose_pictures(layout: LeRobotLayout) -> tuple[str, ...]:
    """Choose the only camera.

    Raises:
        InvalidInputError: There is none, or there are several.
    """
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


def _no_picture(layout: LeRobotLayout, name: str, choices: Sequence[str]) -> InvalidInputError:
    feature = layout.features.get(name)
    if feature is None:
        return unknown_name("frames", name, choices)
    return InvalidInputError(
        f"frames {name!r} must be a video or an image of 3 channels, got {feature.get('dtype')} "
        f"{feature.get('shape')}. Choices: {', '.join(choices) or 'none'}."
    )


def _encoded_pictures(path: Path, column: str) -> Iterator[bytes | None]:
    """The encoded frames of a file's rows, a few rows at a time."""
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
            for cell in batch.column(0):
                yield (cell.as_py() or {}).get("bytes")


def _decode(data: bytes | None, episode: int, name: str) -> Frame:
    if data is None:
        raise InvalidInputError(f"episode {episode}: a frame of {name!r} is not in the data file itself.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode not in ("RGB", "RGBA", "P"):
                raise InvalidInputError(
                    f"episode {episode}: a frame of {name!r} must have 3 channels, got mode {image.mode!r}."
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise InvalidInputError(f"episode {episode}: a frame of {name!r} cannot be decoded: {error}") from error


EpisodeRewards: TypeAlias = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Number of an episode to its ``next.reward`` and ``vlm_reward``, each ``[rows]``."""

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def feature_statistics(values: np.ndarray, *, quantiles: bool) -> dict[str, list[Any]]:
    """Statistics of one feature of one number a row, as LeRobot writes them.

    Args:
        values: ``[rows]``.
        quantiles: Whether the dataset has quantiles (newer ones do).
    """
    numbers = np.asarray(values, dtype=np.float64)
    facts: dict[str, list[Any]] = {
        "min": [float(numbers.min())],
        "max": [float(numbers.max())],
        "mean": [float(numbers.mean())],
        "std": [float(numbers.std())],
        "count": [len(numbers)],
    }
    if quantiles:
        facts |= {name: [float(value)] for name, value in _quantiles(numbers).items()}
    return facts


def rewrite_stats_json(source: Path, target: Path, reward: np.ndarray, state_reward: np.ndarray) -> None:
    """Write ``stats.json``, the statistics of the whole dataset, again."""
    write_json(target, _with_statistics(read_json(source), reward, state_reward))


def rewrite_stats_lines(source: Path, target: Path, rewards: EpisodeRewards) -> None:
    """Write ``episodes_stats.jsonl`` of version 2.1 again, a line at a time."""
    with source.open(encoding="utf-8") as old, target.open("w", encoding="utf-8") as new:
        for line in filter(str.strip, old):
            entry = json.loads(line)
            entry["stats"] = _with_statistics(entry["stats"], *rewards(int(entry["episode_index"])))
            new.write(json.dumps(entry) + "\n")


def rewrite_stats_columns(source: Path, target: Path, rewards: EpisodeRewards) -> None:
    """Write a file of ``meta/episodes`` of version 3.0 again: statistics are columns ``stats/FEATURE/NAME``."""
    rewrite(source, target, lambda table, first: _with_columns(table, rewards))


def _with_statistics(stats: dict[str, Any], reward: np.ndarray, state_reward: np.ndarray) -> dict[str, Any]:
    quantiles = any("q01" in facts for facts in stats.values() if isinstance(facts, dict))
    kept = {key: value for key, value in stats.items() if key not in (REWARD, STATE_REWARD)}
    if STATE_REWARD not in stats and REWARD in stats:
        kept[TRUE_REWARD] = stats[REWARD]
    kept[REWARD] = feature_statistics(reward, quantiles=quantiles)
    kept[STATE_REWARD] = feature_statistics(state_reward, quantiles=quantiles)
    return kept


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


def _quantiles(numbers: np.ndarray) -> dict[str, float]:
    return dict(zip(_QUANTILES, np.quantile(numbers, list(_QUANTILES.values())).tolist(), strict=True))


RECORD_FILE = "meta/vlm_rewards.json"


class LeRobotOutput:
    """The new dataset: three reward features, all else as it was.

    ``next.reward`` is what the action of a row led to: the reward of the *next*
    row's frame; in the last row, whose next state was not recorded, that of
    its own. ``vlm_reward`` is the reward of the row's own frame. A
    ``next.reward`` that was there becomes ``true_reward``. Videos and frames
    outside of the rows are linked, or copied if that is asked for.

    Args:
        layout: The old dataset.
        path: Folder of the new one; the old one's to replace its files.
        copy_pictures: Whether videos are copied, too.
    """

    def __init__(self, layout: LeRobotLayout, path: Path, *, copy_pictures: bool) -> None:
        self._layout = layout
        self.path = path
        self._in_place = path == layout.root
        self._copy_pictures = copy_pictures
        self._positions = {episode.index: position for position, episode in enumerate(layout.episodes)}

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.path)

    @property
    def work(self) -> Path:
        """Folder of unfinished work."""
        suffix = ".relabel-in-place" if self._in_place else ".relabel"
        return self.path.with_name(f".{self.path.name}{suffix}")

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

    def write(self, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]) -> None:
        """Write the dataset and put it into place: see `RelabelledOutput.write`."""
        made = self.work / "output"
        shutil.rmtree(made, ignore_errors=True)
        if not self._in_place:
            self._carry(made)
        for file in self._rewritten():
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            self._rewrite(file, made / file, rewards, read)
            sync_file(made / file)
            if self._in_place:
                self._put(made, file)
        write_json(made / RECORD_FILE, record())
        if self._in_place:
            self._put(made, RECORD_FILE)
        else:
            put_folder(made, self.path)

    def _put(self, made: Path, file: str) -> None:
        """Put one file into place. Doing it all once more, after a crash, gives the same files."""
        (made / file).replace(self.path / file)
        sync_folder((self.path / file).parent)

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
            write_json(target, self._info())
        elif file == "meta/stats.json":
            parts = [pair(episode.index) for episode in self._layout.episodes]
            rewrite_stats_json(source, target, *(np.concatenate(column) for column in zip(*parts, strict=True)))
        elif file == "meta/episodes_stats.jsonl":
            rewrite_stats_lines(source, target, pair)
        elif file.startswith("meta/episodes/"):
            rewrite_stats_columns(source, target, pair)
        else:
            self._rewrite_rows(file, target, rewards, read)

    def _rewrite_rows(self, file: str, target: Path, rewards: RewardRule, read: ReadValues) -> None:
        columns = read_columns(self._layout.root / file, [REWARD, STATE_REWARD, TRUE_REWARD])
        first_rewards = columns.get(TRUE_REWARD if STATE_REWARD in columns else REWARD)
        following_parts, own_parts = [], []
        for episode in self._layout.data_files[file]:
            own = read(self._positions[episode.index])
            rows = slice(episode.first_row, episode.first_row + episode.length)
            old = None if first_rewards is None else first_rewards[rows]
            following_parts.append(rewards(following(own), old, None))
            own_parts.append(own[:, 0])
        reward, own_reward = np.concatenate(following_parts), np.concatenate(own_parts)
        rewrite(
            self._layout.root / file,
            target,
            lambda table, first: with_rewards(
                table, reward[first : first + len(table)], own_reward[first : first + len(table)]
            ),
        )

    def _info(self) -> dict[str, Any]:
        new: dict[str, Any] = {"dtype": "float32", "shape": [1], "names": None}
        features = self._layout.features
        return {**self._layout.info, "features": relabelled_features(features, new, ours=STATE_REWARD in features)}

    def _files(self) -> Iterator[str]:
        """Every file of the old dataset that is not hidden."""
        for folder, folders, files in os.walk(self._layout.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self._layout.root).as_posix()

    def _is_linked(self, file: str) -> bool:
        return not self._copy_pictures and file.split("/")[0] in ("videos", "images")

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
    """What each row's action led to: the next row's value, and in the last row its own.

    Args:
        values: Of the rows' own states, ``[rows]`` or ``[rows columns]``.
    """
    return np.concatenate([values[1:], values[-1:]])


class LeRobotEpisodes:
    """A folder of videos or frames in LeRobot's format, 2.0 to 3.0; an `OfflineDataset`.

    An episode of ``n`` rows frames ``n`` states: row ``t`` shows the state
    *before* action ``t``, and the state after the last action is not recorded.

    Args:
        root: The dataset's folder.
        options: Which cameras are looked through.

    Raises:
        InvalidInputError: The dataset cannot be read, or has no usable frames.
    """

    def __init__(self, root: Path, options: RelabelOptions) -> None:
        if options.env_kwargs:
            raise InvalidInputError("env_kwargs are of use only where frames are replayed, and LeRobot has videos.")
        self._layout = LeRobotLayout(root)
        check_rows(self._layout)
        self._pictures = LeRobotPictures(self._layout, options.frames or choose_pictures(self._layout))

    @property
    def name(self) -> str:
        """The folder's own name: a record that is shared should not say where it was."""
        return self._layout.root.name

    @property
    def kind(self) -> str:
        """The format and its version."""
        return f"lerobot {self._layout.version}"

    @property
    def frames_from(self) -> tuple[str, ...]:
        """The cameras."""
        return self._pictures.names

    @property
    def steps(self) -> Sequence[int]:
        """Rows of each episode."""
        return [episode.length for episode in self._layout.episodes]

    def check_resets(self) -> None:
        """Refuse: a difference of potentials needs the last state, too.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError("shaping needs a frame of the last state, which LeRobot datasets do not have.")

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Frames of an episode's rows; ``resets`` changes nothing."""
        return self._pictures.frames(episode, size)

    def fingerprint(self) -> list[Any]:
        """Sizes and times of the files that hold the frames."""
        layout = self._layout
        videos = [name for name in self.frames_from if name in layout.video_keys]
        files = list(layout.data_files) if len(videos) < len(self.frames_from) else []
        files = [*files, *{episode.videos[name].file for episode in layout.episodes for name in videos}]
        facts = [(layout.root / file).stat() for file in sorted(files)]
        lengths = [episode.length for episode in layout.episodes]
        return [
            len(lengths),
            sum(lengths),
            sum(fact.st_size for fact in facts),
            max(fact.st_mtime_ns for fact in facts),
        ]

    def output(self, options: RelabelOptions) -> LeRobotOutput:
        """Where the new rewards go."""
        root = self._layout.root
        if options.in_place:
            return LeRobotOutput(self._layout, root, copy_pictures=False)
        out = root.with_name(root.name + "-vlm") if options.out is None else Path(options.out).expanduser().absolute()
        if out == root or root in out.parents or out in root.parents:
            raise InvalidInputError(
                f"out must be a folder beside the dataset's, got {str(out)!r}. To change the dataset, say in_place."
            )
        return LeRobotOutput(self._layout, out, copy_pictures=options.copy_pictures)

    def close(self) -> None:
        """End what is being read."""
        self._pictures.close()
