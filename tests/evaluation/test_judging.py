"""Encoders, prompts and alphas judged together, beside the same judged one by one."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.epic import label_distance, pearson_distance
from vlm_rewards.evaluation.judging import ALPHAS, Judged, PromptPair, PromptSweep, judge, named_rewards, prompt_pairs
from vlm_rewards.evaluation.states import STATES, StateSet, named_policies, visited_states
from vlm_rewards.evaluation.statistics import PearsonBootstrap, auroc, spearman
from vlm_rewards.rewards.combined import CameraReward
from vlm_rewards.rewards.config import RewardConfig
from vlm_rewards.rewards.goal_baseline import goal_baseline_reward
from vlm_rewards.rewards.model import ContrastReward, VLMReward
from vlm_rewards.tasks.cartpole_captions import CartPoleCaptioner
from vlm_rewards.tasks.task import get_task
from vlm_rewards.testing.fakes import FakeEncoder

PROMPTS = prompt_pairs(["a red wall", "a white wall", "night"], ["a wall", "a frame"])


class Counting(FakeEncoder):
    """Notes how many frames and which sentences it was given."""

    def __init__(self, seed: int = 0, image_size: int = 32) -> None:
        super().__init__(16, image_size, seed)
        self.pictures: list[int] = []
        self.sentences: list[str] = []

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        self.pictures.append(len(frames))
        return super().embed_images(frames)

    def embed_texts(self, prompts: Any) -> np.ndarray:
        self.sentences += prompts
        return super().embed_texts(prompts)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "weights_sha256": f"seed {self._seed}"}


class Blind(FakeEncoder):
    """Sees the same in every frame."""

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        return np.repeat(super().embed_images(frames[:1] * 0), len(frames), axis=0)


def direct(encoder: ImageTextEncoder, frames: np.ndarray) -> np.ndarray:
    return encoder.embed_images(frames)


def sweeps(makers: Any, prompts: Any, alphas: Any) -> Iterator[PromptSweep]:
    """Each encoder is made when it is its turn."""
    return (PromptSweep(make(), prompts, alphas) for make in makers)


def walls(count: int = 120, *, labels: bool = True, rewards: bool = True) -> Callable[[int], StateSet]:
    """States whose labels and rewards have to do with their frames, at any size."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    red = colours[..., 0].mean(axis=(1, 2))
    known = red > np.median(red) + 5 if labels else None

    def at(size: int) -> StateSet:
        frames = colours.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
        return StateSet(frames, known, red if rewards else None, np.arange(count) // 4)

    return at


def one_by_one(encoder: ImageTextEncoder, states: StateSet, pair: PromptPair, alpha: float) -> np.ndarray:
    goal, baseline = encoder.embed_texts([pair.goal, pair.baseline])
    return goal_baseline_reward(encoder.embed_images(states.frames), goal, baseline, alpha)


@pytest.mark.parametrize("labelled", [True, False])
def test_every_row_is_what_judging_alone_says(labelled: bool) -> None:
    encoders, states_at = [Counting(1), Counting(2, image_size=48)], walls(labels=labelled)
    alphas = [0.0, 0.3, 1.0]
    judged = judge(
        sweeps([lambda: encoders[0], lambda: encoders[1]], PROMPTS, alphas), states_at, embed=direct, resamples=50
    )
    order = [(e, p, a) for e in range(2) for p in range(6) for a in alphas]
    assert [(row.encoder, row.prompt, row.alpha) for row in judged.rows] == order
    reference: Any = states_at(32).labels if labelled else states_at(32).true_rewards
    for row in judged.rows:
        encoder = encoders[row.encoder]
        states = states_at(encoder.image_size)
        rewards = one_by_one(encoder, states, PROMPTS[row.prompt], row.alpha)
        distance = label_distance if labelled else pearson_distance
        assert row.epic.value == pytest.approx(distance(rewards, reference), abs=1e-9)
        assert row.auroc == (pytest.approx(auroc(rewards, reference), abs=1e-12) if labelled else None)
        assert row.spearman == pytest.approx(spearman(rewards, reference.astype(float)), abs=1e-12)
        bootstrap = PearsonBootstrap(reference, states.groups, resamples=50)
        (alone,) = bootstrap.distances(rewards[None])
        assert (row.epic.low, row.epic.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
        assert rewards[list(row.highest)].tolist() == sorted(rewards.tolist(), reverse=True)[:12]
        assert rewards[list(row.lowest)].tolist() == sorted(rewards.tolist())[:12]
    assert (judged.prompts, judged.alphas, judged.clustered) == (PROMPTS, (0, 0.3, 1), True)
    assert judged.reference == ("labels" if labelled else "true_reward")
    assert len(judged.histograms) == (12 if labelled else 0)
    assert (judged.to_dict()["rows"][0]["auroc"] is None) is not labelled
    assert [facts["seed"] for facts in judged.encoders] == [1, 2]
    # All differ, but that at alpha 0 the two baselines of each of three goals say the same, for each of two encoders.
    assert len({round(row.epic.value, 9) for row in judged.rows}) == len(judged.rows) - 6 == 30


def test_a_judgement_by_hand() -> None:
    class Angles(FakeEncoder):
        """A picture's level is its embedding's angle in degrees."""

        def embed_images(self, frames: np.ndarray) -> np.ndarray:
            angles = np.radians(frames[:, 0, 0, 0].astype(float))
            return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

        def embed_texts(self, prompts: Any) -> np.ndarray:
            return np.array([{"goal": [1, 0], "baseline": [0, 1]}[prompt] for prompt in prompts], dtype=np.float32)

    # Rewards at alpha 0 are the cosines 1, 1/2, 1/2, 0 of 0, 60, 60 and 90 degrees. Goal states: the first two.
    levels, labels = np.array([0, 60, 60, 90], dtype=np.uint8), np.array([True, True, False, False])
    frames = np.broadcast_to(levels[:, None, None, None], (4, 2, 2, 3)).copy()
    states = StateSet(frames, labels, None, np.arange(4))
    judged = judge(
        sweeps([Angles], [PromptPair("goal", "baseline")], [0]), lambda size: states, embed=direct, resamples=20
    )
    (row,) = judged.rows
    # Means 3/4 and 1/4; deviation sqrt((1/4 + 0 + 0 + 1/4) / 4) = sqrt(1/8): rho = 1/2 * 1/2 / sqrt(1/8) = sqrt(1/2).
    assert row.epic.value == pytest.approx(np.sqrt((1 - np.sqrt(0.5)) / 2), abs=1e-6)
    assert row.auroc == pytest.approx(7 / 8)  # three pairs of four are won, one is a tie
    # Ranks 4, 2.5, 2.5, 1 and 3.5, 3.5, 1.5, 1.5: centred 1.5, 0, 0, -1.5 and 1, 1, -1, -1: 3 / sqrt(4.5 * 4).
    assert row.spearman == pytest.approx(3 / np.sqrt(18))
    assert (row.highest, row.lowest) == ((0, 1, 2, 3), (3, 2, 1, 0))
    assert judged.clustered is False
    (histogram,) = judged.histograms
    # Standardised: +-sqrt(2) and 0, in bins of 0.2 from -4: sqrt(2) in the one from 1.4, 0 in the one from 0.
    assert [index for index, count in enumerate(histogram["goal"]) if count] == [20, 27]
    assert [index for index, count in enumerate(histogram["other"]) if count] == [12, 20]


def test_each_picture_and_sentence_is_embedded_once_an_encoder(tmp_path: Path) -> None:
    cache, states_at = EmbeddingCache(tmp_path), walls(60)
    for pairs, alphas in ((PROMPTS[:1], [0.5]), (PROMPTS, ALPHAS)):
        encoders = [Counting(1), Counting(2)]
        makers = [functools.partial(encoders.__getitem__, index) for index in range(2)]
        judge(sweeps(makers, pairs, alphas), states_at, embed=cache.embed, resamples=10)
        sentences = sorted({text for pair in pairs for text in (pair.goal, pair.baseline)})
        assert [sorted(encoder.sentences) for encoder in encoders] == [sentences] * 2
        assert [encoder.pictures for encoder in encoders] == ([[60]] * 2 if len(pairs) == 1 else [[]] * 2)
    assert (cache.embedded, cache.found) == (120, 120)


def test_pictures_go_through_the_cache_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_REWARDS_CACHE", str(tmp_path))
    first, second = Counting(), Counting()
    judge(sweeps([lambda: first], PROMPTS, [0.5]), walls(30), resamples=10)
    judge(sweeps([lambda: second], PROMPTS, [0.5]), walls(30), resamples=10)
    assert (first.pictures, second.pictures) == ([30], [])
    assert [entry.embeddings for entry in EmbeddingCache(tmp_path).entries()] == [30]


@pytest.mark.slow
def test_an_encoder_is_gone_before_the_next_is_made() -> None:
    alive: list[weakref.ref[Any]] = []

    def make() -> Counting:
        gc.collect()
        assert [ref() for ref in alive if ref() is not None] == []
        encoder = Counting(len(alive))
        alive.append(weakref.ref(encoder))
        return encoder

    judge(sweeps([make] * 3, PROMPTS[:2], [0.5]), walls(30), embed=direct, resamples=10)
    assert len(alive) == 3


def test_intervals_come_from_whole_episodes_where_there_are_some() -> None:
    states = walls(80)(32)
    apart = dataclasses.replace(states, groups=np.arange(80))
    found = {}
    for kind, given_states in (("episodes", states), ("states", apart)):
        judged = judge(PromptSweep(Counting(), PROMPTS[:1], [0.2]), given_states, embed=direct, seed=3)
        assert judged.to_dict()["interval"] == f"95 % bootstrap over {kind}"
        found[kind] = judged
    assert found["episodes"].rows[0].epic.low != found["states"].rows[0].epic.low
    assert found["episodes"].rows[0].epic.value == pytest.approx(found["states"].rows[0].epic.value)


def judged_labels(states: StateSet) -> np.ndarray:
    assert states.labels is not None
    return states.labels


def test_histograms_have_every_state_once() -> None:
    states_at = walls(200)
    encoder = Counting()
    judged = judge(sweeps([lambda: encoder], PROMPTS, [0.0, 0.4, 0.7]), states_at, embed=direct, resamples=10)
    labels = judged_labels(states_at(32))
    assert [(h["encoder"], h["prompt"], h["alpha"]) for h in judged.histograms] == [(0, p, 0.4) for p in range(6)]
    for histogram in judged.histograms:
        assert (sum(histogram["goal"]), sum(histogram["other"])) == (labels.sum(), (~labels).sum())
        rewards = one_by_one(encoder, states_at(32), PROMPTS[histogram["prompt"]], 0.4).astype(float)
        standard = (rewards - rewards.mean()) / rewards.std()
        edges = np.linspace(-4, 4, 41)
        assert histogram["edges"] == pytest.approx(edges.tolist())
        for kind, mask in (("goal", labels), ("other", ~labels)):
            counted = [((standard[mask] >= low) & (standard[mask] < low + 0.2)).sum() for low in edges[:-1]]
            assert histogram[kind] == counted
    focused = judge(sweeps([lambda: encoder], PROMPTS, [0.0, 0.4]), states_at, embed=direct, focus=0.0, resamples=10)
    assert {histogram["alpha"] for histogram in focused.histograms} == {0.0}


def test_what_lies_far_out_goes_into_the_last_bins() -> None:
    # One white frame among a thousand black ones is some 31 deviations away.
    frames = np.zeros((1_000, 4, 4, 3), dtype=np.uint8)
    frames[7] = 255
    states = StateSet(frames, np.arange(1_000) == 7, None, np.arange(1_000))
    judged = judge(sweeps([Counting], [PROMPTS[0]], [0.5]), lambda size: states, embed=direct, resamples=10)
    goal = judged.histograms[0]["goal"]
    assert sum(goal) == goal[0] + goal[-1] == 1
    assert sum(judged.histograms[0]["other"]) == 999


def test_a_record_can_be_written_and_says_what_the_rows_say() -> None:
    judged = judge(sweeps([Counting], PROMPTS, [0.25, 0.75, 0.25]), walls(), embed=direct, resamples=20)
    record = json.loads(json.dumps(judged.to_dict()))
    assert list(record) == ["reference", "focus", "interval", "encoders", "prompts", "alphas", "rows", "histograms"]
    assert record["prompts"][1] == {"goal": "a red wall", "baseline": "a frame"}
    assert (record["alphas"], len(record["rows"]), len(record["histograms"])) == ([0.25, 0.75], 12, 6)
    row = judged.rows[9]
    assert record["rows"][9] == {
        "encoder": 0,
        "prompt": 4,
        "alpha": 0.75,
        "epic": round(row.epic.value, 5),
        "epic_low": round(row.epic.low, 5),
        "epic_high": round(row.epic.high, 5),
        "auroc": round(row.auroc or 0, 5),
        "spearman": round(row.spearman, 5),
        "highest": list(row.highest[:3]),
        "lowest": list(row.lowest[:3]),
    }


def test_the_same_seed_gives_the_same_judgement() -> None:
    def once(seed: int) -> Judged:
        return judge(sweeps([Counting], PROMPTS, ALPHAS), walls(), embed=direct, resamples=50, seed=seed)

    assert once(1) == once(1)
    assert once(1).rows != once(2).rows


def refused(message: str, **changes: Any) -> None:
    arguments = {"encoders": [Counting], "prompts": PROMPTS, "alphas": [0.5], "states": walls(30), **changes}
    rewards = sweeps(arguments.pop("encoders"), arguments.pop("prompts"), arguments.pop("alphas"))
    with pytest.raises(InvalidInputError, match=message):
        judge(rewards, embed=direct, resamples=10, **arguments)


def test_bad_requests_are_refused() -> None:
    refused("rewards must be at least one, got none", encoders=[])
    refused("prompts must have at least one pair, got none", prompts=[])
    refused("alpha must have at least one value in", alphas=[])
    refused(r"alpha must be in \[0, 1\], got 1.5", alphas=[0.5, 1.5])
    refused(r"focus must be one of the alphas \(0.5,\), got 0.4", focus=0.4)


def test_states_without_anything_to_compare_with_are_refused() -> None:
    refused("the states have nothing to compare a reward with", states=walls(30, labels=False, rewards=False))
    states = walls(30)(32)
    for label, text in ((True, "every state"), (False, "no state")):
        alike = StateSet(states.frames, np.full(30, label), None, states.groups)
        refused(f"labels must have goal states and others, got {text} of 30 as goal", states=lambda size, s=alike: s)
    flat = StateSet(states.frames, None, np.ones(30), states.groups)
    refused("the true reward must not be constant: 30 values are all near 1", states=lambda size: flat)


def test_constant_rewards_are_refused_by_name() -> None:
    for labels in (True, False):
        states_at = walls(30, labels=labels)
        refused("encoder 'fake', prompts 1, alpha 0.5: .* must not be constant", encoders=[Blind], states=states_at)


def test_other_states_for_another_size_are_refused() -> None:
    def shifted(size: int) -> StateSet:
        states = walls(30)(size)
        labels = judged_labels(states)
        return StateSet(states.frames, np.roll(labels, size // 48), None, states.groups)

    sizes = [lambda: Counting(1, 32), lambda: Counting(2, 48)]
    refused("states must be the same for every size of frame, they were not", encoders=sizes, states=shifted)

    def more(size: int) -> StateSet:
        return walls(30 + size // 48)(size)

    refused("states must be the same for every size", encoders=sizes, states=more)


class Whites:
    """A reward of its own, without an encoder."""

    frame_size = 48

    def __init__(self) -> None:
        self.chunks: list[tuple[int, ...]] = []

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.chunks.append(frames.shape)
        return frames.mean(axis=(1, 2, 3))

    def describe(self) -> dict[str, Any]:
        return {"formula": "whites"}


def test_any_reward_is_judged_beside_a_sweep() -> None:
    states_at, encoder, whites = walls(300), Counting(1), Whites()

    def reds(frames: np.ndarray) -> list[float]:
        return frames[..., 0].mean(axis=(1, 2)).tolist()

    contrast = ContrastReward(encoder, goal="a red wall", baseline="a wall")
    one = VLMReward(encoder, goal="night", baseline="a wall", alpha=0.3)
    rewards = {"eq. 3": PromptSweep(encoder, PROMPTS[:2], [0.3]), "contrast": contrast, "one": one}
    judged = judge({**rewards, "own": whites, "reds": reds}, states_at, embed=direct, resamples=50)
    assert [row.form for row in judged.rows] == ["eq. 3", "eq. 3", "contrast", "one", "own", "reds"]
    assert encoder.pictures == [300]  # once for all that is made of it
    assert [shape[:2] for shape in whites.chunks] == [(256, 48), (44, 48)]
    labels = judged_labels(states_at(32))
    for row, reward, size in zip(judged.rows[2:], (contrast, one, whites, reds), (32, 32, 48, 224), strict=True):
        scored = np.asarray(reward(states_at(size).frames))
        assert row.epic.value == pytest.approx(label_distance(scored, labels), abs=1e-6)
        assert row.auroc == pytest.approx(auroc(scored, labels), abs=1e-6)
        assert row.histogram is not None
    assert judged.best.form == "reds"
    record = json.loads(json.dumps(judged.to_dict()))
    assert (len(record["rows"]), len(record["histograms"]), len(record["encoders"])) == (2, 2, 1)
    assert [row["encoder"] for row in record["forms"]] == [0, 0, None, None]
    assert record["forms"][1]["reward"]["alpha"] == 0.3
    assert record["forms"][2]["reward"] == {"formula": "whites"}


def test_a_reward_alone_on_a_set_of_states() -> None:
    states = walls()(32)
    assert judge(Whites(), states).rows[0].form == "whites"
    assert judge([one for one in (Whites(), Whites())], states).focus is None
    alone = judge(VLMReward(Counting(), goal="night"), states, embed=direct)
    assert (alone.rows[0].form, alone.prompts, alone.alphas) == ("goal (eq. 2)", (), ())
    with pytest.raises(InvalidInputError, match=r"reward 'whites': rewards must not be constant"):
        judge(Whites(), dataclasses.replace(states, frames=states.frames * 0))
    with pytest.raises(InvalidInputError, match="cameras must be one where rewards are judged"):
        judge(CameraReward(VLMReward(Counting(), goal="night"), cameras=2), states)


def test_forms_by_name_are_made_once_for_all_that_they_take(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    pictures = RewardConfig(form="goal-pictures", goal_pictures=(str(tmp_path / "red.png"),))
    forms = [RewardConfig(), RewardConfig(form="contrast"), RewardConfig(form="softmax", others=("a sea",)), pictures]
    made = list(named_rewards(forms, [lambda: Counting(1), lambda: Counting(2)], PROMPTS[:2], [0.5]))
    names = ["goal-baseline", "contrast", "contrast", "softmax", "goal-pictures"]  # one goal, two baselines
    assert [name for name, _ in made] == names * 2


def test_prompt_pairs() -> None:
    pairs = prompt_pairs(["a", "b", "a"], ["c", "d", "c"])
    assert [(pair.goal, pair.baseline) for pair in pairs] == [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
    with pytest.raises(InvalidInputError, match="goal and baseline must differ, both are 'b'"):
        prompt_pairs(["a", "b"], ["b"])
    with pytest.raises(InvalidInputError, match="baseline must be a sentence that is not empty, got ' '"):
        prompt_pairs(["a"], [" "])


@pytest.mark.alone
def test_a_sweep_over_cached_frames_takes_under_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 11 alphas x 20 prompts x 5,000 frames, in memory, their embeddings on disk: only sentences are embedded.
    encoder, task = load_encoder("bundled"), get_task("cartpole")
    states = visited_states(task, named_policies("rule", task), STATES, seed=0, size=encoder.image_size)
    captioner, rng = CartPoleCaptioner(), np.random.default_rng(0)
    captions = dict.fromkeys(captioner.caption(captioner.sample(rng), rng) for _ in range(200))
    pairs = prompt_pairs([caption for caption in captions if caption != task.baseline][:20], [task.baseline])
    EmbeddingCache(tmp_path).embed(encoder, states.frames)

    calls: list[int] = []
    monkeypatch.setattr(encoder, "embed_images", lambda frames: calls.append(len(frames)))
    seconds: list[float] = []
    for _ in range(3):  # the machine may be busy for one of them
        cache = EmbeddingCache(tmp_path)
        start = time.perf_counter()
        judged = judge(sweeps([lambda: encoder], pairs, ALPHAS), lambda size: states, embed=cache.embed)
        seconds.append(time.perf_counter() - start)
        assert (cache.embedded, cache.found, calls) == (0, STATES, [])
    assert len(judged.rows) == 11 * 20
    assert judged.clustered
    assert min(seconds) < 2.0
