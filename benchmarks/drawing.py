"""Measure what each setting of the humanoid's drawing costs, in one process and on the same states, and show it.

    python benchmarks/drawing.py --out docs/measurements/drawing.json --pictures docs/img

It begins with what `gymnasium.make("Humanoid-v5", render_mode="rgb_array")` draws and changes one thing after another
until it is what this package draws. Only drawing is timed. Every repeat goes through all settings, and a ratio is that
of two numbers of the same repeat. The table of docs/drawing.md is printed at the end.

With --encoder it also says whether a reward ranks the states alike on our frame and on others of the same states.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from bench.measurement import Measurement
from vlm_rewards.files import write_json
from vlm_rewards.media import montage, write_png
from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.captions import PAPER_BASELINES
from vlm_rewards.tasks.humanoid.model import FIXED_VIEW, Camera, HumanoidConfig, HumanoidModel, Textures, build_humanoid
from vlm_rewards.tasks.humanoid.poses import FAMILIES
from vlm_rewards.tasks.humanoid.states import draw_state
from vlm_rewards.tasks.mujoco import Luxury, draw_cheaply, look_from
from vlm_rewards.tasks.rendering import FrameRenderer, configure_headless, draw

SEED = 0
DEFAULT = "Gymnasium's default"
OURS = "realistic textures"
SECONDS = 0.5  # that a run draws at least
_SHOWN = 192


@dataclass(frozen=True)
class Setting:
    """A way to draw."""

    name: str
    """What is changed beside the setting before it."""
    size: int
    """Side of the frames in pixels."""
    build: Callable[[], gym.Env[Any, Any]]
    """Builds the simulator."""


def gymnasium(size: int | None = None, without: Sequence[Luxury] = (), *, fixed: bool = False) -> gym.Env[Any, Any]:
    """Gymnasium's own humanoid, with or without what small frames do not miss."""
    sizes: dict[str, Any] = {} if size is None else {"width": size, "height": size}
    env = gym.make("Humanoid-v5", render_mode="rgb_array", **sizes)
    draw_cheaply(env, without)
    if fixed:
        look_from(env, FIXED_VIEW)
    return env


def ours(size: int, textures: Textures = "realistic", camera: Camera = "fixed") -> gym.Env[Any, Any]:
    return build_humanoid(size, HumanoidConfig(textures, camera))


def settings() -> list[Setting]:
    """From Gymnasium's default to ours, one thing after another; then variants of ours."""
    made = functools.partial
    lean: tuple[Luxury, ...] = ("shadows", "reflections", "multisampling", "facets")
    return [
        Setting(DEFAULT, 480, gymnasium),
        Setting("224 pixels", 224, made(gymnasium, 224)),
        Setting("96 pixels", 96, made(gymnasium, 96)),
        Setting("no shadows", 96, made(gymnasium, 96, lean[:1])),
        Setting("no reflections", 96, made(gymnasium, 96, lean[:2])),
        Setting("no multisampling", 96, made(gymnasium, 96, lean[:3])),
        Setting("fewer facets", 96, made(gymnasium, 96, lean)),
        Setting("fixed camera", 96, made(gymnasium, 96, lean, fixed=True)),
        Setting(OURS, 96, made(ours, 96)),
        Setting("realistic, camera follows", 96, made(ours, 96, camera="original")),
        Setting("original, camera follows", 96, made(ours, 96, "original", "original")),
        Setting("realistic textures, 224 pixels", 224, made(ours, 224)),
    ]


def states(count: int) -> np.ndarray:
    """Posed states, float64 ``[count 47]``: ``qpos`` and ``qvel``."""
    rng, body = np.random.default_rng(SEED), HumanoidModel()
    return np.stack([draw_state(rng, body)[0] for _ in range(count)])


def shown_state() -> np.ndarray:
    """The state of the frames, float64 ``[47]``."""
    raised = tuple(family for family in FAMILIES if family.name == "arms raised")
    return draw_state(np.random.default_rng(SEED), HumanoidModel(), raised)[0]


def place(env: gym.Env[Any, Any], state: np.ndarray) -> None:
    inner: Any = env.unwrapped
    inner.set_state(state[:24], state[24:])


def rate(env: gym.Env[Any, Any], chosen: np.ndarray) -> float:
    """Frames per second; all states as often as one another."""
    seconds, pictures = 0.0, 0
    while seconds < SECONDS:
        for state in chosen:
            place(env, state)
            started = time.perf_counter()
            draw(env)
            seconds += time.perf_counter() - started
        pictures += len(chosen)
    return pictures / seconds


def measure(envs: dict[str, gym.Env[Any, Any]], chosen: np.ndarray, repeats: int) -> dict[str, tuple[float, ...]]:
    """Each setting ``repeats`` times after one to warm up; the order turns round with every repeat."""
    values: dict[str, list[float]] = {name: [] for name in envs}
    for env in envs.values():
        rate(env, chosen)
    for repeat in range(repeats):
        for name in list(envs)[:: -1 if repeat % 2 else 1]:
            values[name].append(rate(envs[name], chosen))
        print(f"repeat {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return {name: tuple(found) for name, found in values.items()}


def render(env: gym.Env[Any, Any], chosen: np.ndarray, size: int) -> np.ndarray:
    """The states as an encoder gets them, uint8 ``[n size size 3]``."""
    renderer = FrameRenderer(env, size)
    pictures = []
    for state in chosen:
        place(env, state)
        pictures.append(np.array(renderer.render()))
    return np.stack(pictures)


def views(size: int) -> dict[str, Callable[[], gym.Env[Any, Any]]]:
    """The ways to draw whose rewards are compared: Gymnasium's frame, ours, and what lies between them."""
    made = functools.partial
    luxurious = HumanoidConfig(full_drawing=True)
    return {
        OURS: made(ours, size),
        "ours with all effects": made(build_humanoid, size, luxurious),
        "ours with all effects, 480 pixels": made(build_humanoid, 480, luxurious),
        "ours, original textures": made(ours, size, "original"),
        "ours, camera follows": made(ours, size, camera="original"),
        DEFAULT: gymnasium,
    }


def correlations(encoder: Any, goals: Sequence[str], baseline: str, alpha: float, chosen: np.ndarray) -> dict[str, Any]:
    """Spearman's correlation of a reward on our frames to the same reward on others, goal by goal."""
    from vlm_rewards import VLMReward
    from vlm_rewards.evaluation.statistics import spearman

    pictures = {}
    for name, build in views(encoder.image_size).items():
        env = build()
        env.reset(seed=SEED)
        pictures[name] = render(env, chosen, encoder.image_size)
        env.close()
    others = [name for name in pictures if name != OURS]
    found: dict[str, dict[str, float]] = {name: {} for name in others}
    for goal in goals:
        reward = VLMReward(encoder, goal=goal, baseline=baseline, alpha=alpha)
        rewards = {name: reward(frames) for name, frames in pictures.items()}
        for name in others:
            found[name][goal] = round(float(spearman(rewards[name], rewards[OURS])), 4)
    facts = {"states": len(chosen), "baseline": baseline, "alpha": alpha, "encoder": encoder.describe()}
    return {**facts, "spearman": found}


def renderer() -> str:
    """Name of what draws, of the OpenGL context that is current."""
    from OpenGL.GL import GL_RENDERER, glGetString

    name: Any = glGetString(GL_RENDERER)
    return name.decode()


def show(found: dict[str, np.ndarray], chosen: Sequence[Setting], path: Path, columns: int) -> None:
    """Write the same state under each setting, labelled."""
    frames, captions = [], []
    for setting in chosen:
        smaller = setting.size > _SHOWN  # a small frame is shown with the pixels that it has
        resampling = Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST
        frames.append(np.asarray(Image.fromarray(found[setting.name]).resize((_SHOWN, _SHOWN), resampling)))
        captions.append(f"{setting.name}\n({setting.size} px)")
    write_png(montage(np.stack(frames), captions, columns=columns), path)


def row(measurement: dict[str, Any]) -> str:
    """A setting's line in the table of docs/drawing.md."""
    ratio = measurement.get("ratio")
    beside = f"{ratio['median']:.3g} ({ratio['lowest']:.3g} to {ratio['highest']:.3g})" if ratio else "1"
    rate_, size = measurement["median"], measurement["settings"]["size"]
    return f"| {measurement['name']} | {size} | {rate_:.3g} | {1000 / rate_:.3g} | {beside} |"


def main() -> int:
    """Measure, draw, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file for the record")
    parser.add_argument("--pictures", type=Path, help="folder for drawing-steps.png and drawing-looks.png")
    parser.add_argument("--states", type=int, default=24, help="how many states are drawn, default 24")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each setting, default 5")
    parser.add_argument("--encoder", help="rank states by this encoder's reward, on our frame and others")
    parser.add_argument(
        "--goal", action="append", help="with --encoder: a sentence, may be repeated; default: all eight"
    )
    parser.add_argument(
        "--baseline", default=PAPER_BASELINES["humanoid"], help="with --encoder: what any state looks like"
    )
    parser.add_argument("--alpha", type=float, default=0.5, help="with --encoder: strength of the baseline")
    parser.add_argument("--ranked-states", type=int, default=500, help="with --encoder: how many states, default 500")
    chosen = parser.parse_args()
    configure_headless()
    source, encoder = provenance(), None
    if chosen.encoder is not None:
        from vlm_rewards import load_encoder

        encoder = load_encoder(chosen.encoder, device="cpu")  # before anything is drawn: see DESIGN, two LLVMs
    drawn, ways = states(chosen.states), settings()
    envs = {way.name: way.build() for way in ways}
    for env in envs.values():
        env.reset(seed=SEED)
    rates = measure(envs, drawn, chosen.repeats)
    found = [
        Measurement(
            way.name,
            "frames/s",
            rates[way.name],
            None if way.name == DEFAULT else DEFAULT,
            () if way.name == DEFAULT else rates[DEFAULT],
            {"size": way.size},
        ).to_dict()
        for way in ways
    ]
    record: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/drawing.py", *sys.argv[1:]]),
        "states": chosen.states,
        "seed": SEED,
        "repeats": chosen.repeats,
        "renderer": renderer(),
        "mujoco": metadata.version("mujoco"),
        "measurements": found,
    }
    if chosen.pictures is not None:
        first = {way.name: render(envs[way.name], shown_state()[None], way.size)[0] for way in ways}
        show(first, ways[:9], chosen.pictures / "drawing-steps.png", columns=3)
        show(first, [ways[8], ways[7], ways[9], ways[10]], chosen.pictures / "drawing-looks.png", columns=4)
    for env in envs.values():
        env.close()
    if encoder is not None:
        many = states(chosen.ranked_states)
        record["ranking"] = correlations(
            encoder, chosen.goal or list(GOALS.values()), chosen.baseline, chosen.alpha, many
        )
    write_json(chosen.out, {**record, **source})
    print(*(row(one) for one in found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
