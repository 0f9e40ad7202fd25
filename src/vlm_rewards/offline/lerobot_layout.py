"""The layout of a LeRobot dataset (v2 and v3): which files hold which rows and frames of an episode."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vlm_rewards.errors import CheckpointError, InvalidInputError, MissingExtraError
from vlm_rewards.files import read_json

INFO_FILE = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
_OFF_GRID = 0.25
"""How far, in frames, the start of an episode may be from a frame of its video."""


@dataclass(frozen=True)
class LeRobotEpisode:
    """Where an episode is."""

    index: int
    """Its number in the dataset."""
    length: int
    """Rows, and frames of each camera."""
    data_file: str
    """Path of the rows' file below the dataset's folder."""
    first_row: int = 0
    """Its first row in that file."""
    videos: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By camera: path of the video below the dataset's folder, and its first frame there."""


class LeRobotLayout:
    """What the metadata of a dataset say.

    Args:
        root: The dataset's folder.

    Raises:
        InvalidInputError: The metadata are damaged, of another version, or speak of files that are not there.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, root: Path) -> None:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("LeRobot datasets need pyarrow: pip install 'vlm-rewards[lerobot]'.") from error
        self.root = root
        try:
            self.info = read_json(root / INFO_FILE)
            self.version = str(self.info.get("codebase_version"))
            if self.version not in VERSIONS:
                raise InvalidInputError(
                    f"codebase_version of {str(root)!r} must be one of {', '.join(VERSIONS)}, got {self.version!r}."
                )
            self.features: dict[str, Any] = dict(self.info["features"])
            self.fps = float(self.info["fps"])
            self.episodes = self._episodes_3() if self.version == "v3.0" else self._episodes_2()
        except CheckpointError as error:
            raise InvalidInputError(str(error)) from error
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError(f"the metadata of {str(root)!r} are damaged: {error!r}.") from error
        if not self.episodes:
            raise InvalidInputError(f"dataset {str(root)!r} holds no episode.")
        self._check_files()

    @property
    def video_keys(self) -> list[str]:
        """Features that are videos of frames, not of depths."""
        return [key for key in self._features("video") if _shows(self.features[key])]

    @property
    def image_keys(self) -> list[str]:
        """Features that are frames in the rows."""
        return [key for key in self._features("image") if _shows(self.features[key])]

    def _features(self, dtype: str) -> list[str]:
        return [key for key, feature in self.features.items() if feature.get("dtype") == dtype]

    @cached_property
    def data_files(self) -> dict[str, list[LeRobotEpisode]]:
        """Every file of rows with its episodes, in order."""
        files: dict[str, list[LeRobotEpisode]] = {}
        for episode in self.episodes:
            files.setdefault(episode.data_file, []).append(episode)
        return files

    def _episodes_2(self) -> list[LeRobotEpisode]:
        size, videos = int(self.info["chunks_size"]), self._features("video")
        episodes = []
        for row in _json_lines(self.root / "meta" / "episodes.jsonl"):
            index = int(row["episode_index"])
            names = {"episode_index": index, "episode_chunk": index // size}
            parts = {key: (self._place(self.info["video_path"], video_key=key, **names), 0) for key in videos}
            data_file = self._place(self.info["data_path"], **names)
            episodes.append(LeRobotEpisode(index, int(row["length"]), data_file, videos=parts))
        return _in_order(episodes)

    def _episodes_3(self) -> list[LeRobotEpisode]:
        import pyarrow.parquet as pq

        videos = self._features("video")
        columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
        for key in videos:
            columns += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        episodes = []
        for file in episode_files(self.root):
            with reading(file):
                rows = pq.read_table(file, columns=columns).to_pylist()
            episodes += [self._episode_3(row, videos) for row in rows]
        return _in_order(episodes)

    def _episode_3(self, row: dict[str, Any], videos: list[str]) -> LeRobotEpisode:
        data_file = self._place(
            self.info["data_path"], chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        parts = {}
        for key in videos:
            place = f"videos/{key}"
            numbers = {"chunk_index": row[f"{place}/chunk_index"], "file_index": row[f"{place}/file_index"]}
            first = row[f"{place}/from_timestamp"] * self.fps
            if abs(first - round(first)) > _OFF_GRID:
                raise InvalidInputError(
                    f"episode {row['episode_index']} of {str(self.root)!r} starts between two frames of its video "
                    f"{key!r}: {row[f'{place}/from_timestamp']} s at {self.fps:g} frames a second."
                )
            parts[key] = (self._place(self.info["video_path"], video_key=key, **numbers), round(first))
        return LeRobotEpisode(int(row["episode_index"]), int(row["length"]), data_file, videos=parts)

    def _place(self, template: str, **values: Any) -> str:
        place = template.format(**values)
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise InvalidInputError(f"files of {str(self.root)!r} must be inside of it, got {place!r}.")
        return place

    def _check_files(self) -> None:
        for episode in self.episodes:
            for file in (episode.data_file, *(episode.videos[key][0] for key in self.video_keys)):
                path = self.root / file
                if not path.is_file() or path.stat().st_size == 0:
                    state = "empty" if path.is_file() else "missing"
                    raise InvalidInputError(f"episode {episode.index} of {str(self.root)!r}: {file!r} is {state}.")


def is_lerobot(folder: Path) -> bool:
    """Whether a folder holds a LeRobot dataset."""
    return (folder / INFO_FILE).is_file()


def episode_files(root: Path) -> list[Path]:
    """Files that say where episodes are, in version 3.0."""
    return sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))


def _in_order(episodes: list[LeRobotEpisode]) -> list[LeRobotEpisode]:
    """Sort episodes, and count where each begins in its file."""
    rows: dict[str, int] = {}
    ordered = []
    for episode in sorted(episodes, key=lambda episode: episode.index):
        first = rows.get(episode.data_file, 0)
        rows[episode.data_file] = first + episode.length
        ordered.append(dataclasses.replace(episode, first_row=first))
    return ordered


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{str(path)!r} cannot be read: {error}.") from error


def _shows(feature: dict[str, Any]) -> bool:
    """Whether a feature has frames of three channels, and not of depths."""
    facts = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    if facts.get("is_depth_map") or facts.get("video.is_depth_map"):
        return False
    shape = list(feature.get("shape") or [])
    return len(shape) == 3 and 3 in (shape[0], shape[2])


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file an error of pyarrow is about, by an InvalidInputError in its place."""
    try:
        yield
    except InvalidInputError:
        raise
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own are subclasses of these
        raise InvalidInputError(f"{str(path)!r} cannot be read: {error}.") from error


REWARD = "next.reward"
"""LeRobot's name for what an action earned."""
STATE_REWARD = "vlm_reward"
"""Our name for what the state of a row itself scores. Where it is, ``next.reward`` is ours, too."""
TRUE_REWARD = "true_reward"
"""Our name for the reward that the dataset had first."""

_BLOCK_BYTES = 8 << 20
_MOST_ROWS = 1 << 16


def check_rows(layout: LeRobotLayout) -> None:
    """Refuse where the files of rows do not hold what the metadata say, in order, or where our names are not free."""
    names = set(layout.features)
    if TRUE_REWARD in names and STATE_REWARD not in names:
        raise InvalidInputError(
            f"dataset {str(layout.root)!r} has a feature {TRUE_REWARD!r} that is not ours; rename it first."
        )
    for file, episodes in layout.data_files.items():
        indices = np.repeat([episode.index for episode in episodes], [episode.length for episode in episodes])
        frames = np.concatenate([np.arange(episode.length) for episode in episodes])
        found = read_columns(layout.root / file, ["episode_index", "frame_index"])
        if not (np.array_equal(found["episode_index"], indices) and np.array_equal(found["frame_index"], frames)):
            raise InvalidInputError(
                f"{file!r} of {str(layout.root)!r} must hold the {len(frames)} rows of {len(episodes)} episodes that "
                f"the metadata name, in order; it has {len(found['frame_index'])} rows."
            )


def read_columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Read columns of one number a row: those of ``names`` that are there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path, memory_map=True) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        table = file.read(columns=there)
        columns: dict[str, np.ndarray] = {}
        for name in there:
            column = table.column(name).combine_chunks()
            if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):  # shape (1,) as a list
                column = column.flatten()
            columns[name] = np.asarray(column.to_numpy(zero_copy_only=False))
        return columns


def rewrite(source: Path, target: Path, change: Callable[[Any, int], Any]) -> None:
    """Write a Parquet file again to another place, some megabytes at a time.

    ``change`` is given a ``pyarrow.Table`` of some rows and the number of the first one; it returns the rows to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(source), pq.ParquetFile(source, memory_map=True) as file:
        facts = file.metadata
        total = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        rows = int(np.clip(_BLOCK_BYTES * facts.num_rows // max(1, total), 1, _MOST_ROWS))
        codec = facts.row_group(0).column(0).compression.lower() if facts.num_row_groups else "snappy"
        first, writer = 0, None
        try:
            for batch in file.iter_batches(batch_size=rows):
                table = change(pa.Table.from_batches([batch]), first)
                if writer is None:
                    writer = pq.ParquetWriter(target, table.schema, compression=codec.replace("uncompressed", "none"))
                writer.write_table(table)
                first += len(batch)
        finally:
            if writer is not None:
                writer.close()


def with_rewards(table: Any, reward: np.ndarray, state_reward: np.ndarray) -> Any:
    """Put rewards, float32 ``[rows]``, into a ``pyarrow.Table``; those that were there first become `TRUE_REWARD`."""
    import pyarrow as pa

    metadata = dict(table.schema.metadata or {})
    if STATE_REWARD in table.column_names:
        table = table.drop_columns([name for name in (REWARD, STATE_REWARD) if name in table.column_names])
    elif REWARD in table.column_names:
        table = table.rename_columns([TRUE_REWARD if name == REWARD else name for name in table.column_names])
    table = table.append_column(REWARD, pa.array(reward, pa.float32()))
    table = table.append_column(STATE_REWARD, pa.array(state_reward, pa.float32()))
    return table.replace_schema_metadata(_with_features(metadata))


def _with_features(metadata: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Name the new columns where the ``datasets`` library looks for their types."""
    try:
        facts = json.loads(metadata[b"huggingface"])
        new = [{"dtype": "float32", "_type": "Value"} for _ in range(2)]
        facts["info"]["features"] = relabelled(facts["info"]["features"], *new)
    except (KeyError, TypeError, ValueError):  # none, or not as it writes them: it then looks at the columns
        return metadata
    return {**metadata, b"huggingface": json.dumps(facts).encode()}


def relabelled(features: dict[str, Any], reward: Any, state_reward: Any) -> dict[str, Any]:
    """What a mapping of features becomes when rewards are replaced; the first ones become `TRUE_REWARD`."""
    kept = {key: value for key, value in features.items() if key not in (REWARD, STATE_REWARD)}
    if STATE_REWARD not in features and REWARD in features:  # it is not ours yet
        kept[TRUE_REWARD] = features[REWARD]
    return {**kept, REWARD: reward, STATE_REWARD: state_reward}
