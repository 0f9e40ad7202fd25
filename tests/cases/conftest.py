"""One process that forks for every command line of the cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cases.command_line import CommandLine


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("command-line"))
    yield line
    line.close()
