"""How far a policy or a reward is to be trusted: rollouts, intervals, scores of pictures and videos.

The names below are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.evaluation.rollouts import Evaluation, PolicyEvaluator, rollout_frames
    from vlm_rewards.evaluation.scoring import Score, score_paths, scores_to_csv, scores_to_json
    from vlm_rewards.evaluation.statistics import mean_interval, wilson_interval

_EXPORTS = {
    "Evaluation": "vlm_rewards.evaluation.rollouts",
    "PolicyEvaluator": "vlm_rewards.evaluation.rollouts",
    "Score": "vlm_rewards.evaluation.scoring",
    "mean_interval": "vlm_rewards.evaluation.statistics",
    "rollout_frames": "vlm_rewards.evaluation.rollouts",
    "score_paths": "vlm_rewards.evaluation.scoring",
    "scores_to_csv": "vlm_rewards.evaluation.scoring",
    "scores_to_json": "vlm_rewards.evaluation.scoring",
    "wilson_interval": "vlm_rewards.evaluation.statistics",
}

__all__ = [
    "Evaluation",
    "PolicyEvaluator",
    "Score",
    "mean_interval",
    "rollout_frames",
    "score_paths",
    "scores_to_csv",
    "scores_to_json",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
