"""Say why an agent fell short of its pose: did the reward mislead it, or did it not get there?

    python benchmarks/reasons.py runs/kneeling-0 runs/kneeling-1 --out docs/measurements/reasons.json

The best checkpoint acts as in an evaluation. Of the states that it visits and that do not fulfil the criterion, the
record says which conditions they break, and how often a goal state has the higher reward: goal states are those of the
recipe that rewards are judged on. Near 1, the reward knows better than what the agent does, and the agent has not
found it or not held it; near 0, what the agent does is what the reward asks for. Of poses that ask for standing and
something besides, the record also says how often a goal state is above one that merely stands: near 0.5 the reward does
not see what is asked for besides. A record that is there already keeps what it says of other runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accumulating import keep_row, rows_of
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.evaluation.states import Policies, StateSet, generated_states, visited_states
from vlm_rewards.evaluation.statistics import auroc
from vlm_rewards.progress import LoggedProgress
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import EmbeddingReward
from vlm_rewards.seeding import derive_seed
from vlm_rewards.tasks.humanoid.body import CONDITIONS, measure_state
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.rewards import load_reward
from vlm_rewards.training.run_folder import PolicyFunction, RunFolder, best_snapshot, load_policy

UPRIGHT = ("head up", "pelvis up", "trunk upright", "a leg straight", "in balance", "on the floor")
CONDITION_NAMES: dict[str, tuple[str, ...]] = {
    "kneeling": (
        "both knees down",
        "knees down on average",
        "trunk upright",
        "knees bent",
        "trunk off the floor",
        "in balance",
        "on the floor",
        "not seated as in lotus",
    ),
    "lotus": ("pelvis down", "knees down", "knees outwards", "feet inwards", "feet not behind", "trunk upright"),
    "standing": UPRIGHT,
    "arms-raised": (*UPRIGHT, "hands above the head"),
    "splits": ("pelvis down", "knees straight", "legs spread", "feet outwards", "trunk upright"),
    "hands-on-hips": (*UPRIGHT, "hands as high as the hips", "hands close", "hands beside", "elbows outwards"),
    "arms-crossed": (*UPRIGHT, "hands past the middle", "hands before the chest", "forearms crossed"),
    "one-leg": (*UPRIGHT, "a foot lifted"),
}
"""What each condition of a task asks for, in their order."""


def broken(pose: str, states: np.ndarray) -> dict[str, float]:
    """Share of states that break each condition, the most broken first; those that none breaks are left out."""
    rows = [CONDITIONS[pose](measure_state(state)) for state in states]
    shares = (np.array(rows) < 0).mean(axis=0).tolist()
    named = sorted(zip(CONDITION_NAMES[pose], shares, strict=True), key=lambda pair: -pair[1])
    return {name: round(share, 3) for name, share in named if share}


def above_standing(pose: str, goals: StateSet, rewards: np.ndarray) -> float | None:
    """How often a goal state is above one that stands and is no goal; None where the pose does not ask for standing."""
    if goals.all_labels is None or goals.labels is None or CONDITION_NAMES[pose][: len(UPRIGHT)] != UPRIGHT:
        return None
    stands = goals.all_labels["standing"]
    return None if goals.labels[stands].all() else round(auroc(rewards[stands], goals.labels[stands]), 4)


def visited_by_best(folder: Path, count: int, seed: int, size: int) -> StateSet:
    """States that the best checkpoint of a run visits."""
    run = RunFolder.open(folder)
    config = run.read_config()

    def build(venv: RenderedVecEnv, seed: int) -> Sequence[PolicyFunction]:
        return [load_policy(run, config, venv, best_snapshot(run).path)]

    return visited_states(task_of(config), Policies(folder.name, build), count, seed=seed, size=size)


def reason(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """What is behind one run's failures."""
    config = RunFolder.open(folder).read_config()
    reward = load_reward(config, task_of(config), LoggedProgress())
    if not isinstance(reward, EmbeddingReward):
        raise SystemExit(f"{folder} was rewarded by shaping, not by its states alone")
    size = reward.encoder.image_size
    visited = visited_by_best(folder, count, derive_seed(seed, "reasons"), size)
    goals = generated_states(task_of(config), "visited", count, seed=seed, size=size)
    if visited.labels is None or visited.states is None or goals.labels is None:
        raise SystemExit(f"{config.task} has no criterion")
    goal_rewards = reward(goals.frames)
    found: dict[str, Any] = {
        "task": config.task,
        "seed": config.seed,
        "held": round(float(visited.labels.mean()), 4),
        "goal_above_standing": above_standing(config.task, goals, goal_rewards),
        "goal_above_failure": None,
        "broken": {},
    }
    failures = ~visited.labels
    if failures.any():
        rewards = [goal_rewards[goals.labels], reward(visited.frames[failures])]
        labels = np.repeat([True, False], [len(part) for part in rewards])
        found["goal_above_failure"] = round(auroc(np.concatenate(rewards), labels), 4)
        found["broken"] = broken(config.task, visited.states[failures])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=1_000, help="states of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/reasons.json"))
    chosen = parser.parse_args()
    settings = {"kind": "reasons", "count": chosen.count, "seed": chosen.seed}
    made = provenance()
    rows_of(chosen.out, settings)  # refused before anything is measured
    for folder in chosen.runs:
        row = reason(folder, chosen.count, chosen.seed)
        print(folder.name, row, flush=True)
        keep_row(chosen.out, settings, folder.name, row, made)


if __name__ == "__main__":
    main()
