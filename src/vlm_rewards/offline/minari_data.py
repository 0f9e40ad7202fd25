"""An opened Minari dataset: its episodes, seen one at a time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json
from vlm_rewards.offline.minari_files import (
    DATA_FILE,
    METADATA_FILE,
    RECORD_KEY,
    TRUE_REWARDS,
    datasets_root,
    import_minari,
    is_jpeg,
    leaf_space,
    unknown_dataset,
)


class MinariData:
    """A dataset of Minari's HDF5 format, opened for reading; nothing of it is loaded.

    Args:
        root: Folder of the datasets.
        name: The dataset's id.

    Raises:
        InvalidInputError: There is no such dataset, or it cannot be read.
        MissingExtraError: Minari is not installed.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.minari = import_minari()
        self.root, self.name = root, name
        if not (self.folder / METADATA_FILE).is_file():
            raise unknown_dataset(name)
        self.metadata = read_json(self.folder / METADATA_FILE)
        if self.metadata.get("data_format") != "hdf5":
            raise InvalidInputError(
                f"dataset {name!r} must be stored in Minari's default format, hdf5, "
                f"got data_format {self.metadata.get('data_format')!r}."
            )
        self.dataset = _open(self.minari, self.folder, name)
        self.file = _open_file(self.path, name)
        self.episodes = int(self.dataset.total_episodes)
        if not self.episodes:
            self.close()
            raise InvalidInputError(f"dataset {name!r} holds no episode.")

    @property
    def folder(self) -> Path:
        """Folder of the dataset's files."""
        return self.root / self.name / "data"

    @property
    def path(self) -> Path:
        """The HDF5 file."""
        return self.folder / DATA_FILE

    @property
    def spaces(self) -> dict[str, gym.Space[Any]]:
        """Spaces of ``observations`` and ``actions``."""
        return {"observations": self.dataset.observation_space, "actions": self.dataset.action_space}

    @property
    def relabelled(self) -> bool:
        """Whether its rewards are ours already; then the first ones are among the infos."""
        return RECORD_KEY in self.file.attrs

    @cached_property
    def steps(self) -> list[int]:
        """Steps of each episode."""
        return [int(self.group(episode)["rewards"].shape[0]) for episode in range(self.episodes)]

    def group(self, episode: int) -> Any:
        """The HDF5 group of an episode.

        Raises:
            InvalidInputError: There is none.
        """
        try:
            return self.file[f"episode_{episode}"]
        except KeyError:
            raise InvalidInputError(f"dataset {self.name!r} has no episode {episode}.") from None

    def jpeg(self, name: str) -> bool:
        """Whether a leaf such as ``"observations/camera"`` holds JPEG files."""
        part, _, rest = name.partition("/")
        encoded = bool(self.metadata.get("jpeg_encoding", True)) and part in self.spaces
        return encoded and is_jpeg(leaf_space(self.spaces[part], rest))

    def first_rewards(self, episode: int) -> np.ndarray:
        """The rewards that an episode had before any relabelling: ``[steps]``."""
        group = self.group(episode)
        infos = group.get("infos")
        if self.relabelled and infos is not None and TRUE_REWARDS in infos:
            return np.asarray(infos[TRUE_REWARDS][()])
        return np.asarray(group["rewards"][()])

    def terminations(self, episode: int) -> np.ndarray:
        """Whether each step ended in a terminal state: bool ``[steps]``."""
        return np.asarray(self.group(episode)["terminations"][()], dtype=bool)

    def fingerprint(self) -> list[Any]:
        """Size and time of the data file."""
        facts = self.path.stat()
        return [self.episodes, facts.st_size, facts.st_mtime_ns]

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self.file.close()


def locate_minari(dataset: str) -> tuple[Path, str] | None:
    """Tell what dataset a name or a folder means.

    Args:
        dataset: A Minari id, or the path of a dataset's folder.

    Returns:
        Folder of the datasets and id; None where there is no such dataset.

    Raises:
        InvalidInputError: The folder holds a dataset that is called differently.
    """
    folder = Path(dataset).expanduser().absolute()
    if not (folder / "data" / METADATA_FILE).is_file() and (folder / METADATA_FILE).is_file():
        folder = folder.parent  # the folder of the data itself
    if (folder / "data" / METADATA_FILE).is_file():
        return _root_of(folder)
    try:
        root = datasets_root()
    except ImportError:
        return None
    return (root, dataset) if (root / dataset / "data" / METADATA_FILE).is_file() else None


def _root_of(folder: Path) -> tuple[Path, str]:
    name = str(read_json(folder / "data" / METADATA_FILE).get("dataset_id"))
    parts = Path(name).parts
    if folder.parts[-len(parts) :] != parts:
        raise InvalidInputError(
            f"the dataset in {str(folder)!r} says that its id is {name!r}; Minari wants its folder to be called so."
        )
    return Path(*folder.parts[: -len(parts)]), name


def _open(minari: Any, folder: Path, name: str) -> Any:
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # Minari raises whatever the parsing of its metadata raises
        raise InvalidInputError(f"dataset {name!r} cannot be opened by Minari: {error}") from error


def _open_file(path: Path, name: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InvalidInputError(f"dataset {name!r} cannot be opened: {error}.") from error
