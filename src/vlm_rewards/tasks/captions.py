"""What the caption grammars share: fuzzy conditions, wordings, and the rule that holds prompts out.

A grammar describes a *measured* quantity. Each wording belongs to a range of that
quantity, and the limits of the range are drawn anew for every caption, as people
do not agree on where "slightly" ends. A wording's frequency therefore fades with
the quantity instead of stopping at a wall, which is what later gives the
similarity of frame and sentence a slope.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

Condition: TypeAlias = Callable[[float, np.random.Generator], bool]
"""Whether a wording holds for a value, with limits drawn from the generator."""

_STOP_WORDS = "a an the this that its it of on in at to by with for from into and as is are be being has have there out"
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that do not count as content: articles, plain prepositions, auxiliaries."""

PAPER_GOALS = {
    "cartpole": "pole vertically upright on top of the cart",
    "mountaincar": "a car at the peak of the mountain, next to the yellow flag",
    "kneeling": "a humanoid robot kneeling",
    "lotus": "a humanoid robot seated down, meditating in the lotus position",
    "standing": "a humanoid robot standing up",
    "arms-raised": "a humanoid robot standing up, with both arms raised",
    "splits": "a humanoid robot practicing gymnastics, doing the side splits",
    "hands-on-hips": "a humanoid robot standing up with hands on hips",
    "arms-crossed": "a humanoid robot standing up, with its arms crossed",
    "one-leg": "a humanoid robot standing up on one leg",
}
"""The goal prompts of the paper, by task."""

PAPER_BASELINES = {
    "cartpole": "pole and cart",
    "mountaincar": "a car in the mountain",
    "humanoid": "a humanoid robot",
}
"""The baseline prompts of the paper, by simulator."""

PAPER_PROMPTS = (*PAPER_GOALS.values(), *PAPER_BASELINES.values())
"""All prompts that no caption may repeat."""

PARAPHRASES = {
    "kneeling": (
        "a humanoid robot down on both of its knees",
        "a humanoid robot that kneels on the floor",
        "a humanoid robot in a kneeling position",
    ),
    "lotus": (
        "a humanoid robot sitting in the lotus position to meditate",
        "a humanoid robot meditating, seated with its knees out and its feet in",
        "a humanoid robot seated on the floor in the lotus position",
    ),
    "standing": (
        "a humanoid robot standing upright on both feet",
        "a humanoid robot that stands up straight",
        "a humanoid robot standing on its legs, holding itself upright",
    ),
    "arms-raised": (
        "a humanoid robot standing with both hands above its head",
        "a humanoid robot upright on its feet, its arms up in the air",
        "a humanoid robot standing upright with raised arms",
    ),
    "splits": (
        "a humanoid robot in a split, its legs spread to the sides",
        "a humanoid robot doing the splits on the floor",
        "a humanoid robot doing gymnastics with its legs wide apart",
    ),
    "hands-on-hips": (
        "a humanoid robot standing upright, both hands on its hips",
        "a humanoid robot up on its feet with its hands at its hips",
        "a humanoid robot standing with its elbows out and its hands on its waist",
    ),
    "arms-crossed": (
        "a humanoid robot standing upright with crossed arms",
        "a humanoid robot up on its feet, its forearms crossed",
        "a humanoid robot standing with its arms folded across each other",
    ),
    "one-leg": (
        "a humanoid robot balancing on one leg",
        "a humanoid robot standing with one foot in the air",
        "a humanoid robot standing on one foot, the other leg lifted",
    ),
}
"""Other sentences for the poses of the humanoid, held out as the paper's goals are, to see what wording changes."""


def content_words(sentence: str) -> frozenset[str]:
    """The sentence's lower-case words without `STOP_WORDS`: runs of letters and digits, all else separates them."""
    return frozenset(re.findall(r"[a-z0-9]+", sentence.lower())) - STOP_WORDS


def jaccard(first: str, second: str) -> float:
    """Overlap of two sentences' content words: shared words over all words, in [0, 1]."""
    a, b = content_words(first), content_words(second)
    union = a | b
    return len(a & b) / len(union) if union else 1.0


_PROMPT_WORDS = frozenset(content_words(prompt) for prompt in PAPER_PROMPTS)
_GOAL_WORDS = tuple(
    content_words(prompt) for prompts in (PAPER_GOALS.values(), *PARAPHRASES.values()) for prompt in prompts
)


NEAREST_ALLOWED = 0.75
"""Largest Jaccard overlap of content words that a caption may have with a goal prompt or a paraphrase of one."""


def is_held_out(caption: str) -> bool:
    """Whether a caption must not be used, because it comes too close to a prompt of the paper.

    That is so if its content words are those of any prompt, in any order, if they include all
    those of a *goal* prompt or of one of `PARAPHRASES` (a goal with a filler word is still the
    goal), or if they overlap with those of one by more than `NEAREST_ALLOWED`.
    """
    words = content_words(caption)
    return words in _PROMPT_WORDS or any(_repeats(words, goal) for goal in _GOAL_WORDS)


def _repeats(words: frozenset[str], goal: frozenset[str]) -> bool:
    shared = len(words & goal)
    return shared == len(goal) or shared > NEAREST_ALLOWED * (len(words) + len(goal) - shared)


def phrases(text: str) -> tuple[str, ...]:
    """Phrases that are written one after another, as in ``"a car | the car"``."""
    return tuple(text.split(" | "))


@dataclass(frozen=True)
class Wording:
    """Ways to say one thing, and when they are true."""

    holds: Condition
    """Whether they hold for a value."""
    texts: str
    """Interchangeable phrases, as `phrases` takes them; ``{side}`` and the like are filled in by the caller."""
    weight: float = 1.0
    """How often this is said, relative to others that hold as well."""

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """The phrases."""
        return phrases(self.texts)


def within(centre: float, scale: float, cap: float) -> Condition:
    """Holds up to a distance drawn from an exponential distribution.

    The frequency of the wording falls as ``exp(-|value - centre| / scale)``: its log, which
    is what a contrastive model learns, has a constant slope up to ``cap``, where it ends.
    """

    def holds(value: float, rng: np.random.Generator) -> bool:
        return abs(value - centre) <= min(scale * rng.standard_exponential(), cap)

    return holds


def between(low: tuple[float, float], high: tuple[float, float]) -> Condition:
    """Holds between two limits, each drawn uniformly from its own range."""

    def holds(value: float, rng: np.random.Generator) -> bool:
        if not low[0] <= value <= high[1]:
            return False
        return _draw(low, rng) <= value <= _draw(high, rng)

    return holds


def above(limit: tuple[float, float]) -> Condition:
    """Holds above a limit drawn uniformly from the range."""
    return lambda value, rng: value >= _draw(limit, rng)


def below(limit: tuple[float, float]) -> Condition:
    """Holds below a limit drawn uniformly from the range."""
    return lambda value, rng: value <= _draw(limit, rng)


def _draw(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Uniform between the limits; ``rng.uniform`` takes ten times as long for a scalar."""
    return limits[0] + (limits[1] - limits[0]) * rng.random()


def pick(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of the options, uniformly."""
    return options[int(rng.random() * len(options))]


def say(candidates: Iterable[tuple[Wording, float]], rng: np.random.Generator) -> str | None:
    """Say something true of what is judged by the values, or None where the grammar has nothing to say."""
    true = [wording for wording, value in candidates if wording.holds(value, rng)]
    if not true:
        return None
    mark = rng.random() * sum(wording.weight for wording in true)
    for wording in true:
        mark -= wording.weight
        if mark < 0:
            break
    return pick(wording.choices, rng)


def say_of(value: float, wordings: Iterable[Wording], rng: np.random.Generator, side: str = "") -> str | None:
    """The same where all is judged by one value, and ``{side}`` is filled in."""
    phrase = say(((wording, value) for wording in wordings), rng)
    return phrase and phrase.format(side=side)


def side_of(value: float) -> str:
    """On which side of the middle something is."""
    return "right" if value > 0 else "left"


def accept(make: Callable[[], str | None], attempts: int = 100) -> str:
    """First sentence drawn that exists and is not held out; a RuntimeError where the grammar has a hole."""
    for _ in range(attempts):
        sentence = make()
        if sentence is not None and not is_held_out(sentence):
            return sentence
    raise RuntimeError(f"the caption grammar found no acceptable sentence in {attempts} draws.")


@dataclass(frozen=True)
class Axis:
    """A line through a task's states, along which a reward can be looked at."""

    label: str
    """What changes along the line."""
    unit: str
    """Its unit."""
    values: np.ndarray
    """float64 ``[n]``, ascending."""
    states: np.ndarray
    """float64 ``[n m k]``: at each value, ``m`` states that differ in everything else."""
    marks: tuple[float, ...]
    """Values at which a table shows the reward."""
