"""Measure what `--label-every N` does to the humanoid's rewards: how far those between two frames are off.

    python benchmarks/label_every.py --pose kneeling --encoder bundled

Episodes of policies that were trained on the criterion, with and without random actions, and of random actions; every
state is rendered and scored, and then some of the scores are taken away and interpolated again. The record is
docs/measurements/label-every.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.collection.episodes import Interpolation
from vlm_rewards.collection.vec_env import falls_due
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.evaluation.epic import label_distance, pearson_distance
from vlm_rewards.evaluation.states import open_studio
from vlm_rewards.files import write_json
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.humanoid.body import MARGINS
from vlm_rewards.tasks.humanoid.model import HORIZON, POSITIONS, VELOCITIES, shared_model
from vlm_rewards.tasks.humanoid.states import ACTION_LIMIT, criterion_networks
from vlm_rewards.tasks.task import get_task

EVERY = (2, 3, 4, 6, 8)
_NOISE = (1.0, 0.6, 0.3, 0.1, 0.0)
"""Shares of random actions; an episode has the next one each."""


def run_episodes(pose: str, count: int, seed: int) -> np.ndarray:
    """States after each step, float64 ``[steps episodes 47]``."""
    rng, robot = np.random.default_rng(seed), shared_model()
    networks, number = criterion_networks(), tuple(MARGINS).index(pose)
    states = np.empty((HORIZON, count, POSITIONS + VELOCITIES))
    for episode in range(count):
        noise, network = _NOISE[episode % len(_NOISE)], networks[int(rng.integers(len(networks)))]
        robot.start(rng)
        for step in range(HORIZON):
            if rng.random() < noise:
                action = rng.uniform(-ACTION_LIMIT, ACTION_LIMIT, VELOCITIES - 6)
            else:
                action = network.act(np.concatenate([robot.data.qpos[2:], robot.data.qvel]), number)
            robot.step(action)
            states[step, episode] = robot.state()
    return states


def interpolated(rewards: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """The rewards as a training would get them, and which of them were scored (bool ``[steps]``)."""
    scored = np.array([falls_due(step, every) or step == HORIZON for step in range(1, HORIZON + 1)])
    known = np.where(scored[:, None], rewards, np.nan)
    return Interpolation(rewards.shape[1]).fill(known), scored


def compare(rewards: np.ndarray, holds: np.ndarray, every: int) -> dict[str, Any]:
    """How the interpolated rewards relate to the scored ones and to the criterion."""
    filled, scored = interpolated(rewards, every)
    off = (filled - rewards)[~scored]
    return {
        "every": every,
        "pictures": round(float(scored.mean()), 3),
        "pearson_distance_between": round(pearson_distance(filled[~scored].ravel(), rewards[~scored].ravel()), 4),
        "error_in_standard_deviations": round(float(np.sqrt(np.mean(off**2)) / rewards.std()), 4),
        "epic_to_criterion": round(label_distance(filled.ravel(), holds.ravel()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pose", default="kneeling")
    parser.add_argument("--encoder", default="bundled")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/label-every.json"))
    chosen = parser.parse_args()
    task, encoder = get_task(chosen.pose), load_encoder(chosen.encoder)
    states = run_episodes(chosen.pose, chosen.episodes, chosen.seed)
    with open_studio(task, encoder.image_size) as studio:
        frames, holds = studio.show(states.reshape(-1, states.shape[-1]))
    if holds is None:
        raise SystemExit(f"task {task.name!r} has no criterion")
    reward = VLMReward(encoder, goal=task.goal, baseline=task.baseline, alpha=chosen.alpha)
    rewards = reward(frames).astype(np.float64).reshape(states.shape[:2])
    holds = holds.reshape(states.shape[:2])
    rows = [compare(rewards, holds, every) for every in EVERY]
    record = {
        "kind": "label-every",
        "pose": chosen.pose,
        "encoder": chosen.encoder,
        "weights": encoder.describe()["weights_sha256"],
        "alpha": chosen.alpha,
        "episodes": chosen.episodes,
        "seed": chosen.seed,
        "epic_to_criterion": round(label_distance(rewards.ravel(), holds.ravel()), 4),
        "rows": rows,
        **provenance(),
    }
    write_json(chosen.out, record)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
