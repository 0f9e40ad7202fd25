"""The single-environment wrapper: every reward belongs to the state that the step led to."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import Autoreset, HumanRendering, TimeLimit

from vlm_rewards import VLMReward, VLMRewardWrapper
from vlm_rewards.collection.shaping import PotentialShaping
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.rendering import letterbox
from vlm_rewards.testing.counting import CountingEnv, CountingPotential, counting_label, counting_reward
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import PointEnv, brightness_reward

SIZE = 32


class Recording:
    """Remembers the shapes of the frames that it scored."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.shapes.append(frames.shape)
        return brightness_reward(frames)


def fake_reward(goal: str = "a large number") -> VLMReward:
    return VLMReward(FakeEncoder(image_size=48), goal=goal, baseline="a number")


@pytest.mark.parametrize("ending", ["terminate", "truncate", "either"])
def test_rewards_are_those_of_the_states_that_steps_led_to(ending: Any) -> None:
    env = VLMRewardWrapper(CountingEnv(ending=ending), counting_reward, frame_size=SIZE)
    ends = []
    for episode in range(20):
        env.reset(seed=episode)
        done, step = False, 0
        while not done:
            observation, reward, terminated, truncated, info = env.step(0)
            step += 1
            done = terminated or truncated
            assert reward == counting_label(observation)
            assert info == {"true_reward": float(step)}
        ends.append(terminated)
    assert set(ends) == {"terminate": {True}, "truncate": {False}, "either": {True, False}}[ending]


def test_pictures_have_the_size_of_the_encoder_and_keep_their_proportions() -> None:
    # Gymnasium's CartPole draws 600 x 400.
    scored: list[np.ndarray] = []
    reward = fake_reward()

    def keep(frames: np.ndarray) -> np.ndarray:
        scored.append(frames)
        return reward(frames)

    keep.frame_size = reward.frame_size  # type: ignore[attr-defined]
    env = VLMRewardWrapper(gym.make("CartPole-v1", render_mode="rgb_array"), keep)
    env.reset(seed=0)
    for _ in range(3):
        _, value, _, _, info = env.step(1)
        expected = letterbox(np.asarray(env.render()), 48)[None]
        np.testing.assert_array_equal(scored[-1], expected)
        assert value == reward(expected)[0]
        assert info["true_reward"] == 1.0
    assert len(scored) == 3


def test_several_cameras_come_as_a_strip() -> None:
    class Views(PointEnv):
        def render(self) -> np.ndarray:
            return np.stack([super().render(), np.zeros((32, 32, 3), dtype=np.uint8)])

    shapes = Recording()
    shapes.cameras = 2  # type: ignore[attr-defined]
    env = VLMRewardWrapper(Views(), shapes, frame_size=SIZE)
    env.reset(seed=0)
    observation, reward, *_ = env.step(1)
    assert shapes.shapes == [(1, 2 * SIZE, SIZE, 3)]
    assert reward == pytest.approx(float(observation[0]) / 2, abs=1 / 255)


@pytest.mark.parametrize("base", ["environment", "pictures"])
def test_shaping_pays_the_difference_of_potentials(base: str) -> None:
    potential = CountingPotential()
    shaping = PotentialShaping(potential, gamma=0.5, base="environment" if base == "environment" else potential)
    env = VLMRewardWrapper(CountingEnv(), shaping)
    endings = set()
    for episode in range(12):
        observation, _ = env.reset(seed=episode)
        before, done = float(counting_label(observation)), False
        while not done:
            observation, reward, terminated, truncated, info = env.step(1)
            after, done = float(counting_label(observation)), terminated or truncated
            own = info["true_reward"] if base == "environment" else after
            # Phi of a terminated state is 0; a truncated one keeps its own.
            assert reward == pytest.approx(own + 0.5 * after * (not terminated) - before, abs=1e-6)
            before = after
        endings.add(terminated)
    assert endings == {True, False}


class Watched(PointEnv):
    """Keeps track of the frames that it gave away."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.pictures: list[weakref.ref[np.ndarray]] = []

    def render(self) -> np.ndarray:
        picture = super().render()
        self.pictures.append(weakref.ref(picture))
        return picture


@pytest.mark.parametrize("shaping", [False, True])
def test_no_picture_outlives_its_step(shaping: bool) -> None:
    watched, reward = Watched(), fake_reward()
    env = VLMRewardWrapper(watched, PotentialShaping(reward, gamma=0.9) if shaping else reward, frame_size=SIZE)
    env.reset(seed=0)
    for _ in range(5):
        env.step(1)
    env.reset()
    gc.collect()
    # The first reset draws in order to fail early; later ones only where shaping needs it.
    assert len(watched.pictures) == (7 if shaping else 6)
    assert [picture() for picture in watched.pictures] == [None] * len(watched.pictures)


def test_the_environments_info_is_left_alone() -> None:
    class Same(PointEnv):
        info: dict[str, Any] = {"note": 1}  # noqa: RUF012

        def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            return *super().step(action)[:4], self.info

    env = VLMRewardWrapper(Same(), brightness_reward, frame_size=SIZE)
    env.reset(seed=0)
    assert env.step(1)[4] == {"note": 1, "true_reward": 0.0}
    assert Same.info == {"note": 1}


def test_autoreset_goes_around_it() -> None:
    env = Autoreset(VLMRewardWrapper(CountingEnv(lengths=(2, 2)), counting_reward, frame_size=SIZE))
    env.reset(seed=0)
    rows = [env.step(0) for _ in range(6)]
    assert [row[1] == 0.0 for row in rows] == [False, False, True, False, False, True]


def test_it_can_be_pickled_copied_and_described() -> None:
    env = VLMRewardWrapper(TimeLimit(gym.make("CartPole-v1", render_mode="rgb_array"), 9), fake_reward())
    assert env.spec is not None
    assert env.spec.additional_wrappers[-1].name == "VLMRewardWrapper"
    with pytest.raises(ValueError, match="VLMRewardWrapper wrapper does not inherit"):
        gym.make(env.spec)
    assert "vlm_reward" not in env.unwrapped.metadata
    plain = VLMRewardWrapper(PointEnv(), fake_reward())
    plain.reset(seed=0)
    twins = pickle.loads(pickle.dumps(plain)), copy.deepcopy(plain)
    expected = plain.step(1)
    assert [twin.step(1) for twin in twins] == [expected, expected]


def test_it_works_as_a_wrapper_of_sub_environments() -> None:
    venv = gym.make_vec(
        "CartPole-v1",
        2,
        vectorization_mode="sync",
        wrappers=[lambda env: VLMRewardWrapper(env, brightness_reward, frame_size=SIZE)],
        render_mode="rgb_array",
    )
    venv.reset(seed=0)
    _, rewards, _, _, infos = venv.step(np.array([0, 1]))
    expected = [brightness_reward(letterbox(picture, SIZE)[None])[0] for picture in venv.render() or ()]
    np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_array_equal(infos["true_reward"], [1.0, 1.0])
    venv.close()


def pictureless() -> gym.Env[Any, Any]:
    env = PointEnv()
    env.render = lambda: np.zeros((32, 32, 4), dtype=np.uint8)  # type: ignore[method-assign]
    return env


def test_an_environment_that_cannot_be_drawn_is_found_out_before_the_first_step() -> None:
    env = VLMRewardWrapper(pictureless(), brightness_reward, frame_size=SIZE)
    with pytest.raises(InvalidInputError, match=r"render\(\) of PointEnv must return .* \(drop the alpha channel\)"):
        env.reset()


def test_rewards_that_are_none_are_refused() -> None:
    env = VLMRewardWrapper(PointEnv(), lambda frames: 0.5, frame_size=SIZE)
    env.reset()
    with pytest.raises(InvalidInputError, match=r"1 finite numbers for 1 frames, got shape \(\) with 0 not finite"):
        env.step(0)


def test_shaping_needs_a_reset_first() -> None:
    env = VLMRewardWrapper(PointEnv(), PotentialShaping(fake_reward(), gamma=0.9))
    with pytest.raises(gym.error.ResetNeeded, match="shaping needs the potential of the state before"):
        env.step(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: VLMRewardWrapper(HumanRendering(gym.make("CartPole-v1", render_mode="rgb_array")), fake_reward()),
            r"must be \"rgb_array\", got 'human'",
        ),
        (
            lambda: VLMRewardWrapper(TimeLimit(Autoreset(PointEnv()), 5), fake_reward()),
            r"must not have gymnasium.wrappers.Autoreset inside: .* Put Autoreset around this wrapper",
        ),
        (
            lambda: VLMRewardWrapper(TimeLimit(VLMRewardWrapper(PointEnv(), fake_reward()), 5), fake_reward()),
            r"env must not have a VLM reward already.*WeightedSum",
        ),
        (lambda: VLMRewardWrapper(PointEnv(), VLMReward, frame_size=SIZE), r"reward must score frames .* got <class"),
        (
            lambda: VLMRewardWrapper(PointEnv(), brightness_reward, frame_size=31),
            r"frame_size must be an int of at least 32 .* got 31",
        ),
        (
            lambda: VLMRewardWrapper(PointEnv(), brightness_reward, frame_size="64"),
            r"frame_size must be an int .* got '64'",
        ),
    ],
)
def test_refusals_besides_those_of_the_api(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()
