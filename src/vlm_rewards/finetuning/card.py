"""The model card, written from the training record: no number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlm_rewards.finetuning.config import FROM_SCRATCH, FinetuneConfig
from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.captions import NEAREST_ALLOWED, PAPER_PROMPTS, STOP_WORDS, content_words, jaccard
from vlm_rewards.tasks.task import Task
from vlm_rewards.templates import render

_NEAREST = 3


def model_card(record: Mapping[str, Any], tasks: Sequence[Task], *, captions: int = 50_000) -> str:
    """The card, as Markdown, of an encoder that was trained on these tasks.

    So many captions are drawn in search of those nearest to the paper's prompts.
    """
    config = record["config"]
    names = tuple(config["tasks"])
    shares = FinetuneConfig(tasks=names, shares=tuple(config.get("shares", ())))  # a record names none that is usual
    pool = sorted(_caption_pool(config["seed"], tasks, captions))
    return render(
        "finetuning/model_card.md.j2",
        record=record,
        config=config,
        scratch=config["model"] in FROM_SCRATCH,
        simulators=[f"{t.name} (the humanoid, in poses of all kinds)" if t.name in GOALS else t.name for t in tasks],
        shares={name: shares.share(index) for index, name in enumerate(names)},
        examples={task.name: _examples(task, config["seed"]) for task in tasks},
        alphas_of={
            name: [key for key in facts["landscape"] or () if key.startswith("alpha")]
            for name, facts in record["evaluation"].items()
        },
        nearest_allowed=NEAREST_ALLOWED,
        stop_words=STOP_WORDS,
        captions=captions,
        nearest={prompt: _nearest(prompt, pool) for prompt in PAPER_PROMPTS},
    )


def _examples(task: Task, seed: int, count: int = 5) -> list[str]:
    rng = np.random.default_rng([seed, 4])
    captioner = task.captioner
    return [captioner.caption(captioner.sample(rng), rng) for _ in range(count)] if captioner else []


def _caption_pool(seed: int, tasks: Sequence[Task], count: int) -> set[str]:
    rng = np.random.default_rng([seed, 5])
    captioners = [task.captioner for task in tasks if task.captioner is not None]
    share = -(-count // len(captioners))
    return {captioner.caption(captioner.sample(rng), rng) for captioner in captioners for _ in range(share)}


def _nearest(prompt: str, pool: Sequence[str]) -> str:
    wanted = content_words(prompt)
    scored = sorted(((jaccard(prompt, caption), caption) for caption in pool), key=lambda pair: (-pair[0], pair[1]))
    shown: list[str] = []
    seen: set[frozenset[str]] = set()
    for score, caption in scored:
        words = content_words(caption)
        if words not in seen and words & wanted:
            seen.add(words)
            shown.append(f"{caption} ({score:.2f})")
        if len(shown) == _NEAREST:
            break
    return "; ".join(shown) or "none shares a content word"
