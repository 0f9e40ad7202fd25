"""Many environments at once, one batch of frames a step, and what happens where an episode ends.

Gymnasium's vector environments reset by themselves, in one of three ways. `VLMRewardVectorWrapper` scores the last
state of an episode in each of them; this prints one sub-environment around the end of its first episode:

    NextStep   the step after the end only resets: reward 0, no true reward. Leave it out when you learn.
    SameStep   the step that ends an episode also resets, so the last state can only be rendered from inside:
               every sub-environment is wrapped in FrameInInfo. The last observation is in infos["final_obs"].
    Disabled   nothing resets by itself; you do, with a mask.

    python examples/07_vector_env.py            # all three
    python examples/07_vector_env.py SameStep
"""

from __future__ import annotations

import functools
import sys

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from vlm_rewards import FrameInInfo, VLMReward, VLMRewardVectorWrapper, load_encoder

NUM_ENVS, STEPS = 4, 40


def make(mode: AutoresetMode, reward: VLMReward) -> VLMRewardVectorWrapper:
    """Four carts with VLM rewards. "async" in place of "sync" steps and draws each one in a process of its own."""
    rendered = functools.partial(FrameInInfo, frame_size=reward.frame_size)
    venv = gym.make_vec(
        "CartPole-v1",
        NUM_ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        wrappers=[rendered] if mode is AutoresetMode.SAME_STEP else None,
        render_mode="rgb_array",
    )
    return VLMRewardVectorWrapper(venv, reward)


def run(mode: AutoresetMode, reward: VLMReward) -> None:
    """Push all carts to the right for some steps."""
    venv = make(mode, reward)
    venv.reset(seed=0)
    episodes, transitions, rows = 0, 0, []
    first_end = None
    for step in range(STEPS):
        _, rewards, terminations, truncations, infos = venv.step(np.ones(NUM_ENVS, dtype=np.int64))
        ended, taken = terminations | truncations, infos["_true_reward"]
        episodes, transitions = episodes + int(ended.sum()), transitions + int(taken.sum())
        first_end = step if first_end is None and ended[0] else first_end
        rows.append((step, rewards[0], infos["true_reward"][0] if taken[0] else None, bool(ended[0])))
        if mode is AutoresetMode.DISABLED and ended.any():
            venv.reset(options={"reset_mask": ended})
    venv.close()

    print(f"{mode.value}: {STEPS} vector steps of {NUM_ENVS}, {episodes} episodes, {transitions} transitions")
    around = first_end or 0
    for step, value, true_reward, ended in rows[max(0, around - 1) : around + 3]:
        note = "the episode ends here" if ended else "only resets" if true_reward is None else ""
        print(f"  step {step:2}  reward {value:.3f}  true reward {true_reward!s:>4}  {note}".rstrip())


def main() -> None:
    modes = [AutoresetMode(name) for name in sys.argv[1:]] or list(AutoresetMode)
    encoder = load_encoder("bundled")
    reward = VLMReward(encoder, goal="pole vertically upright on top of the cart", baseline="pole and cart", alpha=1.0)
    for mode in modes:
        run(mode, reward)


if __name__ == "__main__":
    main()
