"""Simulators in worker processes, photographed on every step.

The names are resolved lazily: the workers import this package too, and they
must not import torch, which the vector environment needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_rewards.simulation.vec_env import PhotographedVecEnv

__all__ = ["PhotographedVecEnv"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name == "PhotographedVecEnv":
        from vlm_rewards.simulation.vec_env import PhotographedVecEnv

        return PhotographedVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
