"""How VLM rewards are commonly computed today, to measure ours against.

Written after what the published implementation of the paper (Rocamonde et al.,
2024) does and those that followed it, with their order of things and their
costs: every simulator in a process of its own draws with its own renderer at
its own size, frames travel through pipes, all raw frames of a rollout are
kept, and once it is over they are stacked, turned into floating point, resized
with bicubic interpolation, embedded in one go, and the rewards in the replay
buffer overwritten. Simulators, encoder and learner wait for each other.

What costs nothing here is left better than it was: there is no GPU to copy to
and no second process for the encoder, and batches are as large as ours.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bench.workloads import Workload
from vlm_rewards.arrays import Embeddings
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.rendering import configure_headless
from vlm_rewards.training.algorithms import OffPolicyConfig

_EMBEDDED_AT_ONCE = 64  # as our encoder does on the CPU


def embed_raw(encoder: OpenCLIPEncoder, frames: np.ndarray) -> Embeddings:
    """Embed frames of any size as is commonly done: floating point first, bicubic to a square, normalised.

    Args:
        encoder: The encoder.
        frames: uint8 ``[n h w 3]``.

    Returns:
        float32 ``[n d]``, unit-norm rows.
    """
    batches = [frames[start : start + _EMBEDDED_AT_ONCE] for start in range(0, len(frames), _EMBEDDED_AT_ONCE)]
    prepared = (prepare_raw(encoder, batch) for batch in batches)
    model: Any = encoder._model
    dtype = next(model.visual.parameters()).dtype
    with torch.inference_mode():
        rows = [model.encode_image(x.to(encoder.device, dtype), normalize=True) for x in prepared]
        return torch.cat(rows).float().cpu().numpy()


def prepare_raw(encoder: OpenCLIPEncoder, frames: np.ndarray) -> torch.Tensor:
    """The preprocessing of `embed_raw` alone: uint8 ``[n h w 3]`` to float32 ``[n 3 s s]``."""
    wanted = encoder.preprocessing
    with torch.inference_mode():
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        size = [wanted.height, wanted.width]
        pixels = transforms.resize(pixels, size, InterpolationMode.BICUBIC, antialias=True)
        return transforms.normalize(pixels, list(wanted.mean), list(wanted.std))


class RewardsAfterRollout(BaseCallback):
    """Keeps the raw frames of a rollout and overwrites its rewards in the replay buffer when it is over.

    Args:
        reward: The reward; only its formula is used, frames are embedded by `embed_raw`.

    Attributes:
        labelled_frames: Frames scored so far.
    """

    def __init__(self, reward: VLMReward) -> None:
        super().__init__()
        self.labelled_frames = 0
        self._reward = reward
        self._frames: list[np.ndarray] = []

    def _on_step(self) -> bool:
        # After the step: where an episode has ended, the frame is of the next one's first state. It is known,
        # and is how it is commonly done; it costs the same.
        self._frames.append(np.stack([_picture(image) for image in self.training_env.get_images()]))
        return True

    def _on_rollout_end(self) -> None:
        frames = np.concatenate(self._frames)
        self._frames = []
        encoder: Any = self._reward.encoder
        rewards = self._reward.score(embed_raw(encoder, frames))
        buffer: ReplayBuffer = self.model.replay_buffer  # type: ignore[attr-defined]
        rewards = rewards.reshape(-1, buffer.n_envs)
        rows = (buffer.pos - len(rewards) + np.arange(len(rewards))) % buffer.buffer_size
        buffer.rewards[rows] = rewards
        self.labelled_frames += rewards.size


def _picture(image: Any) -> np.ndarray:
    if image is None:
        raise TypeError("a simulator drew nothing")
    return image


class CommonWay:
    """An algorithm on a task in the common way, rollout after rollout.

    Args:
        reward: The reward.
        workload: The simulators, each in a process of its own, and the algorithm.
        seed: Of everything random.

    Attributes:
        model: The algorithm, with Stable-Baselines3's own replay buffer.
        labels: Its callback.
    """

    name = "common way"

    def __init__(self, reward: VLMReward, workload: Workload, seed: int = 0) -> None:
        self.labels = RewardsAfterRollout(reward)
        configure_headless()  # before the process starts that all others are forked from
        self._venv = SubprocVecEnv([workload.common] * workload.n_envs)
        self.model: Any = workload.model(self._venv, seed=seed, device=encoder_device(reward))
        self.model.replay_buffer = _replay_buffer(self.model, workload.algorithm)

    def run(self, steps: int) -> float:
        """Go on for some steps, all simulators together.

        Returns:
            Steps per second.
        """
        return timed_learning(self.model, self.labels, steps)

    def close(self) -> None:
        """End the simulators."""
        self._venv.close()


def _replay_buffer(model: Any, algorithm: OffPolicyConfig) -> ReplayBuffer:
    """Stable-Baselines3's own, in place of ours, which would wait for rewards."""
    several: dict[str, Any] = {"n_steps": algorithm.n_steps, "gamma": algorithm.gamma}
    kind, options = (NStepReplayBuffer, several) if algorithm.n_steps > 1 else (ReplayBuffer, {})
    spaces = model.observation_space, model.action_space
    device = model.replay_buffer.device  # sbx keeps its own on the CPU, wherever it learns
    return kind(model.buffer_size, *spaces, device, n_envs=model.n_envs, **options)


def timed_learning(model: Any, callback: Any, steps: int) -> float:
    """Let a model learn for so many steps more; steps per second."""
    before, started = model.num_timesteps, time.perf_counter()
    model.learn(steps, callback=callback, reset_num_timesteps=before == 0, log_interval=10**9)
    return (model.num_timesteps - before) / (time.perf_counter() - started)


def encoder_device(reward: VLMReward) -> str:
    """Where the encoder computes, and the learner with it."""
    encoder: Any = reward.encoder
    return encoder.device
