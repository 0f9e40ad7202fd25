"""The layout of a LeRobot dataset: which files hold which rows and frames of an episode.

Versions 2.0 and 2.1 have a data file and videos for each episode. Version 3.0
has several episodes in each file, and says in ``meta/episodes`` where each
begins: rows by their count, frames of a video by time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from vlm_rewards.errors import CheckpointError, InvalidInputError, MissingExtraError
from vlm_rewards.files import read_json

INFO_FILE = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
_OFF_GRID = 0.25
"""How far, in frames, the start of an episode may be from a frame of its video."""


@dataclass(frozen=True)
class VideoPart:
    """An episode's frames in a video."""

    file: str
    """Path below the dataset's folder."""
    first: int
    """Its first frame."""


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
    videos: dict[str, VideoPart] = field(default_factory=dict)
    """Its frames, by camera."""


class LeRobotLayout:
    """What the metadata of a dataset say.

    Args:
        root: The dataset's folder.

    Raises:
        InvalidInputError: The metadata are damaged, of another version, or speak of files that are not there.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, root: Path) -> None:
        import_pyarrow()
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
        """Features that are videos of pictures, not of depths."""
        return [key for key, feature in self.features.items() if feature.get("dtype") == "video" and _shows(feature)]

    @property
    def image_keys(self) -> list[str]:
        """Features that are pictures in the rows."""
        return [key for key, feature in self.features.items() if feature.get("dtype") == "image" and _shows(feature)]

    @cached_property
    def data_files(self) -> dict[str, list[LeRobotEpisode]]:
        """Every file of rows with its episodes, in order."""
        files: dict[str, list[LeRobotEpisode]] = {}
        for episode in self.episodes:
            files.setdefault(episode.data_file, []).append(episode)
        return files

    def _episodes_2(self) -> list[LeRobotEpisode]:
        videos = [key for key, feature in self.features.items() if feature.get("dtype") == "video"]
        size = int(self.info["chunks_size"])
        episodes = []
        for row in _json_lines(self.root / "meta" / "episodes.jsonl"):
            index = int(row["episode_index"])
            names = {"episode_index": index, "episode_chunk": index // size}
            parts = {key: VideoPart(self._place(self.info["video_path"], video_key=key, **names), 0) for key in videos}
            data_file = self._place(self.info["data_path"], **names)
            episodes.append(LeRobotEpisode(index, int(row["length"]), data_file, videos=parts))
        return _in_order(episodes)

    def _episodes_3(self) -> list[LeRobotEpisode]:
        import pyarrow.parquet as pq

        videos = [key for key, feature in self.features.items() if feature.get("dtype") == "video"]
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
            parts[key] = VideoPart(self._place(self.info["video_path"], video_key=key, **numbers), round(first))
        return LeRobotEpisode(int(row["episode_index"]), int(row["length"]), data_file, videos=parts)

    def _place(self, template: str, **values: Any) -> str:
        place = template.format(**values)
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise InvalidInputError(f"files of {str(self.root)!r} must be inside of it, got {place!r}.")
        return place

    def _check_files(self) -> None:
        for episode in self.episodes:
            for file in (episode.data_file, *(episode.videos[key].file for key in self.video_keys)):
                path = self.root / file
                if not path.is_file() or path.stat().st_size == 0:
                    state = "empty" if path.is_file() else "missing"
                    raise InvalidInputError(f"episode {episode.index} of {str(self.root)!r}: {file!r} is {state}.")


def is_lerobot(folder: Path) -> bool:
    """Whether a folder holds a LeRobot dataset."""
    return (folder / INFO_FILE).is_file()


def import_pyarrow() -> None:
    """Make sure that pyarrow is there.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("LeRobot datasets need pyarrow: pip install 'vlm-rewards[lerobot]'.") from error


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
    """Whether a feature has pictures of three channels, and not of depths."""
    facts = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    if facts.get("is_depth_map") or facts.get("video.is_depth_map"):
        return False
    shape = list(feature.get("shape") or [])
    return len(shape) == 3 and 3 in (shape[0], shape[2])


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say of an error of pyarrow which file it is about.

    Raises:
        InvalidInputError: In its place.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own are subclasses of these
        raise InvalidInputError(f"{str(path)!r} cannot be read: {error}.") from error
