"""Each reward form against values worked out by hand or by a slow twin, and how they compose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlm_rewards.collection.shaping import PotentialShaping, rule_of, shaped_by
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.base import EmbeddingReward, FormulaReward, FrameReward, as_frame_reward
from vlm_rewards.rewards.combined import CameraReward, WeightedSum
from vlm_rewards.rewards.config import RewardConfig, build_reward, needs_encoder
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.rewards.goal_pictures import DemonstrationReward, GoalPictureReward
from vlm_rewards.rewards.model import ContrastReward, SoftmaxReward, VLMReward
from vlm_rewards.rewards.registry import FORMS, RewardInputs, register_reward
from vlm_rewards.testing.fakes import FakeEncoder

ENCODER = FakeEncoder(embedding_dim=8, image_size=32)


class CountingEncoder(FakeEncoder):
    """Counts the frames that it is given."""

    pictures = 0

    def embed_images(self, frames: Any) -> np.ndarray:
        self.pictures += len(frames)
        return super().embed_images(frames)


def noise(count: int, seed: int = 0, height: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, 32, 3), dtype=np.uint8)


def text(sentence: str) -> np.ndarray:
    return ENCODER.embed_texts([sentence])[0].astype(np.float64)


def test_contrast_is_the_difference_of_similarities() -> None:
    reward = ContrastReward(ENCODER, goal="open", baseline="closed")
    pictures = noise(7)
    expected = ENCODER.embed_images(pictures).astype(np.float64) @ (text("open") - text("closed"))
    np.testing.assert_allclose(reward(pictures), expected, atol=1e-6)
    swapped = ContrastReward(ENCODER, goal="closed", baseline="open")
    np.testing.assert_allclose(swapped(pictures), -expected, atol=1e-6)


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True), st.floats(0.005, 50.0))
def test_softmax_is_a_probability_whatever_the_order(others: list[str], temperature: float) -> None:
    pictures = noise(5)
    classes = ["goal", *others]
    logits = ENCODER.embed_images(pictures).astype(np.float64) @ np.stack([text(one) for one in classes]).T
    weights = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    reward = SoftmaxReward(ENCODER, goal="goal", others=others, temperature=temperature)(pictures)
    np.testing.assert_allclose(reward, weights[:, 0] / weights.sum(axis=1), atol=1e-6)
    again = SoftmaxReward(ENCODER, goal="goal", others=others[::-1], temperature=temperature)(pictures)
    np.testing.assert_allclose(reward, again, atol=1e-6)
    total = sum(
        SoftmaxReward(ENCODER, goal=one, others=[o for o in classes if o != one], temperature=temperature)(pictures)
        for one in classes
    )
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_softmax_at_the_ends_of_the_temperature() -> None:
    pictures = noise(20)
    ahead = ENCODER.embed_images(pictures).astype(np.float64) @ (text("a") - text("b"))
    sharp = SoftmaxReward(ENCODER, goal="a", others=["b"], temperature=1e-6)(pictures)
    np.testing.assert_array_equal(sharp, ahead > 0)
    blunt = SoftmaxReward(ENCODER, goal="a", others=["b", "c", "d"], temperature=1e6)(pictures)
    np.testing.assert_allclose(blunt, 0.25, atol=1e-5)


def test_a_goal_picture_is_eq_3_with_its_embedding() -> None:
    goal, pictures = noise(1, seed=1), noise(6)
    reward = GoalPictureReward(ENCODER, pictures=goal, baseline="a thing", alpha=0.4)
    embedded = ENCODER.embed_images(pictures), ENCODER.embed_images(goal)[0]
    expected = goal_baseline_reward(embedded[0], embedded[1], ENCODER.embed_texts(["a thing"])[0], 0.4)
    np.testing.assert_allclose(reward(pictures), expected, atol=1e-6)
    assert GoalPictureReward(ENCODER, pictures=goal)(goal)[0] == pytest.approx(1.0, abs=1e-6)


def test_several_goal_pictures() -> None:
    goals, pictures = noise(3, seed=2), noise(6)
    similarities = ENCODER.embed_images(pictures).astype(np.float64) @ ENCODER.embed_images(goals).T
    nearest = GoalPictureReward(ENCODER, pictures=goals, rule="max")(pictures)
    np.testing.assert_allclose(nearest, similarities.max(axis=1), atol=1e-6)
    centre = ENCODER.embed_images(goals).astype(np.float64).mean(axis=0)
    mean = GoalPictureReward(ENCODER, pictures=goals)(pictures)
    np.testing.assert_allclose(mean, similarities.mean(axis=1) / np.linalg.norm(centre), atol=1e-6)


def test_a_demonstration_pays_for_progress() -> None:
    film = noise(6, seed=3)
    reward = DemonstrationReward(ENCODER, frames=film)(film)
    np.testing.assert_allclose(reward, np.arange(6) / 5, atol=1e-6)
    nearest = DemonstrationReward(ENCODER, frames=film, rule="nearest")
    np.testing.assert_allclose(nearest(film), 1.0, atol=1e-6)
    others = noise(9)
    similarities = ENCODER.embed_images(others).astype(np.float64) @ ENCODER.embed_images(film).T
    np.testing.assert_allclose(nearest(others), similarities.max(axis=1), atol=1e-6)
    progress = similarities.max(axis=1) * similarities.argmax(axis=1) / 5
    np.testing.assert_allclose(DemonstrationReward(ENCODER, frames=film)(others), progress, atol=1e-6)


@pytest.mark.parametrize(("rule", "combine"), [("mean", np.mean), ("min", np.min)])
def test_cameras_are_averaged_or_minimised(rule: Any, combine: Any) -> None:
    inner = VLMReward(ENCODER, goal="a", baseline="b", alpha=0.3)
    strips = noise(5, height=96)
    slow = [combine([inner(strip[None, 32 * k : 32 * k + 32])[0] for k in range(3)]) for strip in strips]
    np.testing.assert_allclose(CameraReward(inner, cameras=3, rule=rule)(strips), slow, atol=1e-6)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=2))
def test_a_sum_is_linear(weights: list[float]) -> None:
    parts = [VLMReward(ENCODER, goal="a"), ContrastReward(ENCODER, goal="c", baseline="d")]
    pictures = noise(4)
    expected = weights[0] * parts[0](pictures) + weights[1] * parts[1](pictures)
    np.testing.assert_allclose(WeightedSum(parts, weights)(pictures), expected, atol=1e-5)


def test_forms_compose_and_embed_each_picture_once() -> None:
    encoder = CountingEncoder(embedding_dim=8)
    parts = [VLMReward(encoder, goal="a"), SoftmaxReward(encoder, goal="a", others=["b"])]
    cameras = CameraReward(WeightedSum(parts, [2.0, -1.0]), cameras=2)
    shaping = PotentialShaping(
        cameras, gamma=0.9, base=CameraReward(ContrastReward(encoder, goal="a", baseline="b"), cameras=2)
    )
    encoder.pictures = 0
    columns = rule_of(shaping).score(noise(5, height=64))
    assert encoder.pictures == 10
    np.testing.assert_allclose(columns[:, 1], cameras(noise(5, height=64)), atol=1e-6)
    np.testing.assert_allclose(columns[:, 0], shaping(noise(5, height=64)), atol=1e-6)
    described = json.loads(json.dumps(shaping.describe()))
    assert described["potential"]["formula"] == "WeightedSum"
    assert described["potential"]["camera_rule"] == "mean"


MAKERS: dict[str, Any] = {
    "VLMReward": lambda: VLMReward(ENCODER, goal="a", baseline="b"),
    "ContrastReward": lambda: ContrastReward(ENCODER, goal=["a", "a thing"], baseline="b"),
    "SoftmaxReward": lambda: SoftmaxReward(ENCODER, goal="a", others=["b"]),
    "GoalPictureReward": lambda: GoalPictureReward(ENCODER, pictures=noise(2)),
    "DemonstrationReward": lambda: DemonstrationReward(ENCODER, frames=noise(3)),
    "WeightedSum": lambda: WeightedSum([VLMReward(ENCODER, goal="a")]),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_form_is_a_state_reward(name: str) -> None:
    reward = MAKERS[name]()
    assert isinstance(reward, EmbeddingReward)
    pictures = noise(3)
    scores = reward(pictures)
    assert (scores.dtype, scores.shape) == (np.float32, (3,))
    np.testing.assert_array_equal(scores, reward.score(reward.embed(pictures)))
    facts = json.loads(json.dumps(reward.describe()))
    assert facts["encoder"]["name"] == "fake"
    for bad in (pictures.astype(np.float32), pictures[..., :1], pictures[:0], pictures[0]):
        with pytest.raises(InvalidInputError, match="frames must"):
            reward(bad)
    assert type(reward).__doc__ is not None
    if name != "VLMReward":
        assert "*Where it comes from:*" in type(reward).__doc__
        assert "*When to use it:*" in type(reward).__doc__


REFUSALS: list[tuple[Any, str]] = [
    (lambda: ContrastReward(ENCODER, goal="a", baseline="a"), "goal and baseline must differ, both are 'a'"),
    (
        lambda: SoftmaxReward(ENCODER, goal="a", others=["b"], temperature=float("nan")),
        "temperature must be a positive number, got nan",
    ),
    (lambda: GoalPictureReward(ENCODER, pictures=noise(1), rule="median"), "rule must be 'mean' or 'max'"),  # type: ignore[arg-type]
    (lambda: GoalPictureReward(ENCODER, pictures=noise(1), baseline="b", alpha=2.0), "alpha must be"),
    (
        lambda: WeightedSum([CameraReward(VLMReward(ENCODER, goal="a"), cameras=2)]),
        "put CameraReward around the sum",
    ),
    (
        lambda: PotentialShaping(PotentialShaping(VLMReward(ENCODER, goal="a"), gamma=0.9), gamma=0.9),
        "must be rewards of a state, not shapings",
    ),
    (
        lambda: PotentialShaping(
            VLMReward(ENCODER, goal="a"), gamma=0.9, base=CameraReward(VLMReward(ENCODER, goal="a"), cameras=2)
        ),
        r"potential and base must see the same cameras, got \[1, 2\] of them",
    ),
    (lambda: RewardConfig(form="softmax", temperature=-1.0), "temperature must be positive, got -1.0"),
    (lambda: RewardConfig(form="softmax", others=("",)), "others must be a sentence that is not empty"),
    (lambda: RewardConfig.from_dict({"forms": "softmax"}, "reward"), "the reward's settings do not fit .*'forms'"),
    (lambda: register_reward("new", takes=("others",), frame_size=32), r"takes no inputs, got \('others',\)"),
]
"""Besides those of `tests/refusals.py`."""


@pytest.mark.parametrize(("make", "message"), REFUSALS, ids=range(len(REFUSALS)))
def test_refusals(make: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Users do not run with the type checks of the tests, which would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InvalidInputError, match=message):
        make()


def inputs(tmp_path: Path) -> dict[str, RewardConfig]:
    import imageio.v3 as iio

    for index, (width, height) in enumerate(((40, 20), (32, 32))):
        Image.fromarray(noise(1, seed=index, height=64)[0]).resize((width, height)).save(tmp_path / f"{index}.png")
    film = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 60, 120, 180, 240)])
    iio.imwrite(tmp_path / "film.mp4", film, fps=10, macro_block_size=None)
    return {
        "goal-baseline": RewardConfig(),
        "contrast": RewardConfig(form="contrast"),
        "softmax": RewardConfig(form="softmax", others=("c", "d"), temperature=0.1),
        "goal-pictures": RewardConfig(
            form="goal-pictures", goal_pictures=(str(tmp_path / "0.png"), str(tmp_path / "1.png"))
        ),
        "demonstration": RewardConfig(form="demonstration", demonstration=str(tmp_path / "film.mp4")),
    }


def test_every_form_is_built_from_settings_that_survive_json(tmp_path: Path) -> None:
    configs = inputs(tmp_path)
    assert set(configs) == set(FORMS.names())
    for name, config in configs.items():
        assert RewardConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        reward = build_reward(config, ENCODER, goal="a", baseline="b", alpha=0.5)
        assert np.isfinite(reward(noise(3))).all(), name
    softmax = build_reward(configs["softmax"], ENCODER, goal="a", baseline="b", alpha=0.5)
    by_hand = SoftmaxReward(ENCODER, goal="a", others=["c", "d"], temperature=0.1)
    np.testing.assert_array_equal(softmax(noise(3)), by_hand(noise(3)))
    without = build_reward(RewardConfig(form="softmax"), ENCODER, goal="a", baseline="b", alpha=0.5)
    np.testing.assert_array_equal(without(noise(3)), SoftmaxReward(ENCODER, goal="a", others=["b"])(noise(3)))


def test_cameras_and_shaping_go_around_the_form() -> None:
    config = RewardConfig(form="contrast", camera_rule="min", shaping=True)
    state_reward = build_reward(config, ENCODER, goal="a", baseline="b", alpha=0.5, cameras=2)
    assert shaped_by(state_reward, False, 0.7) is state_reward
    reward = shaped_by(state_reward, config.shaping, 0.7)
    assert isinstance(reward, PotentialShaping)
    assert (reward.gamma, reward.base) == (0.7, "environment")
    inner = ContrastReward(ENCODER, goal="a", baseline="b")
    strips = noise(4, height=64)
    np.testing.assert_allclose(reward(strips), np.minimum(inner(strips[:, :32]), inner(strips[:, 32:])), atol=1e-6)


def test_a_form_of_ones_own() -> None:
    class Squared(FormulaReward):
        def _score(self, embeddings: Any) -> Any:
            return (embeddings @ text("a")) ** 2

        def _facts(self) -> dict[str, Any]:
            return {}

    @register_reward("squared", takes=("temperature",))
    def build(inputs: RewardInputs) -> EmbeddingReward:
        assert inputs.temperature == 3.0
        return Squared(inputs.encoder)

    reward = build_reward(RewardConfig(form="squared", temperature=3.0), ENCODER, goal="a", baseline="b", alpha=0.5)
    pictures = noise(4)
    np.testing.assert_allclose(reward(pictures), VLMReward(ENCODER, goal="a")(pictures) ** 2, atol=1e-6)
    assert reward.describe()["formula"] == "Squared"


PLAIN = """
import numpy as np
from vlm_rewards.rewards.registry import RewardInputs, register_reward

def bright(frames):
    return frames.mean(axis=(1, 2, 3)) / 255.0

bright.frame_size = 32

@register_reward("dark-of-a-file", frame_size=32)
def dark(frames):
    return 1.0 - bright(frames)

def build(inputs: RewardInputs):
    from vlm_rewards.rewards.model import VLMReward
    return VLMReward(inputs.encoder, goal=inputs.goal)

def lost(inputs):
    return bright

number = 3
"""


def never() -> Any:
    raise AssertionError("nobody needs an encoder")


def plain(form: str, encoder: Any = never, **options: Any) -> FrameReward:
    return build_reward(RewardConfig(form=form), encoder, goal="a", baseline="b", alpha=0.5, **options)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same rewards in a file and in a module."""
    (tmp_path / "own_rewards_module.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"file": str(tmp_path / "own_rewards_module.py"), "module": "own_rewards_module"}


@pytest.mark.parametrize("place", ["file", "module"])
def test_a_reward_is_named_by_its_place(places: dict[str, str], place: str) -> None:
    frames, where = noise(3), places[place]
    bright = plain(f"{where}:bright")
    np.testing.assert_allclose(bright(frames), frames.mean(axis=(1, 2, 3)) / 255.0, atol=1e-6)
    assert not needs_encoder(RewardConfig(form=f"{where}:bright"))
    assert (bright.frame_size, isinstance(bright, EmbeddingReward)) == (32, False)
    facts = bright.describe()
    assert facts["name"] == "bright"
    assert len(facts.get("sha256", "")) == (64 if place == "file" else 0)  # a changed file is another reward
    for form in (f"{where}:dark", "dark-of-a-file"):
        np.testing.assert_allclose(plain(form)(frames), 1.0 - bright(frames), atol=1e-6)
    built = plain(f"{where}:build", ENCODER)
    np.testing.assert_array_equal(built(frames), VLMReward(ENCODER, goal="a")(frames))
    strips = plain(f"{where}:bright", cameras=2)(noise(2, height=64))
    np.testing.assert_allclose(strips, noise(2, height=64).mean(axis=(1, 2, 3)) / 255.0, atol=1e-6)
    for attribute, message in (
        ("lost", "must return a FrameReward, got <function bright.* needs an attribute frame_size"),
        ("number", "must be a FrameReward, a builder or a function, got 3"),
        ("brihgt", "brihgt"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            plain(f"{where}:{attribute}", ENCODER)
    with pytest.raises(InvalidInputError, match="temperature is of no use to the reward form"):
        build_reward(RewardConfig(form=f"{where}:bright", temperature=1.0), never, goal="a", baseline="b", alpha=0.5)


def test_settings_are_read_without_running_anybodys_code() -> None:
    config = RewardConfig(form="not/there.py:reward")
    assert RewardConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InvalidInputError, match=r"reward file 'not/there\.py' does not exist"):
        needs_encoder(config)


def test_plain_functions_compose_with_forms() -> None:
    bright = as_frame_reward(lambda frames: frames.mean(axis=(1, 2, 3)) / 255.0, 32)
    encoder = CountingEncoder(embedding_dim=8)
    form, frames = VLMReward(encoder, goal="a"), noise(4)
    mixed = WeightedSum([form, bright], [2.0, 1.0])
    assert not isinstance(mixed, EmbeddingReward)
    np.testing.assert_allclose(mixed(frames), 2.0 * form(frames) + bright(frames), atol=1e-6)
    assert json.loads(json.dumps(mixed.describe()))["parts"][1]["formula"] == "callable"
    cameras = CameraReward(mixed, cameras=2, rule="min")
    strips = noise(3, height=64)
    np.testing.assert_allclose(cameras(strips), np.minimum(mixed(strips[:, :32]), mixed(strips[:, 32:])), atol=1e-6)
    with pytest.raises(InvalidInputError, match="reward must embed frames"):
        cameras.embed(strips)
    encoder.pictures = 0
    assert isinstance(mixed, FrameReward)
    assert not isinstance(cameras, EmbeddingReward)
    assert isinstance(form, EmbeddingReward)
    assert encoder.pictures == 0  # to ask what a reward can do embeds nothing
    shaping = PotentialShaping(bright, gamma=0.5, base=form)
    np.testing.assert_array_equal(rule_of(shaping).score(frames), np.stack([form(frames), bright(frames)], axis=1))
    assert not hasattr(shaping, "encoder")
