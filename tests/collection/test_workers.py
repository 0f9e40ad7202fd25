"""Worker processes: what they must not load, how they fail, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import pytest

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import WorkerError
from vlm_rewards.testing.counting import CountingEnv, counting_label, counting_reward

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test

SHM = Path("/dev/shm")
pytestmark = pytest.mark.alone
PATIENCE = 20  # seconds; the machine may be busy


class Faulty(CountingEnv):
    """Does something bad at a chosen moment."""

    def __init__(self, when: str = "", misdeed: Callable[[], None] = lambda: None, at: int = 3) -> None:
        super().__init__(lengths=(50, 50))
        self.when, self.misdeed, self.at = when, misdeed, at
        if when == "construction":
            misdeed()

    def reset(self, **arguments: Any) -> Any:
        if self.when == "reset":
            self.misdeed()
        return super().reset(**arguments)

    def step(self, action: Any) -> Any:
        if self.when == "step" and self.count + 1 == self.at:
            self.misdeed()
        return super().step(action)

    def render(self) -> np.ndarray:
        if self.when == "render" and self.count == self.at:
            self.misdeed()
        return super().render()

    def close(self) -> None:
        if self.when == "close":
            self.misdeed()

    def unpicklable(self) -> Any:
        return lambda: None


def break_down() -> None:
    raise ZeroDivisionError("the simulator broke down")


def leave() -> None:
    os._exit(7)


def dawdle() -> None:
    time.sleep(60)


def hesitate() -> None:
    time.sleep(0.5)


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = processes(), set(SHM.glob("tmp*")), psutil.Process().num_fds()
    yield
    assert processes() == before[0]
    assert set(SHM.glob("tmp*")) <= before[1]
    assert psutil.Process().num_fds() <= before[2]


def make(*factories: Callable[[], CountingEnv], n_workers: int = 2) -> RenderedVecEnv:
    return RenderedVecEnv(factories, image_size=32, n_workers=n_workers)


def run(venv: RenderedVecEnv, steps: int) -> None:
    venv.reset()
    for _ in range(steps):
        venv.step(np.zeros(venv.num_envs, dtype=int))


@pytest.mark.parametrize("when", ["construction", "reset", "step", "render"])
def test_a_simulator_that_raises_ends_the_run_with_its_own_traceback(when: str) -> None:
    started = time.monotonic()
    factories = CountingEnv, lambda: Faulty(when, break_down)
    venv: RenderedVecEnv | None = None
    if when in ("construction", "reset"):  # every simulator is reset once to see whether its frames are some
        with pytest.raises(WorkerError) as caught:
            make(*factories)
    else:
        venv = make(*factories)
        with pytest.raises(WorkerError) as caught:
            run(venv, 10)
    text = str(caught.value)
    assert "a simulator raised in worker process" in text
    assert "Traceback (most recent call last)" in text
    assert "in break_down" in text
    assert text.rstrip().endswith("ZeroDivisionError: the simulator broke down")
    assert time.monotonic() - started < PATIENCE
    if venv is not None:
        with pytest.raises(WorkerError, match="simulators have been closed"):
            venv.step(np.zeros(2, dtype=int))
        venv.close()


def test_a_simulator_that_raises_does_so_at_its_own_step() -> None:
    venv = make(lambda: Faulty("step", break_down, at=4), n_workers=1)
    run(venv, 3)
    with pytest.raises(WorkerError, match="broke down"):
        venv.step(np.zeros(1, dtype=int))
    venv.close()


def test_a_worker_that_is_killed_is_reported_by_signal() -> None:
    venv = make(CountingEnv, lambda: Faulty("step", dawdle))
    run(venv, 2)
    victim = venv.worker_pids[1]
    timer = threading.Timer(0.3, os.kill, args=(victim, signal.SIGKILL))
    timer.start()
    started = time.monotonic()
    with pytest.raises(WorkerError, match=f"worker process {victim} died by signal SIGKILL while it hosted"):
        venv.step(np.zeros(2, dtype=int))
    assert time.monotonic() - started < 5
    timer.join()
    venv.close()


def test_a_worker_killed_between_steps_is_noticed_at_the_next() -> None:
    venv = make(CountingEnv, n_workers=1)
    run(venv, 2)
    os.kill(venv.worker_pids[0], signal.SIGKILL)
    while psutil.Process(venv.worker_pids[0]).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    started = time.monotonic()
    with pytest.raises(WorkerError, match="died by signal SIGKILL"):
        run(venv, 2)
    assert time.monotonic() - started < 5
    venv.close()


def test_a_worker_that_exits_is_reported_by_its_code() -> None:
    venv = make(lambda: Faulty("step", leave), n_workers=1)
    with pytest.raises(WorkerError, match="died with exit code 7"):
        run(venv, 5)
    venv.close()


def test_an_answer_that_cannot_be_pickled_is_a_worker_error() -> None:
    venv = make(Faulty, n_workers=1)
    with pytest.raises(WorkerError, match="unpicklable"):
        venv.env_method("unpicklable")
    venv.close()


def test_workers_never_load_torch() -> None:
    venv = make(CountingEnv)
    run(venv, 1)
    for pid in venv.worker_pids:
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{os.getpid()}/maps").read_text(), "else the test could not fail"
    venv.close()
    assert not any(psutil.pid_exists(pid) for pid in venv.worker_pids)
    venv.close()


def test_workers_ignore_ctrl_c_and_the_parent_survives_its_own() -> None:
    venv = make(lambda: Faulty("step", hesitate, at=2), n_workers=1)
    venv.seed(4)
    expected = venv.reset()
    venv.step(np.zeros(1, dtype=int))
    (worker,) = venv.worker_pids
    assert os.getpgid(worker) != os.getpgrp(), "a terminal sends Ctrl-C to the whole group"
    os.kill(worker, signal.SIGINT)
    timer = threading.Timer(0.1, os.kill, args=(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        venv.step(np.zeros(1, dtype=int))
    timer.join()
    with pytest.raises(WorkerError, match="interrupted before its reply came"):
        venv.step(np.zeros(1, dtype=int))
    venv.seed(4)
    np.testing.assert_array_equal(venv.reset(), expected)
    observations = venv.step(np.zeros(1, dtype=int))[0]
    np.testing.assert_array_equal(counting_reward(venv.last_frames()), counting_label(observations))
    venv.close()


def test_simulators_are_closed_and_one_that_hangs_is_ended(tmp_path: Path) -> None:
    marks = [tmp_path / "first", tmp_path / "second"]
    venv = make(
        lambda: Faulty("close", break_down),
        lambda: Faulty("close", marks[0].touch),
        lambda: Faulty("close", dawdle),
        n_workers=2,
    )
    started = time.monotonic()
    venv.close()
    assert marks[0].exists()
    assert time.monotonic() - started < 5


def test_an_environment_that_is_forgotten_ends_its_workers() -> None:
    venv = make(CountingEnv, n_workers=1)
    (pid,) = venv.worker_pids
    venv.ring.close()  # the file would be a ResourceWarning
    del venv
    assert not psutil.pid_exists(pid)


ORPHANS = """
import signal, sys, time
from vlm_rewards.collection.pool import WorkerPool
from vlm_rewards.collection.ring import FrameRing
from vlm_rewards.testing.counting import CountingEnv

pool = WorkerPool([CountingEnv] * 2, 2, FrameRing(2, 2, 32))
interrupted = []
signal.signal(signal.SIGINT, lambda *_: interrupted.append(1))
print(*pool.pids, flush=True)
while not interrupted:
    time.sleep(0.01)
pool.send_all("reset", 0, 0)
print(len(pool.receive_all()), flush=True)
time.sleep(60)
"""


def test_ctrl_c_spares_the_workers_and_a_killed_parent_leaves_none() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline().strip() == "2", "both workers must still answer"
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert not alive


SCRIPT = """
from dataclasses import dataclass
import gymnasium as gym
import numpy as np
from vlm_rewards import RenderedVecEnv, Task

LEVEL = 7

class Mine(gym.Env):
    render_mode = "rgb_array"
    observation_space = gym.spaces.Box(0, 9, (1,))
    action_space = gym.spaces.Discrete(2)
    def __init__(self, size): self.size = size
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level = LEVEL
        return np.array([self.level], np.float32), {}
    def step(self, action):
        self.level += int(action)
        return np.array([self.level], np.float32), 1.0, False, False, {}
    def render(self): return np.full((self.size, self.size, 3), self.level, np.uint8)

def high(env): return env.level > LEVEL

if __name__ == "__main__":
    task = Task(name="mine", goal="high", baseline="low", simulator=Mine, horizon=2, criterion=high)
    venv = RenderedVecEnv(task, 2, image_size=32, n_workers=1)
    print(venv.reset().tolist())
    venv.step(np.array([0, 1]))
    print(venv.last_frames()[:, 0, 0, 0].tolist())
    print([info["is_success"] for info in venv.step(np.array([1, 1]))[3]])
    venv.close()
"""


def test_a_task_defined_in_a_script_works(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n") == ["[[7.0], [7.0]]", "[7, 8]", "[False, True]", ""]
