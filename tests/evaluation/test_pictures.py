"""States written to be labelled, and read with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.states import (
    StateSet,
    check_new,
    file_states,
    goal_files,
    read_labels,
    uniform_states,
    write_states,
)
from vlm_rewards.tasks.task import get_task


def grey(count: int, *, names: tuple[str, ...] = ()) -> StateSet:
    frames = np.full((count, 8, 8, 3), np.arange(count)[:, None, None, None], dtype=np.uint8)
    labels = np.arange(count) % 2 == 0
    facts = {"generator": "grey", "seed": 0}
    return StateSet(frames, labels, np.arange(count) / 10, np.arange(count) // 2, facts, names)


def labels_of(folder: Path, text: str) -> dict[str, bool]:
    (folder / "labels.csv").write_text(text)
    return read_labels(folder / "labels.csv")


def test_written_states_come_back_as_they_were(tmp_path: Path) -> None:
    states = grey(3)
    file = write_states(states, tmp_path / "new" / "states")
    assert file.read_text() == "file,label,criterion\nstate_00000.png,,1\nstate_00001.png,,0\nstate_00002.png,,1\n"
    assert read_labels(file) == {}  # nobody has looked yet
    back = file_states(file.parent, 8)
    np.testing.assert_array_equal(back.frames, states.frames)
    assert back.names == ("state_00000.png", "state_00001.png", "state_00002.png")
    assert back.labels is None
    assert back.true_rewards is None
    assert back.groups.tolist() == [0, 1, 2]
    assert back.facts == {"generator": "frames of states", "seed": None, "states": 3}


def test_without_a_criterion_there_is_no_column_for_it(tmp_path: Path) -> None:
    states = StateSet(grey(2).frames, None, None, np.arange(2))
    assert write_states(states, tmp_path / "s").read_text().splitlines()[:2] == ["file,label", "state_00000.png,"]


def test_pictures_of_any_shape_are_letterboxed(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a2.png")
    Image.new("L", (10, 10), 7).save(tmp_path / "a10.png")
    states = file_states(tmp_path, 16)
    assert states.names == ("a2.png", "a10.png")
    assert states.frames.shape == (2, 16, 16, 3)
    assert states.frames[0, 8].tolist() == [[255, 0, 0]] * 16  # as wide as the square
    assert states.frames[0, 0, 0].tolist() != [255, 0, 0]  # half as high
    assert (states.frames[1] == 7).all()


def test_one_picture_is_no_set(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InvalidInputError, match="must hold at least two frames, got 1"):
        file_states(tmp_path, 8)


def test_labels_in_all_their_spellings(tmp_path: Path) -> None:
    text = "file,who,label\na.png,me,1\ndeep/b.png,me,No\nc.png,you,\nd.png,, TRUE \ne.png,,other\na.png,you,goal\n"
    assert labels_of(tmp_path, text) == {"a.png": True, "b.png": False, "d.png": True, "e.png": False}
    assert labels_of(tmp_path, "\ufeffindex,label\n7,1\n12,0\n") == {"state_00007.png": True, "state_00012.png": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,verdict\na.png,1\n", r"must have the columns file \(or index\) and label, got \['file', 'verdict'\]"),
        ("", "must have the columns"),
        ("file,label\na.png,1\nb.png,perhaps\n", "line 3: label must be 1 or 0, got 'perhaps'"),
        ("file,label\na.png,1\na.png,0\n", "line 3: a.png has another label above"),
        ("index,label\n-1,1\n", "line 2: index must be the number of a state, got '-1'"),
    ],
)
def test_bad_labels(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        labels_of(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_goal_files_are_those_that_labels_call_goals(tmp_path: Path) -> None:
    folder = write_states(grey(4), tmp_path / "states").parent
    assert goal_files(["a.png", str(folder)]) == (
        "a.png",
        *(str(folder / f"state_0000{place}.png") for place in (0, 2)),
    )
    (folder / "labels.csv").write_text("file,label,criterion\nstate_00000.png,0,1\nstate_00003.png,1,0\n")
    assert goal_files([str(folder)]) == (str(folder / "state_00003.png"),)
    (folder / "labels.csv").write_text("file,label,criterion\nstate_00000.png,0,1\n")
    with pytest.raises(InvalidInputError, match="must have a frame that its labels call a goal, got none"):
        goal_files([str(folder)])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        goal_files([str(tmp_path)])


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("everything")
    with pytest.raises(InvalidInputError, match="save_states must be a new or empty folder"):
        check_new("save_states", tmp_path)
    with pytest.raises(InvalidInputError, match="folder must be a new or empty folder"):
        write_states(grey(2), tmp_path / "thesis.tex")


def test_relabelled_states_are_those_that_somebody_looked_at() -> None:
    states = grey(6)
    kept = states.relabelled({"state_00004.png": False, "state_00001.png": True, "state_00002.png": True}, "mine.csv")
    assert kept.frames[:, 0, 0, 0].tolist() == [1, 2, 4]
    assert kept.labels is not None
    assert kept.labels.tolist() == [True, True, False]
    assert kept.true_rewards is not None
    assert kept.true_rewards.tolist() == [0.1, 0.2, 0.4]
    assert kept.groups.tolist() == [0, 1, 2]
    assert [kept.name(index) for index in range(3)] == ["state_00001.png", "state_00002.png", "state_00004.png"]
    told = {"of_states": 6, "labels_from": "mine.csv", "states": 3, "goal_states": 2, "goal_share": 0.6667}
    assert kept.facts == {"generator": "grey", "seed": 0, **told}


def test_labels_of_other_states_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"from state_00000.png to state_00005.png, got 'state_00006.png'"):
        grey(6).relabelled({"state_00006.png": True, "state_00001.png": True}, "mine.csv")
    with pytest.raises(InvalidInputError, match="must be at least two, got 1"):
        grey(6).relabelled({"state_00001.png": True}, "mine.csv")


def test_names_of_joined_sets_tell_them_apart() -> None:
    assert StateSet.joined([grey(2), grey(2)]).names == ()  # by number, over both
    with pytest.raises(InvalidInputError, match="must have names of their own"):
        StateSet.joined([grey(2), grey(2, names=("state_00001.png", "b.png"))])
    joined = StateSet.joined([grey(2), grey(2, names=("a.png", "b.png")), grey(1)])
    assert joined.names == ("state_00000.png", "state_00001.png", "a.png", "b.png", "state_00004.png")


def test_names_of_drawn_states_are_their_numbers(tmp_path: Path) -> None:
    states = uniform_states(get_task("cartpole"), 3, seed=0, size=32)
    assert sorted(path.name for path in write_states(states, tmp_path / "s").parent.glob("*.png")) == [
        states.name(index) for index in range(3)
    ]
