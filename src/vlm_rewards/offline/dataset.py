"""What a dataset must be able to do to be given new rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, check_count

ReadValues: TypeAlias = Callable[[int], Float32[np.ndarray, "states columns"]]
"""Values of the pictured states of an episode."""


@dataclass(frozen=True)
class RelabelOptions:
    """How a dataset is relabelled. Which reward it gets is not said here."""

    out: str | None = None
    """Id (Minari) or folder (LeRobot) of the new dataset; default: the old one's with "-vlm"."""
    frames: tuple[str, ...] = ()
    """Where the pictures are: names as the error message lists them, several for several cameras; default: look."""
    in_place: bool = False
    """Change the dataset itself, each of its files in one go."""
    copy_pictures: bool = False
    """Copy pictures and videos, in place of links to those of the old dataset."""
    overwrite: bool = False
    """Replace a dataset that an earlier relabelling wrote, and forget unfinished work."""
    batch_size: int = 64
    """Pictures embedded in one go. Another number gives rewards that differ in the last bits."""
    tolerance: float = 0.0
    """Replayed observations may differ by this much from the recorded ones."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments for the environment that is replayed, such as a camera's name."""

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        if isinstance(self.tolerance, bool) or not 0.0 <= self.tolerance < float("inf"):
            raise InvalidInputError(f"tolerance must be a number of at least 0, got {self.tolerance!r}.")
        if self.in_place and self.out is not None:
            raise InvalidInputError(f"out and in_place exclude each other, got out={self.out!r}.")
        if len(set(self.frames)) != len(self.frames):
            raise InvalidInputError(f"frames must name each picture once, got {', '.join(self.frames)}.")


@runtime_checkable
class OfflineDataset(Protocol):
    """A dataset on disk: episodes of pictured states.

    An episode of ``n`` steps has ``n + 1`` states. `frames` gives ``n`` of them,
    or all: which ones is the format's matter, and its output knows it.
    """

    @property
    def name(self) -> str:
        """Id or folder, for records."""
        ...

    @property
    def kind(self) -> str:
        """``"minari"`` or ``"lerobot"``, with the version of the format."""
        ...

    @property
    def frames_from(self) -> tuple[str, ...]:
        """Where the pictures come from, one name a camera."""
        ...

    @property
    def steps(self) -> Sequence[int]:
        """Steps of each episode."""
        ...

    def check_resets(self) -> None:
        """Check that `frames` can give the state before the first step, and the one after the last.

        Raises:
            InvalidInputError: It cannot.
        """
        ...

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Pictures of an episode's states in order, few of them in memory.

        Args:
            episode: Its number.
            size: Side of the square that each is fitted into.
            resets: Whether the state before the first step is to be among them.

        Yields:
            uint8 ``[size size 3]``; a strip ``[cameras*size size 3]`` for several cameras.
        """
        ...

    def fingerprint(self) -> list[Any]:
        """What changes when the pictures do; JSON-able, quick."""
        ...

    def output(self, options: RelabelOptions) -> RelabelledOutput:
        """Where the new rewards go.

        Raises:
            InvalidInputError: They cannot go there.
        """
        ...

    def close(self) -> None:
        """Close files and environments. Safe to call twice."""
        ...


@runtime_checkable
class RelabelledOutput(Protocol):
    """The dataset with new rewards, before and after it exists."""

    @property
    def name(self) -> str:
        """Id or folder, for records."""
        ...

    @property
    def path(self) -> Path:
        """Folder of the finished dataset."""
        ...

    @property
    def work(self) -> Path:
        """Folder for what is unfinished, beside it."""
        ...

    def bytes_needed(self) -> int:
        """Room that it will take on disk, about."""
        ...

    def read_record(self) -> dict[str, Any] | None:
        """What an earlier relabelling recorded; None where there was none, in place or elsewhere."""
        ...

    def write(self, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]) -> None:
        """Write the dataset and put it into place, in one go for each file or folder.

        Args:
            rewards: Values of an episode's states to rewards of its steps.
            read: Gives the values of an episode.
            record: Called when every episode has passed through ``rewards``; gives what is to be recorded.
        """
        ...


@runtime_checkable
class RewardRule(Protocol):
    """Turns the values of states into the rewards of steps."""

    def __call__(
        self,
        values: Float32[np.ndarray, "states columns"],
        old: np.ndarray | None,
        terminated: np.ndarray | None,
    ) -> Float32[np.ndarray, " steps"]:
        """Rewards of one episode.

        Args:
            values: Of the pictured states.
            old: The rewards that the dataset had first, ``[steps]``; None where it had none.
            terminated: Whether a step ended in a terminal state, bool ``[steps]``; None where nobody knows.
        """
        ...
