"""What an environment must be for its states to be photographed at the right moment. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from vlm_rewards.errors import InvalidInputError

_MARK = "vlm_reward"


def check_env(env: Any) -> None:
    """Check that an environment shows, after each step, the state that the step led to.

    Raises:
        InvalidInputError: It is no environment of Gymnasium's, or it resets itself.
    """
    if isinstance(env, gym.vector.VectorEnv):
        raise InvalidInputError(f"env must be a single environment, got {env}. For those: VLMRewardVectorWrapper.")
    if not isinstance(env, gym.Env):
        raise InvalidInputError(
            f'env must be an environment of Gymnasium: gymnasium.make(id, render_mode="rgb_array"), got {env!r}.'
        )
    layer: gym.Env[Any, Any] = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, gym.wrappers.Autoreset):
            raise InvalidInputError(
                "env must not have gymnasium.wrappers.Autoreset inside: its steps that reset lead to a state that no "
                "action led to, which must not be rewarded. Put Autoreset around this wrapper."
            )
        layer = layer.env


def check_vector_env(env: Any) -> AutoresetMode:
    """Check that a vector environment says how it resets, and that it draws.

    Returns:
        How it resets.

    Raises:
        InvalidInputError: It is no vector environment of Gymnasium's, does not say how, or does not draw.
    """
    if not isinstance(env, gym.vector.VectorEnv):
        raise InvalidInputError(
            f"env must be a vector environment of Gymnasium, such as gymnasium.make_vec(id, 4, "
            f'render_mode="rgb_array"), got {env!r}. For single environments: VLMRewardWrapper.'
        )
    if env.render_mode != "rgb_array":
        raise InvalidInputError(
            f'render_mode of the vector environment must be "rgb_array", got {env.render_mode!r}: '
            'pass render_mode="rgb_array" to gymnasium.make_vec, or to every sub-environment.'
        )
    mode = env.metadata.get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError:
        choices = ", ".join(choice.name for choice in AutoresetMode)
        raise InvalidInputError(
            "metadata['autoreset_mode'] of the vector environment must be a gymnasium.vector.AutoresetMode "
            f"({choices}), got {mode!r}: without it nobody knows which state a picture shows."
        ) from None


def check_unrewarded(metadata: Mapping[str, Any]) -> None:
    """Refuse to put one VLM reward around another.

    Raises:
        InvalidInputError: There is one already.
    """
    if metadata.get(_MARK):
        raise InvalidInputError(
            "env must not have a VLM reward already: that would pass for the environment's own. To add rewards up, "
            "use WeightedSum."
        )


def mark_rewarded(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of an environment that has a VLM reward."""
    return {**metadata, _MARK: True}
