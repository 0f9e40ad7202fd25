"""With which settings a dataset is relabelled: noted with unfinished work, and in the record of what is complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.files import read_json, write_json
from vlm_rewards.offline.dataset import OfflineDataset, RelabelledOutput, RelabelOptions
from vlm_rewards.offline.files import clear_folder
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import StateReward
from vlm_rewards.rewards.shaping import PotentialShaping

_FILE = "settings.json"


def settings_of(
    dataset: OfflineDataset, reward: StateReward | PotentialShaping, options: RelabelOptions
) -> dict[str, Any]:
    """What decides the rewards, to the last bit; JSON-able."""
    settings = {
        "source": dataset.name,
        "kind": dataset.kind,
        "frames_from": list(dataset.frames_from),
        "image_size": reward.encoder.image_size,
        "batch_size": options.batch_size,
        "env_kwargs": dict(options.env_kwargs),
        "reward": reward.describe(),
        "versions": {"vlm_rewards": provenance()["version"], **provenance()["versions"]},
    }
    try:
        return json.loads(json.dumps(settings))
    except TypeError as error:
        raise InvalidInputError(f"env_kwargs and the reward's describe() must be JSON-able: {error}.") from error


def is_complete(
    dataset: OfflineDataset, output: RelabelledOutput, settings: dict[str, Any], options: RelabelOptions
) -> bool:
    """Whether there is nothing left to do.

    Raises:
        InvalidInputError: Something else is in the output's place, and may not be replaced.
    """
    record = output.read_record()
    same = record is not None and record.get("settings") == digest(settings)
    if options.in_place:
        return same and record is not None and record.get("frames") == sum(dataset.steps) and not options.overwrite
    if not output.path.exists() or (options.overwrite and record is not None):
        return False
    if record is None:
        raise InvalidInputError(
            f"out {output.name!r} is in use and holds no relabelled dataset; it will not be replaced."
        )
    if same and record.get("fingerprint") == dataset.fingerprint():
        return True
    changed = _differences(record, settings) if not same else ["the source, which has changed since"]
    raise InvalidInputError(
        f"out {output.name!r} is there already, made with other settings ({', '.join(changed)}). "
        "Choose another out, or pass overwrite."
    )


def begin(work: Path, settings: dict[str, Any], dataset: OfflineDataset, *, overwrite: bool) -> None:
    """Note what the work is done with; or check that unfinished work was begun with the same, and forget it if not.

    Raises:
        InvalidInputError: It was not, and may not be forgotten.
    """
    path, present = work / _FILE, {**settings, "fingerprint": dataset.fingerprint()}
    if path.is_file():
        begun = read_json(path)
        if begun.get("labelled"):
            present["fingerprint"] = begun.get("fingerprint")  # the pictures are needed no more, and may be replaced
        present["labelled"] = begun.get("labelled")
        if begun == present:
            return
        if not overwrite:
            raise InvalidInputError(
                f"out has unfinished work in {str(work)!r} that was begun with other settings "
                f"({', '.join(_differences(begun, present))}). Go on with those, or pass overwrite to start again."
            )
        clear_folder(work)
    write_json(path, {**present, "labelled": False})


def note_labelled(work: Path) -> None:
    """Note that every episode is labelled: the pictures are needed no more."""
    write_json(work / _FILE, {**read_json(work / _FILE), "labelled": True})


def _differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of the settings that differ, those inside of others with a dot."""
    names = []
    for key in two:
        if isinstance(one.get(key), dict) and isinstance(two[key], dict):
            inner = [*two[key], *(name for name in one[key] if name not in two[key])]
            names += [f"{key}.{name}" for name in inner if one[key].get(name) != two[key].get(name)]
        elif one.get(key) != two[key]:
            names.append(key)
    return names or ["unknown"]


def digest(settings: dict[str, Any]) -> str:
    """A short name for settings, equal only for equal ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
