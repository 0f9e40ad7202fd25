"""How far a policy or a reward is to be trusted: rollouts, intervals, distances of rewards, scores of pictures.

The names below are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.evaluation.epic import canonical_reward, epic_distance, label_distance, pearson_distance
    from vlm_rewards.evaluation.ranking import Estimate, auroc, average_precision, bootstrapped, kendall, spearman
    from vlm_rewards.evaluation.rollouts import Evaluation, PolicyEvaluator, rollout_frames
    from vlm_rewards.evaluation.scoring import Score, score_paths, scores_to_csv, scores_to_json
    from vlm_rewards.evaluation.statistics import mean_interval, wilson_interval

_EXPORTS = {
    "Estimate": "vlm_rewards.evaluation.ranking",
    "Evaluation": "vlm_rewards.evaluation.rollouts",
    "PolicyEvaluator": "vlm_rewards.evaluation.rollouts",
    "Score": "vlm_rewards.evaluation.scoring",
    "auroc": "vlm_rewards.evaluation.ranking",
    "average_precision": "vlm_rewards.evaluation.ranking",
    "bootstrapped": "vlm_rewards.evaluation.ranking",
    "canonical_reward": "vlm_rewards.evaluation.epic",
    "epic_distance": "vlm_rewards.evaluation.epic",
    "kendall": "vlm_rewards.evaluation.ranking",
    "label_distance": "vlm_rewards.evaluation.epic",
    "mean_interval": "vlm_rewards.evaluation.statistics",
    "pearson_distance": "vlm_rewards.evaluation.epic",
    "rollout_frames": "vlm_rewards.evaluation.rollouts",
    "score_paths": "vlm_rewards.evaluation.scoring",
    "scores_to_csv": "vlm_rewards.evaluation.scoring",
    "scores_to_json": "vlm_rewards.evaluation.scoring",
    "spearman": "vlm_rewards.evaluation.ranking",
    "wilson_interval": "vlm_rewards.evaluation.statistics",
}

__all__ = [
    "Estimate",
    "Evaluation",
    "PolicyEvaluator",
    "Score",
    "auroc",
    "average_precision",
    "bootstrapped",
    "canonical_reward",
    "epic_distance",
    "kendall",
    "label_distance",
    "mean_interval",
    "pearson_distance",
    "rollout_frames",
    "score_paths",
    "scores_to_csv",
    "scores_to_json",
    "spearman",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
