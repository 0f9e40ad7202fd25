"""Every example runs, from any folder, and says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = {
    "04_sb3_by_hand": [r"\d+ frames scored, 0 transitions still without a reward"],
    "05_local_clip_folder": [r"the same embeddings as load_encoder\('bundled'\): yes"],
    "06_gymnasium_loop": [
        r"catches  the pole: 60 steps",
        r"drops    the pole: +\d\d? steps",
        r"is that of the last state's frame: yes",
    ],
    "07_vector_env": [
        r"NextStep: 40 vector steps of 4, \d+ episodes, 1\d\d transitions",  # steps that only reset are none
        r"SameStep: 40 vector steps of 4, \d+ episodes, 160 transitions",
        r"Disabled: 40 vector steps of 4, \d+ episodes, 160 transitions",
        r"reward 0\.000  true reward None  only resets",
    ],
    "08_single_file_dqn": [r"8\d\d transitions, \d+ episodes", r"no transition runs across a reset: yes"],
    "09_own_reward_form": [r"2 angle \+ paper +upright +\d\.\d+"],
    "10_torchrl": [
        r"(40 transitions, \d+ ends of episodes, [^\n]*true return 40\n[^\n]*(frame: yes\n)?){3}",
        r"a minibatch: rewards \(32, 1\), torch.float32",
    ],
    "11_sb3_algorithms": [
        rf"{name} +480 steps, [1-9]\d* updates, 480 frames, mean reward 0\.\d+"
        for name in ("sac", "td3", "ppo", "sbx-sac")
    ],
    "15_plain_reward": [r"height +upright +0\.3\d+ +level", r"20 steps of CartPole: rewards from 0\.\d+"],
    "13_own_pose": [r"mean reward where the criterion holds: 0\.9\d+\n.*does not hold: 0\.[4-7]"],
    "14_own_encoder_family": [
        r"histogram:3 +upright 0\.\d+ +level 0\.\d+ +hanging 0\.\d+",
        r"histogram:3 +1 +0\.\d+ \(",  # judged
        r"success rate",  # trained on
        r"labelled now +\d+",
    ],
    "02_train_cartpole": [r"\d+ steps, \d+ frames scored\nbest snapshot", r"upright in \d+% of the episodes"],
    "16_own_algorithm": [r"DoubleDQNConfig\(.*huber_delta=1\.0", r"1200 steps; VLM return \d"],
    "12_relabel_dataset": [r"cartpole/random-v0 -> cartpole/random-vlm-v0: 3 episodes, 44 frames"],
}
"""What must be among the lines that an example prints, besides what every one must not."""
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))


def test_examples_are_numbered_without_gaps() -> None:
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if number else (), id=path.stem)
        for number, path in enumerate(EXAMPLES)
    ],
)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "frame: no" not in done.stdout
    assert "Traceback" not in done.stderr
    for pattern in SAYS.get(path.stem, []):
        assert re.search(pattern, done.stdout), f"{pattern} is not in:\n{done.stdout}"
