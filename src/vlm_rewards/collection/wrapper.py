"""One Gymnasium environment whose reward comes from its frames, for any library that steps one.

No torch here: the workers of a `gymnasium.vector.AsyncVectorEnv` import this module for `FrameInInfo`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode

from vlm_rewards.collection.shaping import rule_of
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import AnyReward, as_frame_reward
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.rendering import FrameRenderer, configure_headless

MARK = "vlm_reward"
"""Set in the metadata of an environment that has a VLM reward."""


def check_env(env: Any) -> None:
    """Check that an environment is Gymnasium's and shows, after each step, the state that the step led to."""
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
    """Return how a vector environment resets; refuse one that does not say, or does not draw."""
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
            f"({choices}), got {mode!r}: without it nobody knows which state a frame shows."
        ) from None


def check_unrewarded(metadata: Mapping[str, Any]) -> None:
    """Refuse to put one VLM reward around another."""
    if metadata.get(MARK):
        raise InvalidInputError(
            "env must not have a VLM reward already: that would pass for the environment's own. To add rewards up, "
            "use WeightedSum."
        )


_MAPS = Path("/proc/self/maps")


def prepare_drawing() -> None:
    """Load the compilers of torch before the first OpenGL context of this process.

    Mesa's software drivers, which EGL uses where there is no graphics card,
    bring a copy of LLVM, and so does triton. A process that draws first and
    loads triton afterwards, as building any torch optimiser does
    (``torch._dynamo``), dies of a segmentation fault; the other order is fine.

    Also chooses off-screen drawing where there is no display, and refuses to go on where that would crash.
    """
    configure_headless()
    if "torch._dynamo" in sys.modules:
        return
    if "triton" not in sys.modules and importlib.util.find_spec("triton") is not None and driver_has_llvm():
        raise InvalidInputError(
            "the environment must be wrapped before anything is drawn in this process: OpenGL has been used already, "
            "and loading torch's compilers (torch._dynamo, triton) after it would crash. Load the encoder and wrap "
            "the environment before its first render(), or put `import torch._dynamo` at the top of the program."
        )
    importlib.import_module("torch._dynamo")


def driver_has_llvm() -> bool:
    """Whether a graphics driver with LLVM is in this process; False where the system does not say."""
    return _MAPS.exists() and "/libLLVM" in _MAPS.read_text(encoding="utf-8", errors="replace")


class TransitionScorer:
    """Scores the steps of environments that go side by side.

    No frame outlives a call. Where the reward is one of transitions
    (`PotentialShaping`), what each environment's last state scored is kept.

    Attributes:
        frame_size: Side in pixels of the square frames wanted; the reward's own unless it was given.
        cameras: Frames of each state.
        needs_resets: Whether states after resets must be scored, too.
    """

    def __init__(self, reward: AnyReward | Any, count: int, frame_size: int | Any | None = None) -> None:
        size = None if frame_size is None else check_size(frame_size, "frame_size")
        known = as_frame_reward(reward, size)
        self.frame_size = check_size(known.frame_size if size is None else size, "frame_size")
        self.cameras = int(getattr(known, "cameras", 1))
        self._rule = rule_of(known)
        self.needs_resets = self._rule.needs_resets
        self._last = np.full((count, self._rule.columns), np.nan, dtype=np.float32)

    def begin(self, frames: np.ndarray, rows: np.ndarray) -> None:
        """Note the states in which episodes begin: frames, uint8 ``[k h w 3]``, and whose, bool ``[n]``, ``k`` true."""
        if self.needs_resets and len(frames):
            self._last[rows] = self._rule.score(frames)

    def score(
        self,
        frames: np.ndarray,
        true_rewards: np.ndarray,
        terminated: np.ndarray,
        restarts: np.ndarray | None = None,
        restarted: np.ndarray | None = None,
    ) -> np.ndarray:
        """Score a step: frames of the states that it led to, uint8 ``[n h w 3]``, to float64 ``[n]``.

        ``restarts`` are those of states after resets within the step, uint8 ``[k h w 3]``, which only shaping uses,
        and ``restarted`` says whose they are, bool ``[n]`` with ``k`` true.
        """
        if self.needs_resets and np.isnan(self._last).any():
            raise ResetNeeded("reset() must come before step(): shaping needs the potential of the state before.")
        # Both in one batch: an encoder is slow to start and quick to go on.
        both = self.needs_resets and restarts is not None and len(restarts) > 0
        values = self._rule.score(np.concatenate([frames, restarts]) if both and restarts is not None else frames)
        rewards = self._rule.rewards(self._last, values[: len(frames)], true_rewards, terminated)
        self._last = values[: len(frames)].copy()
        if both and restarted is not None:
            self._last[restarted] = values[len(frames) :]
        return rewards.astype(np.float64)


FRAME = "vlm_frame"
"""Where in an info the frame is, and where in the metadata its size and number of cameras are."""


class FrameInInfo(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Renders every state inside a sub-environment, for `VLMRewardVectorWrapper`.

    A vector environment in the mode ``SAME_STEP`` resets a sub-environment
    within the step that ends its episode. From outside, the last state can no
    longer be seen; from inside it can. The frame travels in the info, that of
    a last state in ``final_info``. The other modes do not need this wrapper but
    gain by it: frames are shrunk where they are drawn, which with
    `gymnasium.vector.AsyncVectorEnv` is in many processes at once.

        gymnasium.make_vec("CartPole-v1", 8, "sync", {"autoreset_mode": "SameStep"},
                           [functools.partial(FrameInInfo, frame_size=reward.frame_size)],
                           render_mode="rgb_array")

    Args:
        env: Made with ``render_mode="rgb_array"``.
        frame_size: Side of the square frames in pixels: the reward's ``frame_size``.
        cameras: Frames of each state; see `FrameRenderer`.

    Raises:
        InvalidInputError: The environment renders something else or resets itself, or a number is out of range.
    """

    def __init__(self, env: gym.Env[Any, Any] | Any, frame_size: int, cameras: int = 1) -> None:
        RecordConstructorArgs.__init__(self, frame_size=frame_size, cameras=cameras)
        check_env(env)
        super().__init__(env)
        configure_headless()
        self._renderer = FrameRenderer(env, check_size(frame_size, "frame_size"), cameras)
        self.metadata = {**env.metadata, FRAME: (self._renderer.size, self._renderer.cameras)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, and render."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_frame(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and render the state that this led to."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._with_frame(info)

    def _with_frame(self, info: dict[str, Any]) -> dict[str, Any]:
        # A copy: an environment may draw into the same array every time, and this one is sent off after the reset.
        return {**info, FRAME: np.array(self._renderer.render())}


def take_frames(infos: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    """Take the frames, uint8 ``[n h w 3]``, out of a vector environment's infos, which lose them.

    Sub-environments of ``rows``, bool ``[n]``, must have one; where others have none, it is black.
    """
    frames, has_one = infos.pop(FRAME, None), infos.pop("_" + FRAME, np.zeros(len(rows), dtype=bool))
    missing = np.flatnonzero(rows & ~np.asarray(has_one, dtype=bool))
    if frames is None or missing.size:
        raise InvalidInputError(
            f"every sub-environment must be wrapped in FrameInInfo and keep its info, got no frame of "
            f"{missing.tolist()}."
        )
    return np.asarray(frames)


class VLMRewardWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the reward by that of a frame of the state that each step led to.

    The state after the last step of an episode is rendered like any other.
    The environment's own reward is in ``info["true_reward"]``, out of the
    learner's sight, unless `PotentialShaping` is told to build upon it.

    One frame is drawn and embedded a step, before the step returns. That is
    simple and works with every library, and slow: where environments can step
    together, use `VLMRewardVectorWrapper`; with Stable-Baselines3,
    `RenderedVecEnv` and `LabelRewards`, which embed while simulators step.

    Load the encoder and wrap the environment before anything is drawn: in a
    process that draws with EGL, what torch loads later would crash it. The
    wrapper loads it beforehand.

    It can be pickled and deep-copied if environment and reward can, the encoder
    with them. ``gymnasium.make(env.spec)`` does not bring it back, as a reward
    is no setting: wrap again.

    Args:
        env: Made with ``render_mode="rgb_array"``.
        reward: Any `FrameReward`, or a plain function of frames, uint8 ``[n h w 3]`` to finite numbers ``[n]``.
        frame_size: Side in pixels of the square frames; default: the reward's own. A plain function needs it. Frames
            of another shape are letterboxed.

    Raises:
        InvalidInputError: The environment renders no ``rgb_array``, resets itself, or has a VLM reward already; or the
            reward or the size is not usable.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any] | Any,
        reward: AnyReward | Any,
        *,
        frame_size: int | Any | None = None,
    ) -> None:
        check_env(env)
        check_unrewarded(env.metadata)
        self._scorer = TransitionScorer(reward, 1, frame_size)
        self._renderer = FrameRenderer(env, self._scorer.frame_size, self._scorer.cameras)
        self._drawn = False
        super().__init__(env)
        self.metadata = {**env.metadata, MARK: True}
        prepare_drawing()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            InvalidInputError: The first frame is none.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        if self._scorer.needs_resets or not self._drawn:  # the first time to find out early if it cannot be drawn
            self._scorer.begin(self._renderer.render()[None], np.ones(1, dtype=bool))
            self._drawn = True
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step and score the state that it led to.

        Returns:
            Observation, VLM reward, terminated, truncated, and the info with ``true_reward`` (float64).

        Raises:
            InvalidInputError: The frame is none, or the reward is not one finite number.
        """
        observation, own, terminated, truncated, info = self.env.step(action)
        frames = self._renderer.render()[None]
        reward = self._scorer.score(frames, np.array([float(own)]), np.array([bool(terminated)]))
        # numpy's float is Python's too; readers of infos, as TorchRL's, ask for a dtype.
        return observation, float(reward[0]), terminated, truncated, {**info, "true_reward": np.float64(own)}
