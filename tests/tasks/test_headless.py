"""Where MuJoCo has nothing to draw with, the message says what to install."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HUMANOID = "from vlm_rewards.tasks.humanoid.model import build_humanoid as build; build(96)"
STATES = "from vlm_rewards.tasks.humanoid.model import HumanoidModel as Build; Build()"
HOPPER = (
    "from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task as build; "
    "build(EnvironmentConfig('Hopper-v5'), goal='a robot hopping', baseline='a robot')"
)


@pytest.mark.parametrize("code", [HUMANOID, STATES, HOPPER])
def test_without_opengl_the_packages_to_install_are_named(code: str) -> None:
    lacking = {**os.environ, "MUJOCO_GL": "nothing"}
    done = subprocess.run([sys.executable, "-c", code], env=lacking, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("vlm_rewards.errors.InvalidInputError: MuJoCo cannot be imported, with MUJOCO_GL='nothing'")
    assert last.endswith("apt-get install libegl1 libgl1-mesa-dri.")
