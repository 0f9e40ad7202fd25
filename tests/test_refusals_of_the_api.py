"""Bad input to the Python API ends in one message of ours, with and without runtime type checks; nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import refusals
from refusals import REFUSALS, Refusal, attempt


def check(refusal: Refusal, kinds: str, text: str, left: list[str]) -> None:
    assert "VLMRewardsError" in kinds.split(), f"{refusal.name} raised {kinds.split()[:1]}: {text}"
    assert refusal.message in text
    assert "Traceback" not in text
    assert not left


def test_every_refusal_has_a_name_of_its_own() -> None:
    assert len({refusal.name for refusal in REFUSALS}) == len(REFUSALS) >= 80


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refused_with_type_checks(refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    folder = tmp_path / "folder"
    folder.mkdir()
    kinds, text, left = attempt(refusal, folder)
    if refusal.parameter and kinds.startswith("TypeCheckError"):
        # It looks at one item of a list, drawn at random, and may not find it again to say which parameter it was.
        assert f"'{refusal.parameter}'" in text
    else:
        check(refusal, kinds, text, left)
    assert not list(empty.iterdir())


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program without type checks, as users have it, is told."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(refusals.__file__).parent), *sys.path])}
    folder = tmp_path_factory.mktemp("unchecked")
    done = subprocess.run(
        [sys.executable, "-c", "import refusals; refusals.main()"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refused_without_type_checks(refusal: Refusal, unchecked: dict[str, Any]) -> None:
    check(refusal, *unchecked[refusal.name])


def test_type_checks_are_on_here_and_off_there() -> None:
    code = "import vlm_rewards.errors as errors; print(hasattr(errors.check_count, '__wrapped__'))"
    off = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=True)
    assert off.stdout == "False\n"
    import vlm_rewards.errors as errors

    assert hasattr(errors.check_count, "__wrapped__")
