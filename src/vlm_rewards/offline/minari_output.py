"""A Minari dataset with new rewards, written beside the old one or in its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json, sync_file, sync_folder, write_json
from vlm_rewards.offline.dataset import ReadValues, RewardRule
from vlm_rewards.offline.files import put_folder
from vlm_rewards.offline.minari_data import MinariData
from vlm_rewards.offline.minari_files import DATA_FILE, METADATA_FILE, RECORD_KEY, TRUE_REWARDS, leaves

_REST_BYTES = 4096
"""About what an episode takes besides its arrays."""


class MinariOutput:
    """The new dataset: other rewards, the first ones among the infos, all else as it was.

    What holds pictures is not copied unless that is asked for: an HDF5 external
    link leads to the old file. Everything else is copied.

    Args:
        data: The old dataset.
        name: Id of the new one; the old one's to replace its file.
        copy_pictures: Whether pictures are copied, too.
    """

    def __init__(self, data: MinariData, name: str, *, copy_pictures: bool) -> None:
        self._data = data
        self.name = name
        self._in_place = name == data.name
        self._copy_pictures = copy_pictures or self._in_place

    @property
    def path(self) -> Path:
        """Folder of the dataset."""
        return self._data.root / self.name

    @property
    def work(self) -> Path:
        """Folder of unfinished work; hidden, so that Minari does not list it."""
        suffix = ".relabel-in-place" if self._in_place else ".relabel"
        return self.path.with_name(f".{self.path.name}{suffix}")

    def bytes_needed(self) -> int:
        """Room that it will take on disk, about."""
        needed = 0
        for episode in range(self._data.episodes):
            group = self._data.group(episode)
            stored = (
                dataset.id.get_storage_size()
                for name, dataset in leaves(group, "")
                if self._copy_pictures or not self._holds_pictures(name.strip("/"), dataset)
            )
            needed += sum(stored) + 12 * self._data.steps[episode] + _REST_BYTES
        return needed

    def read_record(self) -> dict[str, Any] | None:
        """What an earlier relabelling recorded."""
        file = self.path / "data" / METADATA_FILE
        record = read_json(file).get(RECORD_KEY) if file.is_file() else None
        return record if isinstance(record, dict) else None

    def write(self, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]) -> None:
        """Write the dataset and put it into place: see `RelabelledOutput.write`."""
        made = self.work / "output"
        shutil.rmtree(made, ignore_errors=True)
        (made / "data").mkdir(parents=True)
        self._write_data(made / "data" / DATA_FILE, rewards, read)
        sync_file(made / "data" / DATA_FILE)
        write_json(made / "data" / METADATA_FILE, self._metadata(made / "data", record()))
        if self._in_place:
            # The data first: the metadata say that the work is done.
            for file in (DATA_FILE, METADATA_FILE):
                (made / "data" / file).replace(self._data.folder / file)
            sync_folder(self._data.folder)
        else:
            put_folder(made, self.path)
            _register_namespace(self._data.root, self.name)

    def _write_data(self, path: Path, rewards: RewardRule, read: ReadValues) -> None:
        import h5py

        with h5py.File(path, "w", track_order=True) as file:  # as Minari makes it
            file.attrs[RECORD_KEY] = "rewards are new; infos/true_rewards are those that the dataset had first"
            for episode in range(self._data.episodes):
                old = self._data.first_rewards(episode)
                new = rewards(read(episode), old, self._data.terminations(episode))
                self._write_episode(file.create_group(f"episode_{episode}"), episode, new, old)

    def _write_episode(self, group: Any, episode: int, rewards: np.ndarray, old: np.ndarray) -> None:
        source = self._data.group(episode)
        _copy_attributes(source, group)
        for name, dataset in leaves(source, ""):
            path = name.strip("/")
            if path not in ("rewards", f"infos/{TRUE_REWARDS}"):
                self._carry(path, dataset, group)
        _extendable(group, "rewards", np.asarray(rewards, dtype=np.float32))
        _extendable(group.require_group("infos"), TRUE_REWARDS, old)

    def _carry(self, path: str, dataset: Any, group: Any) -> None:
        """Link or copy an array that stays as it is."""
        import h5py

        *folders, leaf = path.split("/")
        parent = group.require_group("/".join(folders)) if folders else group
        if self._copy_pictures or not self._holds_pictures(path, dataset):
            dataset.file.copy(dataset, parent, leaf)
        else:
            # The file that has it: the old one, or the one that the old one links to.
            target = os.path.relpath(Path(dataset.file.filename).absolute(), (self.path / "data").absolute())
            parent[leaf] = h5py.ExternalLink(target, dataset.name)

    def _holds_pictures(self, path: str, dataset: Any) -> bool:
        return self._data.jpeg(path) or (dataset.dtype == np.uint8 and dataset.ndim >= 3)

    def _metadata(self, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
        metadata = dict(self._data.metadata)
        if not self._in_place:
            metadata["dataset_id"] = self.name
            said = str(metadata.get("description") or "").strip()
            added = f"Rewards of {self._data.name} replaced by those of a vision-language model; see {RECORD_KEY!r}."
            metadata["description"] = f"{said} {added}".strip()
        metadata["dataset_size"] = round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1)
        metadata[RECORD_KEY] = record
        json.dumps(metadata)  # the old ones are JSON, ours must be, too
        return metadata


def _copy_attributes(source: Any, target: Any) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value


def _extendable(group: Any, name: str, values: np.ndarray) -> None:
    """An array that Minari can append to."""
    group.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


def _register_namespace(root: Path, name: str) -> None:
    """Tell Minari of the folders that the id has before its last slash."""
    from minari.namespace import NAMESPACE_METADATA_FILENAME

    folder = (root / name).parent
    while folder != root:
        if not (folder / NAMESPACE_METADATA_FILENAME).exists():
            (folder / NAMESPACE_METADATA_FILENAME).write_text("{}", encoding="utf-8")
        folder = folder.parent


def check_new_name(data: MinariData, name: str) -> None:
    """Check that a new dataset may be called so.

    Raises:
        InvalidInputError: It is the old one's name.
    """
    if name == data.name:
        raise InvalidInputError(f"out must be another id than the dataset's, got {name!r}. To change it, say in_place.")


def check_free_name(data: MinariData) -> None:
    """Check that the infos have room for the rewards that the dataset has now.

    Raises:
        InvalidInputError: Something of that name is there already, and is not ours.
    """
    infos = data.group(0).get("infos")
    if infos is not None and TRUE_REWARDS in infos and not data.relabelled:
        raise InvalidInputError(f"the infos of dataset {data.name!r} have {TRUE_REWARDS!r} already; rename them first.")
