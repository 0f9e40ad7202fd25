"""The vector wrapper: in every mode of automatic reset, every reward belongs to the state that the step led to."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import Autoreset, TimeLimit, TransformObservation
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from vlm_rewards import FrameInInfo, VLMReward, VLMRewardVectorWrapper, VLMRewardWrapper
from vlm_rewards.collection.shaping import PotentialShaping
from vlm_rewards.collection.wrapper import FRAME
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.tasks.rendering import letterbox
from vlm_rewards.testing.counting import CountingEnv, CountingPotential, counting_label, counting_reward
from vlm_rewards.testing.fakes import FakeEncoder
from vlm_rewards.testing.point import PointEnv, brightness_reward

SIZE = 32
COUNT = 3
MODES = list(AutoresetMode)
# (mode, whether frames come in the infos); SAME_STEP without them is refused.
WAYS = [(mode, own) for mode in MODES for own in (False, True) if own or mode is not AutoresetMode.SAME_STEP]
WAY_NAMES = [f"{mode.name}-{'delivered' if own else 'rendered'}" for mode, own in WAYS]
# Forking a process with threads is warned of by later Pythons; the workers here use none of the parent's.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class OneCanvas(CountingEnv):
    """Draws into the same array every time, as some simulators do."""

    def __init__(self, lengths: tuple[int, int]) -> None:
        super().__init__(SIZE, lengths)
        self.canvas = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)

    def render(self) -> np.ndarray:
        self.canvas[:] = super().render()
        return self.canvas


def counting_env(delivered: bool, lengths: tuple[int, int] = (3, 9)) -> gym.Env[Any, Any]:
    # Copies of observations: CountingEnv hands out one array, and Gymnasium's SAME_STEP resets before it copies.
    env = OneCanvas(lengths)
    copied = TransformObservation(env, np.copy, env.observation_space)
    return FrameInInfo(copied, SIZE) if delivered else copied


def make_venv(vectorizer: str, mode: AutoresetMode, delivered: bool, count: int = COUNT) -> VectorEnv[Any, Any, Any]:
    makers = [functools.partial(counting_env, delivered)] * count
    if vectorizer == "sync":
        return SyncVectorEnv(makers, autoreset_mode=mode)
    return AsyncVectorEnv(makers, autoreset_mode=mode, context="fork")


@dataclass
class Step:
    """A vector step, seen by someone who knows where the last states are."""

    states: np.ndarray
    """Observations of the states that the step led to, the last ones of episodes included."""
    began: np.ndarray
    """Observations after the step, resets included."""
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    resetting: np.ndarray
    infos: dict[str, Any] = field(repr=False)


def steps_of(venv: VLMRewardVectorWrapper, count: int, seed: int = 3) -> Iterator[Step]:
    """Step with any actions; in DISABLED, reset what has ended."""
    mode = venv.metadata["autoreset_mode"]
    venv.action_space.seed(seed)
    observations, _ = venv.reset(seed=seed)
    yield Step(observations, observations, *[np.zeros(len(observations))] * 4, {})
    ended = np.zeros(len(observations), dtype=bool)
    for _ in range(count):
        resetting = ended if mode is AutoresetMode.NEXT_STEP else np.zeros_like(ended)
        observations, rewards, terminated, truncated, infos = venv.step(venv.action_space.sample())
        ended, states = terminated | truncated, observations.copy()
        if mode is AutoresetMode.SAME_STEP:
            for index in np.flatnonzero(ended):
                states[index] = infos["final_obs"][index]
        if mode is AutoresetMode.DISABLED and ended.any():
            observations, reset_infos = venv.reset(options={"reset_mask": ended.copy()})
            assert FRAME not in reset_infos
        yield Step(states, observations, rewards, terminated, truncated, resetting, infos)


@pytest.mark.parametrize(("mode", "delivered"), WAYS, ids=WAY_NAMES)
@pytest.mark.parametrize("vectorizer", ["sync", "async"])
def test_rewards_are_those_of_the_states_that_steps_led_to(
    vectorizer: str, mode: AutoresetMode, delivered: bool
) -> None:
    env = make_venv(vectorizer, mode, delivered)
    venv = VLMRewardVectorWrapper(env, counting_reward, frame_size=SIZE)
    steps = list(steps_of(venv, 60))[1:]
    venv.close()
    for step in steps:
        labels = counting_label(step.states)
        np.testing.assert_array_equal(step.rewards, np.where(step.resetting, 0.0, labels))
        numbers = np.round(step.states[:, 1] * 4096.0)
        np.testing.assert_array_equal(step.infos["true_reward"], np.where(step.resetting, 0.0, numbers))
        np.testing.assert_array_equal(step.infos["_true_reward"], ~step.resetting.astype(bool))
        assert not [key for key in step.infos if FRAME in key]
        assert not [key for key in step.infos.get("final_info", {}) if FRAME in key]
        assert step.rewards.dtype == np.float64
    assert np.any([step.terminated for step in steps])
    assert np.any([step.truncated for step in steps])
    assert np.any([step.resetting for step in steps]) == (mode is AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize(("mode", "delivered"), WAYS, ids=WAY_NAMES)
@pytest.mark.parametrize("base", ["environment", "pictures"])
def test_shaping_pays_the_difference_of_potentials(mode: AutoresetMode, delivered: bool, base: str) -> None:
    potential, gamma = CountingPotential(), 0.5
    shaping = PotentialShaping(potential, gamma=gamma, base="environment" if base == "environment" else potential)
    venv = VLMRewardVectorWrapper(make_venv("sync", mode, delivered), shaping)
    first, *steps = steps_of(venv, 60)
    before = counting_label(first.began).astype(np.float64)
    for step in steps:
        after = counting_label(step.states).astype(np.float64)
        own = step.infos["true_reward"] if base == "environment" else after
        expected = own + gamma * after * ~step.terminated - before
        np.testing.assert_allclose(step.rewards, np.where(step.resetting, 0.0, expected), atol=2e-6)
        before = counting_label(step.began).astype(np.float64)
    assert np.any([step.terminated for step in steps])
    assert np.any([step.truncated for step in steps])
    venv.close()


class Recording:
    """Remembers how many frames it scored at once, and forgets the frames."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.pictures: list[weakref.ref[np.ndarray]] = []

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.batches.append(len(frames))
        self.pictures.append(weakref.ref(frames))
        return counting_reward(frames)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_a_vector_step_is_one_batch_and_no_picture_outlives_it(mode: AutoresetMode) -> None:
    reward = Recording()
    venv = VLMRewardVectorWrapper(make_venv("sync", mode, delivered=True, count=5), reward, frame_size=SIZE)
    for number, step in enumerate(steps_of(venv, 20)):
        assert len(reward.batches) == number
        assert not [key for key in step.infos if FRAME in key]
    gc.collect()
    assert reward.batches == [5] * 20
    assert [picture() for picture in reward.pictures] == [None] * 20


def test_shaping_scores_resets_within_the_same_batch() -> None:
    class Potential(CountingPotential):
        batches: list[int] = []  # noqa: RUF012

        def __call__(self, frames: Any) -> np.ndarray:
            self.batches.append(len(frames))
            return super().__call__(frames)

    potential = Potential()
    venv = VLMRewardVectorWrapper(
        make_venv("sync", AutoresetMode.SAME_STEP, delivered=True), PotentialShaping(potential, gamma=0.9)
    )
    ended = [int((step.terminated.astype(bool) | step.truncated.astype(bool)).sum()) for step in steps_of(venv, 30)]
    assert potential.batches == [COUNT + also for also in ended]


def test_environments_that_draw_all_at_once() -> None:
    """Gymnasium's CartPole has a vector environment of its own: states are drawn one by one to check it."""
    venv = gym.make_vec("CartPole-v1", 3, render_mode="rgb_array", max_episode_steps=20)
    assert type(venv).__name__ == "CartPoleVectorEnv"
    wrapped = VLMRewardVectorWrapper(venv, brightness_like, frame_size=SIZE)
    single = gym.make("CartPole-v1", render_mode="rgb_array")
    single.reset(seed=0)
    ends = set()
    for step in islice(steps_of(wrapped, 60), 1, None):
        expected = []
        # Not the observations: rounded to float32, a cart at the edge of a pixel is drawn in the next one.
        states = wrapped.unwrapped.state.T  # type: ignore[attr-defined]
        np.testing.assert_array_equal(step.states, states.astype(np.float32))
        for state in states:
            single.unwrapped.state = state  # type: ignore[attr-defined]
            expected.append(letterbox(np.asarray(single.render()), SIZE))
        labels = np.where(step.resetting, 0.0, brightness_like(np.stack(expected)))
        np.testing.assert_allclose(step.rewards, labels, atol=1e-4)
        ends |= {(bool(a), bool(b)) for a, b in zip(step.terminated, step.truncated, strict=True)}
    assert len(np.unique(np.round(labels, 5))) > 1, "the frames differ"
    assert {(True, False), (False, True)} <= ends
    wrapped.close()
    single.close()


def brightness_like(frames: np.ndarray) -> np.ndarray:
    """Where the dark pixels are, so that the cart's place and the pole's angle count."""
    places = np.arange(frames.shape[2]) / frames.shape[2]
    return ((255.0 - frames.mean(axis=(1, 3))) @ places / 1000).astype(np.float32)


def test_statistics_of_both_rewards_can_be_had() -> None:
    inner = RecordEpisodeStatistics(make_venv("sync", AutoresetMode.NEXT_STEP, delivered=False))
    venv = DictInfoToList(VLMRewardVectorWrapper(inner, counting_reward, frame_size=SIZE))
    venv.reset(seed=0)
    for _ in range(12):
        infos = venv.step(venv.action_space.sample())[4]
        for info in infos:
            if "episode" in info:  # 1 + 2 + ... + length
                assert info["episode"]["r"] == info["episode"]["l"] * (info["episode"]["l"] + 1) / 2
                return
    pytest.fail("no episode ended")


def test_a_whole_reset_in_the_middle_ends_the_waiting_for_resets() -> None:
    venv = VLMRewardVectorWrapper(
        make_venv("sync", AutoresetMode.NEXT_STEP, delivered=False), counting_reward, frame_size=SIZE
    )
    venv.reset(seed=0)
    while True:
        _, _, terminated, truncated, _ = venv.step(np.zeros(COUNT, dtype=np.int64))
        if (terminated | truncated).any():
            break
    venv.reset(seed=1)
    observations, rewards, *_, infos = venv.step(np.zeros(COUNT, dtype=np.int64))
    np.testing.assert_array_equal(rewards, counting_label(observations))
    assert infos["_true_reward"].all()


class Drawing(VectorEnv[Any, Any, Any]):
    """A vector environment that draws what it is told to."""

    num_envs = 2
    render_mode = "rgb_array"
    single_observation_space = gym.spaces.Box(0.0, 1.0, (1,))
    single_action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Box(0.0, 1.0, (2, 1))
    action_space = gym.spaces.MultiDiscrete([2, 2])

    def __init__(self, draw: Callable[[], Any], mode: Any = AutoresetMode.NEXT_STEP) -> None:
        self.draw = draw
        self.metadata = {"autoreset_mode": mode}

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros((2, 1)), {}

    def render(self) -> Any:
        return self.draw()


def refuses(draw: Callable[[], Any]) -> Any:
    VLMRewardVectorWrapper(Drawing(draw), brightness_reward, frame_size=SIZE).reset()


def raises() -> Any:
    raise TypeError("only scalar arrays")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: None, r"must return 2 frames, one of each sub-environment: got NoneType.*sync.* or .*async.* may"),
        (
            lambda: np.zeros((64, 96, 3), dtype=np.uint8),
            r"must return 2 frames.*: got an array of shape \(64, 96, 3\)",
        ),
        (lambda: [np.zeros((64, 96, 3))] * 2, r"render\(\) of Drawing must return a uint8 .* convert it to uint8"),
        (raises, r"must return 2 frames.*: it raised TypeError\('only scalar arrays'\)"),
    ],
)
def test_environments_that_do_not_draw_each_state_are_found_out_before_the_first_step(draw: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        refuses(draw)


def test_errors_while_drawing_later_are_the_environments_own() -> None:
    pictures = iter([[np.zeros((SIZE, SIZE, 3), dtype=np.uint8)] * 2])
    venv = VLMRewardVectorWrapper(Drawing(lambda: next(pictures)), brightness_reward, frame_size=SIZE)
    venv.reset()
    with pytest.raises(StopIteration):
        venv._render_all()


def some_delivered(delivered: list[bool]) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv(
        [functools.partial(counting_env, own) for own in delivered], autoreset_mode=AutoresetMode.SAME_STEP
    )


def test_a_sub_environment_without_pictures_is_named() -> None:
    venv = VLMRewardVectorWrapper(some_delivered([True, False, False]), counting_reward, frame_size=SIZE)
    with pytest.raises(InvalidInputError, match=r"wrapped in FrameInInfo and keep its info, got no frame of \[1, 2\]"):
        venv.reset()


def wrap(env: Any, reward: Any = brightness_reward, frame_size: Any = SIZE) -> VLMRewardVectorWrapper:
    return VLMRewardVectorWrapper(env, reward, frame_size=frame_size)


def cartpoles(**kwargs: Any) -> VectorEnv[Any, Any, Any]:
    return gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", **kwargs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: wrap(Drawing(lambda: None, mode=None)),
            r"metadata\['autoreset_mode'\] .*NEXT_STEP, SAME_STEP, DISABLED\), got None: .*which state a frame shows",
        ),
        (lambda: wrap(Drawing(lambda: None, mode="Sometimes")), r"AutoresetMode .*, got 'Sometimes'"),
        (
            lambda: wrap(some_delivered([False] * 2)),
            r"autoreset_mode=SAME_STEP resets .*before the last state .*FrameInInfo.*=32.*NEXT_STEP or DISABLED",
        ),
        (
            lambda: wrap(Drawing(lambda: None, mode="SameStep")),
            r"autoreset_mode=SAME_STEP resets",
        ),
        (
            lambda: wrap(some_delivered([True] * 2), frame_size=96),
            r"FrameInInfo must be made with frame_size=96 and cameras=1.* got 32 and 1",
        ),
        (
            lambda: wrap(DictInfoToList(make_venv("sync", AutoresetMode.NEXT_STEP, delivered=False))).reset(),
            r"infos of the vector environment must be a dict, got list: put DictInfoToList around this wrapper",
        ),
        (
            lambda: wrap(wrap(make_venv("sync", AutoresetMode.NEXT_STEP, delivered=False))),
            r"env must not have a VLM reward already",
        ),
        (
            lambda: wrap(SyncVectorEnv([lambda: VLMRewardWrapper(PointEnv(), brightness_reward, frame_size=SIZE)])),
            r"env must not have a VLM reward already",
        ),
        (lambda: FrameInInfo(TimeLimit(Autoreset(PointEnv()), 3), SIZE), r"must not have gymnasium.wrappers.Autoreset"),
        (lambda: FrameInInfo(gym.make("CartPole-v1"), SIZE), r'must be "rgb_array", got None'),
    ],
)
def test_refusals_besides_those_of_the_api(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_frames_in_infos_survive_make_vec_and_its_spec() -> None:
    reward = VLMReward(FakeEncoder(image_size=48), goal="a pole", baseline="a thing")
    venv = cartpoles(
        render_mode="rgb_array",
        wrappers=[functools.partial(FrameInInfo, frame_size=reward.frame_size)],
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    assert gym.make(venv.envs[0].spec).metadata[FRAME] == (48, 1)  # type: ignore[attr-defined]
    wrapped = VLMRewardVectorWrapper(venv, reward)
    wrapped.reset(seed=0)
    _, rewards, *_ = wrapped.step(np.array([0, 1]))
    expected = np.stack([letterbox(np.asarray(picture), 48) for picture in wrapped.render() or ()])
    np.testing.assert_array_equal(rewards, reward(expected))
    venv.close()
