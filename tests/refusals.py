"""A table of bad inputs to the Python API: what is done, and what is said.

Run as a program in a folder it tries them all, without the runtime type checks that pytest turns on, and prints what
was raised as JSON; see test_refusals_of_the_api.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import psutil

from bench.random_checkpoint import write_random_checkpoint
from refused_envs import Grey, Many, Undrawn, Worded
from vlm_rewards import (
    FrameInInfo,
    LabelledReplayBuffer,
    LabelRewards,
    RenderedVecEnv,
    Task,
    VLMReward,
    VLMRewardVectorWrapper,
    VLMRewardWrapper,
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
from vlm_rewards.rewards.cameras import CameraReward
from vlm_rewards.rewards.config import RewardConfig, build_reward
from vlm_rewards.rewards.contrast import ContrastReward
from vlm_rewards.rewards.demonstration import DemonstrationReward
from vlm_rewards.rewards.goal_baseline import mean_prompt
from vlm_rewards.rewards.goal_pictures import GoalPictureReward
from vlm_rewards.rewards.registry import register_reward
from vlm_rewards.rewards.softmax import SoftmaxReward
from vlm_rewards.rewards.standardise import Standardiser
from vlm_rewards.rewards.weighted import WeightedSum
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
from vlm_rewards.training.run_folder import RunFolder

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


class Opposed(FakeEncoder):
    """Its second sentence is the opposite of the first."""

    def embed_texts(self, prompts: Any) -> np.ndarray:
        return np.stack([UNIT[0] * (-1) ** number for number in range(len(prompts))])


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


def cartpole(**changes: Any) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", **{"render_mode": "rgb_array", **changes})


def carts(**changes: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
    return gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", **{"render_mode": "rgb_array", **changes})


def same_step() -> gym.vector.VectorEnv[Any, Any, Any]:
    return carts(vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP})


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def learn(*, reward: Any = None, buffer: Any = LabelledReplayBuffer, **options: Any) -> None:
    from stable_baselines3 import DQN

    venv = RenderedVecEnv(point_task(), 2, image_size=32, n_workers=1, slots=4)
    try:
        model = DQN("MlpPolicy", venv, replay_buffer_class=buffer, buffer_size=100)
        model.learn(8, callback=LabelRewards(reward or vlm(), **options))
    finally:
        venv.close()


def build(algorithm: Any, actions: Literal["discrete", "box"] = "discrete") -> None:
    venv = RenderedVecEnv(point_task(actions=actions), 2, image_size=32, n_workers=1, slots=4)
    try:
        build_algorithm(algorithm, venv, seed=0, device="cpu")
    finally:
        venv.close()


def checkpoint(folder: Path, damage: Callable[[bytes], bytes]) -> Any:
    import torch
    from safetensors.torch import save

    content = save({"visual.proj": torch.zeros(3, 3), "logit_scale": torch.zeros(())})
    return load_encoder(f"ViT-S-32-alt={written(folder, 'x.safetensors', damage(content))}")


def other_architecture(folder: Path) -> Any:
    name = write_random_checkpoint("ViT-S-32-alt", folder)
    return load_encoder(name.replace("ViT-S-32-alt=", "ViT-M-32-alt="))


def pickled(folder: Path) -> Any:
    import pickle

    return load_encoder(f"ViT-S-32-alt={written(folder, 'x.pt', pickle.dumps({'state_dict': print}))}")


def simulators(*factories: Callable[[], gym.Env[Any, Any]], **options: Any) -> None:
    RenderedVecEnv(list(factories), **{"image_size": 32, "n_workers": 1, "slots": 4, **options}).close()


def settings(**changes: Any) -> TrainConfig:
    return replace(preset("cartpole"), **changes)


REFUSALS = [
    # Sentences and alpha
    Refusal("alpha-2", "alpha must be in [0, 1], got 2", lambda _: vlm(alpha=2)),
    Refusal("alpha-nan", "alpha must be in [0, 1], got nan", lambda _: vlm(alpha=float("nan"))),
    Refusal("alpha-negative", "alpha must be in [0, 1], got -0.1", lambda _: vlm(alpha=-0.1)),
    Refusal(
        "alpha-word", "alpha must be a number in [0, 1], got 'half'", lambda _: vlm(alpha="half"), parameter="alpha"
    ),
    Refusal("alpha-bool", "alpha must be a number in [0, 1], got True", lambda _: vlm(alpha=True)),
    Refusal("goal-is-baseline", "goal and baseline must differ", lambda _: vlm(goal="a baseline")),
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
    Refusal("goal-list-empty", "goal must be a sentence or a list of at least one", lambda _: vlm(goal=[])),
    Refusal(
        "goal-list-of-none", "goal must be a sentence, got None", lambda _: vlm(goal=["a goal", None]), parameter="goal"
    ),
    Refusal("baseline-empty", "baseline must be a sentence that is not empty", lambda _: vlm(baseline="")),
    Refusal("prompts-cancel-out", "the 2 prompts cancel out", lambda _: vlm(Opposed(), goal=["a", "b"])),
    Refusal(
        "no-encoder",
        "encoder must have embed_images and embed_texts, got None",
        lambda _: vlm(None),
        parameter="encoder",
    ),
    # Frames and embeddings
    Refusal("frames-float", "frames must be uint8 (0 to 255), got dtype float64", lambda _: vlm()(PICTURES / 255)),
    Refusal("frames-rgba", "frames must have shape [n h w 3]", lambda _: vlm()(np.zeros((2, 32, 32, 4), np.uint8))),
    Refusal("frames-grey", "frames must have shape [n h w 3]", lambda _: vlm()(PICTURES[..., 0])),
    Refusal("frames-channels-first", "frames must have shape [n h w 3]", lambda _: vlm()(PICTURES.swapaxes(1, 3))),
    Refusal("frames-none", "with n, h, w >= 1, got (0, 32, 32, 3)", lambda _: vlm()(PICTURES[:0])),
    Refusal("frames-one", "Use frames[None] for one frame", lambda _: vlm()(PICTURES[0])),
    Refusal("frames-ragged", "frames must be frames of one size", lambda _: vlm()([PICTURES[0], PICTURES[0, 1:]])),
    Refusal(
        "embeddings-short", "must have the goal's dimension 16, got 3", lambda _: goal_reward(UNIT[:3, :3], UNIT[0])
    ),
    Refusal("embeddings-long", "embeddings must have unit norm", lambda _: vlm().score(2 * UNIT)),
    Refusal("embeddings-nan", "embeddings must be finite", lambda _: vlm().score(np.nan * UNIT)),
    Refusal("goal-of-two", "Use mean_prompt for several", lambda _: goal_baseline_reward(UNIT, UNIT[:2], UNIT[0], 1)),
    Refusal("mean-of-none", "embeddings must hold at least one prompt", lambda _: mean_prompt(UNIT[:0])),
    # Reward forms
    Refusal(
        "contrast-same", "goal and baseline must differ", lambda _: ContrastReward(Alike(), goal="a", baseline="b")
    ),
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
    Refusal("sum-weights", "weights must be 1 finite numbers", lambda _: WeightedSum([vlm()], [1.0, 2.0])),
    Refusal("sum-nan", "weights must be 1 finite numbers", lambda _: WeightedSum([vlm()], [float("nan")])),
    Refusal(
        "sum-sizes",
        "rewards of a sum must want frames of one size",
        lambda _: WeightedSum([vlm(), vlm(FakeEncoder(image_size=48))]),
    ),
    Refusal("cameras-one", "cameras must be an int of at least 2, got 1", lambda _: CameraReward(vlm(), cameras=1)),
    Refusal(
        "cameras-rule",
        "'mean' or 'min', got 'max'",
        lambda _: CameraReward(vlm(), cameras=2, rule="max"),
        parameter="rule",
    ),  # type: ignore[arg-type]
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
    Refusal("standardise-constant", "rewards must not be constant", lambda _: Standardiser().fit(np.ones(5))),
    Refusal("standardise-std", "std must be finite and positive, got 0.0", lambda _: Standardiser(std=0.0)),
    # Encoders
    Refusal("encoder-number", "encoder must be a name or a path, got 7", lambda _: load_encoder(7), parameter="name"),  # type: ignore[arg-type]
    Refusal("encoder-empty-folder", "has no open_clip_config.json", lambda folder: load_encoder(folder)),
    Refusal("checkpoint-missing", "there is no file", lambda _: load_encoder("RN50=no.safetensors")),
    Refusal("checkpoint-truncated", "it may be cut short", lambda folder: checkpoint(folder, lambda all_: all_[:-3])),
    Refusal("checkpoint-empty", "it may be cut short", lambda folder: checkpoint(folder, lambda _: b"")),
    Refusal("checkpoint-of-something", "does not fit", lambda folder: checkpoint(folder, lambda all_: all_)),
    Refusal("checkpoint-mismatched", "not be what its model_cfg describes", other_architecture),
    Refusal("checkpoint-pickled", "hold no state_dict", pickled),
    # Tasks and environments
    Refusal("task-unknown", "unknown task 'cartpol'. Did you mean 'cartpole'", lambda _: get_task("cartpol")),
    Refusal("task-again", "task 'cartpole' is already registered", lambda _: register_task(get_task("cartpole"))),
    Refusal("task-horizon", "horizon of task 'point' must be an int of at least 1, got 0", lambda _: task(horizon=0)),
    Refusal("task-name", "task name must be letters", lambda _: task(name="a/b")),
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
    Refusal("env-view-short", "view must be six numbers", lambda _: environment("Hopper-v5", view=(1.0, 2.0))),
    Refusal(
        "env-view-number",
        "view must be six numbers",
        lambda _: environment("Hopper-v5", view=3.5),
        parameter="view",
    ),
    Refusal(
        "env-view-negative",
        "view must be finite numbers, the distance above 0",
        lambda _: environment("Hopper-v5", view=(-1.0, 0.0, 0.0, 1.0, 90.0, 0.0)),
    ),
    Refusal(
        "env-view-cameras",
        "view must be left out where cameras are named",
        lambda _: environment("Hopper-v5", view=(3.0, 0.0, 0.0, 1.0, 90.0, 0.0), cameras=("track",)),
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
    Refusal("simulators-0", "n_envs must be an int of at least 1, got 0", lambda _: RenderedVecEnv(point_task(), 0)),
    Refusal(
        "simulators-more-than-memory",
        "the frames in flight need",
        lambda _: RenderedVecEnv(point_task(), 20_000, image_size=2_000, slots=2),
    ),
    Refusal("slots-1", "slots must be an int of at least 2, got 1", lambda _: simulators(CountingEnv, slots=1)),
    Refusal("image-size", "at least 32 pixels, got 8", lambda _: simulators(CountingEnv, image_size=8)),
    Refusal("seed", "seed must be an int from 0 to 4294967295, got -1", lambda _: simulators(CountingEnv, seed=-1)),
    Refusal("no-rgb-array", 'render_mode of the environment must be "rgb_array"', lambda _: simulators(Undrawn)),
    Refusal("grey", "must return a uint8 array [height width 3]", lambda _: simulators(Grey)),
    Refusal("action-space", "the action space must be Box or Discrete, got MultiBinary(3)", lambda _: simulators(Many)),
    Refusal(
        "observation-space", "the observation space must be Box or Discrete, got Text", lambda _: simulators(Worded)
    ),
    Refusal("ring-too-large", "which could not be had", lambda _: FrameRing(HUGE, 1, 96)),
    # Wrappers
    Refusal("wrapper-no-env", "env must be an environment of Gymnasium", lambda _: VLMRewardWrapper(None, vlm())),
    Refusal(
        "wrapper-undrawn",
        'must be "rgb_array", got None',
        lambda _: VLMRewardWrapper(cartpole(render_mode=None), vlm()),
    ),
    Refusal("wrapper-vector", "env must be a single environment", lambda _: VLMRewardWrapper(carts(), vlm())),
    Refusal(
        "wrapper-autoreset",
        "must not have gymnasium.wrappers.Autoreset inside",
        lambda _: VLMRewardWrapper(gym.wrappers.Autoreset(cartpole()), vlm()),
    ),
    Refusal(
        "wrapper-twice",
        "env must not have a VLM reward already",
        lambda _: VLMRewardWrapper(VLMRewardWrapper(cartpole(), vlm()), vlm()),
    ),
    Refusal("wrapper-reward", "reward must score frames", lambda _: VLMRewardWrapper(cartpole(), 3)),
    Refusal("wrapper-no-size", "frame_size must be given", lambda _: VLMRewardWrapper(cartpole(), len)),
    Refusal("vector-single", "env must be a vector environment", lambda _: VLMRewardVectorWrapper(cartpole(), vlm())),
    Refusal("vector-same-step", "FrameInInfo", lambda _: VLMRewardVectorWrapper(same_step(), vlm())),
    Refusal("vector-undrawn", 'must be "rgb_array"', lambda _: VLMRewardVectorWrapper(carts(render_mode=None), vlm())),
    Refusal("frame-in-info-size", "at least 32 pixels, got 0", lambda _: FrameInInfo(cartpole(), frame_size=0)),
    # Learning by hand
    Refusal("label-nothing", "reward must be callable, got 3", lambda _: LabelRewards(3), parameter="reward"),  # type: ignore[arg-type]
    Refusal(
        "label-chunk", "chunk_frames must be an int of at least 1, got 0", lambda _: LabelRewards(vlm(), chunk_frames=0)
    ),
    Refusal("label-buffer", "replay_buffer_class=LabelledReplayBuffer", lambda _: learn(buffer=None)),
    Refusal(
        "label-shaping",
        "RenderedVecEnv(render_resets=True)",
        lambda _: learn(reward=PotentialShaping(vlm(), gamma=0.99)),
    ),
    Refusal("replay-larger-than-memory", "transitions fit", lambda _: build(DQNConfig(buffer_size=HUGE))),
    Refusal("rollout-larger-than-memory", "transitions fit", lambda _: build(PPOConfig(n_steps=HUGE))),
    Refusal("dqn-continuous", "algorithm dqn needs a Discrete action space", lambda _: build(DQNConfig(), "box")),
    Refusal("sac-discrete", "algorithm sac needs a Box action space", lambda _: build(SACConfig())),
    # Settings of runs
    Refusal("preset-unknown", "unknown preset 'papers'. Did you mean 'paper'", lambda _: preset("cartpole", "papers")),
    Refusal("preset-of-others", "preset must be 'cpu' for task", lambda _: preset(point_task(), "paper")),
    Refusal("algorithm-unknown", "unknown algorithm 'sca'", lambda _: preset("cartpole", algorithm="sca")),
    Refusal("algorithm-refused", "algorithm 'a2c' is not offered", lambda _: preset("cartpole", algorithm="a2c")),
    Refusal("algorithm-space", "algorithm td3 needs a Box action space", lambda _: preset("cartpole", algorithm="td3")),
    Refusal("run-steps", "steps must be an int of at least 1, got 0", lambda _: settings(steps=0)),
    Refusal("run-seed", "seed must be an int from 0 to", lambda _: settings(seed=2**32)),
    Refusal("run-alpha", "alpha must be a number from 0 to 1, got nan", lambda _: settings(alpha=float("nan"))),
    Refusal("run-no-updates", "no update would ever be made", lambda _: settings(steps=500)),
    Refusal(
        "run-standardise", "learning would start before the rewards are known", lambda _: settings(standardise=HUGE)
    ),
    Refusal("run-goal", "goal and baseline must differ", lambda _: settings(goal="same", baseline="same")),
    Refusal(
        "run-learning-rate",
        "learning_rate must be positive, got 0.0",
        lambda _: settings(algorithm=DQNConfig(learning_rate=0.0)),
    ),
    Refusal(
        "run-net-arch",
        "net_arch must be a list of at least one positive width",
        lambda _: settings(algorithm=SACConfig(net_arch=())),
    ),
    Refusal("run-of-nothing", "run must be a folder that `vlm-rewards train` wrote", RunFolder.open),
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
    kinds, text = "", ""
    try:
        refusal.do(folder)
    except Exception as error:
        kinds, text = " ".join(kind.__name__ for kind in type(error).__mro__), str(error)
    return kinds, text, list(_left())


def _left() -> Iterator[str]:
    for child in psutil.Process().children(recursive=True):
        if "resource_tracker" not in " ".join(child.cmdline()) and "forkserver" not in " ".join(child.cmdline()):
            yield f"process {child.pid}: {' '.join(child.cmdline())[:200]}"


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
