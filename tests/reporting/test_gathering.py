"""Everything that a report is about is found, once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from report_runs import RECORDS, record, run_folder
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.files import read_columns
from vlm_rewards.reporting.gathering import gather


def sweep(folder: Path, *, seeds: int = 4) -> Path:
    """A sweep: seed 0 complete, 1 unfinished, 2 failed before it wrote anything, the others not started."""
    run_folder(folder / "seed-0", record(seed=0))
    run_folder(folder / "seed-1", record(seed=1), recorded=False)
    (folder / "logs").mkdir()
    (folder / "logs" / "seed-2.failed.json").write_text('{"last_words": "ValueError: no"}')
    runs = [{"name": f"seed-{seed}", "config": record(seed=seed)["config"]} for seed in range(seeds)]
    plan = {"kind": "sweep-plan", "command": "vlm-rewards sweep cartpole", "runs": runs}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "summary.json").write_text(json.dumps({"kind": "sweep", "settings": []}))
    (folder / "summary.png").write_bytes(b"")
    return folder


def test_the_committed_records() -> None:
    found = gather([RECORDS])
    assert [run.name for run in found.runs][4:8] == ["cartpole-0", "cartpole-1", "cartpole-2", "cartpole-3"]
    assert (len(found.runs), len(found.baselines), found.left_out) == (30, 11, ())
    kinds = {kind: sum(study.kind == kind for study in found.studies) for kind in ("judge", "landscape", "scaling")}
    assert kinds == {"judge": 14, "landscape": 3, "scaling": 2}
    assert {run.state for run in found.runs} == {"complete"}
    cars = ("mountaincar", "mountaincar-textured")
    first = ("arms-crossed", "arms-raised", "cartpole", "hands-on-hips", "kneeling", "lotus")
    assert found.tasks == (*first, *cars, "one-leg", "splits", "standing")


@pytest.mark.parametrize("above", [0, 1])
def test_a_sweep_in_every_state(tmp_path: Path, above: int) -> None:
    folder = sweep(tmp_path / "a" / "sweep")
    found = gather([folder.parents[above - 1] if above else folder])
    assert [(run.seed, run.state) for run in found.runs] == [
        (0, "complete"),
        (1, "unfinished"),
        (2, "not started"),
        (3, "not started"),
    ]
    assert found.runs[1].record["steps"] == 24_000
    assert found.runs[2].last_words == "ValueError: no"
    assert [(study.kind, study.figures) for study in found.studies] == [("sweep", (folder / "summary.png",))]


def test_each_is_there_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "runs" / "mine")
    shutil.copy(folder / "record.json", tmp_path / "runs" / "copy.json")
    shutil.copytree(folder, tmp_path / "runs" / "twin")
    found = gather([folder, folder / "record.json", tmp_path / "runs", folder])
    assert [run.folder for run in found.runs] == [folder]
    assert found.left_out == ("twin (a copy of mine)", "copy (a copy of mine)")


def test_two_unfinished_runs_with_the_same_settings_are_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_folder(tmp_path / name, recorded=False)
    assert [run.name for run in gather([tmp_path]).runs] == ["a", "b"]


def test_names_are_told_apart(tmp_path: Path) -> None:
    for number, parent in enumerate(("one", "two")):
        run_folder(tmp_path / parent / "run", record(seed=number))
    assert [run.name for run in gather([tmp_path]).runs] == ["one/run", "two/run"]


def test_other_files_are_left_out_by_name_and_refused_where_named(tmp_path: Path) -> None:
    shutil.copy(RECORDS / "cartpole-0.json", tmp_path / "a.json")
    for name, text in (("bench.json", '{"kind": "bench"}'), ("list.json", "[1]"), ("cut.json", '{"task": "x')):
        (tmp_path / name).write_text(text)
        with pytest.raises((InvalidInputError, CheckpointError), match=name):
            gather([tmp_path / name])
    found = gather([tmp_path])
    assert [run.name for run in found.runs] == ["a"]
    for said, name in zip(found.left_out, ("bench.json", "cut.json", "list.json"), strict=True):
        assert name in said


def test_interrupted_and_never_evaluated(tmp_path: Path) -> None:
    for name, told in (("a", record(interrupted=True, evaluation=None)), ("b", record(seed=1, evaluation=None))):
        run_folder(tmp_path / name, told)
    assert [run.state for run in gather([tmp_path]).runs] == ["interrupted", "not evaluated"]


def test_nothing_outside_of_its_folder_is_a_file_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (run,) = gather([run_folder(tmp_path / "run")]).runs
    assert run.file("videos/best.mp4") == tmp_path / "run" / "videos" / "best.mp4"
    for path in ("../secret.mp4", str(tmp_path / "secret.mp4"), "videos", "none.mp4", "", None, 3):
        assert run.file(path) is None


def test_there_must_be_something(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no runs were named"):
        gather([])
    with pytest.raises(InvalidInputError, match="must be files or folders that exist, got 'nowhere'"):
        gather([Path("nowhere")])
    with pytest.raises(InvalidInputError, match="holds none that is shown"):
        gather([tmp_path])


def test_columns_of_a_table_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,vlm_return\n100,1.5\n200,\n30")
    columns = read_columns(path)
    np.testing.assert_array_equal(columns["step"], [100, 200, 30])
    np.testing.assert_array_equal(columns["vlm_return"], [1.5, np.nan, np.nan])
    assert read_columns(None) == read_columns(tmp_path / "none.csv") == {}
