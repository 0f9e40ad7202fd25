"""The numbers that a change of structure must not move: run it on two checkouts, one after the other, on one machine.

    python benchmarks/same_numbers.py --out before.json        # in the old checkout
    python benchmarks/same_numbers.py --out after.json --against before.json

Three trainings with fixed seeds (CartPole whole, textured MountainCar for 20,000 steps, kneeling for 12,000), three
judgements, which are EPIC tables, and a relabelled Minari dataset. What is compared: `snapshots.csv`, the last policy
byte by byte, every row of a judgement, and every relabelled reward.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRAININGS = {
    "cartpole": [],
    "mountaincar-textured": ["--steps", "20000"],
    "kneeling": ["--steps", "12000", "--learning-starts", "2000", "--standardise", "2000", "--snapshots", "3"],
}
JUDGED = ("cartpole", "mountaincar-textured", "kneeling")
DATASET = "cartpole/random-v0"
# Child processes take the package from where this one does.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def command(*arguments: str, folder: Path) -> None:
    environment = {**os.environ, **ENVIRONMENT, "MINARI_DATASETS_PATH": str(folder / "minari")}
    subprocess.run([sys.executable, "-m", "vlm_rewards.cli", *arguments], check=True, env=environment, cwd=folder)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def trained(task: str, folder: Path) -> dict[str, Any]:
    run = folder / task
    few = ["--evaluation-episodes", "8", "--no-video", "--seed", "0", "--run-dir", str(run)]
    command("train", task, "--preset", "cpu", *TRAININGS[task], *few, folder=folder)
    policies = sorted((run / "checkpoints").glob("*.safetensors"))
    evaluation = json.loads((run / "record.json").read_text())["evaluation"]
    return {
        "snapshots": (run / "snapshots.csv").read_text().splitlines(),
        "policy_sha256": digest(policies[-1]),
        "vlm_return": evaluation["vlm_return"],
    }


def judged(task: str, folder: Path) -> list[dict[str, Any]]:
    out = folder / f"judged-{task}"
    command("judge", task, "--out", str(out), folder=folder)
    return json.loads((out / "judge.json").read_text())["rows"]


def relabelled(folder: Path) -> dict[str, Any]:
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    import gymnasium as gym
    import minari
    import numpy as np

    env = minari.DataCollector(gym.make("CartPole-v1"))
    env.action_space.seed(0)
    for seed in range(5):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
    env.create_dataset(dataset_id=DATASET, algorithm_name="random", code_permalink="", author="", author_email="")
    prompts = ("--goal", "pole vertically upright on top of the cart", "--baseline", "pole and cart")
    command("relabel", DATASET, "--frames", "replay", *prompts, folder=folder)
    (written,) = [name for name in minari.list_local_datasets() if name != DATASET]
    rewards = np.concatenate([episode.rewards for episode in minari.load_dataset(written)])
    return {
        "rewards": len(rewards),
        "sum": float(rewards.sum()),
        "sha256": hashlib.sha256(rewards.tobytes()).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="numbers of the other checkout; exit code 1 where they differ")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {"relabelled": relabelled(folder)}
        found |= {f"judge {task}": judged(task, folder) for task in JUDGED}
        found |= {f"train {task}": trained(task, folder) for task in TRAININGS}
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    if chosen.against is not None:
        before = json.loads(chosen.against.read_text())
        for key, value in before.items():
            print("same   " if found[key] == value else "DIFFERS", key)
        sys.exit(found != before)


if __name__ == "__main__":
    main()
