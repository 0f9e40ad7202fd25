"""Train CartPole from its sentence, in Python instead of on the command line.

The default is a taste of a few thousand steps, too few to learn; the run folder is complete all the same. A real run:

    STEPS=60000 python examples/02_train_cartpole.py runs/cartpole-from-python
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from vlm_rewards import VLMReward, get_task, load_encoder
from vlm_rewards.evaluation.rollouts import PolicyEvaluator
from vlm_rewards.training.presets import preset
from vlm_rewards.training.runner import train

STEPS = int(os.environ.get("STEPS", "3000"))


def run(run_dir: Path) -> None:
    """Train into a folder and say what came out."""
    config = dataclasses.replace(preset("cartpole"), steps=STEPS, snapshots=2, selection_episodes=4, seed=0)
    task = get_task(config.task)
    encoder = load_encoder(config.encoder)
    reward = VLMReward(encoder, goal=config.goal, baseline=config.baseline, alpha=config.alpha)

    with PolicyEvaluator(task, reward, n_envs=4) as evaluator:

        def evaluate(policy: Any, *, episodes: int, seed: int) -> dict[str, Any]:
            return evaluator.run(policy, episodes=episodes, seed=seed).to_dict()

        outcome = train(config, run_dir, reward, evaluate)

    record = outcome.record
    print(f"{record['steps']} steps, {record['labelled_frames']} frames scored")
    if outcome.best is not None:
        print(f"best snapshot: {outcome.best.path}, mean VLM return {outcome.best.vlm_return:.1f}")
    print("the run folder has:", *sorted(path.name for path in run_dir.iterdir()))


def main() -> None:
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "run")


if __name__ == "__main__":
    main()
