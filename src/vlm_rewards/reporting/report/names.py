"""Names for the files of a report."""

from __future__ import annotations

import re

_LONGEST = 80


class Names:
    """Gives out names that are good as a file's, none of them twice, in whatever case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, wanted: str, suffix: str) -> str:
        """Make a name.

        Args:
            wanted: What it should be like.
            suffix: Its end, without the dot.

        Returns:
            The name: letters, digits, dashes, underscores and dots.
        """
        stem = re.sub(r"[^A-Za-z0-9_.]+", "-", wanted).strip("-.")[:_LONGEST] or "file"
        name, count = f"{stem}.{suffix}", 1
        while name.lower() in self._taken:
            count += 1
            name = f"{stem}-{count}.{suffix}"
        self._taken.add(name.lower())
        return name
