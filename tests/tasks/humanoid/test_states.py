"""Posed and visited states: balanced, labelled, and the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from typecheck import unchecked
from vlm_rewards.errors import InvalidInputError, UnknownNameError
from vlm_rewards.tasks.humanoid.body import MARGINS
from vlm_rewards.tasks.humanoid.model import POSITIONS, HumanoidModel
from vlm_rewards.tasks.humanoid.poses import FAMILIES, draw_pose, family_of
from vlm_rewards.tasks.humanoid.states import (
    OBSERVED,
    PoseNetwork,
    PoseStates,
    criterion_networks,
    draw_state,
)
from vlm_rewards.tasks.task import StateGenerator, get_task


@pytest.fixture(scope="module")
def robot() -> HumanoidModel:
    return HumanoidModel()


def test_posed_states_are_possible_ones(robot: HumanoidModel) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_state(rng, robot) for _ in range(200)]
    states = np.stack([state for state, _ in drawn])
    assert np.isfinite(states).all()
    assert np.linalg.norm(states[:, 3:7], axis=1) == pytest.approx(1.0, abs=1e-6)
    soft = 0.15  # limits of joints are springs
    joints = states[:, 7:POSITIONS]
    assert (joints >= robot.low - soft).all()
    assert (joints <= robot.high + soft).all()
    at_rest = np.array(["held" not in origin and "let go" not in origin for _, origin in drawn])
    assert 0.35 < at_rest.mean() < 0.65
    assert (states[at_rest, POSITIONS:] == 0).all()
    assert 0.1 < np.mean([" to " in origin for _, origin in drawn]) < 0.35


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_family_stands_on_the_floor_unless_it_is_lifted(robot: HumanoidModel, family: str) -> None:
    rng, chosen = np.random.default_rng(1), family_of(family)
    for _ in range(5):
        positions = draw_pose(chosen, rng, robot)
        low, high = chosen.lift
        assert low - 1e-6 <= robot.lowest() <= high + 1e-6
        assert (positions[7:] >= robot.low).all()


@pytest.mark.parametrize("pose", ["kneeling", "hands-on-hips", "splits"])
def test_families_of_a_pose_contain_it_and_near_misses(robot: HumanoidModel, pose: str) -> None:
    with unchecked():
        generated = PoseStates(pose).generate("posed", 40, 3)
    assert generated.labels[pose].sum() == 20
    own = generated.labels[pose]
    assert any(pose.replace("-", " ") in origin for origin, goal in zip(generated.origins, own, strict=True) if goal)
    assert generated.groups.tolist() == list(range(40))
    assert set(generated.labels) == set(MARGINS)


def test_the_same_seed_gives_the_same_states() -> None:
    for source in PoseStates.sources:
        one, two = (PoseStates("standing").generate(source, 30, 8) for _ in range(2))
        assert one.states.tobytes() == two.states.tobytes()
        assert one.origins == two.origins
        other = PoseStates("standing").generate(source, 30, 9)
        assert one.states.tobytes() != other.states.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("pose", ["standing", "kneeling"])
def test_visited_states_are_half_goals_of_many_policies(pose: str) -> None:
    with unchecked():
        visited = PoseStates(pose).generate("visited", 260, seed=0)
    assert visited.labels[pose].sum() == 130
    assert len(set(visited.origins)) > 3
    assert len(np.unique(visited.groups)) > 10
    # Nothing is counted twice: every state is one that its episode went through.
    assert len(np.unique(visited.states, axis=0)) == 260


def test_a_network_is_its_layers() -> None:
    rng = np.random.default_rng(0)
    shapes = [(8, OBSERVED + 8), (17, 8)]
    layers = [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in shapes]
    network = PoseNetwork(layers)
    observation = rng.normal(size=OBSERVED)
    told = np.concatenate([observation, [0, 0, 1, 0, 0, 0, 0, 0]])

    def dense(values: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> list[float]:
        rows = zip(weights, biases, strict=True)
        return [sum(w * x for w, x in zip(row, values, strict=True)) + bias for row, bias in rows]

    hidden = np.maximum(dense(told, *layers[0]), 0.0)
    expected = 0.4 * np.tanh(dense(hidden, *layers[1]))
    assert network.act(observation, 2) == pytest.approx(expected)
    assert network.poses == 8


def test_the_networks_that_come_with_the_package_know_every_pose() -> None:
    networks = criterion_networks()
    assert len(networks) == 3
    assert {network.poses for network in networks} == {len(MARGINS)}


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="visted"):
        PoseStates("standing").generate("visted", 10, 0)
    with pytest.raises(UnknownNameError, match="unknown pose 'sitting'"):
        PoseStates("sitting")
    with pytest.raises(InvalidInputError, match="count must be"):
        PoseStates("standing").generate("posed", 1, 0)


def test_tasks_generate_their_own_states() -> None:
    for pose in MARGINS:
        generator = get_task(pose).generator
        assert isinstance(generator, StateGenerator)
        assert generator.pose == pose  # pyright: ignore
