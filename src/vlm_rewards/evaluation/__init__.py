"""How far a policy or a reward is to be trusted: rollouts, intervals, distances of rewards, scores of pictures.

The names below are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.evaluation.aggregate import (
        interquartile_mean,
        probability_of_improvement,
        stratified_bootstrap_interval,
    )
    from vlm_rewards.evaluation.epic import canonical_reward, epic_distance, label_distance, pearson_distance
    from vlm_rewards.evaluation.judging import Judged, Judgement, PromptPair, judge, prompt_pairs
    from vlm_rewards.evaluation.landscape import Landscape, StateLine, line_along, line_between
    from vlm_rewards.evaluation.ranking import Estimate, auroc, average_precision, bootstrapped, kendall, spearman
    from vlm_rewards.evaluation.rollouts import Evaluation, PolicyEvaluator, rollout_frames
    from vlm_rewards.evaluation.scoring import Score, score_paths, scores_to_csv, scores_to_json
    from vlm_rewards.evaluation.states import Policies, StateSet, named_policies, uniform_states, visited_states
    from vlm_rewards.evaluation.statistics import mean_interval, wilson_interval

_EXPORTS = {
    "Estimate": "vlm_rewards.evaluation.ranking",
    "Evaluation": "vlm_rewards.evaluation.rollouts",
    "Judged": "vlm_rewards.evaluation.judging",
    "Judgement": "vlm_rewards.evaluation.judging",
    "Landscape": "vlm_rewards.evaluation.landscape",
    "Policies": "vlm_rewards.evaluation.states",
    "PolicyEvaluator": "vlm_rewards.evaluation.rollouts",
    "PromptPair": "vlm_rewards.evaluation.judging",
    "Score": "vlm_rewards.evaluation.scoring",
    "StateLine": "vlm_rewards.evaluation.landscape",
    "StateSet": "vlm_rewards.evaluation.states",
    "auroc": "vlm_rewards.evaluation.ranking",
    "average_precision": "vlm_rewards.evaluation.ranking",
    "bootstrapped": "vlm_rewards.evaluation.ranking",
    "canonical_reward": "vlm_rewards.evaluation.epic",
    "epic_distance": "vlm_rewards.evaluation.epic",
    "interquartile_mean": "vlm_rewards.evaluation.aggregate",
    "judge": "vlm_rewards.evaluation.judging",
    "kendall": "vlm_rewards.evaluation.ranking",
    "label_distance": "vlm_rewards.evaluation.epic",
    "line_along": "vlm_rewards.evaluation.landscape",
    "line_between": "vlm_rewards.evaluation.landscape",
    "mean_interval": "vlm_rewards.evaluation.statistics",
    "named_policies": "vlm_rewards.evaluation.states",
    "pearson_distance": "vlm_rewards.evaluation.epic",
    "probability_of_improvement": "vlm_rewards.evaluation.aggregate",
    "prompt_pairs": "vlm_rewards.evaluation.judging",
    "rollout_frames": "vlm_rewards.evaluation.rollouts",
    "score_paths": "vlm_rewards.evaluation.scoring",
    "scores_to_csv": "vlm_rewards.evaluation.scoring",
    "scores_to_json": "vlm_rewards.evaluation.scoring",
    "spearman": "vlm_rewards.evaluation.ranking",
    "stratified_bootstrap_interval": "vlm_rewards.evaluation.aggregate",
    "uniform_states": "vlm_rewards.evaluation.states",
    "visited_states": "vlm_rewards.evaluation.states",
    "wilson_interval": "vlm_rewards.evaluation.statistics",
}

__all__ = [
    "Estimate",
    "Evaluation",
    "Judged",
    "Judgement",
    "Landscape",
    "Policies",
    "PolicyEvaluator",
    "PromptPair",
    "Score",
    "StateLine",
    "StateSet",
    "auroc",
    "average_precision",
    "bootstrapped",
    "canonical_reward",
    "epic_distance",
    "interquartile_mean",
    "judge",
    "kendall",
    "label_distance",
    "line_along",
    "line_between",
    "mean_interval",
    "named_policies",
    "pearson_distance",
    "probability_of_improvement",
    "prompt_pairs",
    "rollout_frames",
    "score_paths",
    "scores_to_csv",
    "scores_to_json",
    "spearman",
    "stratified_bootstrap_interval",
    "uniform_states",
    "visited_states",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
