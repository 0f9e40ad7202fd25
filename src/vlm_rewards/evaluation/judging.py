"""Encoders, prompts and strengths of the baseline, judged on one set of states: the logic of ``vlm-rewards judge``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_rewards.arrays import Embeddings, Frames
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.errors import InvalidInputError, check_prompt
from vlm_rewards.evaluation.epic import check_labelled, check_rewards
from vlm_rewards.evaluation.states import StateSet
from vlm_rewards.evaluation.statistics import Estimate, PearsonBootstrap, ranked
from vlm_rewards.rewards.goal_baseline import check_alpha, goal_baseline_sweep

ALPHAS = tuple(round(0.1 * step, 1) for step in range(11))
_EXTREMES = 12  # highest- and lowest-scoring states that are named
_BINS = 40
_FARTHEST = 4.0  # standard deviations that a histogram reaches; beyond go into its last bins


@dataclass(frozen=True)
class PromptPair:
    """A goal and what it is compared with."""

    goal: str
    """What the state should look like."""
    baseline: str
    """What any state looks like."""


@dataclass(frozen=True)
class Judgement:
    """How one reward did: an encoder, a pair of prompts, a strength."""

    encoder: int
    """Place of the encoder among those judged."""
    prompt: int
    """Place of the prompts."""
    alpha: float
    """Strength of the baseline."""
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


@dataclass(frozen=True)
class Judged:
    """All that was judged, and what it takes to show it."""

    encoders: tuple[dict[str, Any], ...]
    """What each encoder says of itself."""
    prompts: tuple[PromptPair, ...]
    """The pairs of prompts."""
    alphas: tuple[float, ...]
    """The strengths."""
    rows: tuple[Judgement, ...]
    """One for each encoder, pair and strength, in that order."""
    histograms: tuple[dict[str, Any], ...]
    """Of standardised rewards of goal states and others, for each encoder and pair at one strength (figure 7)."""
    reference: str
    """What the rewards were compared with: ``"labels"`` or ``"true_reward"``."""
    clustered: bool
    """Whether the intervals come from drawing whole episodes."""
    focus: float
    """The strength at which histograms were made."""

    def row(self, encoder: int, prompt: int, alpha: float) -> Judgement:
        """Find one judgement.

        Raises:
            InvalidInputError: There is none.
        """
        for row in self.rows:
            if (row.encoder, row.prompt, row.alpha) == (encoder, prompt, alpha):
                return row
        raise InvalidInputError(f"nothing was judged at encoder {encoder}, prompt {prompt}, alpha {alpha:g}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for a record; figures are drawn from it."""
        return {
            "reference": self.reference,
            "focus": self.focus,
            "interval": "95 % bootstrap over " + ("episodes" if self.clustered else "states"),
            "encoders": list(self.encoders),
            "prompts": [{"goal": pair.goal, "baseline": pair.baseline} for pair in self.prompts],
            "alphas": list(self.alphas),
            "rows": [_row(row) for row in self.rows],
            "histograms": list(self.histograms),
        }


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


def judge(
    encoders: Sequence[Callable[[], ImageTextEncoder]],
    prompts: Sequence[PromptPair],
    alphas: Sequence[float],
    states_at: Callable[[int], StateSet],
    *,
    embed: Callable[[ImageTextEncoder, Frames], Embeddings] | None = None,
    focus: float | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> Judged:
    """Judge every encoder with every pair of prompts at every strength.

    Each frame is embedded once an encoder, whatever the number of prompts and
    strengths. Encoders are made, used and dropped one after another.

    Args:
        encoders: Make an encoder each.
        prompts: Pairs of prompts, at least one.
        alphas: Strengths of the baseline, at least one, in [0, 1].
        states_at: The states with frames of a size, always the same states.
        embed: Embeds frames; default: through the cache (`EmbeddingCache`).
        focus: The strength at which histograms are made, one of ``alphas``; default: the one nearest 0.5.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        What came out.

    Raises:
        InvalidInputError: There is nothing to judge, the states have neither labels nor rewards to compare with or
            are of one kind, a reward is constant, or ``states_at`` gives other states for another size.
    """
    strengths = tuple(dict.fromkeys(check_alpha(alpha) for alpha in alphas))
    if not encoders or not prompts or not strengths:
        raise InvalidInputError("encoders, prompts and alphas must each have at least one, got none.")
    at = min(strengths, key=lambda alpha: abs(alpha - 0.5)) if focus is None else focus
    if at not in strengths:
        raise InvalidInputError(f"focus must be one of the alphas {strengths}, got {at!r}.")
    embed = embed or EmbeddingCache().embed
    facts: list[dict[str, Any]] = []
    rows: list[Judgement] = []
    histograms: list[dict[str, Any]] = []
    reference, bootstrap = None, None
    for number, make in enumerate(encoders):
        encoder = make()
        states = states_at(encoder.image_size)
        if reference is None or bootstrap is None:
            reference = _reference(states)
            bootstrap = PearsonBootstrap(reference, states.groups, resamples=resamples, seed=seed)
        elif not np.array_equal(reference, _reference(states)):
            raise InvalidInputError("states_at must give the same states for every size of frame, it did not.")
        facts.append(encoder.describe())
        swept = _sweep(encoder, embed(encoder, states.frames), prompts, strengths)
        for pair, rewards in enumerate(swept):
            rows += _judge_pair(encoder.name, number, pair, strengths, rewards, reference, bootstrap)
            if reference.dtype == np.bool_:
                chosen = rewards[strengths.index(at)]
                histograms.append({"encoder": number, "prompt": pair, "alpha": at, **_histogram(chosen, reference)})
        del encoder, states  # before the next are made
    kind = "labels" if reference is not None and reference.dtype == np.bool_ else "true_reward"
    clustered = bootstrap is not None and bootstrap.clustered
    return Judged(tuple(facts), tuple(prompts), strengths, tuple(rows), tuple(histograms), kind, clustered, at)


def _reference(states: StateSet) -> NDArray[Any]:
    if states.labels is not None:
        return states.labels
    if states.true_rewards is not None:
        return states.true_rewards
    raise InvalidInputError(
        "the states have nothing to compare a reward with: no criterion, no labels, and no true reward, as no step led "
        "to them. Give labels, or judge states that policies visit."
    )


def _sweep(
    encoder: ImageTextEncoder, embeddings: Embeddings, prompts: Sequence[PromptPair], alphas: Sequence[float]
) -> NDArray[np.float32]:
    """Rewards float32 ``[p a n]``; each sentence is embedded once."""
    sentences = list(dict.fromkeys(text for pair in prompts for text in (pair.goal, pair.baseline)))
    vectors = dict(zip(sentences, encoder.embed_texts(sentences), strict=True))
    goals = np.stack([vectors[pair.goal] for pair in prompts])
    baselines = np.stack([vectors[pair.baseline] for pair in prompts])
    return goal_baseline_sweep(embeddings, goals, baselines, np.array(alphas))


def _judge_pair(
    name: str,
    encoder: int,
    prompt: int,
    alphas: Sequence[float],
    rewards: NDArray[np.float32],
    reference: NDArray[Any],
    bootstrap: PearsonBootstrap,
) -> list[Judgement]:
    labelled = reference.dtype == np.bool_
    for alpha, values in zip(alphas, rewards, strict=True):
        try:
            check_labelled(values, reference) if labelled else check_rewards(values, reference)
        except InvalidInputError as error:
            raise InvalidInputError(f"encoder {name!r}, prompts {prompt + 1}, alpha {alpha:g}: {error}") from None
    epics = bootstrap.distances(rewards)
    found: list[Judgement] = []
    for alpha, values, epic, rank, area in zip(alphas, rewards, epics, *ranked(rewards, reference), strict=True):
        order = np.argsort(-values, kind="stable")
        found.append(
            Judgement(
                encoder=encoder,
                prompt=prompt,
                alpha=alpha,
                epic=epic,
                auroc=float(area) if labelled else None,
                spearman=float(rank),
                highest=tuple(order[:_EXTREMES].tolist()),
                lowest=tuple(order[::-1][:_EXTREMES].tolist()),
            )
        )
    return found


def _histogram(rewards: NDArray[np.float32], labels: NDArray[np.bool_]) -> dict[str, Any]:
    values = rewards.astype(np.float64)
    standard = np.clip((values - values.mean()) / values.std(), -_FARTHEST, _FARTHEST)
    edges = np.linspace(-_FARTHEST, _FARTHEST, _BINS + 1)
    goal, other = (np.histogram(standard[mask], edges)[0].tolist() for mask in (labels, ~labels))
    return {"edges": edges.round(3).tolist(), "goal": goal, "other": other}


def _row(row: Judgement) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 5)

    return {
        "encoder": row.encoder,
        "prompt": row.prompt,
        "alpha": row.alpha,
        "epic": rounded(row.epic.value),
        "epic_low": rounded(row.epic.low),
        "epic_high": rounded(row.epic.high),
        "auroc": rounded(row.auroc),
        "spearman": rounded(row.spearman),
        "highest": list(row.highest[:3]),
        "lowest": list(row.lowest[:3]),
    }
