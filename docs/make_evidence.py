"""Write the tables and numbers of README and docs from records and measurements: python docs/make_evidence.py.

What stands between <!-- evidence:NAME --> and <!-- /evidence --> in a page comes from the block of that name in
docs/evidence.md.j2; the tables of docs/results.md are what `vlm-rewards report docs/records` says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vlm_rewards.reporting.gathering import gather
from vlm_rewards.reporting.page import placed
from vlm_rewards.tasks.captions import PARAPHRASES
from vlm_rewards.templates import environment

DOCS = Path(__file__).parent
POSES = ("kneeling", "standing", "lotus", "one-leg", "splits", "arms-raised", "hands-on-hips", "arms-crossed")
_PLACE = re.compile(r"(<!-- evidence:(\w+) -->)(.*?)(<!-- /evidence -->)", re.DOTALL)


def read(folder: str) -> dict[str, dict[str, Any]]:
    """Every JSON file of a folder of docs, by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((DOCS / folder).glob("*.json"))}


def blocks() -> dict[str, str]:
    """Every table and number, by its name."""
    records, measured = read("records"), read("measurements")
    learned = {
        pose: [records[name] for name in sorted(records) if re.fullmatch(rf"{pose}-\d+", name)] for pose in POSES
    }
    values = {
        "records": records,
        "measured": measured,
        "paraphrases": list(PARAPHRASES),
        "learned": learned,
        "ordered_runs": [f"{pose}-{run['seed']}" for pose, runs in learned.items() for run in runs],
        "learner_settings": _learner_settings(measured["learner-settings"]["rows"]),
        "rows_at": _rows_at,
    }
    markdown = environment(False).overlay()
    markdown.filters["thousands"] = "{:,}".format
    template = markdown.from_string((DOCS / "evidence.md.j2").read_text(encoding="utf-8"))
    context = template.new_context(vars=values)
    list(template.root_render_func(context))  # defines the macros that blocks use
    return {name: "".join(block(context)).strip("\n") for name, block in template.blocks.items()}


def pages() -> dict[Path, str]:
    """Every page with evidence in it, as it should be."""
    said, found = blocks(), {}
    for path in [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        filled = _PLACE.sub(lambda place: place[1] + _laid_out(said[place[2]]) + place[4], text)
        if path.name == "results.md":
            found[path] = placed(filled, gather([DOCS / "records"]))
        elif _PLACE.search(text):
            found[path] = filled
    return found


def _laid_out(text: str) -> str:
    return f"\n{text}\n" if "\n" in text else text


def _rows_at(record: dict[str, Any], alpha: float) -> list[dict[str, Any]]:
    """Of a judgement, the task's own prompt first."""
    rows = [row for row in record["rows"] if row["alpha"] == alpha]
    return sorted(rows, key=lambda row: (row["prompt"], row["encoder"]))


def _learner_settings(rows: dict[str, Any]) -> list[tuple[str, Any, float, float]]:
    """Name, curve and the share of steps in percent, over all evaluations and over the last three; the best first."""
    told = []
    for name, row in rows.items():
        held = [100 * point["share_of_steps"] for point in row["curve"]]
        told.append((name, row["curve"], sum(held) / len(held), sum(held[-3:]) / 3))
    return sorted(told, key=lambda row: -row[3])


if __name__ == "__main__":
    for page, content in pages().items():
        page.write_text(content, encoding="utf-8")
