"""Sets of states: the same at any size of frame, with true facts about each; in files with labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.rollouts import PolicyFunction
from vlm_rewards.evaluation.states import (
    GENERATORS,
    RANDOM_SHARES,
    Policies,
    StateSet,
    check_new,
    file_states,
    generated_states,
    goal_files,
    named_policies,
    read_labels,
    uniform_states,
    visited_states,
    write_states,
)
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.humanoid.body import MARGINS
from vlm_rewards.tasks.task import Task, get_task
from vlm_rewards.testing.counting import counting_task
from vlm_rewards.testing.point import point_task

CARTPOLE = get_task("cartpole")


def constant(*actions: int) -> Policies:
    """Policies that always do the same, one for each action."""

    def build(venv: RenderedVecEnv, seed: int) -> Sequence[PolicyFunction]:
        return [lambda observations, action=action: np.full(len(observations), action) for action in actions]

    return Policies("constant", build)


def same(one: StateSet, two: StateSet) -> bool:
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("frames", "labels", "true_rewards", "groups")]
    pairs += [(one.states, two.states), (np.array(one.origins), np.array(two.origins))]
    alike = all(a is b is None or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)
    return alike and one.facts == two.facts


def brightness(states: StateSet) -> np.ndarray:
    """Positions of `PointEnv`, read from the frames."""
    return states.frames[:, 0, 0, 0] / 255


def numbers(states: StateSet) -> np.ndarray:
    """Episode and step of `CountingEnv`, read from the frames: int ``[n 2]``."""
    digits = states.frames[:, 0, 0].astype(np.int64) @ [65536, 256, 1]
    return np.stack(np.divmod(digits, 4096), axis=1)


def test_uniform_states_are_uniform_between_the_bounds_and_else_as_at_the_start() -> None:
    states = uniform_states(CARTPOLE, 300, seed=3, size=32)
    drawn = np.random.default_rng(3).uniform([-2.4, -np.pi], [2.4, np.pi], (300, 2))
    for frame, (position, angle) in zip(states.frames, drawn, strict=True):
        np.testing.assert_array_equal(frame, draw_cartpole(position, angle, 32))
    assert states.labels is not None
    assert states.labels.tolist() == (np.abs(drawn[:, 1]) <= np.radians(12)).tolist()
    assert states.true_rewards is None
    assert states.states is not None
    np.testing.assert_array_equal(states.states[:, [0, 2]], drawn)
    assert states.origins == ("uniform",) * 300
    assert states.groups.tolist() == list(range(300))  # independent
    goals = int(states.labels.sum())
    assert 10 < goals < 30  # a fifteenth of the circle
    assert states.facts == {
        "generator": "uniform",
        "seed": 3,
        "states": 300,
        "goal_states": goals,
        "goal_share": round(goals / 300, 4),
        "dimensions": ["cart_position", "pole_angle"],
    }


def test_uniform_states_repeat_themselves_and_do_not_depend_on_the_size() -> None:
    first = uniform_states(CARTPOLE, 40, seed=1, size=32)
    assert same(uniform_states(CARTPOLE, 40, seed=1, size=32), first)
    larger = uniform_states(CARTPOLE, 40, seed=1, size=48)
    assert larger.frames.shape == (40, 48, 48, 3)
    assert same(dataclasses.replace(larger, frames=first.frames), first)
    assert not np.array_equal(uniform_states(CARTPOLE, 40, seed=2, size=32).frames, first.frames)


def test_uniform_states_need_bounds_and_a_state() -> None:
    pendulum = environment_task(EnvironmentConfig("Pendulum-v1"), goal="a goal", baseline="a baseline")
    for task, count, seed, message in (
        (pendulum, 4, 0, r"task 'Pendulum-v1' has no state dimension with bounds .* state0, state1"),
        (counting_task(), 4, 0, "CountingEnv cannot be put into a state"),
        (CARTPOLE, 1, 0, "count must be an int of at least 2, got 1"),
        (CARTPOLE, 4, -1, "seed must be an int from 0 to 4294967295, got -1"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            uniform_states(task, count, seed=seed, size=32)


def test_visited_states_are_steps_of_episodes_with_what_is_known_of_them() -> None:
    task = counting_task(horizon=6, lengths=(2, 9))
    states = visited_states(task, constant(0), 70, seed=0, size=32)
    episode, step = numbers(states).T
    assert states.true_rewards is not None
    assert states.labels is not None
    assert states.true_rewards.tolist() == step.tolist()  # the simulator's own reward
    assert states.labels.tolist() == (episode % 2 == 0).tolist()
    assert ((step >= 1) & (step <= 6)).all()  # states after a step, the last one included, none after a reset
    assert (step == 6).any()
    # One group is one episode, and one episode is one group, unless two drew the same number.
    pairs = {(int(group), int(number)) for group, number in zip(states.groups, episode, strict=True)}
    assert len(pairs) == len(set(states.groups.tolist())) == len(set(episode.tolist()))
    assert len({(e, s) for e, s in numbers(states).tolist()}) == 70  # no state twice
    goals = int(states.labels.sum())
    assert states.facts == {
        "generator": "constant",
        "seed": 0,
        "states": 70,
        "goal_states": goals,
        "goal_share": round(goals / 70, 4),
        "policies": 1,
        "episodes": len(pairs),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "rule"])
def test_visited_states_repeat_themselves_and_do_not_depend_on_the_size(name: str) -> None:
    task = dataclasses.replace(CARTPOLE, horizon=60)

    def visit(seed: int, size: int = 32) -> StateSet:
        return visited_states(task, named_policies(name, task), 61, seed=seed, size=size)

    first = visit(1)
    assert same(visit(1), first)
    larger = visit(1, size=40)
    assert larger.frames.shape == (61, 40, 40, 3)
    assert same(dataclasses.replace(larger, frames=first.frames), first)
    assert not same(visit(2), first)
    assert first.labels is not None
    assert first.true_rewards is not None
    assert first.true_rewards.tolist() == first.labels.astype(float).tolist()  # so it is with our CartPole


@pytest.mark.slow
@pytest.mark.parametrize(("count", "shares"), [(9, [3, 3, 3]), (10, [3, 3, 4]), (11, [3, 4, 4]), (3, [1, 1, 1])])
def test_every_policy_gets_its_share(count: int, shares: list[int]) -> None:
    # Left, right, left: where a point is after many steps tells who moved it.
    task = point_task(horizon=400)
    states = visited_states(task, constant(0, 1, 0), count, seed=4, size=32)
    assert len(states) == count
    left, right, again = np.split(brightness(states), np.cumsum(shares)[:-1])
    assert (np.concatenate([left, again]) < 0.9).all()
    assert (right > 0.1).all()
    assert states.facts["policies"] == 3
    first, second, third = (set(part.tolist()) for part in np.split(states.groups, np.cumsum(shares)[:-1]))
    assert not first & second | second & third | first & third  # each has episodes of its own
    assert {0.0, 1.0} <= set(brightness(states).tolist())


def test_more_states_than_an_episode_has_are_visited_in_more_episodes() -> None:
    states = visited_states(point_task(horizon=5), constant(1), 200, seed=0, size=32)
    assert len(states) == 200  # 16 simulators, at least 13 steps: three episodes each
    assert states.facts["episodes"] == len(np.unique(states.groups)) == 48


def test_visited_states_come_with_what_the_simulator_was_in() -> None:
    task = dataclasses.replace(CARTPOLE, horizon=3)  # many states are the last of their episode
    states = visited_states(task, constant(0, 1), 41, seed=5, size=32)
    assert states.states is not None
    assert states.states.shape == (41, 4)
    for frame, (position, _, angle, _) in zip(states.frames, states.states, strict=True):
        np.testing.assert_array_equal(frame, draw_cartpole(position, angle, 32))
    assert states.origins == ("constant, policy 1 of 2",) * 20 + ("constant, policy 2 of 2",) * 21
    alone = visited_states(point_task(), constant(0), 4, seed=0, size=32)
    assert alone.states is None  # it cannot be told
    assert alone.origins == ("constant",) * 4


def test_generated_states_carry_every_criterion() -> None:
    task = get_task("kneeling")
    states = generated_states(task, "posed", 6, seed=2, size=32)
    assert states.states is not None
    assert states.all_labels is not None
    assert states.labels is not None
    assert states.states.shape == (6, 47)
    assert list(states.all_labels) == list(MARGINS)
    assert states.all_labels["kneeling"].tolist() == states.labels.tolist()
    assert states.labels.sum() == 3
    assert all(origin.startswith("posed: ") for origin in states.origins)


def test_a_task_without_a_criterion_has_no_labels() -> None:
    task = dataclasses.replace(point_task(), criterion=None)
    states = visited_states(task, constant(0, 1), 20, seed=0, size=32)
    assert states.labels is None
    assert states.true_rewards is not None
    assert not states.true_rewards.any()
    assert "goal_share" not in states.facts
    assert states.facts["states"] == 20


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="count must be at least one a policy, got 2 for 3 policies"):
        visited_states(point_task(), constant(0, 1, 0), 2, seed=0, size=32)
    with pytest.raises(InvalidInputError, match="states 'rule' need a one-line rule, and task 'point' has none"):
        named_policies("rule", point_task())


def test_the_rule_is_mixed_with_random_actions_from_none_to_all() -> None:
    assert GENERATORS == ("uniform", "random", "rule")
    task: Task = dataclasses.replace(point_task(), rule=lambda observation: 1)  # to the right
    venv = RenderedVecEnv(task, 1, image_size=32, n_workers=1)
    try:
        policies = named_policies("rule", task).build(venv, 7)
        assert len(policies) == len(RANDOM_SHARES) == 5
        shares = [policy(np.zeros((20_000, 1))).mean() for policy in policies]
    finally:
        venv.close()
    # A random action is right half of the time; three standard errors are 0.011.
    np.testing.assert_allclose(shares, [1 - share / 2 for share in RANDOM_SHARES], atol=0.011)
    assert shares[0] == 1


def part(count: int, *, labels: bool = True, rewards: bool = True, generator: str = "uniform") -> StateSet:
    frames = np.full((count, 2, 2, 3), count, dtype=np.uint8)
    known = np.arange(count) % 2 == 0 if labels else None
    facts = {"generator": generator, "seed": 5, "states": count}
    return StateSet(frames, known, np.arange(count) + 0.5 if rewards else None, np.arange(count) // 2, facts)


def test_joined_sets_keep_their_episodes_apart() -> None:
    parts = [part(3), part(4, generator="rule"), part(1)]
    joined = StateSet.joined(parts)
    assert joined.frames[:, 0, 0, 0].tolist() == [3] * 3 + [4] * 4 + [1]
    assert joined.groups.tolist() == [0, 0, 1, 2, 2, 3, 3, 4]
    assert joined.labels is not None
    assert joined.true_rewards is not None
    assert joined.labels.tolist() == [True, False, True, True, False, True, False, True]
    assert joined.true_rewards.tolist() == [0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 3.5, 0.5]
    assert joined.facts == {
        "generator": "uniform + rule + uniform",
        "seed": 5,
        "states": 8,
        "goal_states": 5,
        "goal_share": 0.625,
        "parts": [states.facts for states in parts],
    }


def test_joined_sets_know_what_all_know() -> None:
    assert StateSet.joined([part(3), part(2, labels=False)]).labels is None
    assert StateSet.joined([part(3, rewards=False), part(2)]).true_rewards is None
    assert "goal_share" not in StateSet.joined([part(3), part(2, labels=False)]).facts
    only = part(3)
    assert StateSet.joined([only]) is only
    with pytest.raises(InvalidInputError, match="sets must be at least one, got none"):
        StateSet.joined([])


def known(count: int, *names: str) -> StateSet:
    rows = np.arange(2.0 * count).reshape(count, 2)
    labels = {name: np.arange(count) % len(name) == 0 for name in names}
    return dataclasses.replace(part(count), states=rows, all_labels=labels, origins=tuple("abcdef"[:count]))


def test_joined_sets_keep_states_criteria_and_origins_that_all_have() -> None:
    joined = StateSet.joined([known(3, "up", "far"), known(2, "far", "low")])
    assert joined.states is not None
    assert joined.states.tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
    assert joined.all_labels is not None
    assert {name: held.tolist() for name, held in joined.all_labels.items()} == {
        "far": [True, False, False, True, False]
    }
    assert joined.origins == ("a", "b", "c", "a", "b")
    less = StateSet.joined([known(3, "up"), part(2)])
    assert (less.states, less.all_labels, less.origins) == (None, None, ())
    assert StateSet.joined([known(3, "up"), known(3, "down")]).all_labels is None


def test_relabelled_sets_keep_them_too() -> None:
    kept = known(4, "up").relabelled({"state_00002.png": False, "state_00001.png": True}, "mine.csv")
    assert kept.states is not None
    assert kept.states.tolist() == [[2, 3], [4, 5]]
    assert kept.all_labels is not None
    assert kept.all_labels["up"].tolist() == [False, True]
    assert kept.origins == ("b", "c")


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
