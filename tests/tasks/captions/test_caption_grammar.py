"""The parts that all caption grammars are made of, and the rule that holds prompts out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.tasks.captions import (
    NEAREST_ALLOWED,
    PAPER_GOALS,
    PAPER_PROMPTS,
    STOP_WORDS,
    Wording,
    above,
    accept,
    below,
    between,
    content_words,
    is_held_out,
    jaccard,
    pick,
    say,
    within,
)


def test_content_words_leave_out_case_punctuation_and_stop_words():
    assert content_words("The Pole, and (the) cart!") == {"pole", "cart"}
    assert content_words("of the") == frozenset()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("pole and cart", "a pole on a cart", 1.0),
        ("a red car", "a black car", 1 / 3),  # {red, car} and {black, car}: one word shared of three
        ("pole", "cart", 0.0),
        ("of the", "a", 1.0),
    ],
)
def test_jaccard_by_hand(first: str, second: str, expected: float):
    assert jaccard(first, second) == pytest.approx(expected)


@given(prompt=st.sampled_from(PAPER_PROMPTS), data=st.data())
def test_a_prompt_stays_held_out_in_any_order_with_any_stop_words(prompt: str, data: st.DataObject):
    words = data.draw(st.permutations(sorted(content_words(prompt))))
    stops = data.draw(st.lists(st.sampled_from(sorted(STOP_WORDS)), min_size=len(words), max_size=len(words)))
    caption = " ".join(f"{stop} {word}" for stop, word in zip(stops, words, strict=True))
    assert is_held_out(caption.upper())


@given(
    prompt=st.sampled_from(list(PAPER_GOALS.values())),
    filler=st.lists(st.sampled_from(["brown", "track", "sky"]), max_size=3),
)
def test_a_goal_with_filler_words_is_still_held_out(prompt: str, filler: list[str]):
    assert is_held_out(f"{prompt} {' '.join(filler)}")


def test_a_goal_less_one_word_of_five_is_held_out_and_less_two_is_not():
    # Content words of the goal: pole, vertically, upright, top, cart. Four of five shared: 0.8; three: 0.6.
    assert NEAREST_ALLOWED == 0.75
    assert is_held_out("the pole is upright on top of the cart")
    assert not is_held_out("the pole is vertical on top of the cart")


@pytest.mark.parametrize("distance", [2.0, 5.0, 9.0])
def test_within_fades_exponentially(rng: np.random.Generator, distance: float):
    condition = within(10.0, 5.0, 9.5)
    rate = np.mean([condition(10.0 - distance, rng) for _ in range(4000)])
    # Standard error is at most 0.008.
    assert rate == pytest.approx(math.exp(-distance / 5.0), abs=0.032)


def test_within_ends_at_its_cap(rng: np.random.Generator):
    condition = within(0.0, 100.0, 3.0)
    assert not any(condition(3.001, rng) for _ in range(200))
    assert any(condition(3.0, rng) for _ in range(20))


@given(value=st.floats(-10, 10), seed=st.integers(0, 2**32 - 1))
def test_ranges_are_certain_inside_and_impossible_outside(value: float, seed: int):
    rng = np.random.default_rng(seed)
    inside, outside = -1 <= value <= 3, value < -2 or value > 4
    holds = between((-2, -1), (3, 4))(value, rng)
    assert holds or not inside
    assert not (holds and outside)
    assert above((-2, -1))(value, rng) or value < -1
    assert not above((-2, -1))(value, rng) or value >= -2
    assert below((3, 4))(value, rng) or value > 3
    assert not below((3, 4))(value, rng) or value <= 4


def test_say_follows_weights_and_is_silent_where_nothing_holds(rng: np.random.Generator):
    common = Wording(above((0, 0)), "common", 3.0)
    rare = Wording(above((0, 0)), "rare", 1.0)
    never = Wording(above((9, 9)), "never", 100.0)
    said = [say([(common, 1.0), (rare, 1.0), (never, 1.0)], rng) for _ in range(2000)]
    assert set(said) == {"common", "rare"}
    assert said.count("common") / 2000 == pytest.approx(0.75, abs=0.04)
    assert say([(never, 1.0)], rng) is None


def test_pick_reaches_every_option_and_no_other(rng: np.random.Generator):
    assert {pick("abc", rng) for _ in range(100)} == {"a", "b", "c"}


def test_accept_skips_what_is_held_out():
    sentences = iter([None, "pole and cart", "a humanoid robot", "a cart far to the left"])
    assert accept(lambda: next(sentences)) == "a cart far to the left"


def test_accept_names_a_hole_in_the_grammar():
    with pytest.raises(RuntimeError, match="no acceptable sentence in 7 draws"):
        accept(lambda: None, attempts=7)
