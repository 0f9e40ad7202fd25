"""What a resume state belongs to: a run may go on only where everything that decides it is as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from vlm_rewards import __version__
from vlm_rewards.envs import Task
from vlm_rewards.errors import CheckpointError
from vlm_rewards.provenance import package_versions

FORMAT = 2
"""Of the resume state; another number is another layout."""


def identity(task: Task, venv: VecEnv, reward: Any, held_out: Any = None) -> dict[str, Any]:
    """Describe what decides a run besides its settings.

    Returns:
        JSON values: ``format``, ``versions``, ``task`` and ``reward``.
    """
    return {
        "format": FORMAT,
        "versions": {"vlm-rewards": __version__, **package_versions()},
        "task": {
            "name": task.name,
            "horizon": task.horizon,
            "criterion": task.criterion_text,
            "metadata": _plain(dict(task.metadata)),
            "observation_space": repr(venv.observation_space),
            "action_space": repr(venv.action_space),
        },
        "reward": _plain(reward.describe()),
        "held-out reward": {} if held_out is None else _plain(held_out.describe()),
    }


def check_identity(saved: Mapping[str, Any], present: Mapping[str, Any], *, other_versions: bool = False) -> None:
    """Refuse to go on with something else than what was saved.

    Args:
        saved: `identity` when the state was written.
        present: `identity` now.
        other_versions: Whether other releases of packages may go on; the run is then no longer the same as one that
            was never stopped.

    Raises:
        CheckpointError: Something differs; the message says what, before and now.
    """
    if saved.get("format") != present["format"]:
        raise CheckpointError(
            f"the resume state has format {saved.get('format')!r}, this version reads {present['format']!r}. "
            f"Go on with the version that wrote it: {_said(saved, 'versions', 'vlm-rewards')}."
        )
    for part, advice in (
        ("task", "The task has changed; start a new run."),
        ("reward", "The reward has changed; start a new run, or bring back what it was made of."),
        ("held-out reward", "Start a new run, or bring back what it was made of."),
    ):
        _check_part(part, saved.get(part, {}), present[part], advice)
    if not other_versions:
        _check_part(
            "version",
            saved.get("versions", {}),
            present["versions"],
            "Install what it was, or pass --other-versions: the run goes on, but not just as if it had never stopped.",
        )


def _check_part(part: str, saved: Mapping[str, Any], present: Mapping[str, Any], advice: str) -> None:
    names = [name for name in {**saved, **present} if saved.get(name) != present.get(name)]
    if names:
        changes = "; ".join(
            f"{name} was {_short(saved.get(name))}, is {_short(present.get(name))}" for name in names[:4]
        )
        raise CheckpointError(f"the {part} is not that of the run: {changes}. {advice}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:160] + "..."


def _said(saved: Mapping[str, Any], *keys: str) -> Any:
    value: Any = saved
    for key in keys:
        value = value.get(key, "unknown") if isinstance(value, Mapping) else "unknown"
    return value


def _plain(value: Any) -> Any:
    """As JSON gives it back, so that saved and present can be compared."""
    return json.loads(json.dumps(value, default=str))
