"""A table of bad inputs to the Python API: what is done, and what is said.

Run as a program in a folder it tries them all, without the runtime type checks that pytest turns on, and prints what
was raised as JSON; see test_refusals_of_the_api.py.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import psutil

from refused_envs import Grey, Many, Worded
from vlm_rewards import (
    FrameInInfo,
    LabelledReplayBuffer,
    LabelRewards,
    RenderedVecEnv,
    Task,
    VLMReward,
    get_task,
    goal_baseline_reward,
    goal_reward,
    load_encoder,
    register_task,
)
from vlm_rewards.collection.ring import FrameRing
from vlm_rewards.collection.shaping import PotentialShaping
from vlm_rewards.offline.dataset import RelabelOptions
from vlm_rewards.offline.relabelling import open_dataset
from vlm_rewards.rewards.combined import CameraReward, WeightedSum
from vlm_rewards.rewards.config import RewardConfig, build_reward
from vlm_rewards.rewards.goal_baseline import mean_prompt
from vlm_rewards.rewards.goal_pictures import DemonstrationReward, GoalPictureReward
from vlm_rewards.rewards.model import SoftmaxReward
from vlm_rewards.rewards.registry import register_reward
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.builtin import configured
from vlm_rewards.tasks.files import load_task_file
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.testing.counting import CountingEnv
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import point_task
from vlm_rewards.training.algorithms import DQNConfig, PPOConfig, SACConfig, build_algorithm
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import preset

ENCODER = FakeEncoder()
PICTURES = np.zeros((2, 32, 32, 3), dtype=np.uint8)
UNIT = np.eye(16, dtype=np.float32)
HUGE = 10**12


@dataclass(frozen=True)
class Refusal:
    """One bad input."""

    name: str
    message: str
    """Part of what is said."""
    do: Callable[[Path], Any]
    """Does it; may write into the folder that it gets, which must then be all that is there."""
    parameter: str = ""
    """Whose annotation forbids it: where types are checked at run time, the checker may speak first."""


class Alike(FakeEncoder):
    """Knows no sentence from another."""

    def embed_texts(self, prompts: Any) -> np.ndarray:
        return np.stack([UNIT[0]] * len(prompts))


def vlm(encoder: Any = ENCODER, **changes: Any) -> VLMReward:
    return VLMReward(encoder, **{"goal": "a goal", "baseline": "a baseline", "alpha": 0.5, **changes})


def task(**changes: Any) -> Task:
    return replace(point_task(), **changes)


def environment(env_id: str, **changes: Any) -> Task:
    return environment_task(EnvironmentConfig(env_id, **changes), goal="a goal", baseline="a baseline")


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def learn(reward: Any) -> None:
    from stable_baselines3 import DQN

    venv = RenderedVecEnv(point_task(), 2, image_size=32, n_workers=1, slots=4)
    try:
        model = DQN("MlpPolicy", venv, replay_buffer_class=LabelledReplayBuffer, buffer_size=100)
        model.learn(8, callback=LabelRewards(reward))
    finally:
        venv.close()


def build(algorithm: Any, actions: Literal["discrete", "box"] = "discrete") -> None:
    venv = RenderedVecEnv(point_task(actions=actions), 2, image_size=32, n_workers=1, slots=4)
    try:
        build_algorithm(algorithm, venv, seed=0, device="cpu")
    finally:
        venv.close()


def simulators(*factories: Callable[[], gym.Env[Any, Any]], **options: Any) -> None:
    RenderedVecEnv(list(factories), **{"image_size": 32, "n_workers": 1, "slots": 4, **options}).close()


def settings(**changes: Any) -> TrainConfig:
    return replace(preset("cartpole"), **changes)


REFUSALS = [
    # Sentences and alpha
    Refusal("alpha-2", "alpha must be in [0, 1], got 2", lambda _: vlm(alpha=2)),
    Refusal("alpha-negative", "alpha must be in [0, 1], got -0.1", lambda _: vlm(alpha=-0.1)),
    Refusal(
        "alpha-word", "alpha must be a number in [0, 1], got 'half'", lambda _: vlm(alpha="half"), parameter="alpha"
    ),
    Refusal("goal-embeds-as-baseline", "goal and baseline must differ", lambda _: vlm(Alike())),
    Refusal("goal-empty", "goal must be a sentence that is not empty, got ''", lambda _: vlm(goal="")),
    Refusal("goal-blank", "goal must be a sentence that is not empty, got ' \\n'", lambda _: vlm(goal=" \n")),
    Refusal("goal-long", "goal must have at most 1,000 characters", lambda _: vlm(goal="x" * 10_000)),
    Refusal(
        "goal-number",
        "goal must be a sentence or a list of at least one sentence, got 7",
        lambda _: vlm(goal=7),
        parameter="goal",
    ),
    Refusal("goal-bytes", "goal must be a sentence or a list of", lambda _: vlm(goal=b"a goal"), parameter="goal"),
    Refusal(
        "goal-list-of-none", "goal must be a sentence, got None", lambda _: vlm(goal=["a goal", None]), parameter="goal"
    ),
    Refusal(
        "no-encoder",
        "encoder must have embed_images and embed_texts, got None",
        lambda _: vlm(None),
        parameter="encoder",
    ),
    # Frames and embeddings
    Refusal("frames-float", "frames must be uint8 (0 to 255), got dtype float64", lambda _: vlm()(PICTURES / 255)),
    Refusal("frames-channels-first", "frames must have shape [n h w 3]", lambda _: vlm()(PICTURES.swapaxes(1, 3))),
    Refusal("frames-none", "with n, h, w >= 1, got (0, 32, 32, 3)", lambda _: vlm()(PICTURES[:0])),
    Refusal(
        "embeddings-short", "must have the goal's dimension 16, got 3", lambda _: goal_reward(UNIT[:3, :3], UNIT[0])
    ),
    Refusal("embeddings-long", "embeddings must have unit norm", lambda _: vlm().score(2 * UNIT)),
    Refusal("embeddings-nan", "embeddings must be finite", lambda _: vlm().score(np.nan * UNIT)),
    Refusal("goal-of-two", "Use mean_prompt for several", lambda _: goal_baseline_reward(UNIT, UNIT[:2], UNIT[0], 1)),
    Refusal("mean-of-none", "embeddings must hold at least one prompt", lambda _: mean_prompt(UNIT[:0])),
    # Reward forms
    Refusal(
        "softmax-cold",
        "temperature must be a positive number, got 0",
        lambda _: SoftmaxReward(ENCODER, goal="a", others=["b"], temperature=0.0),
    ),
    Refusal(
        "softmax-alone", "others must be a sentence or a list of", lambda _: SoftmaxReward(ENCODER, goal="a", others=[])
    ),
    Refusal("softmax-twice", "others must not hold the goal", lambda _: SoftmaxReward(ENCODER, goal="a", others=["a"])),
    Refusal(
        "pictures-max-baseline",
        "baseline needs rule='mean'",
        lambda _: GoalPictureReward(ENCODER, pictures=PICTURES, rule="max", baseline="a baseline"),
    ),
    Refusal(
        "pictures-file-missing",
        "frames must be files that exist, there is no 'no.png'",
        lambda _: build_reward(
            RewardConfig("goal-pictures", goal_pictures=("no.png",)), ENCODER, goal="a", baseline="b", alpha=0.5
        ),
    ),
    Refusal(
        "pictures-file-no-picture",
        "x.png",
        lambda folder: build_reward(
            RewardConfig("goal-pictures", goal_pictures=(str(written(folder, "x.png", "words")),)),
            ENCODER,
            goal="a",
            baseline="b",
            alpha=0.5,
        ),
    ),
    Refusal(
        "demonstration-short",
        "must have at least 2 frames, got 1",
        lambda _: DemonstrationReward(ENCODER, frames=PICTURES[:1]),
    ),
    Refusal("sum-of-none", "rewards must hold at least one", lambda _: WeightedSum([])),
    Refusal("cameras-one", "cameras must be an int of at least 2, got 1", lambda _: CameraReward(vlm(), cameras=1)),
    Refusal(
        "cameras-rule",
        "'mean' or 'min', got 'max'",
        lambda _: CameraReward(vlm(), cameras=2, rule="max"),  # type: ignore[arg-type]
        parameter="rule",
    ),
    Refusal(
        "cameras-nested",
        "cameras cannot be nested",
        lambda _: CameraReward(CameraReward(vlm(), cameras=2), cameras=2),
    ),
    Refusal("cameras-strip", "frames must be strips of 2", lambda _: CameraReward(vlm(), cameras=2)(PICTURES)),
    Refusal(
        "shaping-gamma", "gamma must be a number from 0 to 1, got 1.5", lambda _: PotentialShaping(vlm(), gamma=1.5)
    ),
    Refusal(
        "shaping-base",
        "base must be 'environment' or a reward, got 'none'",
        lambda _: PotentialShaping(vlm(), gamma=0.9, base="none"),  # type: ignore[arg-type]
        parameter="base",
    ),
    Refusal(
        "form-unknown", "unknown reward form 'contrst'. Did you mean 'contrast'", lambda _: RewardConfig("contrst")
    ),
    Refusal(
        "form-needs", "the reward form 'goal-pictures' needs goal_pictures", lambda _: RewardConfig("goal-pictures")
    ),
    Refusal(
        "form-does-not-take",
        "temperature is of no use to the reward form 'contrast'",
        lambda _: RewardConfig("contrast", temperature=0.1),
    ),
    Refusal("form-again", "'contrast' is already registered", lambda _: register_reward("contrast")(len)),
    Refusal("form-input", "unknown input of a reward form 'text'", lambda _: register_reward("x", needs=("text",))),
    # Encoders
    Refusal("encoder-number", "encoder must be a name or a path, got 7", lambda _: load_encoder(7), parameter="name"),  # type: ignore[arg-type]
    # Tasks and environments
    Refusal("task-again", "task 'cartpole' is already registered", lambda _: register_task(get_task("cartpole"))),
    Refusal("task-horizon", "horizon of task 'point' must be an int of at least 1, got 0", lambda _: task(horizon=0)),
    Refusal("task-goal", "goal of task 'point' must be a sentence that is not empty", lambda _: task(goal="")),
    Refusal("task-file-missing", "task file 'no.py' does not exist", lambda _: load_task_file(Path("no.py"))),
    Refusal(
        "task-file-raises",
        "raised ZeroDivisionError: division by zero",
        lambda folder: load_task_file(written(folder, "x.py", "1 / 0")),
    ),
    Refusal(
        "task-file-empty",
        "has no task: call register_task",
        lambda folder: load_task_file(written(folder, "x.py", "x = 1")),
    ),
    Refusal("env-unknown", "unknown environment 'CartPole-v9'", lambda _: environment("CartPole-v9")),
    Refusal("env-module", "names a module that cannot be imported", lambda _: environment("nowhere:X-v0")),
    Refusal(
        "env-horizon", "horizon must be an int of at least 1, got 0", lambda _: environment("CartPole-v1", horizon=0)
    ),
    Refusal(
        "env-arguments",
        "env_kwargs must be a JSON object, got '{'",
        lambda _: environment("CartPole-v1", env_kwargs="{"),
    ),
    Refusal(
        "env-argument-unknown",
        "cannot be built: TypeError",
        lambda _: environment("CartPole-v1", env_kwargs='{"gravity_of": 1}'),
    ),
    Refusal(
        "env-render-mode",
        "env_kwargs must not hold 'render_mode'",
        lambda _: environment("CartPole-v1", env_kwargs='{"render_mode": "human"}'),
    ),
    Refusal(
        "env-cameras",
        "is no MuJoCo environment",
        lambda _: environment("CartPole-v1", cameras=("side",)),
    ),
    Refusal("env-camera", "'no such'", lambda _: environment("Hopper-v5", cameras=("no such",))),
    Refusal(
        "env-textures-unknown",
        "textures must be one of original, realistic, got 'shiny'",
        lambda _: environment("Hopper-v5", textures="shiny"),
        parameter="textures",
    ),
    Refusal(
        "env-textures",
        "textures must be left out: 'CartPole-v1' is no MuJoCo environment",
        lambda _: environment("CartPole-v1", textures="realistic"),
    ),
    Refusal(
        "env-view-number",
        "view must be six numbers",
        lambda _: environment("Hopper-v5", view=3.5),
        parameter="view",
    ),
    Refusal(
        "humanoid-camera",
        "camera must be one of original, fixed, got 'side'",
        lambda _: HumanoidConfig(camera="side"),  # type: ignore[arg-type]
        parameter="camera",
    ),
    Refusal(
        "humanoid-textures",
        "textures must be one of original, realistic, got 'shiny'",
        lambda _: HumanoidConfig(textures="shiny"),  # type: ignore[arg-type]
        parameter="textures",
    ),
    Refusal(
        "humanoid-observations",
        "observations must be one of full, compact, got 'few'",
        lambda _: HumanoidConfig(observations="few"),  # type: ignore[arg-type]
        parameter="observations",
    ),
    Refusal(
        "humanoid-elsewhere",
        "humanoid must be left out: the simulator of task 'point' is another",
        lambda _: configured(point_task(), HumanoidConfig()),
    ),
    # Simulators
    Refusal(
        "simulators-more-than-memory",
        "the frames in flight need",
        lambda _: RenderedVecEnv(point_task(), 20_000, image_size=2_000, slots=2),
    ),
    Refusal("image-size", "at least 32 pixels, got 8", lambda _: simulators(CountingEnv, image_size=8)),
    Refusal("grey", "must return a uint8 array [height width 3]", lambda _: simulators(Grey)),
    Refusal("action-space", "the action space must be Box or Discrete, got MultiBinary(3)", lambda _: simulators(Many)),
    Refusal(
        "observation-space", "the observation space must be Box or Discrete, got Text", lambda _: simulators(Worded)
    ),
    Refusal("ring-too-large", "which could not be had", lambda _: FrameRing(HUGE, 1, 96)),
    # Wrappers
    Refusal("frame-in-info-size", "at least 32 pixels, got 0", lambda _: FrameInInfo(CountingEnv(), frame_size=0)),
    # Learning by hand
    Refusal("label-nothing", "reward must be callable, got 3", lambda _: LabelRewards(3), parameter="reward"),  # type: ignore[arg-type]
    Refusal(
        "label-chunk", "chunk_frames must be an int of at least 1, got 0", lambda _: LabelRewards(vlm(), chunk_frames=0)
    ),
    Refusal(
        "label-shaping",
        "RenderedVecEnv(render_resets=True)",
        lambda _: learn(PotentialShaping(vlm(), gamma=0.99)),
    ),
    Refusal("replay-larger-than-memory", "transitions fit", lambda _: build(DQNConfig(buffer_size=HUGE))),
    Refusal("rollout-larger-than-memory", "transitions fit", lambda _: build(PPOConfig(n_steps=HUGE))),
    Refusal("dqn-continuous", "algorithm dqn needs a Discrete action space", lambda _: build(DQNConfig(), "box")),
    Refusal("sac-discrete", "algorithm sac needs a Box action space", lambda _: build(SACConfig())),
    # Settings of runs
    Refusal("algorithm-unknown", "unknown algorithm 'sca'", lambda _: preset("cartpole", algorithm="sca")),
    Refusal("algorithm-refused", "algorithm 'a2c' is not offered", lambda _: preset("cartpole", algorithm="a2c")),
    Refusal("algorithm-space", "algorithm td3 needs a Box action space", lambda _: preset("cartpole", algorithm="td3")),
    Refusal("run-seed", "seed must be an int from 0 to", lambda _: settings(seed=2**32)),
    Refusal(
        "run-standardise", "learning would start before the rewards are known", lambda _: settings(standardise=HUGE)
    ),
    Refusal(
        "run-settings-unknown",
        "the settings do not fit this version",
        lambda _: TrainConfig.from_dict({**settings().to_dict(), "colour": 1}),
    ),
    # The rest
    Refusal("relabel-batch", "batch_size must be an int of at least 1, got 0", lambda _: RelabelOptions(batch_size=0)),
    Refusal("relabel-both", "out and in_place exclude", lambda _: RelabelOptions(out="x", in_place=True)),
    Refusal("relabel-nothing", "nowhere", lambda folder: open_dataset(str(folder / "nowhere"), RelabelOptions())),
]


def attempt(refusal: Refusal, folder: Path) -> tuple[str, str, list[str]]:
    """Try one; the bases' names of what was raised, its text, and what was left behind."""
    kinds, text, before = "", "", set(_processes())
    try:
        refusal.do(folder)
    except Exception as error:
        kinds, text = " ".join(kind.__name__ for kind in type(error).__mro__), str(error)
    return kinds, text, [what for pid, what in _processes().items() if pid not in before]


def _processes() -> dict[int, str]:
    found = {}
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # or it has ended
            found[child.pid] = " ".join(child.cmdline())[:200]
    return {pid: what for pid, what in found.items() if "resource_tracker" not in what and "forkserver" not in what}


def main() -> None:
    import tempfile
    import warnings

    warnings.simplefilter("ignore")
    found = {}
    for refusal in REFUSALS:
        with tempfile.TemporaryDirectory() as folder:
            found[refusal.name] = attempt(refusal, Path(folder))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
