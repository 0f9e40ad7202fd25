"""The files of a Minari dataset, and its episodes, seen one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.errors import InvalidInputError, MissingExtraError, UnknownNameError, unknown_name
from vlm_rewards.files import read_json


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
        try:
            self.dataset: Any = self.minari.MinariDataset(self.folder)
        except Exception as error:  # Minari raises whatever the parsing of its metadata raises
            raise InvalidInputError(f"dataset {name!r} cannot be opened by Minari: {error}") from error
        import h5py

        try:
            self.file: Any = h5py.File(self.path, "r")
        except OSError as error:
            raise InvalidInputError(f"dataset {name!r} cannot be opened: {error}.") from error
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
        """The HDF5 group of an episode; a missing one is refused."""
        try:
            return self.file[f"episode_{episode}"]
        except KeyError:
            raise InvalidInputError(f"dataset {self.name!r} has no episode {episode}.") from None

    def jpeg(self, name: str) -> bool:
        """Whether a leaf such as ``"observations/camera"`` holds JPEG files."""
        part, _, rest = name.partition("/")
        if not self.metadata.get("jpeg_encoding", True) or part not in self.spaces:
            return False
        from minari.dataset.minari_storage import is_image_space

        space = leaf_space(self.spaces[part], rest)
        return space is not None and is_image_space(space)

    def first_rewards(self, episode: int) -> np.ndarray:
        """The rewards that an episode had before any relabelling: ``[steps]``."""
        group = self.group(episode)
        infos = group.get("infos")
        if self.relabelled and infos is not None and TRUE_REWARDS in infos:
            return np.asarray(infos[TRUE_REWARDS][()])
        return np.asarray(group["rewards"][()])

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self.file.close()


def locate_minari(dataset: str) -> tuple[Path, str] | None:
    """Folder of the datasets and id of what an id or a dataset's folder means; None where there is no such dataset.

    Raises:
        InvalidInputError: The folder holds a dataset that is called differently.
    """
    folder = Path(dataset).expanduser().absolute()
    if not (folder / "data" / METADATA_FILE).is_file() and (folder / METADATA_FILE).is_file():
        folder = folder.parent  # the folder of the data itself
    if (folder / "data" / METADATA_FILE).is_file():
        name = str(read_json(folder / "data" / METADATA_FILE).get("dataset_id"))
        parts = Path(name).parts
        if folder.parts[-len(parts) :] != parts:
            raise InvalidInputError(
                f"the dataset in {str(folder)!r} says that its id is {name!r}; Minari wants its folder to be called so."
            )
        return Path(*folder.parts[: -len(parts)]), name
    try:
        root = datasets_root()
    except ImportError:
        return None
    return (root, dataset) if (root / dataset / "data" / METADATA_FILE).is_file() else None


DATA_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"
RECORD_KEY = "vlm_rewards"
"""Our record in the metadata, and our mark among the attributes of the data file."""
TRUE_REWARDS = "true_rewards"
"""Where among the infos the rewards go that a dataset had first."""

_SLICE_BYTES = 8 << 20
"""How much of a file is read in one go."""


def import_minari() -> Any:
    """Import minari and h5py, or say in a MissingExtraError how to get them."""
    try:
        import h5py  # noqa: F401
        import minari
    except ImportError as error:
        raise MissingExtraError(
            f"Minari datasets need {error.name or 'minari'}: pip install 'vlm-rewards[minari]'."
        ) from error
    return minari


def datasets_root() -> Path:
    """Folder of the local datasets: ``$MINARI_DATASETS_PATH``, or Minari's default."""
    from minari.storage.datasets_root_dir import get_dataset_path

    return get_dataset_path()


def unknown_dataset(name: str) -> UnknownNameError:
    """Build the error for a dataset that is nowhere on this machine."""
    import_minari()
    from minari.storage.local import list_local_datasets

    with warnings.catch_warnings():  # Minari warns of each folder that is no dataset
        warnings.simplefilter("ignore")
        known = list(list_local_datasets())
    if known:
        return unknown_name("dataset", name, known)
    return UnknownNameError(
        f"unknown dataset {name!r}: it is no folder, and there are no Minari datasets in {str(datasets_root())!r} "
        "(`minari download ID` fetches one)."
    )


def leaves(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every ``h5py.Dataset`` below a group, with its path; ``prefix`` is the group's own."""
    if not hasattr(group, "keys"):
        yield prefix, group
        return
    for key in group:
        yield from leaves(group[key], f"{prefix}/{key}")


def leaf_space(space: gym.Space[Any], path: str) -> gym.Space[Any] | None:
    """The space below another one at a path such as ``"camera/_index_0"``; None where the path leads elsewhere."""
    for part in filter(None, path.split("/")):
        if isinstance(space, gym.spaces.Dict) and part in space.spaces:
            space = space.spaces[part]
        elif isinstance(space, gym.spaces.Tuple) and part.startswith("_index_"):
            space = space.spaces[int(part.removeprefix("_index_"))]
        else:
            return None
    return space


def row_slices(dataset: Any, start: int, stop: int) -> Iterator[np.ndarray]:
    """Read the rows of an ``h5py.Dataset`` from ``start`` to before ``stop``, some megabytes at a time."""
    shape = dataset.shape[1:]
    row_bytes = max(1, int(np.prod(shape)) * dataset.dtype.itemsize) if shape else 64_000  # vlen: of unknown length
    rows = max(1, _SLICE_BYTES // row_bytes)
    for first in range(start, stop, rows):
        yield dataset[first : min(stop, first + rows)]
