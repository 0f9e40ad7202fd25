"""The model card, written from the training record: no number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlm_rewards.finetuning.config import FROM_SCRATCH, FinetuneConfig
from vlm_rewards.tasks.builtin import GOALS
from vlm_rewards.tasks.captions import NEAREST_ALLOWED, PAPER_PROMPTS, STOP_WORDS, content_words, jaccard
from vlm_rewards.tasks.task import Task

_CAPTIONS = 50_000
_NEAREST = 3


def model_card(record: Mapping[str, Any], tasks: Sequence[Task], *, captions: int | None = None) -> str:
    """Write the card.

    Args:
        record: The training record.
        tasks: Tasks trained on.
        captions: How many captions are drawn in search of those nearest to the paper's prompts; 50,000 if None.

    Returns:
        Markdown.
    """
    config = record["config"]
    sections = [
        _intro(config, record, tasks),
        _data(config, tasks),
        _training(config, record),
        _metrics(record["evaluation"]),
        _held_out(config, tasks, _CAPTIONS if captions is None else captions),
        _LIMITS,
        f"## Making it again\n\n    {record['command']}\n\n"
        "The same seed on the same machine with the same versions gives the same weights, bit for bit.\n",
    ]
    return "\n".join(sections)


_LIMITS = """## Limits

* It has seen nothing but the drawings of the tasks above. On any other frame its answer means nothing.
* It knows the words of its caption grammar. The embedding of any token that training never met is zero: such a word
  adds nothing (its place in the sentence still counts a little), so a prompt made of unknown words says nothing.
* Negation, numbers other than angles in steps of five degrees, colours beyond those named in captions, and sentences
  about several cars or poles were not trained.
* A similarity is no probability. Use it as a reward, with the success criterion of the task as the judge.
"""


def _intro(config: Mapping[str, Any], record: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    scratch = "trained from scratch" if config["model"] in FROM_SCRATCH else f"fine-tuned from `{config['model']}`"
    count = record["parameters"]
    return (
        "# Model card\n\n"
        f"A contrastive image and text model in open_clip's format, {scratch} on captioned frames of simulators: "
        f"{', '.join(map(_simulator, tasks))}. {count['all']:,} parameters, {count['image_tower']:,} of them in "
        f"the image tower (the rest is mostly the table of text tokens).\n\n"
        "**In-domain, not zero-shot.** The paper's claim is about models that never saw the simulator. This one saw "
        "little else: it shows that the pipeline works, on a machine without GPU or network. It is no evidence that "
        "a vision-language model understands the task. For that, use a large pretrained model.\n"
    )


def _simulator(task: Task) -> str:
    return f"{task.name} (the humanoid, in poses of all kinds)" if task.name in GOALS else task.name


def _shares(config: Mapping[str, Any]) -> dict[str, int]:
    """Share of each task; a record does not name those that are the default."""
    names = tuple(config["tasks"])
    shares = FinetuneConfig(tasks=names, shares=tuple(config.get("shares", ())))
    return {name: shares.share(index) for index, name in enumerate(names)}


def _data(config: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    lines = "\n".join(f"* {task.name}: {_examples(task, config['seed'])}" for task in tasks)
    states = ", ".join(f"{share * config['states_per_task']:,} of {task}" for task, share in _shares(config).items())
    return (
        "## Data\n\n"
        f"States: {states}; from a sampler that covers what policies can visit, drawn "
        "as the simulator draws them. A grammar over the measured state writes the captions, anew at every visit; the "
        'limits of words such as "slightly" are drawn for each caption. Examples:\n\n'
        f"{lines}\n\n"
        "Frames are jittered in brightness, contrast, noise, place (1.5 %) and size (2 %); they are never mirrored.\n"
    )


def _examples(task: Task, seed: int, count: int = 5) -> str:
    rng = np.random.default_rng([seed, 4])
    captioner = task.captioner
    drawn = [captioner.caption(captioner.sample(rng), rng) for _ in range(count)] if captioner else []
    return "; ".join(f'"{caption}"' for caption in drawn)


def _training(config: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    machine, seconds, loss = record["machine"], record["seconds"], record["loss"]["mean"]
    frames = config["steps"] * config["pictures_per_task"] * sum(_shares(config).values())
    rows = {
        "loss": f"open_clip's {config['loss']}, {config['within_task']:g} of it among frames of one task",
        "steps": f"{config['steps']:,}, {frames:,} frames, {config['captions_per_picture']} captions for each",
        "optimiser": f"AdamW, peak {config['learning_rate']:g}, {config['warmup_steps']} steps of warm-up, cosine",
        "frozen": config["freeze"],
        "seed": config["seed"],
        "loss, first and last fortieth": f"{loss[0]:.3f}, {loss[-1]:.3f}",
        "seconds": f"{seconds['drawing']:g} drawing, {seconds['training']:g} training",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {record['config']['threads']} thread(s) used, "
        f"device {record['device']}",
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "commit": record["commit"],
    }
    return "## Training\n\n| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _metrics(evaluation: Mapping[str, Any]) -> str:
    lines = [
        "## Metrics",
        "",
        "On states that training did not see. Retrieval is among up to 64 captions or frames of the same task; most",
        "captions are true of several of them, so it cannot reach 1.",
        "",
        "| task | frame to caption | caption to frame | chance |",
        "| --- | --- | --- | --- |",
    ]
    for name, facts in evaluation.items():
        found = facts["retrieval"]
        lines.append(f"| {name} | {found['picture_to_caption']} | {found['caption_to_picture']} | {found['chance']} |")
    for name, facts in evaluation.items():
        if facts["landscape"]:
            lines += ["", *_landscape_table(name, facts["landscape"])]
    return "\n".join(lines) + "\n"


def _landscape_table(name: str, facts: Mapping[str, Any]) -> list[str]:
    alphas = [key for key in facts if key.startswith("alpha")]
    marks = list(facts[alphas[0]]["scaled_reward"])
    lines = [
        f"Reward of the task's own prompts, held out of training, for **{name}** over {facts['axis']} "
        f"({facts['unit']}), scaled to [0, 1]. In brackets: the range of the best place over all else.",
        "",
        f"| | greatest at | {' | '.join(marks)} |",
        "| --- | --- |" + " --- |" * len(marks),
    ]
    for alpha in alphas:
        row = facts[alpha]
        best = f"{row['best']:g} ({row['best_lowest']:g} to {row['best_highest']:g})"
        values = " | ".join(f"{value:.2f}" for value in row["scaled_reward"].values())
        lines.append(f"| {alpha} | {best} | {values} |")
    return lines


def _held_out(config: Mapping[str, Any], tasks: Sequence[Task], captions: int) -> str:
    pool = sorted(_caption_pool(config["seed"], tasks, captions))
    lines = [
        "## Held-out prompts",
        "",
        "No caption has the same set of content words as a prompt of the paper, in any order. None has all the content",
        f"words of a goal prompt and more, nor an overlap with a goal (Jaccard) above {NEAREST_ALLOWED}. Content words",
        f"are all words but: {', '.join(sorted(STOP_WORDS))}.",
        f"The nearest of {captions:,} captions drawn with a fixed seed, by shared over all content words (Jaccard):",
        "",
        "| prompt of the paper | nearest captions |",
        "| --- | --- |",
    ]
    for prompt in PAPER_PROMPTS:
        lines.append(f"| {prompt} | {_nearest(prompt, pool)} |")
    return "\n".join(lines) + "\n"


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
