"""An algorithm of your own, from one file: Double DQN, trained on a reward of frames.

Its settings are a dataclass, its class is a variant of Stable-Baselines3's DQN, and `register_algorithm` gives it a
name. The file also has the task, so that the command line finds both:

    vlm-rewards train examples/16_own_algorithm.py --algo double-dqn

An installed package brings an algorithm with an entry point of the group `vlm_rewards.algorithms`, and
`--algo package.module:ALGORITHM` names one that nobody registered. Run as a program, this trains for a moment:

    python examples/16_own_algorithm.py
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN
from torch.nn import functional

import vlm_rewards
from vlm_rewards.training.algorithms import DISCRETE, DQNConfig

STEPS = int(os.environ.get("STEPS", "1200"))


@dataclass(frozen=True)
class DoubleDQNConfig(DQNConfig):
    """Settings of Double DQN: those of DQN, and one more."""

    huber_delta: float = 1.0
    """Where the loss turns from a square into a line."""


class DoubleDQN(DQN):
    """DQN whose online network chooses the action that the target network values (van Hasselt et al. 2016)."""

    def __init__(self, *arguments: Any, huber_delta: float = 1.0, **settings: Any) -> None:
        self.huber_delta = huber_delta
        super().__init__(*arguments, **settings)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the online network from the replay buffer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses: list[float] = []
        for _ in range(gradient_steps):
            rows: Any = self.replay_buffer.sample(batch_size)  # type: ignore[union-attr]
            with torch.no_grad():
                chosen = self.q_net(rows.next_observations).argmax(dim=1, keepdim=True)
                value = self.q_net_target(rows.next_observations).gather(1, chosen)
                wanted = rows.rewards + (1 - rows.dones) * self.gamma * value
            own = self.q_net(rows.observations).gather(1, rows.actions.long())
            loss = functional.huber_loss(own, wanted, delta=self.huber_delta)
            self.policy.optimizer.zero_grad()
            loss.backward()
            self.policy.optimizer.step()
            losses.append(loss.item())
        self._n_updates += gradient_steps
        self.logger.record("train/loss", float(np.mean(losses)))


ALGORITHM = vlm_rewards.register_algorithm("double-dqn", DoubleDQNConfig, DoubleDQN, actions=DISCRETE, replace=True)
TASK = dataclasses.replace(vlm_rewards.get_task("cartpole"), name="cartpole-again")


def main() -> None:
    small = {"steps": STEPS, "learning_starts": 400, "standardise": 400, "snapshots": 1, "gradient_steps": 8}
    few = {"selection_episodes": 2, "evaluation_episodes": 2, "n_workers": 1, "video": False}
    with tempfile.TemporaryDirectory() as folder:
        run = vlm_rewards.train(task=TASK, algo="double-dqn", run_dir=Path(folder) / "run", **small, **few)
        print(run.config.algorithm)
        print(f"{run.record['steps']} steps; VLM return {run.record['evaluation']['vlm_return']:.1f}")


if __name__ == "__main__":
    main()
