"""Each stage of a run measured for itself: drawing, preprocessing, embedding, updates."""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from bench.common_simulators import build_cartpole
from bench.common_way import prepare_raw
from bench.measurement import Measurement, paired, repeat
from bench.settings import BenchSettings
from vlm_rewards.collection.replay_buffer import LabelledReplayBuffer
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.rendering import draw
from vlm_rewards.tasks.task import get_task
from vlm_rewards.training.callbacks import update_threads

_ROWS = 5_000  # in the replay buffer while updates are measured
_HUMANOID_OBSERVATION, _HUMANOID_ACTION = 348, 17


def rate(work: Callable[[], Any], count: int) -> float:
    """So many of it per second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def drawing(settings: BenchSettings, sizes: Iterable[int]) -> Iterator[Measurement]:
    """Frames per second of one simulator: ours at what encoders take, beside the simulator's own at its own size."""
    pictures = 4 * settings.pictures
    for size in sizes:
        yield _drawing(
            f"drawing CartPole, {size} px", get_task("cartpole").simulator(size), build_cartpole(), settings, pictures
        )
    if importlib.util.find_spec("mujoco") is not None:
        config = EnvironmentConfig(settings.mujoco)
        task = environment_task(config, goal="a goal", baseline="a baseline")
        theirs = gym.make(settings.mujoco, render_mode="rgb_array")
        few = max(2, settings.pictures // 8)  # ten a second
        yield _drawing(f"drawing {settings.mujoco}, 224 px", task.simulator(224), theirs, settings, few)


def _drawing(
    name: str, ours: gym.Env[Any, Any], theirs: gym.Env[Any, Any], settings: BenchSettings, pictures: int
) -> Measurement:
    try:
        for env in (ours, theirs):
            env.reset(seed=0)
            env.action_space.seed(0)
        ours.render()
        height, width = np.asarray(theirs.render()).shape[:2]
        values = paired(
            functools.partial(_drawn, ours, pictures), functools.partial(_drawn, theirs, pictures), settings.repeats
        )
    finally:
        ours.close()
        theirs.close()
    facts = {"pictures": pictures, "common_size": [height, width], "processes": 1}
    return Measurement(name, "frames/s", values[0], "common way", values[1], facts)


def _drawn(env: gym.Env[Any, Any], pictures: int) -> float:
    """Only drawing counts, not the steps between."""
    seconds = 0.0
    for _ in range(pictures):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        started = time.perf_counter()
        draw(env)
        seconds += time.perf_counter() - started
    return pictures / seconds


def preprocessing(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Frames per second from what a simulator draws to what a model takes."""
    small, raw = noise(settings.pictures, encoder.image_size), noise(settings.pictures, 400, 600)

    def ours() -> None:
        with torch.inference_mode():
            for start in range(0, len(small), 64):
                pixels = torch.from_numpy(small[start : start + 64]).permute(0, 3, 1, 2)
                encoder.preprocessing(pixels.to(encoder.device))
        if encoder.device.startswith("cuda"):
            torch.cuda.synchronize()  # a GPU has only been told so far

    def theirs() -> None:
        for start in range(0, len(raw), 64):
            prepare_raw(encoder, raw[start : start + 64])

    count = settings.pictures
    values = paired(lambda: rate(ours, count), lambda: rate(theirs, count), settings.repeats)
    return Measurement(
        f"preprocessing for {label}", "frames/s", values[0], "common way", values[1], {"pictures": count}
    )


def embedding(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Frames per second of an encoder, preprocessing included, with all of torch's threads."""
    frames = noise(settings.pictures, encoder.image_size)
    values = repeat(lambda: rate(lambda: encoder.embed_images(frames), len(frames)), settings.repeats)
    facts = {"pictures": len(frames), "size": encoder.image_size, **_encoder_facts(encoder)}
    return Measurement(f"embedding, {label}", "frames/s", values, settings=facts)


def _encoder_facts(encoder: OpenCLIPEncoder) -> dict[str, Any]:
    facts = encoder.describe()
    return {key: facts[key] for key in ("parameters", "device", "dtype", "batch_size")}


def updates(settings: BenchSettings) -> Iterator[Measurement]:
    """Gradient updates per second of DQN on CartPole and of SAC on the Humanoid's observations.

    Ours has our replay buffer and as many threads as a run gives it; beside it is Stable-Baselines3 as it comes, with
    all threads.
    """
    humanoid = _box(np.inf, _HUMANOID_OBSERVATION), _box(0.4, _HUMANOID_ACTION)
    cartpole = _box(np.inf, 4), gym.spaces.Discrete(2)
    yield _updates("updates of DQN, CartPole", DQN, cartpole, {"batch_size": 128}, settings, settings.updates)
    few = max(1, settings.updates // 10)
    yield _updates("updates of SAC, Humanoid's observations", SAC, humanoid, {"batch_size": 256}, settings, few)


def _box(bound: float, length: int) -> gym.spaces.Box:
    return gym.spaces.Box(-bound, bound, (length,), np.float32)


class _Spaces(gym.Env[Any, Any]):
    """Spaces without a simulator."""

    def __init__(self, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> None:
        self.observation_space, self.action_space = spaces


def _updates(
    name: str, kind: Any, spaces: tuple[Any, Any], options: dict[str, Any], settings: BenchSettings, count: int
) -> Measurement:
    threads = torch.get_num_threads()
    ours = _filled(kind, spaces, {**options, "replay_buffer_class": LabelledReplayBuffer})
    theirs = _filled(kind, spaces, options)

    def learn(model: Any, used: int) -> float:
        torch.set_num_threads(used)
        try:
            return rate(lambda: model.train(gradient_steps=count, batch_size=model.batch_size), count)
        finally:
            torch.set_num_threads(threads)

    own_threads = min(threads, update_threads(ours.policy))
    values = paired(lambda: learn(ours, own_threads), lambda: learn(theirs, threads), settings.repeats)
    facts = {"updates": count, "threads": own_threads, "common_threads": threads, **options}
    return Measurement(name, "updates/s", values[0], "common way", values[1], facts)


def _filled(kind: Any, spaces: tuple[Any, Any], options: dict[str, Any]) -> Any:
    """An algorithm whose replay buffer is full of noise."""
    venv = DummyVecEnv([functools.partial(_Spaces, spaces)])
    layers = {"net_arch": [256, 256]}
    model = kind("MlpPolicy", venv, buffer_size=_ROWS, policy_kwargs=layers, seed=0, device="cpu", **options)
    model.set_logger(Logger(None, []))
    generator = np.random.default_rng(0)
    for row in range(_ROWS):
        seen = generator.standard_normal((2, 1, *spaces[0].shape), dtype=np.float32)
        action = np.array([spaces[1].sample()])
        model.replay_buffer.add(*seen, action, np.zeros(1), np.zeros(1, dtype=bool), [{"frame_ticket": row}])
    if isinstance(model.replay_buffer, LabelledReplayBuffer):
        model.replay_buffer.fill(np.arange(_ROWS), generator.standard_normal(_ROWS))
    return model


def noise(count: int, height: int, width: int | None = None) -> np.ndarray:
    """Frames, uint8 ``[count height width 3]``, square without a width; speed does not depend on what they show."""
    shape = (count, height, height if width is None else width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
