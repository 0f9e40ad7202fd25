"""The same work as in `bench.common_way`, as ``vlm-rewards train`` does it."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import CallbackList

from bench.common_way import encoder_device, timed_learning
from bench.workloads import Workload
from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.training.callbacks import ThreadPhases
from vlm_rewards.training.runner import ring_slots


class OurWay:
    """An algorithm on a task, rollout after rollout: what a run does but for its logs, checkpoints and snapshots.

    Args:
        reward: The reward.
        workload: The task, the simulators and the algorithm.
        seed: Of everything random.

    Attributes:
        model: The algorithm.
        labels: Its callback.
    """

    name = "vlm-rewards"

    def __init__(self, reward: VLMReward, workload: Workload, seed: int = 0) -> None:
        chunk_frames = workload.chunk_frames
        self._venv = RenderedVecEnv(
            workload.task,
            workload.n_envs,
            image_size=reward.encoder.image_size,
            seed=seed,
            slots=ring_slots(chunk_frames, workload.n_envs),
            render_every=workload.label_every,
        )
        self.model: Any = workload.model(self._venv, seed=seed, device=encoder_device(reward))
        self.labels = LabelRewards(reward, chunk_frames=chunk_frames)
        self._callback = CallbackList([self.labels, ThreadPhases(reward.encoder)])

    @property
    def ring_bytes(self) -> int:
        """Memory of the frames in flight."""
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
