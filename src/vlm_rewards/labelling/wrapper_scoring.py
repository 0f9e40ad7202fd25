"""From pictures of states to rewards of transitions, at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded

from vlm_rewards.envs.canvas import check_size
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling.labeller import FrameReward
from vlm_rewards.rewards import PotentialShaping, shaped


class TransitionScorer:
    """Scores the steps of environments that go side by side.

    No picture outlives a call; of potential-based shaping, each environment's
    last potential is remembered.

    Args:
        reward: Scores pictures, or shapes by a potential.
        count: Environments.

    Raises:
        InvalidInputError: The reward is none.
    """

    def __init__(self, reward: FrameReward | PotentialShaping | Any, count: int) -> None:
        if not callable(reward) or isinstance(reward, type):
            raise InvalidInputError(
                f"reward must score pictures (uint8 [n h w 3] to [n]), as a VLMReward does, got {reward!r}."
            )
        self._reward = reward
        self._shaping = reward if isinstance(reward, PotentialShaping) else None
        self._potentials = np.full(count, np.nan)

    @property
    def needs_resets(self) -> bool:
        """Whether states after resets must be scored, too."""
        return self._shaping is not None

    def begin(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """Note the states in which episodes begin.

        Args:
            frames: Their pictures, uint8 ``[k h w 3]``.
            rows: Whose they are, bool ``[n]`` with ``k`` true.
        """
        if self._shaping is not None and len(frames):
            self._potentials[rows] = _checked(self._shaping.columns(frames), (len(frames), 2))[:, 1]

    def score(
        self,
        frames: np.ndarray,
        true_rewards: np.ndarray,
        terminated: np.ndarray,
        restarts: np.ndarray | None = None,
        restarted: np.ndarray | None = None,
    ) -> np.ndarray:
        """Score a step.

        Args:
            frames: Pictures of the states that the step led to, uint8 ``[n h w 3]``.
            true_rewards: The environments' own rewards, float64 ``[n]``.
            terminated: bool ``[n]``.
            restarts: Pictures of states after resets within the step, uint8 ``[k h w 3]``; only shaping uses them.
            restarted: Whose they are, bool ``[n]`` with ``k`` true.

        Returns:
            float64 ``[n]``.

        Raises:
            ResetNeeded: Shaping, and an environment has not been reset yet.
            InvalidInputError: The reward did not return finite numbers, one a picture.
        """
        if self._shaping is None:
            return _checked(self._reward(frames), (len(frames),))
        if np.isnan(self._potentials).any():
            raise ResetNeeded("reset() must come before step(): shaping needs the potential of the state before.")
        if restarts is None or restarted is None:
            restarts, restarted = frames[:0], np.zeros(len(frames), dtype=bool)
        batch = np.concatenate([frames, restarts]) if len(restarts) else frames
        base, potentials = _checked(self._shaping.columns(batch), (len(batch), 2)).T
        own = true_rewards if isinstance(self._shaping.base, str) else base[: len(frames)]
        after = potentials[: len(frames)]
        rewards = shaped(own, self._potentials, after, terminated, self._shaping.gamma)
        self._potentials = after.copy()
        self._potentials[restarted] = potentials[len(frames) :]
        return rewards.astype(np.float64)


def picture_format(reward: FrameReward | PotentialShaping | Any, image_size: int | Any | None) -> tuple[int, int]:
    """Which pictures a reward wants.

    Args:
        reward: Scores pictures.
        image_size: Side of the square pictures in pixels; None for its encoder's.

    Returns:
        Side in pixels, and cameras.

    Raises:
        InvalidInputError: The size is not known or too small, or the parts of a shaping have different cameras.
    """
    if image_size is None:
        image_size = getattr(getattr(reward, "encoder", None), "image_size", None)
    if image_size is None:
        raise InvalidInputError(
            f"image_size must be given: {reward!r} has no encoder that knows the size of its pictures."
        )
    parts = [reward]
    if isinstance(reward, PotentialShaping):
        parts = [reward.potential] if isinstance(reward.base, str) else [reward.potential, reward.base]
    cameras = {int(getattr(part, "cameras", 1)) for part in parts}
    if len(cameras) > 1:
        raise InvalidInputError(f"potential and base must see the same cameras, got {sorted(cameras)} of them.")
    return check_size(image_size, "image_size"), cameras.pop()


def _checked(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    rewards = np.asarray(values, dtype=np.float64)
    if rewards.shape != shape or not np.isfinite(rewards).all():
        raise InvalidInputError(
            f"a reward must return {shape[0]} finite numbers for {shape[0]} pictures, got shape {rewards.shape} "
            f"with {int(np.sum(~np.isfinite(rewards)))} not finite."
        )
    return rewards
