"""Minari datasets, as the relabelling sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.dataset import RelabelOptions
from vlm_rewards.offline.minari_data import MinariData
from vlm_rewards.offline.minari_files import check_dataset_id, relabelled_id
from vlm_rewards.offline.minari_output import MinariOutput, check_free_name, check_new_name
from vlm_rewards.offline.minari_pictures import REPLAY, StoredPictures, choose_pictures
from vlm_rewards.offline.minari_replay import ReplayedPictures


class MinariEpisodes:
    """A Minari dataset whose pictures have been found; an `OfflineDataset`.

    The reward of step ``t`` is that of observation ``t + 1``, the last one included.

    Args:
        root: Folder of the datasets.
        name: The dataset's id.
        options: Where the pictures are, and how closely a replay must fit.

    Raises:
        InvalidInputError: The dataset cannot be read, or has no usable pictures.
    """

    def __init__(self, root: Path, name: str, options: RelabelOptions) -> None:
        self._data = MinariData(root, name)
        try:
            self._pictures = _pictures(self._data, options)
        except BaseException:
            self._data.close()
            raise

    @property
    def name(self) -> str:
        """The dataset's id."""
        return self._data.name

    @property
    def kind(self) -> str:
        """The format."""
        return "minari"

    @property
    def frames_from(self) -> tuple[str, ...]:
        """Where the pictures come from."""
        return self._pictures.names

    @property
    def steps(self) -> Sequence[int]:
        """Steps of each episode."""
        return self._data.steps

    def check_resets(self) -> None:
        """Check that first states are pictured."""
        self._pictures.check_resets()

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Pictures of the states that an episode's steps led to, and of the one before them with ``resets``."""
        return self._pictures.frames(episode, size, resets=resets)

    def fingerprint(self) -> list[Any]:
        """What changes when the pictures do."""
        return self._data.fingerprint()

    def output(self, options: RelabelOptions) -> MinariOutput:
        """Where the new rewards go."""
        check_free_name(self._data)
        if options.in_place:
            return MinariOutput(self._data, self._data.name, copy_pictures=True)
        name = check_dataset_id("out", relabelled_id(self.name) if options.out is None else options.out)
        check_new_name(self._data, name)
        return MinariOutput(self._data, name, copy_pictures=options.copy_pictures)

    def close(self) -> None:
        """Close the file and the environment."""
        self._pictures.close()
        self._data.close()


def _pictures(data: MinariData, options: RelabelOptions) -> StoredPictures | ReplayedPictures:
    names = options.frames or choose_pictures(data)
    if REPLAY not in names:
        if options.env_kwargs:
            raise InvalidInputError("env_kwargs are of use only where frames are replayed, and these are stored.")
        return StoredPictures(data, names)
    if len(names) > 1:
        raise InvalidInputError(f"frames must be {REPLAY!r} or stored pictures, not both, got {', '.join(names)}.")
    return ReplayedPictures(data, tolerance=options.tolerance, env_kwargs=options.env_kwargs)
