"""Every algorithm that is offered, with settings for tasks of a second."""

from __future__ import annotations

from typing import Any

from vlm_rewards.training.algorithm_config import ALGORITHMS, AlgorithmConfig

GSDE = {"use_sde": True, "sde_sample_freq": 3}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": ("dqn", "discrete", {"target_update_interval": 8}),
    "dqn, 3 steps": ("dqn", "discrete", {"n_steps": 3, "target_update_interval": 8}),
    "qrdqn": ("qrdqn", "discrete", {"target_update_interval": 8, "n_quantiles": 5}),
    "sac": ("sac", "box", {}),
    "sac, 3 steps": ("sac", "box", {"n_steps": 3}),
    "td3": ("td3", "box", {}),
    "ddpg": ("ddpg", "box", {}),
    "tqc": ("tqc", "box", {"n_quantiles": 5}),
    "tqc, gSDE": ("tqc", "box", {"n_quantiles": 5, **GSDE}),
    "crossq": ("crossq", "box", {"critic_arch": (8,)}),
    "sbx-sac": ("sbx-sac", "box", {}),
    "sbx-crossq": ("sbx-crossq", "box", {"critic_arch": (8,)}),
    "ppo, discrete": ("ppo", "discrete", {}),
    "ppo, continuous": ("ppo", "box", {}),
    "ppo, gSDE": ("ppo", "box", GSDE),
}
"""By what a test is called: algorithm, kind of actions, settings besides those that all have."""

_OFF_POLICY = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 4, "gradient_steps": 2}
_ON_POLICY = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}


def tiny(case: str) -> AlgorithmConfig:
    """Settings under which almost nothing is computed."""
    name, _, settings = CASES[case]
    common = _ON_POLICY if name == "ppo" else _OFF_POLICY
    return ALGORITHMS[name](**{**common, "net_arch": (8,), **settings})
