"""Hold the humanoid's criteria against labels that raters gave from frames alone, and show examples.

    python benchmarks/criteria.py

It reads docs/measurements/humanoid-labels, writes docs/measurements/criteria.json, and draws docs/img/criteria.png: for
each pose a state that its criterion takes, one that it just refuses, and one that is far off.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.humanoid.body import MARGINS, measure_state
from vlm_rewards.tasks.humanoid.model import POSITIONS, build_humanoid

DOCS = Path(__file__).parent.parent / "docs"
LABELS = DOCS / "measurements" / "humanoid-labels"
RECORD = DOCS / "measurements" / "criteria.json"
PICTURE = DOCS / "img" / "criteria.png"
_SIDE, _CAPTION = 150, 18
_CLEAR = 0.25  # margin of a clear case


def read_labels(name: str = "labels") -> dict[str, np.ndarray]:
    """Labels of the 400 states, bool ``[400]`` by pose."""
    with (LABELS / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {pose: np.array([row[pose] == "1" for row in rows]) for pose in MARGINS}


def read_states() -> np.ndarray:
    """The labelled states, float64 ``[400 47]``."""
    with np.load(LABELS / "states.npz", allow_pickle=False) as file:
        return file["states"].astype(np.float64)


def margins_of(states: np.ndarray) -> dict[str, np.ndarray]:
    """Every criterion's margin of every state, float64 ``[n]`` by pose."""
    bodies = [measure_state(state) for state in states]
    return {pose: np.array([margin(body) for body in bodies]) for pose, margin in MARGINS.items()}


def agreement(margins: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """How far criteria and labels agree, and how far the two raters do."""
    labels, one, other = read_labels(), read_labels("rater-a"), read_labels("rater-b")
    found = {}
    for pose, margin in margins.items():
        held, said = margin >= 0, labels[pose]
        found[pose] = {
            "labelled": int(said.sum()),
            "held": int(held.sum()),
            "both": int((held & said).sum()),
            "agreement": round(float((held == said).mean()), 4),
            "raters_agree": round(float((one[pose] == other[pose]).mean()), 4),
            "refused_though_labelled": np.flatnonzero(said & ~held).tolist(),
            "taken_though_not_labelled": np.flatnonzero(held & ~said).tolist(),
        }
    return found


def examples(margins: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """A clear case that raters agree with, the nearest miss that they agree with, and a state that is far off."""
    labels = read_labels()
    chosen = {}
    for pose, margin in margins.items():
        best = np.where(labels[pose], margin, -np.inf).argmax()
        near = np.where(~labels[pose] & (margin < 0), margin, -np.inf).argmax()
        far = np.abs(margin - np.median(margin[margin < -1])).argmin()
        chosen[pose] = [int(best), int(near), int(far)]
    return chosen


def draw(states: np.ndarray, margins: dict[str, np.ndarray], chosen: dict[str, list[int]]) -> Image.Image:
    """Two poses to a row, three frames each, with the margin below."""
    simulator: Any = build_humanoid(_SIDE)
    simulator.reset(seed=0)
    font = ImageFont.load_default(12)
    sheet = Image.new("RGB", (6 * _SIDE + 12, 4 * (_SIDE + _CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (pose, numbers) in enumerate(chosen.items()):
        row, half = divmod(place, 2)
        for column, number in enumerate(numbers):
            left, top = (3 * half + column) * _SIDE + 12 * half, row * (_SIDE + _CAPTION)
            state = states[number]
            simulator.unwrapped.set_state(state[:POSITIONS], state[POSITIONS:])
            sheet.paste(Image.fromarray(np.ascontiguousarray(simulator.render())), (left, top))
            word = pose if column == 0 else ("near miss" if column == 1 else "far off")
            pen.text((left + 3, top + _SIDE + 2), f"{word} {margins[pose][number]:+.2f}", fill="black", font=font)
    simulator.close()
    return sheet


def main() -> None:
    states = read_states()
    margins = margins_of(states)
    chosen = examples(margins)
    record = {
        "kind": "criteria",
        "command": "python benchmarks/criteria.py",
        "states": len(states),
        "agreement": agreement(margins),
        "examples": chosen,
        **provenance(),
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    draw(states, margins, chosen).quantize(128).save(PICTURE, optimize=True)
    for pose, row in record["agreement"].items():
        print(
            f"| {pose} | {row['labelled']} | {row['held']} | {row['both']} | {row['agreement']:.2%} | "
            f"{row['raters_agree']:.2%} |"
        )


if __name__ == "__main__":
    main()
