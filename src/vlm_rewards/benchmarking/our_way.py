"""The same work as in `vlm_rewards.benchmarking.common_way`, as ``vlm-rewards train`` does it."""

from __future__ import annotations

from stable_baselines3.common.callbacks import CallbackList

from vlm_rewards.benchmarking.common_way import HORIZON, encoder_device, timed_learning
from vlm_rewards.envs import Task, get_task
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling import LabelRewards
from vlm_rewards.rewards import VLMReward
from vlm_rewards.simulation import PhotographedVecEnv
from vlm_rewards.training.algorithm_config import DQNConfig
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.callbacks import ThreadPhases
from vlm_rewards.training.runner import ring_slots


class OurWay:
    """An algorithm on a task, rollout after rollout: what a run does but for its logs, checkpoints and snapshots.

    Args:
        reward: The reward.
        algorithm: Settings of the algorithm; ``gradient_steps`` of 0 collects and labels without learning.
        n_envs: Simulators.
        chunk_frames: Pictures that the encoder is given in one go.
        seed: Of everything random.
        task: The task; default: CartPole.

    Attributes:
        model: The algorithm.
        labels: Its callback.
    """

    name = "vlm-rewards"

    def __init__(
        self,
        reward: VLMReward,
        algorithm: DQNConfig,
        n_envs: int,
        *,
        chunk_frames: int = 256,
        seed: int = 0,
        task: Task | None = None,
    ) -> None:
        task = get_task("cartpole") if task is None else task
        if task.name == "cartpole" and task.horizon != HORIZON:
            raise InvalidInputError(f"horizon of cartpole must be {HORIZON}, as in the common way, got {task.horizon}.")
        self._venv = PhotographedVecEnv(
            task,
            n_envs,
            image_size=reward.encoder.image_size,
            seed=seed,
            slots=ring_slots(chunk_frames, n_envs),
        )
        self.model = build_algorithm(algorithm, self._venv, seed=seed, device=encoder_device(reward))
        self.labels = LabelRewards(reward, chunk_frames=chunk_frames)
        self._callback = CallbackList([self.labels, ThreadPhases(reward.encoder)])

    @property
    def ring_bytes(self) -> int:
        """Memory of the pictures in flight."""
        return self._venv.ring.nbytes

    def run(self, steps: int) -> float:
        """Go on for some steps, all simulators together.

        Returns:
            Steps per second.
        """
        return timed_learning(self.model, self._callback, steps)

    def close(self) -> None:
        """End the simulators."""
        self._venv.close()
