"""The README of a data set of states: what the hub and `datasets` read of it, and what a person wants to know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_READ = """from datasets import load_dataset

states = load_dataset("imagefolder", data_dir=".")["train"]"""
_COLUMNS = {
    "file_name": "`image`: the picture of the state",
    "label": "`label`: whether the task's criterion holds{label_source}",
    "state": "`state`: the numbers that the simulator was in, in the order below",
    "true_reward": "`true_reward`: the simulator's own reward of the step that led to the state",
    "group": "`group`: states with the same number come from one episode, and are no independent draws",
    "origin": "`origin`: where the state comes from",
}


def dataset_card(
    facts: Mapping[str, Any], row: Mapping[str, Any], state_names: Sequence[str], state_units: Sequence[str]
) -> str:
    """Write the card.

    Args:
        facts: What the states are: ``task``, ``goal``, ``criterion``, ``command``, ``size`` (of the pictures),
            ``states`` (as in `StateSet.facts`), ``version`` and ``commit``.
        row: One line of the metadata, for the names of its columns.
        state_names: Dimensions of the state; may be empty.
        state_units: Their units; may be empty.

    Returns:
        Markdown with a YAML header.
    """
    states = facts["states"]
    title = f"States of {facts['task']}"
    # JSON texts are YAML texts, whatever is in them.
    header = [
        "---",
        f"pretty_name: {json.dumps(title)}",
        "tags:",
        "- vlm-rewards",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/train/*",
        "  drop_labels: true",
        "---",
    ]
    balance = f", {states['goal_states']:,} of them goal states" if "goal_states" in states else ""
    made = f"version {facts['version']}" + (f", commit {facts['commit']}" if facts["commit"] else "")
    body = [
        f"# {title}",
        f"{states['states']:,} states of a simulator{balance}, to judge rewards on: pictures of {facts['size']} x "
        f"{facts['size']} pixels, with what is known of each. The sentence in question: “{facts['goal']}”.",
        f"The criterion: {facts['criterion'] or 'none; nobody can say which states are goals'}",
        f"Where they come from: {states['generator']}, seed {states['seed']}. No encoder had a part in it. "
        "`facts.json` has all of this for programs.",
        f"Made by vlm-rewards, {made}:",
        f"```console\n$ {facts['command']}\n```",
        f"```python\n{_READ}\n```",
        "## Columns",
        "\n".join(f"- {_column(name, states)}" for name in row),
    ]
    if state_names:
        units = state_units or [""] * len(state_names)
        table = [
            f"| {index} | `{name}` | {unit} |"
            for index, (name, unit) in enumerate(zip(state_names, units, strict=True))
        ]
        body += ["## The numbers of a state", "\n".join(["| | name | unit |", "| --- | --- | --- |", *table])]
    return "\n".join(header) + "\n\n" + "\n\n".join(body) + "\n"


def _column(name: str, states: Mapping[str, Any]) -> str:
    if name not in _COLUMNS:
        return f"`{name}`: whether the criterion of {name.removeprefix('label_')!r} holds"
    source = f", as said by {states['labels_from']}" if "labels_from" in states else ""
    return _COLUMNS[name].format(label_source=source)
