"""LeRobot datasets, as the relabelling sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.dataset import RelabelOptions
from vlm_rewards.offline.lerobot_layout import LeRobotLayout
from vlm_rewards.offline.lerobot_output import LeRobotOutput
from vlm_rewards.offline.lerobot_pictures import LeRobotPictures, choose_pictures
from vlm_rewards.offline.lerobot_rows import check_rows


class LeRobotEpisodes:
    """A folder of videos or pictures in LeRobot's format, 2.0 to 3.0; an `OfflineDataset`.

    An episode of ``n`` rows pictures ``n`` states: row ``t`` shows the state
    *before* action ``t``, and the state after the last action is not recorded.

    Args:
        root: The dataset's folder.
        options: Which cameras are looked through.

    Raises:
        InvalidInputError: The dataset cannot be read, or has no usable pictures.
    """

    def __init__(self, root: Path, options: RelabelOptions) -> None:
        if options.env_kwargs:
            raise InvalidInputError("env_kwargs are of use only where frames are replayed, and LeRobot has videos.")
        self._layout = LeRobotLayout(root)
        check_rows(self._layout)
        self._pictures = LeRobotPictures(self._layout, options.frames or choose_pictures(self._layout))

    @property
    def name(self) -> str:
        """The folder's own name: a record that is shared should not say where it was."""
        return self._layout.root.name

    @property
    def kind(self) -> str:
        """The format and its version."""
        return f"lerobot {self._layout.version}"

    @property
    def frames_from(self) -> tuple[str, ...]:
        """The cameras."""
        return self._pictures.names

    @property
    def steps(self) -> Sequence[int]:
        """Rows of each episode."""
        return [episode.length for episode in self._layout.episodes]

    def check_resets(self) -> None:
        """Refuse: a difference of potentials needs the last state, too.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError("shaping needs a picture of the last state, which LeRobot datasets do not have.")

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Pictures of an episode's rows; ``resets`` changes nothing."""
        return self._pictures.frames(episode, size)

    def fingerprint(self) -> list[Any]:
        """Sizes and times of the files that hold the pictures."""
        layout = self._layout
        videos = [name for name in self.frames_from if name in layout.video_keys]
        files = list(layout.data_files) if len(videos) < len(self.frames_from) else []
        files = [*files, *{episode.videos[name].file for episode in layout.episodes for name in videos}]
        facts = [(layout.root / file).stat() for file in sorted(files)]
        lengths = [episode.length for episode in layout.episodes]
        return [
            len(lengths),
            sum(lengths),
            sum(fact.st_size for fact in facts),
            max(fact.st_mtime_ns for fact in facts),
        ]

    def output(self, options: RelabelOptions) -> LeRobotOutput:
        """Where the new rewards go."""
        root = self._layout.root
        if options.in_place:
            return LeRobotOutput(self._layout, root, copy_pictures=False)
        out = root.with_name(root.name + "-vlm") if options.out is None else Path(options.out).expanduser().absolute()
        if out == root or root in out.parents or out in root.parents:
            raise InvalidInputError(
                f"out must be a folder beside the dataset's, got {str(out)!r}. To change the dataset, say in_place."
            )
        return LeRobotOutput(self._layout, out, copy_pictures=options.copy_pictures)

    def close(self) -> None:
        """End what is being read."""
        self._pictures.close()
