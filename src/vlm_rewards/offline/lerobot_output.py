"""A LeRobot dataset with new rewards, written beside the old one or file by file in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.files import read_json, sync_file, sync_folder, write_json
from vlm_rewards.offline.dataset import ReadValues, RewardRule
from vlm_rewards.offline.files import put_folder
from vlm_rewards.offline.lerobot_layout import INFO_FILE, LeRobotLayout, episode_files
from vlm_rewards.offline.lerobot_rows import (
    REWARD,
    STATE_REWARD,
    TRUE_REWARD,
    read_columns,
    relabelled_features,
    rewrite,
    with_rewards,
)
from vlm_rewards.offline.lerobot_stats import rewrite_stats_columns, rewrite_stats_json, rewrite_stats_lines

RECORD_FILE = "meta/vlm_rewards.json"


class LeRobotOutput:
    """The new dataset: three reward features, all else as it was.

    ``next.reward`` is what the action of a row led to: the reward of the *next*
    row's picture; in the last row, whose next state was not recorded, that of
    its own. ``vlm_reward`` is the reward of the row's own picture. A
    ``next.reward`` that was there becomes ``true_reward``. Videos and pictures
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
