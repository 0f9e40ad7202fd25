"""Train CartPole from its prompt, in Python instead of on the command line.

The default is a taste of a few thousand steps, too few to learn; the run folder is complete all the same. A real run:

    STEPS=60000 python examples/02_train_cartpole.py runs/cartpole-from-python
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import vlm_rewards

STEPS = int(os.environ.get("STEPS", "3000"))


def train(run_dir: Path) -> None:
    """Train into a folder and say what came out."""
    run = vlm_rewards.train(
        task="cartpole", seed=0, steps=STEPS, snapshots=2, selection_episodes=4, evaluation_episodes=4, run_dir=run_dir
    )
    record = run.record
    print(f"{record['steps']} steps, {record['labelled_frames']} frames scored")
    if run.best is not None:
        print(f"best snapshot: {run.best.path}, mean VLM return {run.best.vlm_return:.1f}")
    print(f"it keeps the pole upright in {run.evaluate(episodes=4).success_rate:.0%} of the episodes")
    print("the run folder has:", *sorted(path.name for path in run_dir.iterdir()))


def main() -> None:
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "run")


if __name__ == "__main__":
    main()
