"""A Gymnasium vector environment whose rewards come from its frames: one batch a vector step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from vlm_rewards.collection.wrapper import (
    FRAME,
    MARK,
    TransitionScorer,
    check_unrewarded,
    check_vector_env,
    prepare_drawing,
    take_frames,
)
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import AnyReward
from vlm_rewards.tasks.rendering import FrameRenderer, draw


class VLMRewardVectorWrapper(gym.vector.VectorWrapper):
    """Replaces the rewards by those of frames of the states that each step led to.

    The frames of all sub-environments are embedded together. What happens at
    the end of an episode depends on the mode of Gymnasium's automatic reset:

    * ``NEXT_STEP``: the last state is scored; the step after it only resets, and its reward is 0 (as Gymnasium's).
    * ``DISABLED``: the last state is scored; whoever steps resets, with ``options={"reset_mask": ...}``.
    * ``SAME_STEP``: the sub-environment is reset before anybody outside can see the last state. Each one must be
      wrapped in `FrameInInfo`; then the last state is scored here, too.

    Sub-environments in `FrameInInfo` are never drawn a second time, whatever
    the mode; it is the fast way with `gymnasium.vector.AsyncVectorEnv`. The
    frames are taken out of the infos: none is kept.

    The environments' own rewards are in ``infos["true_reward"]``, float64
    ``[n]``, with Gymnasium's mask ``infos["_true_reward"]``, which is False for
    a step that only resets. In ``SAME_STEP`` they belong to the last state,
    as the rewards do, and are not in ``final_info``.

    Build the vector environment of processes first, then load the encoder, then wrap: the processes are copies of this
    one.

    Args:
        env: A `gymnasium.vector.SyncVectorEnv`, `gymnasium.vector.AsyncVectorEnv`, or one that steps and draws all at
            once; with ``render_mode="rgb_array"``.
        reward: Any `FrameReward`, or a plain function of frames, uint8 ``[n h w 3]`` to finite numbers ``[n]``.
        frame_size: Side in pixels of the square frames; default: the reward's own. A plain function needs it. Frames
            of another shape are letterboxed.

    Raises:
        InvalidInputError: The right frames cannot be had (the message says why), or the reward or the size is not
            usable.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv[Any, Any, Any] | Any,
        reward: AnyReward | Any,
        *,
        frame_size: int | Any | None = None,
    ) -> None:
        self._mode = check_vector_env(env)
        check_unrewarded(env.metadata)
        self._scorer = TransitionScorer(reward, env.num_envs, frame_size)
        size, cameras = self._scorer.frame_size, self._scorer.cameras
        self._delivered = _check_delivery(env.metadata.get(FRAME), (size, cameras), self._mode)
        self._renderer = FrameRenderer(env, size, cameras)
        self._drawn = False
        self._resetting = np.zeros(env.num_envs, dtype=bool)  # NEXT_STEP: whose next step only resets
        super().__init__(env)
        self.metadata = {**env.metadata, MARK: True}
        prepare_drawing()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: in all sub-environments, or in those that ``options["reset_mask"]`` (bool ``[n]``) picks.

        Raises:
            InvalidInputError: The first frames are none.
        """
        mask = None if options is None else options.get("reset_mask")
        observations, infos = self.env.reset(seed=seed, options=options)
        # Gymnasium's vector environments take the mask out of the options; those that do not know it reset all.
        everyone = mask is None or (options is not None and "reset_mask" in options)
        rows = np.ones(self.num_envs, dtype=bool) if everyone else np.array(mask)
        self._resetting &= ~rows
        infos = _copied(infos)
        if self._delivered:
            self._scorer.begin(take_frames(infos, rows)[rows], rows)
        elif self._scorer.needs_resets or not self._drawn:  # the first time to find out early if they cannot be drawn
            self._scorer.begin(self._render_all()[rows], rows)
        self._drawn = True
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a step and score the states that it led to.

        Returns:
            Observations, VLM rewards (float64 ``[n]``), terminations, truncations, and infos with ``true_reward``.

        Raises:
            InvalidInputError: A frame is none, or the reward did not return finite numbers, one a frame.
        """
        observations, own, terminations, truncations, infos = self.env.step(actions)
        infos = _copied(infos)
        own = np.array(own, dtype=np.float64)
        terminated = np.asarray(terminations, dtype=bool)
        ended = terminated | np.asarray(truncations, dtype=bool)
        frames, restarts = self._frames(infos, ended)
        rewards = self._scorer.score(frames, own, terminated, restarts, ended)
        rewards[self._resetting] = 0.0
        infos["true_reward"], infos["_true_reward"] = own, ~self._resetting
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended
        return observations, rewards, terminations, truncations, infos

    def _frames(self, infos: dict[str, Any], ended: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Frames of the states that a step led to and, where it also reset, of those that it reset to."""
        if not self._delivered:
            return self._render_all(), None
        frames = take_frames(infos, np.ones(self.num_envs, dtype=bool))
        if self._mode is not AutoresetMode.SAME_STEP or not ended.any():
            return frames, None
        final = dict(infos.get("final_info", {}))
        last = take_frames(final, ended)
        infos["final_info"] = final
        return np.where(ended[:, None, None, None], last, frames), frames[ended]

    def _render_all(self) -> np.ndarray:
        """The present states, uint8 ``[n size size 3]``."""
        try:
            frames = draw(self.env)
        except Exception as error:
            if self._drawn:
                raise
            raise self._not_drawn(f"it raised {error!r}") from error
        if not isinstance(frames, Sequence | np.ndarray):
            raise self._not_drawn(f"got {type(frames).__name__}")
        if len(frames) != self.num_envs:
            single = isinstance(frames, np.ndarray)
            raise self._not_drawn(f"got an array of shape {frames.shape}" if single else f"got {len(frames)}")
        return np.stack([self._renderer.fit(frame) for frame in frames])

    def _not_drawn(self, what: str) -> InvalidInputError:
        return InvalidInputError(
            f"render() of {self.env} must return {self.num_envs} frames, one of each sub-environment: {what}. "
            'Where it cannot, gymnasium.make_vec(..., vectorization_mode="sync") or "async" may.'
        )


def _check_delivery(delivered: tuple[int, int] | None, wanted: tuple[int, int], mode: AutoresetMode) -> bool:
    """Whether frames come in the infos, by their size and number of cameras; refuses others than are wanted."""
    if delivered is None:
        if mode is AutoresetMode.SAME_STEP:
            raise InvalidInputError(
                "autoreset_mode=SAME_STEP resets a sub-environment before the last state of its episode can be seen "
                "from outside. Wrap each one in FrameInInfo (make_vec(..., wrappers=[partial(FrameInInfo, "
                f"frame_size={wanted[0]})])), or choose NEXT_STEP or DISABLED."
            )
        return False
    if tuple(delivered) != wanted:
        raise InvalidInputError(
            f"FrameInInfo must be made with frame_size={wanted[0]} and cameras={wanted[1]}, which the reward wants, "
            f"got {delivered[0]} and {delivered[1]}."
        )
    return True


def _copied(infos: Any) -> dict[str, Any]:
    if not isinstance(infos, dict):
        raise InvalidInputError(
            f"infos of the vector environment must be a dict, got {type(infos).__name__}: put DictInfoToList around "
            "this wrapper, not inside."
        )
    return dict(infos)
