"""A task in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import TASK_FILE


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "dot.py"
    path.write_text(TASK_FILE)
    return path
