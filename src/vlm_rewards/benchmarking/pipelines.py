"""Whole runs measured: collection and labelling, with updates, and their memory."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from vlm_rewards.benchmarking.common_way import CommonWay
from vlm_rewards.benchmarking.measurement import Measurement, paired
from vlm_rewards.benchmarking.memory import PeakMemory
from vlm_rewards.benchmarking.our_way import OurWay
from vlm_rewards.benchmarking.settings import BenchSettings
from vlm_rewards.benchmarking.stages import noise, rate
from vlm_rewards.encoders import OpenCLIPEncoder, load_encoder
from vlm_rewards.envs import get_task
from vlm_rewards.errors import WorkerError
from vlm_rewards.rewards import VLMReward
from vlm_rewards.training.algorithm_config import DQNConfig
from vlm_rewards.training.presets import preset

WAYS = {way.name: way for way in (OurWay, CommonWay)}


def cartpole_algorithm(n_envs: int, train_freq: int, *, updates: bool) -> DQNConfig:
    """DQN as the ``cpu`` preset of CartPole has it, learning from the first rollout on or not at all.

    Args:
        n_envs: Simulators.
        train_freq: Steps of each in a rollout.
        updates: Whether an update is made for every second step.
    """
    algorithm = preset("cartpole").algorithm
    if not isinstance(algorithm, DQNConfig):
        raise TypeError(f"the preset of cartpole must be DQN, not {algorithm!r}")
    gradient_steps = max(1, n_envs * train_freq // 2) if updates else 0
    return dataclasses.replace(
        algorithm, learning_starts=0, buffer_size=20_000, train_freq=train_freq, gradient_steps=gradient_steps
    )


def cartpole_reward(encoder: OpenCLIPEncoder) -> VLMReward:
    """The reward of CartPole."""
    task = get_task("cartpole")
    return VLMReward(encoder, goal=task.goal, baseline=task.baseline)


def collection(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Labelled steps per second without updates, beside the common way."""
    return _both(f"collection and labelling, {label}", settings, encoder, updates=False)


def end_to_end(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Steps per second with an update of DQN for every second step, beside the common way with as many."""
    return _both(f"end-to-end, {label}", settings, encoder, updates=True)


def _both(name: str, settings: BenchSettings, encoder: OpenCLIPEncoder, *, updates: bool) -> Measurement:
    reward = cartpole_reward(encoder)
    algorithm = cartpole_algorithm(settings.n_envs, settings.train_freq, updates=updates)
    steps = settings.rollouts * algorithm.train_freq * settings.n_envs
    ours = OurWay(reward, algorithm, settings.n_envs)
    try:
        theirs = CommonWay(reward, algorithm, settings.n_envs)
        try:
            values = paired(lambda: ours.run(steps), lambda: theirs.run(steps), settings.repeats)
        finally:
            theirs.close()
    finally:
        ours.close()
    facts = {
        "steps": steps,
        "simulators": settings.n_envs,
        "rollout": algorithm.train_freq * settings.n_envs,
        "updates_per_rollout": algorithm.gradient_steps,
    }
    return Measurement(name, "steps/s", values[0], "common way", values[1], facts)


def labelled_frames(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Labelled pictures per second of a run without updates, beside the bare encoder on as many pictures."""
    algorithm = cartpole_algorithm(settings.n_envs, settings.train_freq, updates=False)
    rollout = algorithm.train_freq * settings.n_envs
    ours = OurWay(cartpole_reward(encoder), algorithm, settings.n_envs)
    try:
        frames = noise(rollout, encoder.image_size)
        bare = functools.partial(rate, functools.partial(encoder.embed_images, frames), rollout)
        values = paired(lambda: ours.run(rollout), bare, settings.repeats)
    finally:
        ours.close()
    facts = {"pictures": rollout, "simulators": settings.n_envs}
    return Measurement(f"labelled frames, {label}", "frames/s", values[0], "bare encoder", values[1], facts)


def memory(settings: BenchSettings) -> Iterator[Measurement]:
    """Peak memory of each way in a process of its own, for rollouts of two lengths."""
    train_freqs = settings.train_freq, 4 * settings.train_freq
    steps = max(1, settings.rollouts // 4) * max(train_freqs) * settings.n_envs
    for train_freq in train_freqs:
        ours, theirs, kind = [], [], "PSS"
        for _ in range(min(settings.repeats, 3)):
            for name, values in ((OurWay.name, ours), (CommonWay.name, theirs)):
                peak = memory_of(name, settings.n_envs, train_freq, steps)
                values.append(peak["mib"])
                kind = peak["kind"]
        facts = {"steps": steps, "simulators": settings.n_envs, "rollout": train_freq * settings.n_envs, "kind": kind}
        name = f"peak memory, rollouts of {train_freq * settings.n_envs:,} steps"
        yield Measurement(name, f"MiB ({kind})", tuple(ours), "common way", tuple(theirs), facts)


def memory_of(way: str, n_envs: int, train_freq: int, steps: int) -> dict[str, Any]:
    """Run one way in a process of its own and watch the memory of all its processes.

    Raises:
        WorkerError: The process failed.
    """
    request = json.dumps({"way": way, "n_envs": n_envs, "train_freq": train_freq, "steps": steps})
    child = subprocess.Popen([sys.executable, "-m", __name__, request], stderr=subprocess.PIPE, text=True)
    with PeakMemory(child.pid) as peak:
        _, errors = child.communicate()
    if child.returncode != 0:
        raise WorkerError(f"measuring the memory of the {way} failed: {errors.strip().splitlines()[-1:]}.")
    return {"mib": peak.peak / 2**20, "kind": peak.kind}


def _main(request: str) -> None:
    wanted = json.loads(request)
    reward = cartpole_reward(load_encoder("bundled"))
    algorithm = cartpole_algorithm(wanted["n_envs"], wanted["train_freq"], updates=True)
    way = WAYS[wanted["way"]](reward, algorithm, wanted["n_envs"])
    try:
        way.run(wanted["steps"])
    finally:
        way.close()


if __name__ == "__main__":
    _main(sys.argv[1])
