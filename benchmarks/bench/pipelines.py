"""Whole runs measured: collection and labelling, with updates, and their memory."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.common_way import CommonWay
from bench.measurement import Measurement, paired
from bench.memory import PeakMemory
from bench.our_way import OurWay
from bench.settings import BenchSettings
from bench.stages import noise, rate
from bench.workloads import Workload, cartpole, kneeling
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.errors import WorkerError

WAYS = {way.name: way for way in (OurWay, CommonWay)}


def collection(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Iterator[Measurement]:
    """Labelled steps per second without updates, beside the common way: of CartPole and of the humanoid."""
    for workload, rollouts in _workloads(settings, updates=False):
        yield _both(f"collection and labelling, {workload.name}, {label}", workload, rollouts, settings, encoder)


def end_to_end(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Iterator[Measurement]:
    """Steps per second with the updates of the ``cpu`` presets, beside the common way with as many."""
    for workload, rollouts in _workloads(settings, updates=True):
        yield _both(f"end-to-end, {workload.name}, {label}", workload, rollouts, settings, encoder)


def _workloads(settings: BenchSettings, *, updates: bool) -> Iterator[tuple[Workload, int]]:
    """Each with its rollouts in a run."""
    yield cartpole(settings.n_envs, settings.train_freq, updates=updates), settings.rollouts
    yield kneeling(settings.humanoid_n_envs, updates=updates), settings.humanoid_rollouts


def _both(
    name: str, workload: Workload, rollouts: int, settings: BenchSettings, encoder: OpenCLIPEncoder
) -> Measurement:
    reward = workload.reward(encoder)
    steps = rollouts * workload.rollout
    ours = OurWay(reward, workload)
    try:
        theirs = CommonWay(reward, workload)
        try:
            values = paired(lambda: ours.run(steps), lambda: theirs.run(steps), settings.repeats)
        finally:
            theirs.close()
    finally:
        ours.close()
    return Measurement(name, "steps/s", values[0], "common way", values[1], {"steps": steps, **workload.facts()})


def labelled_frames(settings: BenchSettings, encoder: OpenCLIPEncoder, label: str) -> Measurement:
    """Labelled frames per second of a run without updates, beside the bare encoder on as many frames."""
    workload = cartpole(settings.n_envs, settings.train_freq, updates=False)
    ours = OurWay(workload.reward(encoder), workload)
    try:
        frames = noise(workload.rollout, encoder.image_size)
        bare = functools.partial(rate, functools.partial(encoder.embed_images, frames), workload.rollout)
        values = paired(lambda: ours.run(workload.rollout), bare, settings.repeats)
    finally:
        ours.close()
    facts = {"pictures": workload.rollout, "simulators": settings.n_envs}
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
    workload = cartpole(wanted["n_envs"], wanted["train_freq"], updates=True)
    way = WAYS[wanted["way"]](workload.reward(load_encoder("bundled")), workload)
    try:
        way.run(wanted["steps"])
    finally:
        way.close()


if __name__ == "__main__":
    _main(sys.argv[1])
