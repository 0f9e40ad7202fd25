"""Small datasets whose right rewards are known."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.offline.dataset import RelabelOptions
from vlm_rewards.testing.counting import CountingEnv, counting_label, counting_reward
from vlm_rewards.testing.fakes import FakeEncoder

COUNTING = "vlm-rewards-test/Counting-v0"
SIZE = 32
STEPS = ("actions", "rewards", "terminations", "truncations")


class DrawnCounting(CountingEnv):
    """A `CountingEnv` as ``gymnasium.make`` makes it: with a render mode, and settings out of JSON."""

    def __init__(self, render_mode: str | None = None, lengths: Any = (3, 9), offset: int = 0) -> None:
        super().__init__(image_size=SIZE, lengths=(int(lengths[0]), int(lengths[1])))
        self.render_mode = render_mode
        self._offset = offset

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        return observation + np.float32(self._offset) * np.float32(0.125), *rest


class Reward:
    """A reward of frames by a plain function; a `EmbeddingReward`.

    Attributes:
        batches: How many frames each call was given.
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray] = counting_reward, name: str = "test") -> None:
        self.function, self._name = function, name
        self._encoder = FakeEncoder(image_size=SIZE)
        self.batches: list[int] = []

    @property
    def encoder(self) -> FakeEncoder:
        return self._encoder

    @property
    def frame_size(self) -> int:
        return SIZE

    def embed(self, frames: Any) -> np.ndarray:
        return np.asarray(self.function(frames), dtype=np.float32)[:, None]

    def score(self, embeddings: Any) -> np.ndarray:
        return np.asarray(embeddings, dtype=np.float32)[:, 0]

    def __call__(self, frames: Any) -> np.ndarray:
        self.batches.append(len(frames))
        return self.score(self.embed(frames))

    def describe(self) -> dict[str, Any]:
        return {"formula": self._name, "encoder": self._encoder.describe()}


def tree_of(folder: Path) -> dict[str, Any]:
    """Every file below a folder with its content, times and links included."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns, path.is_symlink())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def brightness(frames: np.ndarray) -> np.ndarray:
    return np.asarray(frames.mean(axis=(1, 2, 3)) / 255, dtype=np.float32)


class Recorder:
    """Plays a `CountingEnv` and stores what happened as a Minari dataset."""

    def __init__(self, lengths: tuple[int, int] = (3, 9)) -> None:
        self.lengths = lengths

    def play(self, seed: int) -> dict[str, Any]:
        """One episode: observations and frames of all states, and the rest of all steps."""
        env = CountingEnv(image_size=SIZE, lengths=self.lengths)
        env.action_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        episode: dict[str, Any] = {
            "observations": [observation.copy()],
            "pictures": [env.render()],
            **{key: [] for key in STEPS},
        }
        done = False
        while not done:
            action = env.action_space.sample()
            observation, reward, terminated, truncated, _ = env.step(action)
            episode["observations"].append(observation.copy())
            episode["pictures"].append(env.render())
            for key, value in zip(STEPS, (action, reward, terminated, truncated), strict=True):
                episode[key].append(value)
            done = terminated or truncated
        return episode

    def store(
        self,
        name: str,
        episodes: int = 5,
        where: str = "replay",
        *,
        seeds: bool = True,
        jpeg: bool = False,
        infos: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Make a dataset; frames go to the observations, a dict of them, the infos, the infos of steps (own)."""
        import minari
        from minari.data_collector.episode_buffer import EpisodeBuffer

        played = [self.play(100 + number) for number in range(episodes)]
        pictures = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        numbers = CountingEnv().observation_space
        space: gym.Space[Any] = {
            "observations": pictures,
            "dict": gym.spaces.Dict({"camera": pictures, "numbers": numbers}),
        }.get(where, numbers)
        buffers = []
        for number, episode in enumerate(played):
            told: dict[str, Any] = dict(infos or {})
            observations: Any = episode["observations"]
            if where == "observations":
                observations = episode["pictures"]
            elif where == "dict":
                observations = {"camera": episode["pictures"], "numbers": episode["observations"]}
            elif where == "infos":
                told["camera"] = episode["pictures"]
            elif where == "own":
                told["camera"] = episode["pictures"][1:]
            kept = {key: episode[key] for key in STEPS}
            seed = 100 + number if seeds else None
            buffers.append(EpisodeBuffer(id=number, seed=seed, observations=observations, infos=told, **kept))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Minari asks for authors
            minari.create_dataset_from_buffers(
                name,
                buffers,
                env=gym.spec(COUNTING),
                observation_space=space,
                action_space=CountingEnv().action_space,
                jpeg_encoding=jpeg,
            )
        self._keep_kwargs(name)
        return played

    def _keep_kwargs(self, name: str) -> None:
        """The environment of the dataset has this recorder's lengths."""
        file = Path(os.environ["MINARI_DATASETS_PATH"]) / name / "data" / "metadata.json"
        metadata = json.loads(file.read_text())
        if "env_spec" in metadata:
            spec = json.loads(metadata["env_spec"])
            spec["kwargs"] = {"lengths": list(self.lengths)}
            metadata["env_spec"] = json.dumps(spec)
            file.write_text(json.dumps(metadata))


def right_rewards(episode: dict[str, Any]) -> np.ndarray:
    """What the frames of the states say that an episode's steps led to."""
    return counting_label(np.stack(episode["observations"][1:]))


def options(**changes: Any) -> RelabelOptions:
    return RelabelOptions(**{"batch_size": 4, **changes})
