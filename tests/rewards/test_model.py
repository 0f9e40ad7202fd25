"""Prompts and encoder together."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward, mean_prompt
from vlm_rewards.rewards.model import VLMReward


class PlaneEncoder:
    """Embeds into the plane: frames by brightness (black is 0 degrees), prompts by a table of degrees."""

    DEGREES: ClassVar = {
        "black": 0.0,
        "night": 20.0,
        "white": 90.0,
        "snow": 70.0,
        "anything": 45.0,
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
    np.testing.assert_array_equal(reward(list(greys(0, 255))), reward(greys(0, 255)))  # a list is an array-like
    with pytest.raises(InvalidInputError, match="alpha must be in"):
        VLMReward(PlaneEncoder(), goal="white", alpha=1.5)


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
    with pytest.raises(InvalidInputError, match="goal and baseline must differ"):
        VLMReward(encoder, goal=["white", "snow"], baseline=["snow", "white"])


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


def test_description_survives_json() -> None:
    facts = VLMReward(PlaneEncoder(), goal=["white", "snow"], baseline="anything", alpha=1).describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["goal"] == ["white", "snow"]
    assert facts["alpha"] == 1.0
    assert VLMReward(PlaneEncoder(), goal="white").describe()["formula"] == "goal (eq. 2)"


def test_embedded_prompts_cannot_be_changed_from_outside() -> None:
    with pytest.raises(ValueError, match="read-only"):
        VLMReward(PlaneEncoder(), goal="white").goal_embedding[0] = 1
