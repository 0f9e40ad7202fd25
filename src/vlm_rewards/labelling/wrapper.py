"""One Gymnasium environment whose reward comes from its pictures, for any library that steps one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.envs.photographer import Photographer
from vlm_rewards.labelling.labeller import FrameReward
from vlm_rewards.labelling.wrapper_checks import check_env, check_unrewarded, mark_rewarded
from vlm_rewards.labelling.wrapper_drawing import prepare_drawing
from vlm_rewards.labelling.wrapper_scoring import TransitionScorer, picture_format
from vlm_rewards.rewards import PotentialShaping


class VLMRewardWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the reward by that of a picture of the state that each step led to.

    The state after the last step of an episode is photographed like any other.
    The environment's own reward is in ``info["true_reward"]``, out of the
    learner's sight, unless `PotentialShaping` is told to build upon it.

    One picture is drawn and embedded a step, before the step returns. That is
    simple and works with every library, and slow: where environments can step
    together, use `VLMRewardVectorWrapper`; with Stable-Baselines3,
    `PhotographedVecEnv` and `LabelRewards`, which embed while simulators step.

    Load the encoder and wrap the environment before anything is drawn: in a
    process that draws with EGL, what torch loads later would crash it. The
    wrapper loads it beforehand.

    It can be pickled and deep-copied if environment and reward can, the encoder
    with them. ``gymnasium.make(env.spec)`` does not bring it back, as a reward
    is no setting: wrap again.

    Args:
        env: Made with ``render_mode="rgb_array"``.
        reward: Scores pictures, uint8 ``[n h w 3]`` to finite numbers ``[n]``; `VLMReward`, any other form,
            `PotentialShaping`, or a function.
        image_size: Side in pixels of the square pictures; default: the ``image_size`` of the reward's encoder. Pictures
            of another shape are letterboxed.

    Raises:
        InvalidInputError: The environment renders no ``rgb_array``, resets itself, or has a VLM reward already; or the
            reward or the size is not usable.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any] | Any,
        reward: FrameReward | PotentialShaping | Any,
        *,
        image_size: int | Any | None = None,
    ) -> None:
        check_env(env)
        check_unrewarded(env.metadata)
        self._scorer = TransitionScorer(reward, count=1)
        size, cameras = picture_format(reward, image_size)
        self._photographer = Photographer(env, size, cameras)
        self._drawn = False
        super().__init__(env)
        self.metadata = mark_rewarded(env.metadata)
        prepare_drawing()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            InvalidInputError: The first picture is none.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        if self._scorer.needs_resets or not self._drawn:  # the first time to find out early if it cannot be drawn
            self._scorer.begin(self._photographer.photograph()[None], np.ones(1, dtype=bool))
            self._drawn = True
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step and score the state that it led to.

        Returns:
            Observation, VLM reward, terminated, truncated, and the info with ``true_reward`` (float64).

        Raises:
            InvalidInputError: The picture is none, or the reward is not one finite number.
        """
        observation, own, terminated, truncated, info = self.env.step(action)
        frames = self._photographer.photograph()[None]
        reward = self._scorer.score(frames, np.array([float(own)]), np.array([bool(terminated)]))
        # numpy's float is Python's too; readers of infos, as TorchRL's, ask for a dtype.
        return observation, float(reward[0]), terminated, truncated, {**info, "true_reward": np.float64(own)}
