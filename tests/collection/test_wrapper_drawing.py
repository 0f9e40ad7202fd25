"""Drawing with EGL and learning with torch in one process, which crashes in the wrong order."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETTINGS = {**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
DRAW = """
import gymnasium as gym
env = gym.make("InvertedPendulum-v5", render_mode="rgb_array", width=64, height=64)
env.reset(seed=0)
"""
LEARN = """
layer = torch.nn.Linear(2, 2)
optimiser = torch.optim.Adam(layer.parameters())
layer(torch.ones(1, 2)).sum().backward()
optimiser.step()
env.step(env.action_space.sample())
print("learned")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=SETTINGS, capture_output=True, text=True, timeout=500
    )


@pytest.fixture(scope="module")
def _egl() -> None:
    if run(DRAW + "env.render()").returncode:
        pytest.skip("no EGL here")


@pytest.mark.slow
@pytest.mark.usefixtures("_egl")
@pytest.mark.parametrize("kind", ["single", "vector"])
def test_a_process_that_draws_can_learn(kind: str) -> None:
    wrap = {
        "single": "VLMRewardWrapper(env, brightness_reward, frame_size=64)",
        "vector": "VLMRewardVectorWrapper(gym.vector.SyncVectorEnv([lambda: env]), brightness_reward, frame_size=64)",
    }[kind]
    module = {"single": "wrapper", "vector": "vector_wrapper"}[kind]
    done = run(
        f"import torch\nfrom vlm_rewards.collection.{module} import *\n"
        "from vlm_rewards.testing.point import brightness_reward"
        f"{DRAW}\nenv = {wrap}\nenv.reset(seed=0)\nenv.step(env.action_space.sample())\n{LEARN}"
    )
    assert (done.returncode, done.stdout) == (0, "learned\n"), done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("_egl")
def test_wrapping_too_late_is_an_error_and_no_crash() -> None:
    """Where the driver has no LLVM, or triton is not installed, nothing needs to be refused."""
    done = run(
        "import torch\nfrom vlm_rewards.collection.wrapper import *\n"
        "from vlm_rewards.testing.point import brightness_reward"
        f"{DRAW}env.render()\nenv = VLMRewardWrapper(env, brightness_reward, frame_size=64)\nenv.reset(){LEARN}"
    )
    if done.returncode:
        assert "InvalidInputError: the environment must be wrapped before anything is drawn" in done.stderr
    else:
        assert done.stdout == "learned\n"


def test_the_workers_of_a_vector_environment_load_no_torch() -> None:
    done = run("import sys, vlm_rewards.collection.wrapper; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


VECTORS = """
import gymnasium as gym, numpy as np
from vlm_rewards import VLMRewardVectorWrapper
def make(size):
    venv = gym.make_vec("Hopper-v5", 2, vectorization_mode="sync", render_mode="rgb_array", width=size, height=size)
    return VLMRewardVectorWrapper(venv, lambda frames: frames.mean(axis=(1, 2, 3)), frame_size=32)
wrapped = [make(64), make(96)]
for env in wrapped:
    env.reset(seed=0)
for _ in range(2):
    for env in wrapped:
        print(env.step(np.zeros((2, 3), dtype=np.float32))[1].min())
"""


@pytest.mark.slow
def test_vectors_of_different_sizes_in_one_process_do_not_draw_black() -> None:
    done = run(VECTORS)
    assert done.returncode == 0, done.stderr
    brightness = [float(line) for line in done.stdout.splitlines()]
    assert len(brightness) == 4
    assert min(brightness) > 30
