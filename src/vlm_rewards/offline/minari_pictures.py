"""Pictures that a Minari dataset has stored, among its observations or infos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.photographer import letterbox
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.offline.minari_data import MinariData
from vlm_rewards.offline.minari_files import decode_jpeg, leaf_space, leaves, naming, row_slices

REPLAY = "replay"
"""Name of the other source of pictures."""
_SMALLEST = 32
"""Side of what is taken for a picture unasked; Minari has the same limit. Below it are grids of a few cells."""


class StoredPictures:
    """Frames of episodes, from one place or (several cameras) several.

    Args:
        data: The dataset.
        names: Places, such as ``"observations"`` or ``"infos/camera"``.

    Raises:
        InvalidInputError: A place does not exist, holds something else, or is not there in an episode.
    """

    def __init__(self, data: MinariData, names: Sequence[str]) -> None:
        self._data = data
        self.names = tuple(names)
        for name in names:
            if not _is_leaf(data.group(0), name):
                raise unknown_name("frames", name, [*list_pictures(data)[0], REPLAY])
        for episode in range(data.episodes):
            with naming(data.name, episode):
                for name in names:
                    self._check(episode, name)

    def check_resets(self) -> None:
        """Check that the state before the first step is pictured, too.

        Raises:
            InvalidInputError: It is not.
        """
        for name in self.names:
            if self._data.group(0)[name].shape[0] == self._data.steps[0]:
                raise InvalidInputError(f"frames {name!r} hold no picture of the state before the first step.")

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Pictures of an episode's states: see `OfflineDataset.frames`."""
        with naming(self._data.name, episode):
            cameras = [self._frames(episode, name, size, resets=resets) for name in self.names]
            for pictures in zip(*cameras, strict=True):
                yield pictures[0] if len(pictures) == 1 else np.concatenate(pictures)

    def close(self) -> None:
        """Nothing to close."""

    def _frames(self, episode: int, name: str, size: int, *, resets: bool) -> Iterator[Frame]:
        dataset, jpeg = self._data.group(episode)[name], self._data.jpeg(name)
        rows = int(dataset.shape[0])
        first = 0 if resets or rows == self._data.steps[episode] else 1
        for block in row_slices(dataset, first, rows):
            for row in block:
                yield letterbox(decode_jpeg(row) if jpeg else row, size)

    def _check(self, episode: int, name: str) -> None:
        dataset = self._data.group(episode)[name]
        steps, rows = self._data.steps[episode], int(dataset.shape[0])
        if rows != steps + 1 and not (rows == steps and name.startswith("infos/")):
            raise InvalidInputError(f"frames {name!r} must hold {steps + 1} pictures for {steps} steps, got {rows}")
        fault = _fault(*_row_type(self._data, name, dataset))
        if fault is not None:
            raise InvalidInputError(f"frames {name!r} must be uint8 [height width 3], got {fault}")


def choose_pictures(data: MinariData) -> tuple[str, ...]:
    """Choose where the pictures come from: the observations, else the infos, else `REPLAY`.

    Raises:
        InvalidInputError: There are several places, or none and no way to replay.
    """
    found, faults = list_pictures(data)
    for part in ("observations", "infos"):
        names = [name for name in found if name.split("/")[0] == part]
        if len(names) > 1:
            raise InvalidInputError(
                f"dataset {data.name!r} has pictures in several places; choose with frames: {', '.join(names)}. "
                "Several of them are several cameras."
            )
        if names:
            return (names[0],)
    if data.dataset.env_spec is None:
        hint = f" Not taken for pictures: {'; '.join(faults)}." if faults else ""
        raise InvalidInputError(
            f"dataset {data.name!r} has no pictures (uint8 [height width 3], at least {_SMALLEST} pixels high and "
            f"wide) among its observations or infos, and no environment to replay its actions in.{hint}"
        )
    return (REPLAY,)


def list_pictures(data: MinariData) -> tuple[list[str], list[str]]:
    """List the places in the first episode that hold pictures, and those that nearly do, with what is wrong."""
    found, faults = [], []
    group = data.group(0)
    for part in ("observations", "infos"):
        for name, dataset in leaves(group[part], part) if part in group else ():
            dtype, shape = _row_type(data, name, dataset)
            if _fault(dtype, shape) is None and min(shape[:2]) >= _SMALLEST:
                found.append(name)
            elif len(shape) in (2, 3) and min(shape) > 0 and max(shape) >= _SMALLEST:
                faults.append(f"{name} ({_fault(dtype, shape) or f'only {shape[0]} x {shape[1]} pixels'})")
    return found, faults


def _is_leaf(group: Any, name: str) -> bool:
    return name.split("/")[0] in ("observations", "infos") and name in group and not hasattr(group[name], "keys")


def _row_type(data: MinariData, name: str, dataset: Any) -> tuple[Any, list[int]]:
    """Type and shape of a row, decoded."""
    if data.jpeg(name):
        space = leaf_space(data.spaces["observations"], name.partition("/")[2])
        return np.uint8, list((space.shape if space is not None else None) or ())
    return dataset.dtype, list(dataset.shape[1:])


def _fault(dtype: Any, shape: Sequence[int]) -> str | None:
    """What keeps an array from being a picture; None for nothing."""
    text = f"{np.dtype(dtype)} {list(shape)}"
    if len(shape) != 3 or 0 in shape:
        return text
    if shape[2] != 3:
        return text + (" (channels first)" if shape[0] == 3 else f" ({shape[2]} channels)")
    if np.dtype(dtype) != np.uint8:
        return text + " (scale it to 0..255 and convert it to uint8)"
    return None
