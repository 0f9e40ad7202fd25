"""Pictures that travel in the infos of vector environments.

No torch here: the workers of a `gymnasium.vector.AsyncVectorEnv` import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from vlm_rewards.envs.headless import configure_headless
from vlm_rewards.envs.photographer import Photographer
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling.wrapper_checks import check_env

FRAME = "vlm_frame"
"""Where in an info the picture is, and where in the metadata its size and number of cameras are."""


class FrameInInfo(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Photographs every state inside a sub-environment, for `VLMRewardVectorWrapper`.

    A vector environment in the mode ``SAME_STEP`` resets a sub-environment
    within the step that ends its episode. From outside, the last state can no
    longer be seen; from inside it can. The picture travels in the info, that of
    a last state in ``final_info``. The other modes do not need this wrapper but
    gain by it: pictures are shrunk where they are drawn, which with
    `gymnasium.vector.AsyncVectorEnv` is in many processes at once.

        gymnasium.make_vec("CartPole-v1", 8, "sync", {"autoreset_mode": "SameStep"},
                           [functools.partial(FrameInInfo, image_size=reward.encoder.image_size)],
                           render_mode="rgb_array")

    Args:
        env: Made with ``render_mode="rgb_array"``.
        image_size: Side of the square pictures in pixels: the encoder's ``image_size``.
        cameras: Pictures of each state; see `Photographer`.

    Raises:
        InvalidInputError: The environment renders something else or resets itself, or a number is out of range.
    """

    def __init__(self, env: gym.Env[Any, Any] | Any, image_size: int, cameras: int = 1) -> None:
        RecordConstructorArgs.__init__(self, image_size=image_size, cameras=cameras)
        check_env(env)
        super().__init__(env)
        configure_headless()
        self._photographer = Photographer(env, image_size, cameras)
        self.metadata = {**env.metadata, FRAME: (self._photographer.size, self._photographer.cameras)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, and photograph."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._with_frame(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and photograph the state that this led to."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, self._with_frame(info)

    def _with_frame(self, info: dict[str, Any]) -> dict[str, Any]:
        # A copy: an environment may draw into the same array every time, and this one is sent off after the reset.
        return {**info, FRAME: np.array(self._photographer.photograph())}


def take_frames(infos: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    """Take the pictures of some sub-environments out of a vector environment's infos, which lose them.

    Args:
        infos: As `gymnasium.vector.VectorEnv` batches them; the two entries of the pictures are removed.
        rows: Which sub-environments must have one, bool ``[n]``.

    Returns:
        uint8 ``[n h w 3]``, black where there is none.

    Raises:
        InvalidInputError: One of them has none.
    """
    frames, has_one = infos.pop(FRAME, None), infos.pop("_" + FRAME, np.zeros(len(rows), dtype=bool))
    missing = np.flatnonzero(rows & ~np.asarray(has_one, dtype=bool))
    if frames is None or missing.size:
        raise InvalidInputError(
            f"every sub-environment must be wrapped in FrameInInfo and keep its info, got no picture of "
            f"{missing.tolist()}."
        )
    return np.asarray(frames)


def frame_format(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """Size and number of cameras of the pictures that `FrameInInfo` delivers; None without it."""
    return metadata.get(FRAME)
