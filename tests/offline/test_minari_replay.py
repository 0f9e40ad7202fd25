"""Replays: the environment must repeat what was recorded, or nothing is labelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from offline_datasets import Recorder, Reward, options
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.relabelling import relabel

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

NAME, NEW = "test/counting-v0", "test/counting-vlm-v0"
NESTED = "vlm-rewards-test/Nested-v0"


def data_file(root: Path) -> Path:
    return root / NAME / "data" / "main_data.hdf5"


@pytest.mark.parametrize(("episode", "state", "where"), [(0, 0, "the reset"), (3, 2, "step 2"), (4, -1, "step")])
def test_an_episode_that_does_not_repeat_itself_is_named(
    recorder: Recorder, minari_root: Path, episode: int, state: int, where: str
) -> None:
    played = recorder.store(NAME)
    with h5py.File(data_file(minari_root), "a") as file:
        file[f"episode_{episode}/observations"][state, 1] += np.float32(0.25)
    message = (
        rf"episode {episode} of 'test/counting-v0': it cannot be replayed: after {where}.* the environment's "
        r"observation differs from the recorded one by 0.25 \(tolerance 0\)"
    )
    with pytest.raises(InvalidInputError, match=message):
        relabel(NAME, Reward(), options())
    assert not (minari_root / NEW).exists()
    # What came before it is kept, but for the episode that was being scored; a tolerance lets the work go on.
    record = relabel(NAME, Reward(), options(tolerance=0.3))
    assert record["labelled_frames"] <= sum(len(played[index]["rewards"]) for index in range(max(0, episode - 1), 5))


def test_arguments_for_the_environment(recorder: Recorder, minari_root: Path) -> None:
    recorder.store(NAME)
    with pytest.raises(InvalidInputError, match="after step 1 the environment's observation differs"):
        relabel(NAME, Reward(), options(env_kwargs={"offset": 1}))
    with pytest.raises(InvalidInputError, match=r"the environment of dataset .* cannot be made: .*no_such_thing"):
        relabel(NAME, Reward(), options(env_kwargs={"no_such_thing": 1}))
    assert not list(minari_root.glob("test/.*"))  # nothing was begun


def test_an_episode_without_a_seed_is_named(recorder: Recorder) -> None:
    recorder.store(NAME, seeds=False)
    with pytest.raises(InvalidInputError, match="episode 0 of 'test/counting-v0' cannot be replayed: it has no seed"):
        relabel(NAME, Reward(), options())


def test_an_environment_that_is_gone_is_named(recorder: Recorder, minari_root: Path) -> None:
    recorder.store(NAME)
    file = minari_root / NAME / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    spec = json.loads(metadata["env_spec"])
    metadata["env_spec"] = json.dumps({**spec, "entry_point": "offline_datasets:no_such_class"})
    file.write_text(json.dumps(metadata))
    with pytest.raises(
        InvalidInputError, match=f"the environment of dataset {NAME!r}.* cannot be made: .*no_such_class"
    ):
        relabel(NAME, Reward(), options(out="other-v0"))


class Nested(gym.Env[Any, Any]):
    """Observations and actions of every kind of space; options decide where it starts."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        box = gym.spaces.Box(-10, 10, (2,), np.float64)
        self.observation_space = gym.spaces.Dict(
            {"pair": gym.spaces.Tuple((box, gym.spaces.Discrete(50))), "word": gym.spaces.Text(8)}
        )
        self.action_space = gym.spaces.Dict({"kind": gym.spaces.Discrete(3), "push": gym.spaces.Tuple((box,))})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = np.array([(options or {}).get("start", 0.0), self.np_random.random()])
        self.kind = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not isinstance(action["kind"], int):
            raise TypeError(f"a Discrete action must be an int, got {action['kind']!r}")
        self.kind += action["kind"]
        self.place = self.place + action["push"][0]
        if self.kind > 40:
            raise RuntimeError("too far")
        return self._observe(), 0.0, False, False, {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        return np.full((40, 40, 3), self.kind, dtype=np.uint8)

    def _observe(self) -> dict[str, Any]:
        return {"pair": (self.place.copy(), self.kind), "word": f"at {self.kind}"}


def store_nested(kinds: list[int]) -> None:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    if NESTED not in gym.registry:
        gym.register(NESTED, entry_point=Nested)
    env = Nested()
    observations = [env.reset(seed=3, options={"start": 2.5})[0]]
    pushes = [np.array([0.5, -0.25 * step]) for step in range(len(kinds))]
    observations += [env.step({"kind": kind, "push": (push,)})[0] for kind, push in zip(kinds, pushes, strict=True)]
    count = len(kinds)
    buffer = EpisodeBuffer(
        id=0,
        seed=3,
        options={"start": 2.5},
        observations={
            "pair": ([o["pair"][0] for o in observations], [o["pair"][1] for o in observations]),
            "word": [o["word"] for o in observations],
        },
        actions={"kind": kinds, "push": (pushes,)},
        rewards=[0.0] * count,
        terminations=[False] * count,
        truncations=[False] * count,
        infos={},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "nested-v0",
            [buffer],
            observation_space=env.observation_space,
            action_space=env.action_space,
        )


def test_every_kind_of_space_is_replayed(minari_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [1, 2, 0, 2, 1, 2]
    store_nested(kinds)
    monkeypatch.setattr("minari.MinariDataset.env_spec", property(lambda self: gym.spec(NESTED)))
    relabel("nested-v0", Reward(lambda frames: frames[:, 0, 0, 0].astype(np.float32)), options())
    np.testing.assert_array_equal(minari.load_dataset("nested-vlm-v0")[0].rewards, np.cumsum(kinds))


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("pair/_index_0", 1e-9, r"observation 'pair/_index_0' differs from the recorded one by 1e-09"),
        ("pair/_index_1", 1, r"observation 'pair/_index_1' differs from the recorded one by 1 "),
        ("word", b"at 9", r"observation 'word' differs from the recorded one \(tolerance"),
    ],
)
def test_every_part_of_an_observation_is_compared(
    minari_root: Path, monkeypatch: pytest.MonkeyPatch, path: str, change: Any, message: str
) -> None:
    store_nested([1, 2, 0])
    monkeypatch.setattr("minari.MinariDataset.env_spec", property(lambda self: gym.spec(NESTED)))
    with h5py.File(minari_root / "nested-v0/data/main_data.hdf5", "a") as file:
        stored = file[f"episode_0/observations/{path}"]
        stored[2] = change if isinstance(change, bytes) else stored[2] + change
    with pytest.raises(InvalidInputError, match=f"after step 2 the environment's {message}"):
        relabel("nested-v0", Reward(), options())


def test_the_step_that_raises_is_reported(minari_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_nested([1, 2, 0])
    monkeypatch.setattr("minari.MinariDataset.env_spec", property(lambda self: gym.spec(NESTED)))
    with h5py.File(minari_root / "nested-v0/data/main_data.hdf5", "a") as file:
        file["episode_0/actions/kind"][1] = 50
    with pytest.raises(InvalidInputError, match=r"the environment raised RuntimeError\('too far'\)"):
        relabel("nested-v0", Reward(), options())


@pytest.mark.slow
def test_drawing_with_mujoco_leaves_the_process_able_to_train(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    script = tmp_path / "script.py"
    script.write_text(
        """
import gymnasium as gym, minari, numpy as np, torch, warnings
from minari.data_collector.episode_buffer import EpisodeBuffer
from vlm_rewards.offline.dataset import RelabelOptions; from vlm_rewards.offline.relabelling import relabel
from offline_datasets import Reward, brightness
warnings.simplefilter("ignore")
env = gym.make("InvertedPendulum-v5")
env.action_space.seed(0)
observations, actions = [env.reset(seed=5)[0]], []
for _ in range(4):
    actions.append(env.action_space.sample())
    observations.append(env.step(actions[-1])[0])
flags = [False] * 4
buffer = EpisodeBuffer(id=0, seed=5, observations=observations, actions=actions, rewards=[1.0] * 4,
                       terminations=flags, truncations=flags, infos={})
minari.create_dataset_from_buffers("pendulum-v0", [buffer], env=env)
record = relabel("pendulum-v0", Reward(brightness), RelabelOptions(env_kwargs={"width": 64, "height": 64}))
assert record["rewards"]["min"] < record["rewards"]["max"], record["rewards"]
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).step()
print("alive")
"""
    )
    environment = {"MINARI_DATASETS_PATH": str(tmp_path / "datasets"), "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alive" in done.stdout
