"""The encoder that ships: small, in-domain, and with a reward that has its top where the task has its goal."""

from __future__ import annotations

import json
import math

import numpy as np
import open_clip
import pytest

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.encoders.openclip import OpenCLIPEncoder
from vlm_rewards.encoders.sources import bundled_folder
from vlm_rewards.evaluation.statistics import auroc
from vlm_rewards.finetuning.card import model_card
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.dataset import draw_states
from vlm_rewards.finetuning.run import command_line, settings_of
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.humanoid.model import VELOCITIES, shared_model
from vlm_rewards.tasks.humanoid.poses import draw_pose, family_of
from vlm_rewards.tasks.humanoid.states import judge_all
from vlm_rewards.tasks.mountain_car import draw_mountain_car
from vlm_rewards.tasks.task import get_task

ALPHAS = (0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def encoder() -> OpenCLIPEncoder:
    """The bundled encoder, on the CPU."""
    return load_encoder("bundled", device="cpu")


def rewards(encoder: OpenCLIPEncoder, name: str, frames: np.ndarray, alpha: float) -> np.ndarray:
    """Reward of the task's own prompts."""
    task = get_task(name)
    goal, baseline = encoder.embed_texts([task.goal, task.baseline])
    return goal_baseline_reward(encoder.embed_images(frames), goal, baseline, alpha)


def test_the_folder_is_small_and_says_what_it_is():
    folder = bundled_folder()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20e6
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".md"}
    assert "In-domain, not zero-shot" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_its_record_is_of_the_default_command():
    record = json.loads((bundled_folder() / "training_record.json").read_text(encoding="utf-8"))
    assert record["command"] == command_line(FinetuneConfig())
    assert record["config"] == settings_of(FinetuneConfig())


def test_its_card_is_written_from_its_record():
    record = json.loads((bundled_folder() / "training_record.json").read_text(encoding="utf-8"))
    card = model_card(record, [get_task(name) for name in FinetuneConfig().tasks], captions=1)
    shipped = (bundled_folder() / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert shipped.startswith(card.partition("## Held-out prompts")[0])
    assert "36,000 of kneeling" in shipped  # three shares
    assert "576,000 frames" in shipped


def test_open_clip_itself_loads_it(encoder: OpenCLIPEncoder):
    name = f"local-dir:{bundled_folder()}"
    model = open_clip.create_model(name, require_pretrained=True).eval()
    prompt = get_task("cartpole").goal
    said = model.encode_text(open_clip.get_tokenizer(name)([prompt]), normalize=True)
    np.testing.assert_allclose(said.detach().numpy(), encoder.embed_texts([prompt]), atol=1e-4)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_cartpole_reward_has_its_top_upright_and_falls_to_both_sides(encoder: OpenCLIPEncoder, alpha: float):
    degrees, places = np.arange(-180, 181, 4), np.linspace(-2.4, 2.4, 5)
    frames = np.stack([draw_cartpole(place, math.radians(angle), 96) for angle in degrees for place in places])
    surface = rewards(encoder, "cartpole", frames, alpha).reshape(len(degrees), len(places))
    mean = surface.mean(1)
    assert abs(degrees[mean.argmax()]) <= 4
    assert (np.abs(degrees[surface.argmax(0)]) <= 12).all()
    steps = [
        float(np.interp(angle, np.abs(degrees[45:]), (mean[45:] + mean[45::-1]) / 2)) for angle in (0, 12, 24, 40, 60)
    ]
    assert (np.diff(steps) < 0).all()
    # Lowest where the pole lies flat. A pole that hangs is vertical too, which the goal's words do not forget.
    assert mean[np.abs(degrees) > 60].max() < mean.max() - 0.3 * np.ptp(mean)


@pytest.mark.parametrize("name", ["mountaincar", "mountaincar-textured"])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_mountain_car_reward_climbs_to_the_flag(encoder: OpenCLIPEncoder, name: str, alpha: float):
    positions = np.round(np.linspace(-1.2, 0.6, 91), 2)
    frames = np.stack([draw_mountain_car(x, 96, textured=name.endswith("textured")) for x in positions])
    reward = rewards(encoder, name, frames, alpha)
    assert 0.44 <= positions[reward.argmax()] <= 0.56
    climb = np.interp([0.05, 0.2, 0.3, 0.4, 0.46], positions, reward)
    assert (np.diff(climb) > 0).all()
    assert reward[positions < -0.4].max() < reward.max() - 0.5 * np.ptp(reward)


def test_each_pose_scores_above_the_seven_others(encoder: OpenCLIPEncoder):
    rng, robot = np.random.default_rng(7), shared_model()
    poses = [draw_pose(family_of(pose), rng, robot) for pose in GOALS for _ in range(60)]
    states = np.stack([np.concatenate([pose, np.zeros(VELOCITIES)]) for pose in poses])
    captioner = get_task("kneeling").captioner
    assert captioner is not None
    frames = draw_states(captioner, np.column_stack([np.zeros(len(states)), states]), 96)  # in the first look
    for pose, held in judge_all(states).items():
        assert held.sum() >= 10, pose
        least = 0.9 if pose in ("kneeling", "lotus", "standing", "splits") else 0.7  # arms are a few pixels
        assert auroc(rewards(encoder, pose, frames, 0.5), held) > least, pose


def test_sentences_mean_something_by_their_parts(encoder: OpenCLIPEncoder):
    left, right = (draw_cartpole(x, 0.0, 96) for x in (-2.0, 2.0))
    up, down = (draw_cartpole(0.0, angle, 96) for angle in (0.0, math.pi))
    seen = encoder.embed_images(np.stack([left, right, up, down]))
    said = encoder.embed_texts(["the cart is far to the left", "the cart is far to the right", "the pole is upright"])
    score = seen @ said.T
    assert score[0, 0] > score[1, 0]
    assert score[1, 1] > score[0, 1]
    assert score[2, 2] > score[3, 2]


def test_a_word_it_never_met_hardly_moves_a_prompt(encoder: OpenCLIPEncoder):
    plain, odd, other = encoder.embed_texts(
        ["a pole balanced upright", "a zebra pole balanced upright", "a pole hanging straight down"]
    )
    assert plain @ odd > 0.8
    assert plain @ odd > plain @ other
