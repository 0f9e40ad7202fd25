"""Pictures of a dataset that has none: its actions once more, in the environment that it was recorded in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.envs.photographer import Photographer
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.offline.minari_data import MinariData
from vlm_rewards.offline.minari_files import leaf_space, leaves, naming, row_slices
from vlm_rewards.offline.minari_pictures import REPLAY

_ANY_SIZE = 32


class ReplayedPictures:
    """Frames of episodes that are played again, each observation being compared with the recorded one.

    An episode starts from its recorded seed and options. Where the simulator
    repeats itself, so do its states, and a picture of the state after step ``t``
    belongs to the recorded step ``t``.

    Args:
        data: The dataset.
        tolerance: How far a number of an observation may be from the recorded one.
        env_kwargs: For the environment's constructor, besides its own.

    Raises:
        InvalidInputError: There is no environment, it draws no pictures, an episode has no seed, or the first episode
            does not repeat itself.
    """

    names = (REPLAY,)

    def __init__(self, data: MinariData, *, tolerance: float, env_kwargs: Mapping[str, Any]) -> None:
        self._data, self._tolerance = data, tolerance
        self._resets = [_reset_of(data, episode) for episode in range(data.episodes)]
        if all(data.jpeg(name) for name, _ in leaves(data.group(0)["observations"], "observations")):
            raise InvalidInputError(
                f"dataset {data.name!r} cannot be replayed: its observations are JPEG pictures, with which a replay "
                "cannot be compared. Take those pictures themselves with frames."
            )
        self._env = _recover(data, env_kwargs)
        try:
            Photographer(self._env, _ANY_SIZE)
            for _ in self._states(0):
                pass
            Photographer(self._env, _ANY_SIZE).photograph()
        except BaseException:
            self.close()
            raise

    def check_resets(self) -> None:
        """The state before the first step can always be photographed."""

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Pictures of an episode's states: see `OfflineDataset.frames`."""
        photographer = Photographer(self._env, size)
        for state in self._states(episode):
            if state > 0 or resets:
                yield photographer.photograph()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _states(self, episode: int) -> Iterator[int]:
        """Play an episode; give the number of each state while the environment is in it."""
        with naming(self._data.name, episode):
            seed, options = self._resets[episode]
            recorded = _Recorded(self._data, episode, self._tolerance)
            try:
                recorded.compare(self._env.reset(seed=seed, options=options)[0], 0)
                yield 0
                for step, action in enumerate(_actions(self._data, episode), start=1):
                    recorded.compare(self._env.step(action)[0], step)
                    yield step
            except InvalidInputError:
                raise
            except Exception as error:
                raise InvalidInputError(f"it cannot be replayed, the environment raised {error!r}") from error


class _Recorded:
    """The recorded observations of an episode, one state at a time."""

    def __init__(self, data: MinariData, episode: int, tolerance: float) -> None:
        self._tolerance = tolerance
        self._leaves: dict[str, Iterator[Any]] = {}
        for name, dataset in leaves(data.group(episode)["observations"], "observations"):
            if not data.jpeg(name):
                self._leaves[name.partition("/")[2]] = _rows(dataset, 0, dataset.shape[0])

    def compare(self, observation: Any, step: int) -> None:
        """Compare an observation with the next recorded one.

        Raises:
            InvalidInputError: They differ.
        """
        for path, rows in self._leaves.items():
            expected = next(rows, None)
            if expected is None:
                raise InvalidInputError(f"it has no observation after step {step}")
            distance = _distance(expected, _value_at(observation, path))
            if distance > self._tolerance:
                where = f"after step {step}" if step else "after the reset"
                by = f" by {distance:.3g}" if np.isfinite(distance) else ""
                raise InvalidInputError(
                    f"it cannot be replayed: {where} the environment's observation{f' {path!r}' if path else ''} "
                    f"differs from the recorded one{by} (tolerance {self._tolerance:g}). Another version of the "
                    "environment, another machine or changed observations may be the cause; a higher tolerance "
                    "accepts it"
                )


def _recover(data: MinariData, env_kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    if data.dataset.env_spec is None:
        raise InvalidInputError(f"dataset {data.name!r} cannot be replayed: it names no environment.")
    # Drawing with EGL and importing this afterwards crashes the process: two copies of LLVM. The other order is fine.
    importlib.import_module("torch._dynamo")
    try:
        settings = {"render_mode": "rgb_array", "disable_env_checker": True, **env_kwargs}
        return data.dataset.recover_environment(**settings)
    except Exception as error:
        raise InvalidInputError(
            f"the environment of dataset {data.name!r}, {data.dataset.env_spec.id!r}, cannot be made: {error}"
        ) from error


def _reset_of(data: MinariData, episode: int) -> tuple[int, dict[str, Any] | None]:
    """Seed and options of an episode."""
    attributes = data.group(episode).attrs
    if "seed" not in attributes:
        raise InvalidInputError(
            f"episode {episode} of {data.name!r} cannot be replayed: it has no seed. "
            "Record with seeds (minari.DataCollector does), or with pictures."
        )
    options: dict[str, Any] = {}
    for path in attributes:
        if path.startswith("options/"):
            *folders, key = path.split("/")[1:]
            place = options
            for folder in folders:
                place = place.setdefault(folder, {})
            place[key] = attributes[path]
    return int(attributes["seed"]), options or None


def _actions(data: MinariData, episode: int) -> Iterator[Any]:
    """The recorded actions, as the environment takes them."""
    steps = data.steps[episode]
    space = data.spaces["actions"]
    rows = {
        name.partition("/")[2]: (leaf_space(space, name.partition("/")[2]), _rows(dataset, 0, steps))
        for name, dataset in leaves(data.group(episode)["actions"], "actions")
    }
    for _ in range(steps):
        values = {
            path: int(next(row)) if isinstance(leaf, gym.spaces.Discrete) else next(row)
            for path, (leaf, row) in rows.items()
        }
        yield _build(space, values, "")


def _build(space: gym.Space[Any], values: Mapping[str, Any], path: str) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _build(part, values, f"{path}/{key}".strip("/")) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(_build(part, values, f"{path}/_index_{index}".strip("/")) for index, part in parts)
    return values[path]


def _rows(dataset: Any, start: int, stop: int) -> Iterator[Any]:
    for block in row_slices(dataset, start, stop):
        for row in block:
            yield row.decode() if isinstance(row, bytes) else row


def _value_at(observation: Any, path: str) -> Any:
    for part in filter(None, path.split("/")):
        observation = observation[int(part.removeprefix("_index_")) if part.startswith("_index_") else part]
    return observation


def _distance(recorded: Any, played: Any) -> float:
    """Greatest difference between two values; infinite where they are of different kinds or shapes."""
    one, two = np.asarray(recorded), np.asarray(played)
    if one.shape != two.shape:
        return float("inf")
    if one.dtype.kind in "biuf" and two.dtype.kind in "biuf":
        if np.array_equal(one, two, equal_nan=one.dtype.kind == "f" and two.dtype.kind == "f"):
            return 0.0
        difference = np.abs(one.astype(np.float64) - two.astype(np.float64))
        return float("inf") if np.isnan(difference).any() else float(difference.max())
    return 0.0 if np.array_equal(one, two) else float("inf")
