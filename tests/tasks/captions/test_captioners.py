"""Captions are true, never held out, and come out the same from the same seed."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pytest

from typecheck import unchecked
from vlm_rewards.tasks.cartpole import draw_cartpole
from vlm_rewards.tasks.cartpole_captions import CartPoleCaptioner, place_share
from vlm_rewards.tasks.humanoid.captions import HumanoidCaptioner
from vlm_rewards.tasks.mountain_car import draw_mountain_car
from vlm_rewards.tasks.mountain_car_captions import LEFT_END, RIGHT_END, SUMMIT, VALLEY, MountainCarCaptioner
from vlm_rewards.tasks.task import StateCaptioner

CAPTIONERS: dict[str, StateCaptioner] = {
    "cartpole": CartPoleCaptioner(),
    "mountaincar": MountainCarCaptioner(textured=False),
    "mountaincar-textured": MountainCarCaptioner(textured=True),
}
COUNT = 4_000


@pytest.fixture(scope="module")
def samples() -> dict[str, list[tuple[np.ndarray, str]]]:
    """Many states of each task, each with a caption."""
    rng = np.random.default_rng(7)
    drawn = {}
    with unchecked():
        for name, captioner in CAPTIONERS.items():
            states = [captioner.sample(rng) for _ in range(COUNT)]
            drawn[name] = [(state, captioner.caption(state, rng)) for state in states]
    return drawn


# A plainer reading of the rule, in a process without run-time type checks: it takes a tenth of the time.
HELD_OUT_SCRIPT = """
import numpy as np
from vlm_rewards.tasks.task import get_task
from vlm_rewards.tasks.captions import PAPER_GOALS, PAPER_PROMPTS, STOP_WORDS

def words(text):
    return {word for word in text.lower().replace(",", " ").split() if word not in STOP_WORDS}

goals, prompts = [words(goal) for goal in PAPER_GOALS.values()], [words(prompt) for prompt in PAPER_PROMPTS]
for name in ("cartpole", "mountaincar", "mountaincar-textured"):
    captioner, rng = get_task(name).captioner, np.random.default_rng(11)
    for _ in range(20_000):
        caption = captioner.caption(captioner.sample(rng), rng)
        said = words(caption)
        if said in prompts or any(goal <= said or len(goal & said) / len(goal | said) > 0.75 for goal in goals):
            print(name, caption)
print("done")
"""


@pytest.mark.slow
def test_no_caption_of_twenty_thousand_is_held_out():
    found = subprocess.run([sys.executable, "-c", HELD_OUT_SCRIPT], capture_output=True, text=True, check=True)
    assert found.stdout == "done\n"


@pytest.mark.parametrize("name", CAPTIONERS)
def test_there_are_many_captions_without_holes_or_seams(samples, name: str):
    captions = {caption for _, caption in samples[name]}
    assert len(captions) > COUNT / 10
    for caption in captions:
        assert re.fullmatch(r"[a-z0-9]+(,? [a-z0-9]+)*", caption), caption


@pytest.mark.parametrize("captioner", [*CAPTIONERS.values(), HumanoidCaptioner()])
def test_same_seed_same_states_and_captions(captioner: StateCaptioner | HumanoidCaptioner):
    def draw() -> list[tuple[list[float], str]]:
        rng = np.random.default_rng(3)
        return [(state.tolist(), captioner.caption(state, rng)) for state in (captioner.sample(rng) for _ in range(20))]

    assert draw() == draw()


def test_every_state_can_be_captioned():
    rng = np.random.default_rng(0)
    for angle in np.linspace(-math.pi, math.pi, 73):
        for position in (-2.4, -1.0, 0.0, 2.4):
            assert CAPTIONERS["cartpole"].caption(np.array([position, angle]), rng)
    for position in np.linspace(LEFT_END, RIGHT_END, 181):
        assert CAPTIONERS["mountaincar"].caption(np.array([position]), rng)


# Phrase, and what must be true of position (m) and angle (degrees) wherever it is said.
CARTPOLE_TRUTHS = [
    (r"(?<!almost )(?<!from )(?<!to )\bupright\b(?! on the side)", lambda x, a: abs(a) <= 30),
    (r"\b(almost|close to) upright|(nearly|not quite) vertical", lambda x, a: 2 <= abs(a) <= 40),
    (r"(perfectly|exactly|precisely) (vertical|upright|balanced)", lambda x, a: abs(a) <= 9),
    (r"standing (on end|tall|vertically)|straight up", lambda x, a: abs(a) <= 30),
    (r"top of|atop", lambda x, a: abs(a) <= 60),
    (r"\b(above|over) the cart|higher than", lambda x, a: abs(a) <= 80),
    (r"(below|beneath|under|underneath) the cart|lower than", lambda x, a: abs(a) >= 105),
    (r"horizontal\b|level|lying flat|parallel", lambda x, a: 65 <= abs(a) <= 115),
    (r"(leaning|tilted|tipped|tipping|slanting)[a-z ]* to the left", lambda x, a: a <= 0),
    (r"(leaning|tilted|tipped|tipping|slanting)[a-z ]* to the right", lambda x, a: a >= 0),
    (r"slightly (to|tilted|off)|leaning a little", lambda x, a: 2 <= abs(a) <= 32),
    (r"hanging straight|upside down|dangling|hanging at rest", lambda x, a: abs(a) >= 140),
    (r"downwards|fallen down", lambda x, a: abs(a) >= 95),
    (r"far from upright|fallen over", lambda x, a: abs(a) >= 30),
    (r"middle of the track|at the centre", lambda x, a: abs(x) <= 0.8),
    (r"(edge|end of the track)", lambda x, a: abs(x) >= 1.9),
    (r"cart (is )?(far left|far to the left|left of the centre|on the left)", lambda x, a: x <= 0),
    (r"cart (is )?(far right|far to the right|right of the centre|on the right)", lambda x, a: x >= 0),
]


@pytest.mark.parametrize(("phrase", "holds"), CARTPOLE_TRUTHS, ids=[phrase for phrase, _ in CARTPOLE_TRUTHS])
def test_cartpole_captions_are_true(samples, phrase: str, holds):
    found = [(s, c) for s, c in samples["cartpole"] if re.search(phrase, c)]
    assert len(found) > 5
    assert not [(s, c) for s, c in found if not holds(s[0], math.degrees(s[1]))]


def test_degrees_in_captions_are_the_angle_to_the_nearest_five(samples):
    found = [(math.degrees(s[1]), re.search(r"(\d+) degrees", c)) for s, c in samples["cartpole"]]
    stated = [(abs(angle), int(match[1])) for angle, match in found if match]
    assert len(stated) > 100
    assert all(abs(angle - figure) <= 2.5 for angle, figure in stated)


PEAK = r"(?<!short )(?<!nearly )\b(at|on|of) the (very )?(peak|summit|highest)"
MOUNTAIN_CAR_TRUTHS = [
    (PEAK, lambda x: abs(x - SUMMIT) <= 0.2),
    (r"crest|on top of|very top|mountain top", lambda x: abs(x - SUMMIT) <= 0.2),
    (r"(just below|short of|almost at) the (peak|summit|top)", lambda x: x > 0.05 and math.sin(3 * x) < 0.999),
    (r"past the peak|right edge|beyond the top", lambda x: x > SUMMIT),
    (r"bottom of the valley|valley floor|lowest point", lambda x: abs(x - VALLEY) <= 0.5),
    (r"left (slope|hillside|side of the mountain|edge|end)|far left", lambda x: x < VALLEY),
    (r"right (slope|hillside|side of the mountain)", lambda x: x > VALLEY),
    (r"halfway up", lambda x: 0.28 <= (1 + math.sin(3 * x)) / 2 <= 0.72),
    (
        r"(next to|beside|alongside|touching|reached) (the|a) (yellow |goal )?(flag|goal)",
        lambda x: abs(x - 0.45) <= 0.18,
    ),
    (r"(?<!not )far from the", lambda x: x <= 0.1),
    (r"(?<!not )(near|close to) the (peak|summit)", lambda x: math.sin(3 * x) >= -0.1),
    (r"(way up to|up towards) the (peak|summit)", lambda x: x > VALLEY),
    (r"\b(near|close to|not far from) the (yellow |goal )?(flag|goal)", lambda x: abs(x - 0.45) <= 0.65),
    (r"(side|same slope) (of|as) the (yellow |goal )?(flag|goal)", lambda x: x > VALLEY),
    (r"slope without a flag|left side of the valley", lambda x: x < VALLEY),
    (r"very far from|opposite the", lambda x: x < -0.6),
]


@pytest.mark.parametrize("name", ["mountaincar", "mountaincar-textured"])
@pytest.mark.parametrize(("phrase", "holds"), MOUNTAIN_CAR_TRUTHS, ids=[phrase for phrase, _ in MOUNTAIN_CAR_TRUTHS])
def test_mountain_car_captions_are_true(samples, name: str, phrase: str, holds):
    found = [(s, c) for s, c in samples[name] if re.search(phrase, c)]
    assert len(found) > 5
    assert not [(s, c) for s, c in found if not holds(s[0])]


def test_each_look_is_described_as_it_is_drawn(samples):
    plain = " ".join(caption for _, caption in samples["mountaincar"])
    textured = " ".join(caption for _, caption in samples["mountaincar-textured"])
    for word in ("snow", "red", "sky", "cloud"):
        assert word in textured
        assert word not in plain.replace("reached", "").replace("drawing", "").replace("drawn", "")
    for word in ("black", "line drawing", "sketch", "white background"):
        assert word in plain
        assert word not in textured


def test_the_place_of_the_cart_is_mentioned_the_more_the_further_out_it_is(samples):
    assert place_share(0.0) == pytest.approx(0.1)
    assert place_share(1.4) == pytest.approx(0.45)  # half way between 0.4 and 2.4
    assert place_share(-2.4) == place_share(2.4) == pytest.approx(0.8)
    shares = [place_share(x) for x in np.linspace(0, 2.4, 25)]
    assert shares == sorted(shares)
    # Every phrase about the cart's place has one of these words; none about the pole in the middle of the track has.
    mentions = re.compile(r"\bcart (is )?(at|in|on|far|left|right|just|slightly|well|a little)\b")
    found = [(abs(s[0]), bool(mentions.search(c))) for s, c in samples["cartpole"]]
    near = np.mean([said for x, said in found if x < 0.4])
    far = np.mean([said for x, said in found if x > 2.2])
    # Wordings about the place need not exist for every drawn limit, hence a little less than the share itself.
    assert near < 0.2
    assert far > 0.6


def test_samplers_cover_the_states_and_are_dense_at_the_goal(samples):
    states = np.stack([state for state, _ in samples["cartpole"]])
    degrees = np.degrees(states[:, 1])
    assert np.abs(states[:, 0]).max() <= 2.4
    assert np.abs(degrees).max() <= 180
    counts, _ = np.histogram(degrees, bins=36, range=(-180, 180))
    assert counts.min() > COUNT / 500
    assert counts[17] + counts[18] > 4 * (counts[0] + counts[35])
    positions = np.stack([state for state, _ in samples["mountaincar"]])[:, 0]
    np.testing.assert_array_equal(positions, positions.clip(LEFT_END, RIGHT_END))
    assert np.histogram(positions, bins=18, range=(LEFT_END, RIGHT_END))[0].min() > COUNT / 60


def test_pictures_are_those_of_the_simulators():
    np.testing.assert_array_equal(CAPTIONERS["cartpole"].draw(np.array([0.7, 0.3]), 96), draw_cartpole(0.7, 0.3, 96))
    for textured, name in ((False, "mountaincar"), (True, "mountaincar-textured")):
        drawn = draw_mountain_car(-0.3, 96, textured=textured)
        np.testing.assert_array_equal(CAPTIONERS[name].draw(np.array([-0.3]), 96), drawn)


@pytest.mark.parametrize("name", CAPTIONERS)
def test_axes_are_states_along_one_ascending_quantity(name: str):
    axis = CAPTIONERS[name].axis()
    assert axis.states.shape[0] == len(axis.values)
    assert (np.diff(axis.values) > 0).all()
    assert axis.values[0] <= min(axis.marks)
    assert max(axis.marks) <= axis.values[-1]
    along = np.degrees(axis.states[:, 0, 1]) if name == "cartpole" else axis.states[:, 0, 0]
    np.testing.assert_allclose(along, axis.values)
