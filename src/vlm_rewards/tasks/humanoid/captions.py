"""Captions of the humanoid: its posture, its arms, its legs, what touches the floor, how high and how upright it is.

Words for postures are judged by *degrees*: the least of several margins, each
in units of how vague it is. At 1 everybody would say the word, at -1 nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np

from vlm_rewards.tasks.captions import Wording, above, accept, below, between, phrases, pick, say
from vlm_rewards.tasks.humanoid.body import Body, measure_state
from vlm_rewards.tasks.humanoid.model import HumanoidConfig, build_humanoid, shared_model
from vlm_rewards.tasks.humanoid.states import draw_state
from vlm_rewards.tasks.task import SimulatorFactory

Said = tuple[str, Wording]
"""What can be said, and which of `MEASURES` it is judged by."""

_VAGUE = (-1.0, 1.0)
"""Range of the limit that a degree must exceed."""


@dataclass(frozen=True)
class Look:
    """One way in which the humanoid can be drawn."""

    config: HumanoidConfig
    """Textures and camera."""
    share: float
    """Share of the frames."""
    places: tuple[str, ...]
    """What is said of the surroundings."""
    nouns: tuple[str, ...]
    """What the robot may be called besides."""
    from_front: bool = True
    """Whether the camera stands before the robot at the start."""


_TILES = phrases("on a tiled floor | on tiles | under a blue sky | outdoors | on a stone floor | on a brown floor")
_CHECKS = phrases("on a checkerboard | on black and white squares | on a chequered floor | under a dark sky")
LOOKS = (
    Look(HumanoidConfig("realistic", "fixed"), 0.7, _TILES, ("a metal robot", "a grey robot with orange hands")),
    Look(HumanoidConfig("realistic", "original"), 0.1, _TILES, ("a metal robot", "a grey robot"), from_front=False),
    Look(HumanoidConfig("original", "fixed"), 0.1, _CHECKS, ("a brown robot", "a bronze figure")),
    Look(HumanoidConfig("original", "original"), 0.1, _CHECKS, ("a brown robot", "a bronze robot"), from_front=False),
)


def _half_kneeling(b: Body) -> float:
    down, up = sorted(b.knees.tolist())
    planted = float(b.feet[int(b.knees.argmax())])
    return min((0.09 - down) / 0.07, (up - 0.25) / 0.1, (0.1 - planted) / 0.08, (0.75 - b.tilt) / 0.35)


def _front_splits(b: Body) -> float:
    apart = abs(float(b.foot_front[0] - b.foot_front[1]))
    return min((0.35 - b.pelvis) / 0.2, (0.7 - b.knee_bend.max()) / 0.35, (apart - 0.7) / 0.25)


def _on_hips(b: Body) -> float:
    forward, outward, up = b.hand_in_pelvis.T
    return min(
        (0.15 - float(np.abs(up - 0.06).max())) / 0.08,
        (0.3 - float(outward.max())) / 0.08,
        (0.22 - float(np.abs(forward).max())) / 0.1,
        (float(b.elbow_in_chest[:, 1].min()) - 0.24) / 0.04,
    )


def _one_on_hip(b: Body) -> float:
    forward, outward, up = b.hand_in_pelvis.T
    off = np.maximum(np.abs(up - 0.06) / 0.16, np.maximum(np.abs(outward - 0.19) / 0.13, np.abs(forward) / 0.2))
    return min((1.0 - float(off.min())) / 0.5, (float(off.max()) - 1.2) / 0.5)


def _on_chest(b: Body) -> float:
    forward, outward, up = b.hand_in_chest.T
    return min(
        (0.34 - float(forward.max())) / 0.1, (0.17 - float(np.abs(up).max())) / 0.1, (0.22 - outward.max()) / 0.1
    )


def _crossed(b: Body) -> float:
    past = (-0.03 - float(b.hand_in_chest[:, 1].max())) / 0.05
    before = (float(b.hand_in_chest[:, 0].min()) - 0.08) / 0.05
    return min(past, before, 1.0 if b.forearms_crossed else -0.5)


MEASURES: dict[str, Callable[[Body], float]] = {
    "standing": lambda b: min(
        (b.pelvis - 0.58) / 0.1,
        (b.head - 1.25) / 0.1,
        (0.65 - b.tilt) / 0.3,
        (1.0 - float(b.knee_bend.min())) / 0.4,
        (0.1 - b.lowest) / 0.07,
    ),
    "kneeling": lambda b: min(
        (0.2 - b.knees.max()) / 0.1,
        (0.7 - b.tilt) / 0.3,
        (b.trunk_low - 0.22) / 0.12,
        (float(b.knee_bend.min()) - 1.0) / 0.4,
        (0.12 - b.lowest) / 0.07,
        1.0 - MEASURES["lotus"](b),
    ),
    "half kneeling": _half_kneeling,
    "seated": lambda b: min((0.22 - b.pelvis) / 0.1, (0.85 - b.tilt) / 0.35, (b.trunk_low - 0.15) / 0.1),
    "lotus": lambda b: min(
        (0.27 - b.pelvis) / 0.09,
        (0.3 - b.knees.max()) / 0.1,
        (b.knee_out.min() - 0.13) / 0.08,
        (0.2 - np.abs(b.foot_out).max()) / 0.1,
        (float(b.foot_front.mean()) + 0.05) / 0.06,
        (0.8 - b.tilt) / 0.3,
    ),
    "splits": lambda b: min(
        (0.25 - b.pelvis) / 0.12,
        (0.6 - b.knee_bend.max()) / 0.35,
        (b.leg_spread - 1.4) / 0.3,
        (b.foot_out.min() - 0.35) / 0.17,
        (1.0 - b.tilt) / 0.35,
    ),
    "front splits": _front_splits,
    "squatting": lambda b: min(
        (0.52 - b.pelvis) / 0.14,
        (b.pelvis - 0.06) / 0.06,
        (b.knees.min() - 0.2) / 0.1,
        (0.1 - b.feet.max()) / 0.08,
        (1.1 - b.tilt) / 0.4,
    ),
    "lying": lambda b: min((0.2 - b.trunk_low) / 0.12, (b.tilt - 1.1) / 0.25, (0.45 - b.chest) / 0.2),
    "on back": lambda b: min(MEASURES["lying"](b), (b.face_up - 0.45) / 0.25),
    "on front": lambda b: min(MEASURES["lying"](b), (-0.45 - b.face_up) / 0.25),
    "on side": lambda b: min(MEASURES["lying"](b), (0.5 - abs(b.face_up)) / 0.25),
    "all fours": lambda b: min((0.1 - b.knees.max()) / 0.08, (0.15 - b.hands.max()) / 0.1, (b.tilt - 0.9) / 0.3),
    "bent over": lambda b: min((b.pelvis - 0.5) / 0.12, (b.tilt - 0.85) / 0.3, b.lean[0] / 0.3),
    "leaning": lambda b: min((b.pelvis - 0.5) / 0.12, (b.tilt - 0.35) / 0.15, (1.1 - b.tilt) / 0.2),
    "in air": lambda b: (b.lowest - 0.07) / 0.05,
    "toppling": lambda b: min((b.balance - 0.22) / 0.1, (b.chest - 0.5) / 0.15),
    "one leg": lambda b: min(MEASURES["standing"](b), b.foot_lift / 0.09),
    "two feet": lambda b: min(MEASURES["standing"](b), (0.08 - b.feet.max()) / 0.06),
    "raised": lambda b: (float(b.hand_above_head.min()) - 0.03) / 0.13,
    "one raised": lambda b: min(float(b.hand_above_head.max()) / 0.14, (-0.02 - float(b.hand_above_head.min())) / 0.1),
    "on hips": _on_hips,
    "one on hip": _one_on_hip,
    "on chest": _on_chest,
    "crossed": _crossed,
    "together": lambda b: min((0.16 - b.hands_apart) / 0.07, (float(b.hand_in_chest[:, 0].min()) - 0.05) / 0.08),
    "sideways": lambda b: min(
        (float(b.hand_in_chest[:, 1].min()) - 0.55) / 0.12, (0.3 - float(np.abs(b.hand_in_chest[:, 2]).max())) / 0.12
    ),
    "forward": lambda b: min(
        (float(b.hand_in_chest[:, 0].min()) - 0.4) / 0.08, (0.3 - float(np.abs(b.hand_in_chest[:, 2]).max())) / 0.12
    ),
    "hanging": lambda b: min(
        (-0.3 - float(b.hand_in_chest[:, 2].max())) / 0.1, (0.4 - float(b.hand_in_chest[:, 1].max())) / 0.1
    ),
    "lifted": lambda b: float(b.feet.max()) if b.lowest < 0.06 and b.feet.min() < 0.08 else -1.0,
    "head": lambda b: b.head,
    "knees": lambda b: b.knees.max(),
    "pelvis": lambda b: b.pelvis,
    "tilt": lambda b: b.tilt,
    "lower hand": lambda b: b.hand_above_head.min(),
    "lesser bend": lambda b: b.knee_bend.min(),
    "greater bend": lambda b: b.knee_bend.max(),
    "leg spread": lambda b: b.leg_spread,
    "knees out": lambda b: b.knee_out.min(),
}
"""What wordings are judged by: degrees of words for postures, and plain measures."""


def _degree(measure: str, weight: float, texts: str) -> Said:
    return measure, Wording(above(_VAGUE), texts, weight)


def _almost(measure: str, weight: float, texts: str) -> Said:
    return measure, Wording(between((-1.6, -0.7), (-0.2, 0.6)), texts, weight)


POSTURES: tuple[Said, ...] = (
    _degree(
        "standing",
        2.0,
        "standing | standing up | standing upright | upright on its feet | on its feet | standing straight | that "
        "stands up | standing up straight | in a standing position | standing erect",
    ),
    _degree(
        "two feet",
        1.0,
        "standing on both feet | standing up on two legs | standing firmly on both legs | standing with both feet "
        "on the ground",
    ),
    _almost("standing", 0.7, "hardly standing any more | almost standing | not quite upright on its feet"),
    _degree(
        "one leg",
        5.0,
        "standing on one leg | balancing on one leg | on one leg | standing on one foot | up on one leg | standing "
        "up on a single leg | balanced on one foot | with one leg lifted off the ground | standing with one foot in "
        "the air | standing on one leg like a stork",
    ),
    _degree(
        "kneeling",
        5.0,
        "kneeling | on its knees | kneeling down | kneeling on the floor | on both knees | kneeling on both knees | "
        "that kneels | in a kneeling position | kneeling on the ground | down on its knees | kneeling upright",
    ),
    _almost("kneeling", 1.0, "almost kneeling | about to kneel | nearly on its knees | going down on its knees"),
    _degree(
        "half kneeling",
        3.0,
        "kneeling on one knee | down on one knee | on one knee | half kneeling | with one knee on the floor and one "
        "foot planted",
    ),
    _degree(
        "seated",
        2.5,
        "seated | sitting | sitting down | seated down | sitting on the floor | seated on the ground | in a seated "
        "position | seated low",
    ),
    _almost("seated", 0.7, "almost sitting | about to sit down | nearly seated"),
    _degree(
        "lotus",
        6.0,
        "in the lotus position | meditating | seated in the lotus position | sitting in meditation | meditating "
        "with its knees out | sitting cross-legged | seated down to meditate | in a lotus seat | meditating on the "
        "floor | seated with its knees out and its feet in | in a meditation position",
    ),
    _almost("lotus", 0.8, "almost in the lotus position | nearly seated to meditate | not quite in the lotus position"),
    _degree(
        "splits",
        6.0,
        "doing the splits | in the side splits | doing side splits | in a split | doing gymnastics | practicing the "
        "splits | practicing gymnastics | with its legs in the splits | doing a gymnastics split | doing the side "
        "splits on the floor | in a straddle split",
    ),
    _almost("splits", 0.8, "almost in the splits | nearly doing the splits | on its way into the splits"),
    _degree("front splits", 2.5, "in the front splits | with one leg forward and one back | in a deep lunge"),
    _degree("squatting", 2.5, "squatting | crouching | in a squat | squatting on its feet | crouching low"),
    _degree("on back", 3.0, "lying on its back | flat on its back | fallen on its back | lying face up"),
    _degree("on front", 3.0, "lying on its front | lying face down | fallen on its face | flat on its belly"),
    _degree("on side", 3.0, "lying on its side | fallen over sideways | on its side on the floor"),
    _degree("lying", 1.5, "lying down | lying on the ground | fallen down | collapsed on the floor"),
    _degree("all fours", 3.0, "on all fours | on its hands and knees | crawling"),
    _degree("bent over", 2.5, "bent over | bending forwards | bowing deeply | bent at the waist"),
    _degree("leaning", 2.0, "leaning | tilting over | leaning over | off balance"),
    _degree("toppling", 2.0, "falling | toppling over | falling over | losing its balance"),
    _degree("in air", 4.0, "in the air | jumping | floating above the floor | off the ground"),
)
"""What is said of the whole robot."""

ARMS: tuple[Said, ...] = (
    _degree(
        "raised",
        4.0,
        "both arms raised | its arms raised | both arms up | its arms up in the air | both hands above its head | "
        "its hands up | both arms raised high | raised arms | arms raised overhead",
    ),
    (
        "lower hand",
        Wording(between((-0.3, -0.15), (-0.05, 0.1)), "its arms half raised | its hands at head height", 1.0),
    ),
    _degree("one raised", 3.0, "one arm raised | one hand up | one arm up and one arm down | only one arm raised"),
    _degree(
        "on hips",
        5.0,
        "its hands on its hips | hands on hips | both hands on its hips | hands at its hips | its hands on its "
        "waist | elbows out and hands on hips | both hands on the hips",
    ),
    _almost("on hips", 0.8, "its hands near its hips | its hands not quite on its hips"),
    _degree("one on hip", 3.0, "one hand on its hip | a hand on one hip | only one hand on the hip"),
    _degree("on chest", 4.0, "its hands on its chest | both hands at its chest | hands before its chest"),
    _degree(
        "crossed",
        6.0,
        "its arms crossed | arms crossed | crossed arms | its forearms crossed | its arms crossed before its chest "
        "| both arms crossed | arms folded across each other",
    ),
    _almost("crossed", 0.8, "its arms almost crossed | its forearms close to each other"),
    _degree("together", 3.0, "its hands together | its hands touching | both hands in front of it, touching"),
    _degree("sideways", 4.0, "its arms stretched out to the sides | its arms out sideways | arms spread wide"),
    _degree("forward", 4.0, "its arms stretched forwards | both arms held out in front | arms reaching forwards"),
    _degree("hanging", 4.0, "its arms hanging down | its arms at its sides | both arms down | its hands down low"),
    ("lower hand", Wording(below((-0.5, -0.25)), "its hands below its shoulders | its arms not raised", 0.7)),
)
"""What is said of the arms; follows "with"."""

LEGS: tuple[Said, ...] = (
    ("greater bend", Wording(below((0.15, 0.6)), "both legs straight | straight legs | its legs stretched", 2.0)),
    ("lesser bend", Wording(between((0.4, 0.8), (1.4, 2.0)), "bent knees | its knees bent | both legs bent", 2.0)),
    (
        "lesser bend",
        Wording(above((1.5, 2.2)), "its knees bent sharply | its legs folded | its feet under its seat", 2.0),
    ),
    ("leg spread", Wording(below((0.12, 0.35)), "its legs together | its feet close together", 1.2)),
    ("leg spread", Wording(between((0.35, 0.6), (0.9, 1.3)), "its legs apart | its feet apart", 1.5)),
    (
        "leg spread",
        Wording(above((1.1, 1.7)), "its legs spread wide | its legs wide apart | its legs spread to the sides", 2.5),
    ),
    (
        "knees out",
        Wording(above((0.14, 0.28)), "its knees pointing outwards | its knees apart | its knees out to the sides", 2.0),
    ),
    ("knees", Wording(below((0.03, 0.14)), "both knees on the floor | its knees on the ground | both knees down", 3.0)),
    (
        "knees",
        Wording(between((0.06, 0.14), (0.22, 0.34)), "its knees near the floor | its knees just above the floor", 1.5),
    ),
    ("knees", Wording(above((0.3, 0.45)), "its knees off the floor | its knees above the ground", 0.6)),
    (
        "lifted",
        Wording(
            between((0.06, 0.14), (0.25, 0.4)), "one foot a little above the floor | one foot lifted slightly", 2.0
        ),
    ),
    (
        "lifted",
        Wording(above((0.2, 0.4)), "one leg lifted | one leg raised | one foot high up | one leg in the air", 3.0),
    ),
)
"""What is said of the legs; follows "with"."""

HEIGHTS: tuple[Said, ...] = (
    ("head", Wording(above((1.3, 1.45)), "at its full height | as tall as it can be | with its head high up", 1.5)),
    ("head", Wording(between((0.95, 1.15), (1.3, 1.45)), "not at its full height | a little lowered", 1.0)),
    ("head", Wording(between((0.65, 0.85), (1.0, 1.2)), "with its head at half its height | lowered halfway", 1.0)),
    ("head", Wording(between((0.35, 0.55), (0.75, 0.95)), "low down | with its head low | close to the ground", 1.0)),
    ("head", Wording(below((0.2, 0.45)), "with its head on the floor | right down on the ground", 1.5)),
    ("pelvis", Wording(below((0.05, 0.15)), "with its seat on the floor | with its bottom on the ground", 1.5)),
    (
        "pelvis",
        Wording(between((0.06, 0.14), (0.25, 0.35)), "with its seat just above the floor | with its hips low", 1.2),
    ),
    ("pelvis", Wording(above((0.6, 0.72)), "with its hips high above the floor | with its seat high up", 0.6)),
    ("tilt", Wording(below((0.1, 0.3)), "with an upright trunk | holding itself upright | with a straight back", 1.5)),
    ("tilt", Wording(between((0.2, 0.4), (0.6, 0.9)), "leaning slightly | with its trunk a little tilted", 1.2)),
    ("tilt", Wording(between((0.6, 0.8), (1.2, 1.4)), "with its trunk tilted far | leaning heavily", 1.2)),
    ("tilt", Wording(above((1.3, 1.6)), "with its trunk level with the floor | with a lying trunk", 1.2)),
    ("tilt", Wording(above((1.9, 2.3)), "upside down | head first", 2.0)),
)
"""What is said of height and uprightness."""

_GROUPS = (POSTURES, ARMS, LEGS, HEIGHTS)

_SUBJECTS = phrases(
    "a humanoid robot | a humanoid robot | a robot | a robot | the robot | a humanoid | the humanoid robot"
)
_PREFIXES = ("", "", "", "", "", "", "a picture of ", "an image of ")
_FACING = phrases("facing the camera | seen from the front | facing us")
_BACK = phrases("seen from behind | facing away | with its back to the camera")
_SIDE = phrases("seen from the side | turned to the side | in profile")
_GENERIC = phrases("somewhere | in some posture | that moves | in a simulation | in an empty place")


class HumanoidCaptioner:
    """States, frames and captions of the humanoid.

    A state is which of `LOOKS` it is drawn in, then ``qpos`` and ``qvel``:
    float64 ``[48]``. Frames come from the simulator: see `simulators`.
    """

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a look and a posed state (`draw_state`)."""
        look = int(rng.choice(len(LOOKS), p=[look.share for look in LOOKS]))
        return np.concatenate([[look], draw_state(rng, shared_model())[0]])

    def simulators(self) -> Sequence[SimulatorFactory]:
        """The simulator that draws each look."""
        return [partial(build_humanoid, config=look.config) for look in LOOKS]

    def split(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which simulator draws each of the states, int64 ``[n]``, and what to put it into, float64 ``[n 47]``."""
        return states[:, 0].astype(np.int64), states[:, 1:]

    def caption(self, state: np.ndarray, rng: np.random.Generator) -> str:
        """One true sentence about the state; never held out (`is_held_out`)."""
        look = LOOKS[int(state[0])]
        facts = _facts(state[1:].tobytes())
        return accept(lambda: _sentence(look, facts, rng))


_Facts: TypeAlias = tuple[tuple[list[float], ...], np.ndarray]
"""What each of the things that can be said is judged by, for each of `_GROUPS`; and `Body.heading`."""


@lru_cache(maxsize=100_000)
def _facts(state: bytes) -> _Facts:
    """Measure a state once: a training visits it many times, and measuring takes longer than saying."""
    body = measure_state(np.frombuffer(state))
    return tuple([float(MEASURES[measure](body)) for measure, _ in group] for group in _GROUPS), body.heading


def _sentence(look: Look, facts: _Facts, rng: np.random.Generator) -> str | None:
    subject = pick(_PREFIXES, rng) + pick(_SUBJECTS if rng.random() < 0.85 else look.nouns, rng)
    tail = _tail(look, facts, rng)
    kind = rng.random()
    if kind < 0.06:
        return f"{subject} {pick(_GENERIC, rng)}{tail}" if rng.random() < 0.5 else f"{subject}{tail}"
    posture, arms, legs, height = (
        say([(wording, value) for (_, wording), value in zip(group, values, strict=True)], rng)
        for group, values in zip(_GROUPS, facts[0], strict=True)
    )
    if kind < 0.36:
        return posture and f"{subject} {posture}{tail}"
    if kind < 0.58:
        return posture and arms and f"{subject} {posture}{pick((' with ', ', with '), rng)}{arms}{tail}"
    if kind < 0.70:
        return posture and legs and f"{subject} {posture} with {legs}{tail}"
    if kind < 0.78:
        return arms and f"{subject} with {arms}{tail}"
    if kind < 0.84:
        return legs and f"{subject} with {legs}{tail}"
    if kind < 0.90:
        return height and f"{subject} {height}{tail}"
    if kind < 0.95:
        return posture and height and f"{subject} {posture}, {height}{tail}"
    return posture and arms and legs and f"{subject} {posture}, with {arms} and {legs}{tail}"


def _tail(look: Look, facts: _Facts, rng: np.random.Generator) -> str:
    """Now and then where it is, or from where it is seen."""
    mark = rng.random()
    if mark < 0.08:
        return f" {pick(look.places, rng)}"
    if mark < 0.16:
        # The fixed camera looks along -x, the other along +y.
        towards, clearly = facts[1][0] if look.from_front else -facts[1][1], math.cos(math.radians(50))
        return f", {pick(_FACING if towards > clearly else _BACK if towards < -clearly else _SIDE, rng)}"
    return ""
