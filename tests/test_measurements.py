"""The committed measurements hold what the documentation says of them, and what the project promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BENCH: dict[str, Any] = json.loads((DOCS / "measurements" / "bench.json").read_text())
ROWS = {row["name"]: row for row in BENCH["measurements"]}
KILLS: dict[str, Any] = json.loads((DOCS / "measurements" / "kill-and-resume.json").read_text())


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table() -> list[str]:
    """The lines of the table in docs/speed.md."""
    lines = []
    for row in ROWS.values():
        beside, ratio = row.get("beside"), row.get("ratio")
        cells = [row["name"], row["unit"], number(row["median"])]
        cells += [f"{number(beside['median'])} ({beside['name']})" if beside else ""]
        cells += [f"{ratio['median']:.3g} ({ratio['lowest']:.3g} to {ratio['highest']:.3g})" if ratio else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def test_the_page_on_speed_has_the_numbers_of_the_record() -> None:
    page = (DOCS / "speed.md").read_text().splitlines()
    for line in table():
        assert line in page
    assert BENCH["repeats"] >= 5
    assert "dirty" not in BENCH["commit"]
    assert BENCH["commit"][:7] in "\n".join(page)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("labelled frames, ViT-B-32 (random weights)", 0.9),
        ("collection and labelling, CartPole, bundled encoder", 4.0),
        ("end-to-end, CartPole, bundled encoder", 2.0),
    ],
)
def test_ratios_are_those_that_were_promised(name: str, least: float) -> None:
    assert ROWS[name]["ratio"]["median"] >= least


def test_memory_does_not_grow_with_rollouts() -> None:
    short, long = (row["median"] for name, row in ROWS.items() if name.startswith("peak memory"))
    assert abs(long - short) < 20


def test_no_kill_left_a_trace() -> None:
    assert KILLS["kills"] == 20
    assert len(KILLS["runs"]) == 2
    for run in KILLS["runs"].values():
        assert len(run["kills"]) == 20
        assert not any(kill["differences"] or kill["processes_left"] for kill in run["kills"])
