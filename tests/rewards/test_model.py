"""Prompts and encoder together."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import Any, ClassVar

import jaxtyping
import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, goal_reward, mean_prompt
from vlm_rewards.rewards.model import VLMReward
from vlm_rewards.testing.fakes import FakeEncoder


class PlaneEncoder:
    """Embeds into the plane: frames by brightness (black is 0 degrees), prompts by a table of degrees."""

    DEGREES: ClassVar = {
        "black": 0.0,
        "night": 20.0,
        "white": 90.0,
        "snow": 70.0,
        "anything": 45.0,
        "whatever": 45.0,
        "anti": 180.0,
    }
    name, image_size, embedding_dim = "plane", 4, 2

    def __init__(self) -> None:
        self.text_calls = 0

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        return self._at(frames.mean(axis=(1, 2, 3)) / 255 * 90)

    def embed_texts(self, prompts: Sequence[str]) -> np.ndarray:
        self.text_calls += 1
        return self._at(np.array([self.DEGREES[prompt] for prompt in prompts]))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    @staticmethod
    def _at(degrees: np.ndarray) -> np.ndarray:
        angle = np.radians(degrees)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def greys(*levels: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def test_without_a_baseline_it_is_equation_two() -> None:
    reward = VLMReward(PlaneEncoder(), goal="white", alpha=0.7)
    # Black is at 0 degrees and white at 90: cos 90, cos 0, and cos 45 for level 127.5, which is not a level.
    np.testing.assert_allclose(reward(greys(0, 255)), [0, 1], atol=1e-6)
    assert (reward.baseline, reward.baseline_embedding, reward.alpha) == (None, None, 0.0)


def test_with_a_baseline_it_is_equation_three_of_its_embeddings() -> None:
    reward, frames = VLMReward(PlaneEncoder(), goal="white", baseline="anything", alpha=0.3), greys(0, 50, 200)
    embeddings = reward.embed(frames)
    assert reward.baseline_embedding is not None
    expected = goal_baseline_reward(embeddings, reward.goal_embedding, reward.baseline_embedding, 0.3)
    np.testing.assert_array_equal(reward(frames), expected)
    np.testing.assert_array_equal(reward.score(embeddings), expected)
    assert reward(frames).dtype == np.float32


def test_several_wordings_count_as_one_prompt() -> None:
    encoder = PlaneEncoder()
    reward = VLMReward(encoder, goal=["white", "snow"])
    np.testing.assert_allclose(reward.goal_embedding, mean_prompt(encoder.embed_texts(["white", "snow"])))
    assert reward.goal == ("white", "snow")
    # Their mean points at 80 degrees, so the brightest grey below white fits best: level 255 * 80 / 90 = 226.7.
    assert int(np.argmax(reward(greys(*range(256))))) == 227


def test_text_is_embedded_once() -> None:
    encoder = PlaneEncoder()
    reward = VLMReward(encoder, goal="white", baseline="anything")
    calls = encoder.text_calls
    for _ in range(3):
        reward(greys(1, 2))
    assert encoder.text_calls == calls == 2


def test_a_pickled_copy_scores_the_same() -> None:
    reward = VLMReward(PlaneEncoder(), goal="white", baseline=("anything", "night"))
    copy = pickle.loads(pickle.dumps(reward))
    np.testing.assert_array_equal(copy(greys(3, 77)), reward(greys(3, 77)))
    assert copy.describe() == reward.describe()


def test_it_takes_any_encoder_of_the_protocol(rng: np.random.Generator) -> None:
    reward = VLMReward(FakeEncoder(), goal="a cat", baseline="a photo", alpha=0.5)
    frames = rng.integers(0, 256, (5, 9, 7, 3), np.uint8)
    rewards = reward(frames)
    assert rewards.shape == (5,)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reward))(frames), rewards)
    assert np.unique(rewards).size == 5


def test_description_survives_json() -> None:
    facts = VLMReward(PlaneEncoder(), goal=["white", "snow"], baseline="anything", alpha=1).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["goal"] == ["white", "snow"]
    assert facts["alpha"] == 1.0
    assert VLMReward(PlaneEncoder(), goal="white").describe()["formula"] == "goal (eq. 2)"


def test_rewards_of_embeddings_need_no_encoder_pass() -> None:
    reward = VLMReward(PlaneEncoder(), goal="white")
    np.testing.assert_array_equal(reward.score(np.eye(2)), goal_reward(np.eye(2), reward.goal_embedding))


def test_embedded_prompts_cannot_be_changed_from_outside() -> None:
    with pytest.raises(ValueError, match="read-only"):
        VLMReward(PlaneEncoder(), goal="white").goal_embedding[0] = 1


@pytest.mark.parametrize(
    ("goal", "baseline", "message"),
    [
        ("white", "white", "goal and baseline must differ, both are 'white'"),
        (["white", "snow"], ["snow", "white"], "goal and baseline must differ"),
        ("anything", "whatever", "goal and baseline must differ: eq. 3 needs the line"),
        (" ", None, "goal must be a sentence that is not empty, got ' '"),
        ("white", "", "baseline must be a sentence that is not empty, got ''"),
        ([], None, r"goal must be a sentence or a list of at least one sentence, got \[\]"),
        (["black", "anti"], None, "the 2 prompts cancel out"),
    ],
)
def test_bad_prompts_are_refused(goal: str | list[str], baseline: str | list[str] | None, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        VLMReward(PlaneEncoder(), goal=goal, baseline=baseline)


@pytest.mark.parametrize("baseline", [None, "anything"])
def test_bad_alpha_is_refused_with_and_without_a_baseline(baseline: str | None) -> None:
    with pytest.raises(InvalidInputError, match="alpha must be in"):
        VLMReward(PlaneEncoder(), goal="white", baseline=baseline, alpha=1.5)


def test_bad_frames_are_refused_with_our_own_words() -> None:
    reward = VLMReward(PlaneEncoder(), goal="white")
    cases = [
        (greys(0).astype(np.float32), "frames must be uint8 .* got dtype float32"),
        (greys(0)[0], r"got \(4, 4, 3\). Use frames\[None\] for one frame"),
        (greys(0)[:0], r"frames must have shape \[n h w 3\] with n, h, w >= 1, got \(0, 4, 4, 3\)"),
        (np.zeros((1, 4, 4, 4), np.uint8), r"got \(1, 4, 4, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"got \(2, 3, 4, 4\)"),
        ([greys(0)[0], np.zeros((5, 4, 3), np.uint8)], "frames must be frames of one size"),
    ]
    for frames, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            reward(frames)  # type: ignore[arg-type]  # wrong on purpose
    assert reward(list(greys(0, 255))).shape == (2,)  # a list of frames of one size is an array-like


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"encoder": "bundled"},
            r"encoder must have embed_images and embed_texts, got 'bundled'. load_encoder\(name\)",
        ),
        ({"goal": 3}, "goal must be a sentence or a list of at least one sentence, got 3"),
        ({"goal": b"white"}, "goal must be a sentence"),
        ({"baseline": ["anything", 3]}, "baseline must be a sentence, got 3"),
        ({"alpha": "0.5"}, r"alpha must be a number in \[0, 1\], got '0.5'"),
        ({"alpha": None}, "alpha must be a number"),
    ],
)
def test_wrong_types_get_our_own_words(changed: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Users do not run with the type checks of the tests, which would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    arguments = {"encoder": PlaneEncoder(), "goal": "white", "baseline": "anything", "alpha": 0.5} | changed
    with pytest.raises(InvalidInputError, match=message):
        VLMReward(**arguments)
