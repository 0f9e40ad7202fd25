"""Captions of the humanoid are true of canonical poses, never held out, and come out the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from typecheck import unchecked
from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.captions import PARAPHRASES, content_words, is_held_out
from vlm_rewards.tasks.humanoid.captions import LOOKS, HumanoidCaptioner
from vlm_rewards.tasks.humanoid.model import POSITIONS, VELOCITIES, joint_vector, shared_model
from vlm_rewards.tasks.humanoid.poses import ARMS_CROSSED, ARMS_DOWN, ARMS_RAISED, HANDS_ON_HIPS, KNEELING_LEGS, ground

CAPTIONER = HumanoidCaptioner()
STRAIGHT = {"knee": -6, "hip_y": -2}
POSES = {
    "kneeling": (KNEELING_LEGS[0] | ARMS_DOWN, ("kneel", "knees"), ("lotus", "splits", "lying", "squat", "jump")),
    "standing": (STRAIGHT | ARMS_DOWN, ("standing", "feet"), ("kneeling", "lotus", "lying", "one leg", "raised")),
    "raised": (STRAIGHT | ARMS_RAISED, ("raised", "arms up", "above its head"), ("hips with", "crossed", "kneeling")),
    "hips": (STRAIGHT | HANDS_ON_HIPS, ("hips", "waist"), ("raised", "crossed", "kneeling")),
    "crossed": (STRAIGHT | ARMS_CROSSED, ("crossed", "folded"), ("raised", "on its hips", "kneeling")),
}


def state_of(angles: dict[str, float], look: int = 0) -> np.ndarray:
    positions = np.concatenate([[0, 0, 1.4, 1, 0, 0, 0], joint_vector(angles)])
    ground(positions, shared_model())
    return np.concatenate([[look], positions, np.zeros(VELOCITIES)])


@pytest.mark.parametrize("pose", POSES)
def test_what_is_said_of_a_pose_is_true(pose: str) -> None:
    angles, wanted, wrong = POSES[pose]
    rng = np.random.default_rng(1)
    with unchecked():
        captions = [CAPTIONER.caption(state_of(dict(angles)), rng) for _ in range(300)]
    captions = [caption.replace("arms not raised", "arms low") for caption in captions]
    assert sum(any(word in caption for word in wanted) for caption in captions) > 45
    # Vague words reach a little beyond; what is far off is never said.
    assert [caption for caption in captions if any(word in caption for word in wrong)] == []


@pytest.mark.slow
def test_none_is_held_out_and_every_word_of_the_prompts_is_said() -> None:
    rng = np.random.default_rng(2)
    words: set[str] = set()
    with unchecked():
        for _ in range(400):
            state = CAPTIONER.sample(rng)
            for _ in range(5):
                caption = CAPTIONER.caption(state, rng)
                assert not is_held_out(caption), caption
                words |= content_words(caption)
    prompts = [*GOALS.values(), *(sentence for group in PARAPHRASES.values() for sentence in group)]
    assert set().union(*map(content_words, prompts)) <= words
    assert all(is_held_out(prompt) for prompt in prompts)


def test_states_tell_their_look_and_every_look_is_drawn() -> None:
    rng = np.random.default_rng(0)
    states = np.stack([CAPTIONER.sample(rng) for _ in range(60)])
    looks, inner = CAPTIONER.split(states)
    assert set(looks.tolist()) == set(range(len(LOOKS)))
    assert inner.shape == (60, POSITIONS + VELOCITIES)
    assert len(CAPTIONER.simulators()) == len(LOOKS)
    assert sum(look.share for look in LOOKS) == pytest.approx(1.0)


def test_the_robot_is_said_to_be_seen_from_where_the_camera_stands() -> None:
    rng = np.random.default_rng(4)
    with unchecked():
        front = " ".join(CAPTIONER.caption(state_of(STRAIGHT | ARMS_DOWN, look=0), rng) for _ in range(200))
        side = " ".join(CAPTIONER.caption(state_of(STRAIGHT | ARMS_DOWN, look=1), rng) for _ in range(200))
    assert "facing the camera" in front
    assert "from the side" not in front
    assert "from the side" in side
    assert "facing the camera" not in side
