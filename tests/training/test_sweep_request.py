"""What a sweep may be asked for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.training.sweep_plan import SweepRequest, read_sweep_file


def test_each_run_is_crossed_with_the_grid() -> None:
    request = SweepRequest(grid={"seed": [0, 1]}, runs=[{"goal": "a pole", "alpha": 1}, {"algo": "qrdqn"}])
    assert request.combinations() == [
        {"goal": "a pole", "alpha": 1.0, "seed": 0},
        {"goal": "a pole", "alpha": 1.0, "seed": 1},
        {"algo": "qrdqn", "seed": 0},
        {"algo": "qrdqn", "seed": 1},
    ]
    assert list(request.combinations()[0]) == ["goal", "alpha", "seed"]


@given(alphas=st.sets(st.floats(0, 1)), seeds=st.sets(st.integers(0, 9)), goals=st.sets(st.text(min_size=1)))
def test_a_grid_is_the_product_of_what_is_given(alphas: set[float], seeds: set[int], goals: set[str]) -> None:
    axes = {"alpha": list(alphas), "seed": list(seeds), "goal": list(goals)}
    grid: dict[str, Any] = {name: values for name, values in axes.items() if values}
    if not grid:
        return
    found = SweepRequest(grid=grid).combinations()
    assert len(found) == len({tuple(sorted(run.items())) for run in found})
    points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
    assert all(point in found for point in points)
    assert len(found) == len(points)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grid": {"alpha": []}}, r"alpha must be a list of at least one value, got \[\]"),
        ({"grid": {"alpha": 0.5}}, "alpha must be a list of at least one value, got 0.5"),
        ({"grid": {"alpha": [0.5, 1, 0.5]}}, "alpha must have each value once, got 0.5 twice"),
        ({"grid": {"alpha": [0, 0.0]}}, "alpha must have each value once"),
        ({"grid": {"alpha": ["half"]}}, "alpha must be a finite number, got 'half'"),
        ({"grid": {"alpha": [float("nan")]}}, "alpha must be a finite number, got nan"),
        ({"grid": {"seed": [True]}}, "seed must be an int, got True"),
        ({"grid": {"seed": [1.0]}}, "seed must be an int, got 1.0"),
        ({"grid": {"goal": [3]}}, "goal must be a string, got 3"),
        ({"grid": {"alfa": [1]}}, "unknown setting 'alfa'. Did you mean 'alpha'"),
        ({"runs": [{}]}, r"runs\[0\] must be an object with at least one setting, got \{\}"),
        ({"runs": [{"alpha": 1}, {"seed": "0"}]}, r"seed of runs\[1\] must be an int, got '0'"),
        ({"runs": [{"alpha": 1}], "grid": {"alpha": [0]}}, r"alpha must be in the grid or in the runs, runs\[0\] has"),
        ({"train": ["--steps", 600]}, "train must be a list of strings, got 600 in it"),
        ({"train": ["--seed=3"]}, "--seed cannot be among the arguments of train: give it before --"),
        ({"train": ["--run_dir", "x"]}, "--run-dir cannot be among the arguments of train: the sweep chooses it"),
        ({"train": ["--no-overwrite"]}, "--overwrite cannot be among"),
        ({"preset": 3}, "preset must be a string that is not empty, got 3"),
        ({"runs": [3]}, r"runs\[0\] must be an object with at least one setting, got 3"),
        ({"out": ""}, "out must be a string that is not empty, got ''"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SweepRequest(task="cartpole", **fields)


def test_nothing_to_vary_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="a sweep needs values of at least one of goal, baseline, alpha"):
        SweepRequest(task="cartpole").combinations()


def test_a_spreadsheets_mark_of_its_encoding_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text("\ufeffalpha,seed\n0.5,1\n", encoding="utf-8")
    assert read_sweep_file(tmp_path / "sweep.csv").combinations() == [{"alpha": 0.5, "seed": 1}]


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    runs = [{"goal": "a pole, upright", "alpha": 0.5}, {"algo": "qrdqn", "alpha": 1}]
    (tmp_path / "a.json").write_text(json.dumps({"runs": runs}))
    (tmp_path / "a.csv").write_text('goal,alpha,algo\n"a pole, upright",0.5,\n,1,qrdqn\n')
    from_json, from_csv = read_sweep_file(tmp_path / "a.json"), read_sweep_file(tmp_path / "a.csv")
    assert from_json == from_csv
    typed = SweepRequest(task="cartpole", out="x", grid={"seed": [0, 1]})
    joined = from_csv.joined(typed)
    assert (joined.task, joined.out, len(joined.combinations())) == ("cartpole", "x", 4)
    for ours, theirs, name in [
        ({"task": "cartpole"}, {"task": "mountaincar"}, "task"),
        ({"grid": {"seed": [0]}}, {"grid": {"seed": [1]}}, "seed"),
        ({"train": ["--steps", "1"]}, {"train": ["--no-video"]}, "train"),
    ]:
        with pytest.raises(InvalidInputError, match=f"{name} must be given once: it is in the file and on"):
            SweepRequest(**ours).joined(SweepRequest(**theirs))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "file must end in .json or .csv"),
        ("a.json", "{", "must hold JSON"),
        ("a.json", "[1]", "must hold an object, got list"),
        ("a.json", '{"gird": {}}', "unknown field of a.json: 'gird'. Did you mean 'grid'"),
        ("a.json", '{"grid": [1]}', r"grid must be an object, got \[1\]"),
        ("a.json", '{"train": "--steps 5"}', "train must be a list, got '--steps 5'"),
        ("a.csv", "alpha\n", "there must be at least one run, got none"),
        ("a.csv", "alpha,seed\n1\n", "line 2 must have 2 cells"),
        ("a.csv", "alpha,seed\n1,2,3\n", "line 2 must have 2 cells"),
        ("a.csv", "alpha\nhalf\n", r"alpha of runs\[0\] must be a finite number, got 'half'"),
    ],
)
def test_files_that_say_something_else_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_sweep_file(tmp_path / name)
    with pytest.raises(InvalidInputError, match="cannot be read: No such file"):
        read_sweep_file(tmp_path / "none.json")
