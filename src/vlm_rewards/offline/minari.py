"""Minari datasets: stored frames, or frames rendered again along the recorded actions; and new rewards for them."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.arrays import Frame
from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.files import read_json, sync_file, write_json
from vlm_rewards.offline.dataset import OfflineDataset, ReadValues, RelabelledOutput, RelabelOptions, RewardRule
from vlm_rewards.offline.files import decode_frame, naming
from vlm_rewards.offline.minari_files import (
    DATA_FILE,
    METADATA_FILE,
    RECORD_KEY,
    TRUE_REWARDS,
    MinariData,
    leaf_space,
    leaves,
    row_slices,
)
from vlm_rewards.tasks.rendering import FrameRenderer, letterbox

REPLAY = "replay"
"""Name of the other source of frames."""
_SMALLEST = 32
"""Side of what is taken for a frame unasked; Minari has the same limit. Below it are grids of a few cells."""
_ID = re.compile(r"(?:[-\w][-\w/]*/)?[-\w]+-v\d+")


class MinariEpisodes(OfflineDataset):
    """A Minari dataset whose frames have been found.

    The reward of step ``t`` is that of observation ``t + 1``, the last one included.
    """

    kind = "minari"

    def __init__(self, data: MinariData, names: Sequence[str]) -> None:
        self._data = data
        self.name, self.steps, self.frames_from = data.name, data.steps, tuple(names)

    def fingerprint(self) -> list[Any]:
        """Size and time of the data file."""
        facts = self._data.path.stat()
        return [self._data.episodes, facts.st_size, facts.st_mtime_ns]

    def output(self, options: RelabelOptions) -> MinariOutput:
        """Where the new rewards go."""
        infos = self._data.group(0).get("infos")
        if infos is not None and TRUE_REWARDS in infos and not self._data.relabelled:
            raise InvalidInputError(
                f"the infos of dataset {self.name!r} have {TRUE_REWARDS!r} already; rename them first."
            )
        if options.in_place:
            return MinariOutput(self._data, self.name, copy_frames=True)
        name = "-vlm-v".join(self.name.rsplit("-v", 1)) if options.out is None else options.out
        if not _ID.fullmatch(name):
            raise InvalidInputError(f"out must be a Minari id such as 'namespace/name-v0', got {name!r}.")
        if name == self.name:
            raise InvalidInputError(
                f"out must be another id than the dataset's, got {name!r}. To change it, say in_place."
            )
        return MinariOutput(self._data, name, copy_frames=options.copy_frames)

    def close(self) -> None:
        """Close the file."""
        self._data.close()


def open_minari(root: Path, name: str, options: RelabelOptions) -> MinariEpisodes:
    """Open a dataset by the folder of all of them and its id, and find its frames; what is unusable is refused."""
    data = MinariData(root, name)
    try:
        names = options.frames or choose_frames(data)
        if REPLAY not in names:
            if options.env_kwargs:
                raise InvalidInputError("env_kwargs are of use only where frames are replayed, and these are stored.")
            return StoredFrames(data, names)
        if len(names) > 1:
            raise InvalidInputError(f"frames must be {REPLAY!r} or stored frames, not both, got {', '.join(names)}.")
        return ReplayedFrames(data, options)
    except BaseException:
        data.close()
        raise


class StoredFrames(MinariEpisodes):
    """Frames of episodes, from one place such as ``"infos/camera"`` or (several cameras) several.

    A place that does not exist, holds something else, or is not there in an episode is refused.
    """

    def __init__(self, data: MinariData, names: Sequence[str]) -> None:
        super().__init__(data, names)
        for name in names:
            group, part = data.group(0), name.split("/")[0]
            if part not in ("observations", "infos") or name not in group or hasattr(group[name], "keys"):
                raise unknown_name("frames", name, [*list_frames(data)[0], REPLAY])
        for episode in range(data.episodes):
            with naming(data.name, episode):
                for name in names:
                    self._check(episode, name)

    def check_resets(self) -> None:
        """Refuse where the infos have no frame of the state before the first step."""
        for name in self.frames_from:
            if self._data.group(0)[name].shape[0] == self._data.steps[0]:
                raise InvalidInputError(f"frames {name!r} hold no frame of the state before the first step.")

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Frames of an episode's states: see `OfflineDataset.frames`."""
        with naming(self._data.name, episode):
            cameras = [self._frames(episode, name, size, resets=resets) for name in self.frames_from]
            for seen in zip(*cameras, strict=True):
                yield seen[0] if len(seen) == 1 else np.concatenate(seen)

    def _frames(self, episode: int, name: str, size: int, *, resets: bool) -> Iterator[Frame]:
        dataset, jpeg = self._data.group(episode)[name], self._data.jpeg(name)
        rows = int(dataset.shape[0])
        first = 0 if resets or rows == self._data.steps[episode] else 1
        for block in row_slices(dataset, first, rows):
            for row in block:
                yield letterbox(decode_frame(row.tobytes()) if jpeg else row, size)

    def _check(self, episode: int, name: str) -> None:
        dataset = self._data.group(episode)[name]
        steps, rows = self._data.steps[episode], int(dataset.shape[0])
        if rows != steps + 1 and not (rows == steps and name.startswith("infos/")):
            raise InvalidInputError(f"frames {name!r} must hold {steps + 1} frames for {steps} steps, got {rows}")
        fault = _fault(*_row_type(self._data, name, dataset))
        if fault is not None:
            raise InvalidInputError(f"frames {name!r} must be uint8 [height width 3], got {fault}")


def choose_frames(data: MinariData) -> tuple[str, ...]:
    """Choose where the frames come from, observations, infos or `REPLAY`; several places are refused."""
    found, faults = list_frames(data)
    for part in ("observations", "infos"):
        names = [name for name in found if name.split("/")[0] == part]
        if len(names) > 1:
            raise InvalidInputError(
                f"dataset {data.name!r} has frames in several places; choose with frames: {', '.join(names)}. "
                "Several of them are several cameras."
            )
        if names:
            return (names[0],)
    if data.dataset.env_spec is None:
        hint = f" Not taken for frames: {'; '.join(faults)}." if faults else ""
        raise InvalidInputError(
            f"dataset {data.name!r} has no frames (uint8 [height width 3], at least {_SMALLEST} pixels high and "
            f"wide) among its observations or infos, and no environment to replay its actions in.{hint}"
        )
    return (REPLAY,)


def list_frames(data: MinariData) -> tuple[list[str], list[str]]:
    """List the places in the first episode that hold frames, and those that nearly do, with what is wrong."""
    found, faults = [], []
    group = data.group(0)
    for part in ("observations", "infos"):
        for name, dataset in leaves(group[part], part) if part in group else ():
            dtype, shape = _row_type(data, name, dataset)
            if _fault(dtype, shape) is None and min(shape[:2]) >= _SMALLEST:
                found.append(name)
            elif len(shape) in (2, 3) and min(shape) > 0 and max(shape) >= _SMALLEST:
                faults.append(f"{name} ({_fault(dtype, shape) or f'only {shape[0]} x {shape[1]} pixels'})")
    return found, faults


def _row_type(data: MinariData, name: str, dataset: Any) -> tuple[Any, list[int]]:
    """Type and shape of a row, decoded."""
    if data.jpeg(name):
        space = leaf_space(data.spaces["observations"], name.partition("/")[2])
        return np.uint8, list((space.shape if space is not None else None) or ())
    return dataset.dtype, list(dataset.shape[1:])


def _fault(dtype: Any, shape: Sequence[int]) -> str | None:
    """What keeps an array from being a frame; None for nothing."""
    text = f"{np.dtype(dtype)} {list(shape)}"
    if len(shape) != 3 or 0 in shape:
        return text
    if shape[2] != 3:
        return text + (" (channels first)" if shape[0] == 3 else f" ({shape[2]} channels)")
    if np.dtype(dtype) != np.uint8:
        return text + " (scale it to 0..255 and convert it to uint8)"
    return None


class ReplayedFrames(MinariEpisodes):
    """Frames of episodes that are played again, each observation being compared with the recorded one.

    An episode starts from its recorded seed and options. Where the simulator
    repeats itself, so do its states, and a frame of the state after step ``t``
    belongs to the recorded step ``t``. Refused are datasets without an
    environment that draws frames or without seeds, and those whose first
    episode does not repeat itself.
    """

    def __init__(self, data: MinariData, options: RelabelOptions) -> None:
        super().__init__(data, (REPLAY,))
        self._tolerance = options.tolerance
        self._resets = [_reset_of(data, episode) for episode in range(data.episodes)]
        if all(data.jpeg(name) for name, _ in leaves(data.group(0)["observations"], "observations")):
            raise InvalidInputError(
                f"dataset {data.name!r} cannot be replayed: its observations are JPEG frames, with which a replay "
                "cannot be compared. Take those frames themselves with frames."
            )
        self._env = _recover(data, options.env_kwargs)
        try:
            renderer = FrameRenderer(self._env, _SMALLEST)
            for _ in self._states(0):
                pass
            renderer.render()
        except BaseException:
            self.close()
            raise

    def check_resets(self) -> None:
        """The state before the first step can always be rendered."""

    def frames(self, episode: int, size: int, *, resets: bool) -> Iterator[Frame]:
        """Frames of an episode's states: see `OfflineDataset.frames`."""
        renderer = FrameRenderer(self._env, size)
        for state in self._states(episode):
            if state > 0 or resets:
                yield renderer.render()

    def close(self) -> None:
        """Close the environment and the file."""
        self._env.close()
        super().close()

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
        """Refuse an observation that differs from the next recorded one."""
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
            "Record with seeds (minari.DataCollector does), or with frames."
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
    if np.array_equal(one, two, equal_nan=one.dtype.kind == "f" and two.dtype.kind == "f"):
        return 0.0
    if one.shape != two.shape or not {one.dtype.kind, two.dtype.kind} <= set("biuf"):
        return float("inf")
    difference = np.abs(one.astype(np.float64) - two.astype(np.float64))
    return float("inf") if np.isnan(difference).any() else float(difference.max())


_REST_BYTES = 4096
"""About what an episode takes besides its arrays."""


class MinariOutput(RelabelledOutput):
    """The new dataset: other rewards, the first ones among the infos, all else as it was.

    What holds frames is not copied unless that is asked for: an HDF5 external
    link leads to the old file. Everything else is copied. The old dataset's
    own id stands for replacing its file.
    """

    def __init__(self, data: MinariData, name: str, *, copy_frames: bool) -> None:
        super().__init__(name, data.root / name, in_place=name == data.name, copy_frames=copy_frames)
        self._data = data

    def bytes_needed(self) -> int:
        """Room that it will take on disk, about."""
        needed = 0
        for episode in range(self._data.episodes):
            group = self._data.group(episode)
            stored = (
                dataset.id.get_storage_size()
                for name, dataset in leaves(group, "")
                if self._copy_frames or not self._holds_frames(name.strip("/"), dataset)
            )
            needed += sum(stored) + 12 * self._data.steps[episode] + _REST_BYTES
        return needed

    def read_record(self) -> dict[str, Any] | None:
        """What an earlier relabelling recorded."""
        file = self.path / "data" / METADATA_FILE
        record = read_json(file).get(RECORD_KEY) if file.is_file() else None
        return record if isinstance(record, dict) else None

    def _write(
        self, made: Path, rewards: RewardRule, read: ReadValues, record: Callable[[], dict[str, Any]]
    ) -> Iterator[str]:
        (made / "data").mkdir(parents=True)
        self._write_data(made / "data" / DATA_FILE, rewards, read)
        sync_file(made / "data" / DATA_FILE)
        write_json(made / "data" / METADATA_FILE, self._metadata(made / "data", record()))
        yield f"data/{DATA_FILE}"
        self._register_namespace()
        yield f"data/{METADATA_FILE}"

    def _register_namespace(self) -> None:
        """Tell Minari of the folders that the id has before its last slash."""
        from minari.namespace import NAMESPACE_METADATA_FILENAME

        folder = self.path.parent
        while folder != self._data.root:
            if not (folder / NAMESPACE_METADATA_FILENAME).exists():
                (folder / NAMESPACE_METADATA_FILENAME).write_text("{}", encoding="utf-8")
            folder = folder.parent

    def _write_data(self, path: Path, rewards: RewardRule, read: ReadValues) -> None:
        import h5py

        with h5py.File(path, "w", track_order=True) as file:  # as Minari makes it
            file.attrs[RECORD_KEY] = "rewards are new; infos/true_rewards are those that the dataset had first"
            for episode in range(self._data.episodes):
                old = self._data.first_rewards(episode)
                terminated = np.asarray(self._data.group(episode)["terminations"][()], dtype=bool)
                new = rewards(read(episode), old, terminated)
                self._write_episode(file.create_group(f"episode_{episode}"), episode, new, old)

    def _write_episode(self, group: Any, episode: int, rewards: np.ndarray, old: np.ndarray) -> None:
        source = self._data.group(episode)
        for key, value in source.attrs.items():
            group.attrs[key] = value
        for name, dataset in leaves(source, ""):
            path = name.strip("/")
            if path not in ("rewards", f"infos/{TRUE_REWARDS}"):
                self._carry_array(path, dataset, group)
        new = ((group, "rewards", np.asarray(rewards, np.float32)), (group.require_group("infos"), TRUE_REWARDS, old))
        for parent, name, values in new:  # such that Minari can append to it
            parent.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))

    def _carry_array(self, path: str, dataset: Any, group: Any) -> None:
        """Link or copy an array that stays as it is."""
        import h5py

        *folders, leaf = path.split("/")
        parent = group.require_group("/".join(folders)) if folders else group
        if self._copy_frames or not self._holds_frames(path, dataset):
            dataset.file.copy(dataset, parent, leaf)
        else:
            # The file that has it: the old one, or the one that the old one links to.
            target = os.path.relpath(Path(dataset.file.filename).absolute(), (self.path / "data").absolute())
            parent[leaf] = h5py.ExternalLink(target, dataset.name)

    def _holds_frames(self, path: str, dataset: Any) -> bool:
        return self._data.jpeg(path) or (dataset.dtype == np.uint8 and dataset.ndim >= 3)

    def _metadata(self, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
        metadata = dict(self._data.metadata)
        if not self._in_place:
            metadata["dataset_id"] = self.name
            said = str(metadata.get("description") or "").strip()
            added = f"Rewards of {self._data.name} replaced by those of a vision-language model; see {RECORD_KEY!r}."
            metadata["description"] = f"{said} {added}".strip()
        metadata["dataset_size"] = round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 1)
        metadata[RECORD_KEY] = record
        json.dumps(metadata)  # the old ones are JSON, ours must be, too
        return metadata
