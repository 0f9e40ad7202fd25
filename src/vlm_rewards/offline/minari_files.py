"""Minari datasets on disk: where they are, what their files are called, how an episode's group is laid out."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, MissingExtraError, UnknownNameError, unknown_name

DATA_FILE = "main_data.hdf5"
METADATA_FILE = "metadata.json"
RECORD_KEY = "vlm_rewards"
"""Our record in the metadata, and our mark among the attributes of the data file."""
TRUE_REWARDS = "true_rewards"
"""Where among the infos the rewards go that a dataset had first."""

_ID = re.compile(r"(?:[-\w][-\w/]*/)?[-\w]+-v\d+")
_SLICE_BYTES = 8 << 20
"""How much of a file is read in one go."""


def import_minari() -> Any:
    """Import minari and h5py, or say how to get them.

    Raises:
        MissingExtraError: One of them is not installed.
    """
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


def check_dataset_id(field: str, name: str) -> str:
    """Check that a name is a Minari id.

    Raises:
        InvalidInputError: It is not.
    """
    if not _ID.fullmatch(name):
        raise InvalidInputError(f"{field} must be a Minari id such as 'namespace/name-v0', got {name!r}.")
    return name


def relabelled_id(name: str) -> str:
    """The default id of the new dataset: ``a/b-v1`` to ``a/b-vlm-v1``."""
    stem, version = name.rsplit("-v", 1)
    return f"{stem}-vlm-v{version}"


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
    """Every HDF5 dataset below a group, with its path.

    Args:
        group: ``h5py.Group`` or ``h5py.Dataset``.
        prefix: The group's own path.
    """
    if not hasattr(group, "keys"):
        yield prefix, group
        return
    for key in group:
        yield from leaves(group[key], f"{prefix}/{key}")


def leaf_space(space: gym.Space[Any], path: str) -> gym.Space[Any] | None:
    """The space of one leaf.

    Args:
        space: Of the whole.
        path: The leaf's path below it, such as ``"camera/_index_0"``; empty for the whole.

    Returns:
        Its space; None where the path leads elsewhere.
    """
    for part in filter(None, path.split("/")):
        if isinstance(space, gym.spaces.Dict) and part in space.spaces:
            space = space.spaces[part]
        elif isinstance(space, gym.spaces.Tuple) and part.startswith("_index_"):
            space = space.spaces[int(part.removeprefix("_index_"))]
        else:
            return None
    return space


def is_jpeg(space: gym.Space[Any] | None) -> bool:
    """Whether Minari stores values of a space as JPEG (where the dataset says that it does so at all)."""
    from minari.dataset.minari_storage import is_image_space

    return space is not None and is_image_space(space)


def row_slices(dataset: Any, start: int, stop: int) -> Iterator[np.ndarray]:
    """Read rows of an HDF5 dataset, some megabytes at a time.

    Args:
        dataset: ``h5py.Dataset``.
        start: First row.
        stop: The row after the last.

    Yields:
        Arrays of successive rows.
    """
    shape = dataset.shape[1:]
    row_bytes = max(1, int(np.prod(shape)) * dataset.dtype.itemsize) if shape else 64_000  # vlen: of unknown length
    rows = max(1, _SLICE_BYTES // row_bytes)
    for first in range(start, stop, rows):
        yield dataset[first : min(stop, first + rows)]


def decode_jpeg(data: np.ndarray) -> Frame:
    """Decode one picture: uint8 ``[bytes]`` to uint8 ``[h w 3]``.

    Raises:
        InvalidInputError: It is damaged, or not RGB.
    """
    try:
        with Image.open(io.BytesIO(np.asarray(data, dtype=np.uint8).tobytes())) as image:
            if image.mode != "RGB":
                raise InvalidInputError(f"it must have 3 channels, got a picture of mode {image.mode!r}")
            return np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise InvalidInputError(f"it cannot be decoded: {error}") from error


@contextlib.contextmanager
def naming(dataset: str, episode: int) -> Iterator[None]:
    """Say in an error which episode it is about.

    Raises:
        InvalidInputError: In place of the one that was raised, or of an error of HDF5.
    """
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"episode {episode} of {dataset!r}: {str(error).removesuffix('.')}.") from error
    except (OSError, KeyError) as error:
        raise InvalidInputError(f"episode {episode} of {dataset!r} cannot be read: {error}.") from error
