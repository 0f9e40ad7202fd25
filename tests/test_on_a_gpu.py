"""What only a GPU can show; elsewhere all of it is skipped."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.random_checkpoint import write_random_checkpoint
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.sizing import plan_encoder
from vlm_rewards.evaluation.statistics import spearman
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.tasks.rendering import draw
from vlm_rewards.tasks.task import get_task

WORKSPACE = 64 * 2**20  # bytes that cuBLAS takes for itself when it is first used

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@pytest.fixture(scope="module")
def rendered() -> np.ndarray:
    """States of CartPole from upright to fallen, uint8 [200 96 96 3]."""
    env = get_task("cartpole").simulator(96)
    env.action_space.seed(0)
    frames = []
    for seed in range(4):
        env.reset(seed=seed)
        for _ in range(50):
            env.step(env.action_space.sample())
            frames.append(draw(env))
    env.close()
    return np.stack(frames)


@pytest.mark.parametrize(
    ("dtype", "apart", "correlation"), [("fp32", 2e-3, 0.9999), ("fp16", 0.01, 0.999), ("bf16", 0.1, 0.99)]
)
def test_a_gpu_scores_as_the_cpu_does(rendered: np.ndarray, dtype: str, apart: float, correlation: float) -> None:
    task = get_task("cartpole")
    there = load_encoder("bundled", device="cuda", dtype=dtype)
    assert there.device.startswith("cuda")
    rewards = [
        VLMReward(encoder, goal=task.goal, baseline=task.baseline, alpha=0.5)(rendered)
        for encoder in (load_encoder("bundled", device="cpu"), there)
    ]
    assert rewards[1].dtype == np.float32
    assert np.abs(rewards[0] - rewards[1]).max() < apart * np.ptp(rewards[0])
    assert spearman(rewards[0], rewards[1]) > correlation


def test_results_do_not_depend_on_how_pictures_are_batched(rendered: np.ndarray) -> None:
    whole, cut = (load_encoder("bundled", device="cuda", dtype="fp32", batch_size=size) for size in (256, 7))
    # Torch lets convolutions have TF32's ten bits, and another size of batch another kernel.
    np.testing.assert_allclose(whole.embed_images(rendered), cut.embed_images(rendered), atol=1e-3)


@pytest.mark.parametrize("architecture", ["RN50", "ViT-B-32"])
def test_weights_take_what_the_plan_says(architecture: str, tmp_path: Path) -> None:
    before = torch.cuda.memory_allocated()
    name = write_random_checkpoint(architecture, tmp_path)
    encoder = load_encoder(name)
    planned = plan_encoder(name).memory_bytes("fp16")
    assert (encoder.device[:4], encoder.dtype) == ("cuda", "fp16")
    assert 0 <= torch.cuda.memory_allocated() - before - planned < WORKSPACE
    assert encoder.embed_images(np.zeros((300, 224, 224, 3), np.uint8)).shape == (300, encoder.embedding_dim)


def run(*command: str) -> str:
    """What a process of its own printed."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


SMALL = "--steps 800 --n-envs 4 --learning-starts 200 --train-freq 10 --gradient-steps 10 --standardise 200"
FEW = "--snapshots 2 --selection-episodes 2 --evaluation-episodes 2 --no-video --seed 0 --device cuda"


@pytest.mark.parametrize(("task", "algorithm"), [("cartpole", "dqn"), ("kneeling", "sac"), ("kneeling", "sbx-sac")])
def test_a_run_learns_on_a_gpu(tmp_path: Path, task: str, algorithm: str) -> None:
    choice = f"train {task} --preset cpu --algo {algorithm} --run-dir {tmp_path / 'run'} {SMALL} {FEW}"
    run("-m", "vlm_rewards.cli", *choice.split())
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert record["encoder"]["device"].startswith("cuda")
    assert record["machine"]["accelerator"] == torch.cuda.get_device_name()
    assert int(last["updates"]) > 0
    assert np.isfinite(float(last["vlm_return_mean"]))


JAX_BESIDE_TORCH = """
import jax
import numpy as np
import torch
from gymnasium.spaces import Box
from vlm_rewards.training.algorithms import SBXSACConfig
from vlm_rewards.training.plan import plan_learner

plan_learner(SBXSACConfig(), Box(-1, 1, (8,), np.float32), Box(-1, 1, (2,), np.float32))
free, total = torch.cuda.mem_get_info()
print(jax.default_backend(), free / total)
"""


def test_jax_leaves_the_gpu_to_the_encoder() -> None:
    backend, free = run("-c", JAX_BESIDE_TORCH).split()
    if backend != "gpu":
        pytest.skip("JAX has no GPU here")
    assert float(free) > 0.9
