"""A run's files: never over someone else's, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_rewards import files
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_json, write_atomically
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import RunFolder

Make = Callable[..., TrainConfig]


def test_a_new_run_has_its_settings_and_folders(make_config: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", make_config(), overwrite=False)
    run = RunFolder.create(tmp_path / "deep" / "run", make_config(), overwrite=False)
    assert run.read_config() == make_config()
    assert run.checkpoints.is_dir()
    assert run.videos.is_dir()
    assert RunFolder.open(run.path).read_config() == make_config()


def test_an_older_run_is_replaced_only_when_asked(make_config: Make, tmp_path: Path) -> None:
    old = RunFolder.create(tmp_path / "run", make_config(seed=1), overwrite=False)
    (old.checkpoints / "old.safetensors").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match=r"run_dir must be new or empty, got '.*run'. .*--overwrite"):
        RunFolder.create(old.path, make_config(seed=2), overwrite=False)
    assert old.read_config().seed == 1
    assert (old.checkpoints / "old.safetensors").exists()
    new = RunFolder.create(old.path, make_config(seed=2), overwrite=True)
    assert new.read_config().seed == 2
    assert not list(new.checkpoints.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_something_else_is_never_touched(make_config: Make, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    for place in (".", "thesis.tex", "thesis.tex/below"):
        with pytest.raises(InvalidInputError, match=r"run_dir .*(in use and holds no run; it will|is not a folder)"):
            RunFolder.create(tmp_path / place, make_config(), overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "ten years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_written(make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(self: Path, **arguments: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(InvalidInputError, match=r"run_dir '.*run' cannot be written: Permission denied"):
        RunFolder.create(tmp_path / "run", make_config(), overwrite=False)


def test_only_a_run_can_be_opened(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"run must be a folder that `vlm-rewards train` wrote, got '.*nothing'"
    ):
        RunFolder.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "message"), [(b"{", "cannot be read"), (b"[]", "must hold a JSON object, got list")]
)
def test_damaged_files_are_named(make_config: Make, tmp_path: Path, content: bytes, message: str) -> None:
    run = RunFolder.create(tmp_path, make_config(), overwrite=False)
    run.config.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"config.json' {message}"):
        run.read_config()
    with pytest.raises(CheckpointError, match=r"record.json' cannot be read"):
        read_json(run.record)


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, stage, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"a new one, and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
