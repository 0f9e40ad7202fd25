"""Data sets of ``judge --save-states`` as a user meets them: both layouts, read back by other means."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.cli import main
from vlm_rewards.evaluation.dataset import portable_command
from vlm_rewards.evaluation.states import generated_states, named_policies, open_studio, visited_states
from vlm_rewards.tasks.humanoid.body import MARGINS
from vlm_rewards.tasks.task import get_task

POSED = "judge kneeling --states posed --count 12 --size 32"
CARTPOLE = "judge cartpole --count 12 --state-seed 3 --size 32"
UNIFORM = "judge cartpole --states uniform --count 12 --size 32"


def run(line: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 0


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data" / "train" / "metadata.jsonl").read_text().splitlines()]


def pictures(folder: Path, names: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / "data" / "train" / name)) for name in names])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_file_of_posed_states(capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{POSED} --save-states deep/kneeling.npz")
    told = arrays(Path("deep/kneeling.npz"))
    states = generated_states(get_task("kneeling"), "posed", 12, seed=0, size=32)
    np.testing.assert_array_equal(told["picture"], states.frames)
    np.testing.assert_array_equal(told["state"], states.states)
    assert told["state"].dtype == np.float64
    assert told["state_names"][[0, 13, 24]].tolist() == ["root.x", "right_knee", "root.vx"]
    assert told["state_units"][[0, 3, 13, 24]].tolist() == ["m", "", "rad", "m/s"]
    assert told["label_names"].tolist() == list(MARGINS)
    assert told["labels"].shape == (12, 8)
    assert told["label"].sum() == 6
    assert told["labels"][:, list(MARGINS).index("kneeling")].tolist() == told["label"].tolist()
    assert told["group"].tolist() == list(range(12))
    assert told["origin"].tolist() == list(states.origins)
    assert "true_reward" not in told  # no step led there
    facts = json.loads(str(told["facts"]))
    assert facts["command"] == f"vlm-rewards {POSED}"
    assert (facts["task"], facts["size"], facts["states"]) == ("kneeling", 32, states.facts)
    assert {"commit", "versions", "version", "machine"} <= set(facts)
    assert sorted(path.name for path in Path("deep").iterdir()) == ["kneeling.npz"]
    said = capsys.readouterr().out
    assert "12 states of kneeling from posed; a state of 47 numbers" in said
    assert "50.0%" in said
    assert "deep/kneeling.npz" in said


@pytest.mark.slow
def test_a_folder_has_what_the_file_has() -> None:
    run(f"{CARTPOLE} --save-states cartpole.npz")
    run(f"{CARTPOLE} --format hf --save-states cartpole")
    told, folder = arrays(Path("cartpole.npz")), Path("cartpole")
    table = rows(folder)
    np.testing.assert_array_equal(pictures(folder, [row["file_name"] for row in table]), told["picture"])
    assert [row["file_name"] for row in table] == [f"state_{index:05d}.png" for index in range(12)]
    assert [row["state"] for row in table] == told["state"].tolist()  # to the last bit
    for name in ("label", "true_reward", "group", "origin"):
        assert [row[name] for row in table] == told[name].tolist()
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["state_names"] == told["state_names"].tolist()
    assert facts["state_units"] == ["m", "m/s", "rad", "rad/s"]
    header, card = (folder / "README.md").read_text().removeprefix("---\n").split("\n---\n")
    assert "- split: train\n    path: data/train/*\n  drop_labels: true" in header
    assert "the pole stays within 12 degrees" in card
    assert "| 2 | `pole_angle` | rad |" in card
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "data", "facts.json"]


@pytest.mark.slow
def test_posed_states_have_a_column_for_each_criterion() -> None:
    run(f"{POSED} --format hf --save-states kneeling")
    table = rows(Path("kneeling"))
    assert [name for name in table[0] if name.startswith("label_")] == [f"label_{pose}" for pose in MARGINS]
    assert [row["label_kneeling"] for row in table] == [row["label"] for row in table]
    assert "`label_one-leg`: whether the criterion of 'one-leg' holds" in Path("kneeling/README.md").read_text()


@pytest.mark.slow
def test_states_that_were_visited_are_those_that_the_simulator_was_in() -> None:
    task = get_task("cartpole")
    run(f"{CARTPOLE} --save-states cartpole.npz")
    told = arrays(Path("cartpole.npz"))
    np.testing.assert_array_equal(
        told["picture"], visited_states(task, named_policies("rule", task), 12, seed=3, size=32).frames
    )
    with open_studio(task, 32) as studio:
        frames, labels = studio.show(told["state"])
    np.testing.assert_array_equal(frames, told["picture"])
    np.testing.assert_array_equal(labels, told["label"])


@pytest.mark.slow
def test_the_same_command_writes_the_same_bytes() -> None:
    for layout, names in (("npz", ("a.npz", "b.npz")), ("hf", ("a", "b"))):
        written = []
        for name in names:
            run(f"{UNIFORM} --format {layout} --save-states {name}")
            written.append(Path(name).read_bytes() if layout == "npz" else contents(Path(name)))
            time.sleep(2.1 if name == "a.npz" else 0)  # zip files tell times to two seconds
        assert written[0] == written[1]


@pytest.mark.slow
def test_a_data_set_is_replaced_by_another_when_told_to() -> None:
    Path("cartpole").mkdir()  # empty
    run(f"{UNIFORM} --format hf --save-states cartpole")
    run("judge cartpole --states uniform --count 5 --size 32 --format hf --save-states cartpole --overwrite")
    assert len(rows(Path("cartpole"))) == len(list(Path("cartpole/data/train").glob("*.png"))) == 5
    run(f"{UNIFORM} --save-states c.npz")
    run("judge cartpole --states uniform --count 5 --size 32 --save-states c.npz --overwrite")
    assert len(arrays(Path("c.npz"))["group"]) == 5
    assert sorted(path.name for path in Path().iterdir()) == ["c.npz", "cartpole"]


@pytest.mark.parametrize("more", ["", " --overwrite"])
@pytest.mark.parametrize(("layout", "name"), [("npz", "thesis.npz"), ("hf", "thesis")])
def test_what_is_no_data_set_is_left_alone(
    layout: str, name: str, more: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("thesis").mkdir()
    Path("thesis/facts.json").write_text('{"kind": "sweep"}')
    np.savez("thesis.npz", chapters=np.arange(3))
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(f"{UNIFORM} --format {layout} --save-states {name}{more}".split())
    assert ended.value.code == 2
    message = f"save_states '{name}' is in use and holds no data set; it will not be overwritten"
    assert message in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_data_set_is_not_replaced_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{UNIFORM} --save-states c.npz")
    before = Path("c.npz").read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(f"{UNIFORM} --save-states c.npz".split())
    assert ended.value.code == 2
    assert "save_states 'c.npz' exists already; --overwrite replaces it" in capsys.readouterr().err
    assert Path("c.npz").read_bytes() == before


def test_what_the_simulator_cannot_tell_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("point.py").write_text(
        "from vlm_rewards import register_task\nfrom vlm_rewards.testing.point import point_task\n"
        'register_task(point_task("point-that-tells-nothing"), replace=True)\n'
    )
    run("judge point.py --count 12 --size 32 --save-states p.npz")
    assert set(arrays(Path("p.npz"))) == {"picture", "group", "label", "true_reward", "origin", "facts"}
    assert "no state: it is not told" in capsys.readouterr().out


def test_the_command_of_a_record_has_no_paths_of_the_machine() -> None:
    typed = ["/home/me/task.py", "--save-states", "/tmp/x.npz", "--overwrite"]
    typed += ["--states", "/runs/a", "b", "--labels=/d/l.csv"]
    assert portable_command("judge", typed) == "vlm-rewards judge task.py --states a b --labels=l.csv"
    typed = ["cartpole", "--save-states=x.npz", "--size=32"]
    assert portable_command("judge", typed) == "vlm-rewards judge cartpole --size=32"
