"""How far rewards are from the truth on one set of states, before anything is trained: any reward, or many at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.arrays import Embeddings, Frame, Frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.errors import InvalidInputError, check_prompt
from vlm_rewards.evaluation.epic import check_labelled, check_rewards
from vlm_rewards.evaluation.states import StateSet
from vlm_rewards.evaluation.statistics import Estimate, PearsonBootstrap, ranked
from vlm_rewards.media import montage
from vlm_rewards.rewards.base import EmbeddingReward, FrameReward, as_frame_reward, check_scores
from vlm_rewards.rewards.config import RewardConfig, build_reward, needs_encoder
from vlm_rewards.rewards.goal_baseline import check_alpha, goal_baseline_sweep
from vlm_rewards.rewards.registry import get_form

ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))
GOAL_BASELINE = "goal-baseline"
"""The form that alone is swept over alpha."""
_EXTREMES = 12  # highest- and lowest-scoring states that are named
_BINS = 40
_FARTHEST = 4.0  # standard deviations that a histogram reaches; beyond go into its last bins
_CHUNK = 256  # frames that a reward without an encoder is given at a time
_FRAME_SIZE = 224  # of a plain function that does not say what it wants

Embed: TypeAlias = Callable[[ImageTextEncoder, Frames], Embeddings]
"""Embeds frames, such as `EmbeddingCache.embed`."""
Judgeable: TypeAlias = "FrameReward | PromptSweep | Callable[[Any], Any]"
"""What can be judged: a reward, many of them over one encoder, or a plain function of frames."""


@dataclass(frozen=True)
class PromptPair:
    """A goal and what it is compared with."""

    goal: str
    """What the state should look like."""
    baseline: str
    """What any state looks like."""


def prompt_pairs(goals: Sequence[str], baselines: Sequence[str]) -> tuple[PromptPair, ...]:
    """Every goal with every baseline.

    Raises:
        InvalidInputError: A prompt is none, or a goal is also a baseline.
    """
    for field, prompts in (("goal", goals), ("baseline", baselines)):
        for prompt in prompts:
            check_prompt(field, prompt)
    both = sorted(set(goals) & set(baselines))
    if both:
        raise InvalidInputError(f"goal and baseline must differ, both are {both[0]!r}.")
    return tuple(PromptPair(*pair) for pair in itertools.product(dict.fromkeys(goals), dict.fromkeys(baselines)))


def check_alphas(alphas: Sequence[float], focus: float | None = None) -> tuple[float, ...]:
    """Return each strength of the baseline once: at least one, in [0, 1], ``focus`` among them if it is given."""
    if not alphas:
        raise InvalidInputError("alpha must have at least one value in [0, 1], got none.")
    strengths = tuple(dict.fromkeys(check_alpha(alpha) for alpha in alphas))
    if focus is not None and focus not in strengths:
        raise InvalidInputError(f"focus must be one of the alphas {strengths}, got {focus!r}.")
    return strengths


@dataclass(frozen=True)
class PromptSweep:
    """Eq. 3 over one encoder, for every pair of prompts at every alpha.

    However many there are, each frame and each prompt is embedded once.
    """

    encoder: ImageTextEncoder
    """Embeds frames and prompts."""
    prompts: Sequence[PromptPair]
    """Pairs of prompts, at least one; see `prompt_pairs`."""
    alphas: Sequence[float] = ALPHAS
    """Strengths of the baseline, at least one, in [0, 1]."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InvalidInputError("prompts must have at least one pair, got none.")
        object.__setattr__(self, "alphas", check_alphas(self.alphas))

    @property
    def frame_size(self) -> int:
        """Side in pixels of the square frames that the encoder wants."""
        return self.encoder.image_size

    def score(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Rewards of embedded frames, float32 ``[p a n]``."""
        # One call for all prompts: text embedded alone and in a batch differ in their last bits.
        sentences = list(dict.fromkeys(text for pair in self.prompts for text in (pair.goal, pair.baseline)))
        vectors = dict(zip(sentences, self.encoder.embed_texts(sentences), strict=True))
        goals = np.stack([vectors[pair.goal] for pair in self.prompts])
        baselines = np.stack([vectors[pair.baseline] for pair in self.prompts])
        return goal_baseline_sweep(embeddings, goals, baselines, np.array(self.alphas))


def named_rewards(
    forms: Sequence[RewardConfig],
    encoders: Iterable[Callable[[], ImageTextEncoder]],
    prompts: Sequence[PromptPair],
    alphas: Sequence[float] = ALPHAS,
    *,
    focus: float | None = None,
) -> Iterator[tuple[str, Judgeable]]:
    """Make every form over every encoder, one after another: no two encoders are in memory at a time.

    Goal-baseline is swept over the alphas; any other form which has a strength gets ``focus``, or else the alpha
    nearest 0.5. A form that takes no prompts is made once an encoder.
    """
    alpha = nearest_half(alphas) if focus is None else focus
    for config in forms:
        if not needs_encoder(config):
            nothing: Any = None
            pair = prompts[0]
            yield config.form, build_reward(config, nothing, goal=pair.goal, baseline=pair.baseline, alpha=alpha)
    for make in encoders if any(map(needs_encoder, forms)) else ():
        encoder = make()
        for config in filter(needs_encoder, forms):
            if config.form == GOAL_BASELINE:
                yield config.form, PromptSweep(encoder, prompts, alphas)
                continue
            made: list[dict[str, Any]] = []
            for pair in prompts:
                reward = build_reward(config, encoder, goal=pair.goal, baseline=pair.baseline, alpha=alpha)
                if reward.describe() not in made:  # else it takes no prompts, or not those that differ
                    made.append(reward.describe())
                    yield config.form, reward
                del reward
        del encoder  # before the next is made


def form_configs(forms: Sequence[str], **inputs: Any) -> tuple[RewardConfig, ...]:
    """Settings of several forms, each with those of the inputs (`OPTIONAL_INPUTS`) that it takes.

    What is None or empty is not given. Refuses a form that is named twice or lacks something, and an input that is of
    no use to any.
    """
    if not forms or len(set(forms)) < len(forms):
        raise InvalidInputError(f"form must be named once each, and at least one, got {', '.join(forms) or 'none'}.")
    given = {name: value for name, value in inputs.items() if value not in ((), None)}
    if len(forms) == 1:
        return (RewardConfig(form=forms[0], **given),)  # which refuses what is of no use
    taken = {form: {*get_form(form).needs, *get_form(form).takes} & given.keys() for form in forms}
    useless = sorted(given.keys() - set().union(*taken.values()))
    if useless:
        raise InvalidInputError(f"{useless[0]} is of no use to the reward forms {', '.join(forms)}; leave it out.")
    return tuple(RewardConfig(form=form, **{name: given[name] for name in names}) for form, names in taken.items())


def nearest_half(alphas: Sequence[float]) -> float:
    """The strength at which one is shown of many: the one nearest 0.5."""
    return min(alphas, key=lambda alpha: abs(alpha - 0.5))


class FrameScorer:
    """Scores frames with whatever can be judged; frames are embedded once for all rewards of an encoder in a row.

    Args:
        frames_at: Frames of a size, always of the same states: uint8 ``[n size size 3]``.
        embed: Embeds frames; default: through the cache.

    Attributes:
        encoders: What each encoder that was met says of itself.
    """

    def __init__(self, frames_at: Callable[[int], Frames], embed: Embed | None = None) -> None:
        self._frames_at = frames_at
        self._embed = embed or EmbeddingCache().embed
        self._keys: list[tuple[int, str]] = []
        self._last: tuple[int, Embeddings] | None = None
        self.encoders: list[dict[str, Any]] = []

    def __call__(self, reward: Judgeable) -> tuple[NDArray[np.float32], int | None]:
        """Score the frames: float32 ``[n]``, of a sweep ``[p a n]``, and the encoder's place in `encoders`, if any."""
        if getattr(reward, "cameras", 1) > 1:
            raise InvalidInputError("cameras must be one where rewards are judged: judge each by itself.")
        if isinstance(reward, PromptSweep | EmbeddingReward):
            encoder = reward.encoder
            place = self._place(encoder)
            if self._last is None or self._last[0] != place:
                self._last = place, self._embed(encoder, self._frames_at(reward.frame_size))
            return reward.score(self._last[1]), place
        plain = _frame_reward(reward)
        frames = self._frames_at(plain.frame_size)
        chunks = (frames[start : start + _CHUNK] for start in range(0, len(frames), _CHUNK))
        return np.concatenate([check_scores(plain(chunk), (len(chunk),)) for chunk in chunks]), None

    def _place(self, encoder: ImageTextEncoder) -> int:
        """Its place in `encoders`; a new one if need be. Kept by name and id: the encoder itself is not kept alive."""
        facts = encoder.describe()
        key = id(encoder), json.dumps(facts, sort_keys=True, default=str)
        if key not in self._keys:
            self._keys.append(key)
            self.encoders.append(facts)
        return self._keys.index(key)


def _frame_reward(reward: Any) -> FrameReward:
    return as_frame_reward(reward, getattr(reward, "frame_size", _FRAME_SIZE))


def each_named(rewards: Any) -> Iterator[tuple[str | None, Judgeable]]:
    """One reward, several, or several by name, as pairs of a name, if it has one, and a reward; none is kept alive."""
    if callable(rewards) or isinstance(rewards, PromptSweep):
        rewards = [rewards]
    for item in rewards.items() if isinstance(rewards, Mapping) else rewards:
        yield item if isinstance(item, tuple) else (None, item)
        del item


@dataclass(frozen=True)
class Judgement:
    """How one reward did."""

    form: str
    """What it is called: ``"goal-baseline"`` in a `PromptSweep`."""
    encoder: int | None
    """Place of its encoder among those judged; None without one."""
    prompt: int | None
    """Place of its prompts; None where it is not of a sweep."""
    alpha: float | None
    """Strength of the baseline; None where it is not of a sweep."""
    epic: Estimate
    """EPIC distance to the reference, with its bootstrap interval."""
    auroc: float | None
    """Probability that a goal state scores above another; None without labels."""
    spearman: float
    """Rank correlation with the reference."""
    highest: tuple[int, ...]
    """The states that score highest, the highest first."""
    lowest: tuple[int, ...]
    """The states that score lowest, the lowest first."""
    histogram: dict[str, Any] | None = None
    """Of standardised rewards of goal states and others (figure 7); of a sweep at one strength only."""
    facts: dict[str, Any] | None = None
    """What the reward says of itself, without its encoder; None in a sweep."""

    def to_dict(self, states: StateSet | None = None) -> dict[str, Any]:
        """JSON-able, rounded; extremes by their files, where the states come from files."""
        swept = {"prompt": self.prompt, "alpha": self.alpha}
        epic = {"epic": self.epic.value, "epic_low": self.epic.low, "epic_high": self.epic.high}
        numbers = {**epic, "auroc": self.auroc, "spearman": self.spearman}
        told = {
            "encoder": self.encoder,
            **(swept if self.facts is None else {"form": self.form, "reward": self.facts}),
            **{name: None if value is None else round(value, 5) for name, value in numbers.items()},
            "highest": _named(states, self.highest[:3]),
            "lowest": _named(states, self.lowest[:3]),
        }
        return told if self.facts is None else told | {"histogram": self.histogram}


@dataclass(frozen=True)
class Judged:
    """All that was judged, and what it takes to show it."""

    encoders: tuple[dict[str, Any], ...]
    """What each encoder says of itself."""
    prompts: tuple[PromptPair, ...]
    """The pairs of prompts of all sweeps."""
    alphas: tuple[float, ...]
    """The strengths of all sweeps."""
    rows: tuple[Judgement, ...]
    """One for each reward, in the order in which they came; in a sweep for each pair and strength, in that order."""
    reference: str
    """What the rewards were compared with: ``"labels"`` or ``"true_reward"``."""
    clustered: bool
    """Whether the intervals come from drawing whole episodes."""
    focus: float | None
    """The strength at which histograms of sweeps were made; None without a sweep."""

    @property
    def best(self) -> Judgement:
        """The reward with the least EPIC distance."""
        return min(self.rows, key=lambda row: row.epic.value)

    @property
    def histograms(self) -> list[dict[str, Any]]:
        """Those of sweeps, each with its place; JSON-able."""
        return [
            {"encoder": row.encoder, "prompt": row.prompt, "alpha": row.alpha, **row.histogram}
            for row in self.rows
            if row.histogram is not None and row.facts is None
        ]

    def to_dict(self, states: StateSet | None = None) -> dict[str, Any]:
        """JSON-able, for a record; figures are drawn from it.

        Args:
            states: What was judged on; extremes are called by their files where the states come from files.

        Returns:
            ``rows`` and ``histograms`` are of sweeps; ``forms``, where there is any, has a row for each other reward.
        """
        swept = [row.to_dict(states) for row in self.rows if row.facts is None]
        forms = [row.to_dict(states) for row in self.rows if row.facts is not None]
        told = {
            "reference": self.reference,
            "focus": self.focus,
            "interval": "95 % bootstrap over " + ("episodes" if self.clustered else "states"),
            "encoders": list(self.encoders),
            "prompts": [{"goal": pair.goal, "baseline": pair.baseline} for pair in self.prompts],
            "alphas": list(self.alphas),
            "rows": swept,
            "histograms": self.histograms,
        }
        return {**told, "forms": forms} if forms else told


def judge(
    rewards: Judgeable | Iterable[Judgeable | tuple[str, Judgeable]] | Mapping[str, Judgeable],
    states: StateSet | Callable[[int], StateSet],
    *,
    embed: Embed | None = None,
    focus: float | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> Judged:
    """Say how far rewards are from the truth on a set of states.

    Each frame is embedded once an encoder, and not again by a later call. Rewards are taken one after another, so that
    a generator may make and drop encoders one at a time.

    Args:
        rewards: A `FrameReward`, a plain function of frames, uint8 ``[n h w 3]`` to ``[n]``, or a `PromptSweep`; or
            any number of them, with names or without. Those of one encoder should follow each other.
        states: The states, or what draws them with frames of a size, always the same states (see `states_of`).
        embed: Embeds frames; default: through the cache (`EmbeddingCache`).
        focus: The strength at which histograms of a sweep are made, one of its alphas; default: the one nearest 0.5.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        What came out.

    Raises:
        InvalidInputError: There is nothing to judge, the states have neither labels nor rewards to compare with or
            are of one kind, a reward is constant, or ``states`` gives other states for another size.
    """
    judging = _Judging(states, embed, focus, resamples, seed)
    for name, reward in each_named(rewards):
        judging.add(name, reward)
        del reward  # an encoder goes before the next is made
    return judging.result()


class _Judging:
    """The states and what they are compared with, and what has been found so far."""

    def __init__(
        self, states: StateSet | Callable[[int], StateSet], embed: Embed | None, focus: float | None, *drawing: int
    ) -> None:
        self._states, self._focus, self._drawing = states, focus, drawing
        self._score = FrameScorer(self._frames, embed)
        self._reference: NDArray[Any] = np.empty(0)
        self._bootstrap: PearsonBootstrap | None = None
        self._prompts: dict[PromptPair, int] = {}
        self._alphas: dict[float, None] = {}
        self._shown: float | None = None
        self._rows: list[Judgement] = []

    def add(self, name: str | None, reward: Judgeable) -> None:
        if isinstance(reward, PromptSweep):
            shown = nearest_half(reward.alphas) if self._focus is None else self._focus
            check_alphas(reward.alphas, shown)
            rewards, encoder = self._score(reward)
            self._shown = shown if self._shown is None else self._shown
            self._alphas |= dict.fromkeys(reward.alphas)
            for pair, values in zip(reward.prompts, rewards, strict=True):
                prompt = self._prompts.setdefault(pair, len(self._prompts))
                where = f"encoder {reward.encoder.name!r}, prompts {prompt + 1}"
                about: dict[str, Any] = {"form": name or GOAL_BASELINE, "encoder": encoder, "prompt": prompt}
                self._rows += self._judged(values, reward.alphas, shown, where, about)
            return
        rewards, encoder = self._score(reward)
        facts = dict(_frame_reward(reward).describe())
        facts.pop("encoder", None)
        form = name or str(facts.get("name") or facts.get("formula") or type(reward).__name__)
        about = {"form": form, "encoder": encoder, "prompt": None, "facts": facts}
        self._rows += self._judged(rewards[None], [None], None, f"reward {form!r}", about)

    def result(self) -> Judged:
        if self._bootstrap is None:
            raise InvalidInputError("rewards must be at least one, got none.")
        return Judged(
            tuple(self._score.encoders),
            tuple(self._prompts),
            tuple(self._alphas),
            tuple(self._rows),
            "labels" if self._labelled else "true_reward",
            self._bootstrap.clustered,
            self._shown,
        )

    @property
    def _labelled(self) -> bool:
        return self._reference.dtype == np.bool_

    def _frames(self, size: int) -> Frames:
        states = self._states if isinstance(self._states, StateSet) else self._states(size)
        reference = _reference(states)
        if self._bootstrap is None:
            resamples, seed = self._drawing
            self._reference = reference
            self._bootstrap = PearsonBootstrap(reference, states.groups, resamples=resamples, seed=seed)
        elif not np.array_equal(self._reference, reference):
            raise InvalidInputError("states must be the same for every size of frame, they were not.")
        return states.frames

    def _judged(
        self,
        rewards: NDArray[np.float32],
        alphas: Sequence[float | None],
        shown: float | None,
        where: str,
        about: dict[str, Any],
    ) -> Iterator[Judgement]:
        """Judge rewards ``[a n]``; a histogram is made of those at the strength ``shown``."""
        reference, labelled = self._reference, self._labelled
        for alpha, values in zip(alphas, rewards, strict=True):
            try:
                check_labelled(values, reference) if labelled else check_rewards(values, reference)
            except InvalidInputError as error:
                name = where if alpha is None else f"{where}, alpha {alpha:g}"
                raise InvalidInputError(f"{name}: {error}") from None
        epics = self._bootstrap.distances(rewards) if self._bootstrap else []
        rows = zip(alphas, rewards, epics, *ranked(rewards, reference), strict=True)
        for alpha, values, epic, rank, area in rows:
            order = np.argsort(-values, kind="stable")
            yield Judgement(
                **about,
                alpha=alpha,
                epic=epic,
                auroc=float(area) if labelled else None,
                spearman=float(rank),
                highest=tuple(order[:_EXTREMES].tolist()),
                lowest=tuple(order[::-1][:_EXTREMES].tolist()),
                histogram=_histogram(values, reference) if labelled and alpha == shown else None,
            )


def _reference(states: StateSet) -> NDArray[Any]:
    if states.labels is not None:
        return states.labels
    if states.true_rewards is not None:
        return states.true_rewards
    raise InvalidInputError(
        "the states have nothing to compare a reward with: no criterion, no labels, and no true reward, as no step led "
        "to them. Give labels, or judge states that policies visit."
    )


def _histogram(rewards: NDArray[np.float32], labels: NDArray[np.bool_]) -> dict[str, Any]:
    values = rewards.astype(np.float64)
    standard = np.clip((values - values.mean()) / values.std(), -_FARTHEST, _FARTHEST)
    edges = np.linspace(-_FARTHEST, _FARTHEST, _BINS + 1)
    goal, other = (np.histogram(standard[mask], edges)[0].tolist() for mask in (labels, ~labels))
    return {"edges": edges.round(3).tolist(), "goal": goal, "other": other}


def _named(states: StateSet | None, places: Sequence[int]) -> list[Any]:
    return [states.name(place) for place in places] if states is not None and states.names else list(places)


def extremes(row: Judgement, states: StateSet, heading: str) -> Frame:
    """Put the highest- and the lowest-scoring states on one image: uint8 ``[h w 3]``."""

    def verdict(index: int) -> str:
        return "?" if states.labels is None else "goal" if states.labels[index] else "other"

    captions = [
        f"{end} {place}: {verdict(index)}\n{_named(states, [index])[0]}"
        for end, which in (("high", row.highest), ("low", row.lowest))
        for place, index in enumerate(which, start=1)
    ]
    shown = states.frames[[*row.highest, *row.lowest]]
    return montage(shown, captions, columns=6, heading=f"{heading}: the highest, then the lowest")
