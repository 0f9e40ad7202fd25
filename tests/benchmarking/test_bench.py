"""``make bench``, small."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench.__main__ import main


def run(*arguments: str) -> Any:
    try:
        return main([*arguments])
    except SystemExit as stop:  # what tyro refuses
        return stop.code


SMALL = ("--quick", "--repeats", "2", "--architectures", "ViT-S-32-alt", "--mujoco", "InvertedPendulum-v5")
SMALL += ("--humanoid-n-envs", "1")  # the common way draws some ten frames a second


@pytest.mark.alone
@pytest.mark.parametrize(
    ("stages", "names"),
    [
        (
            ("drawing", "preprocessing", "embedding", "updates", "collection"),
            [
                "drawing CartPole, 96 px",
                "drawing CartPole, 224 px",
                "drawing InvertedPendulum-v5, 224 px",
                "preprocessing for bundled encoder, 96 px",
                "embedding, bundled encoder",
                "preprocessing for ViT-S-32-alt (random weights)",
                "embedding, ViT-S-32-alt (random weights)",
                "labelled frames, ViT-S-32-alt (random weights)",
                "updates of DQN, CartPole",
                "updates of SAC, Humanoid's observations",
                "collection and labelling, CartPole, bundled encoder",
                "collection and labelling, humanoid (kneeling), bundled encoder",
            ],
        ),
        (
            ("end-to-end",),
            ["end-to-end, CartPole, bundled encoder", "end-to-end, humanoid (kneeling), bundled encoder"],
        ),
    ],
    ids=["stages", "whole-runs"],
)
def test_every_number_can_be_computed_again_from_the_runs(
    stages: tuple[str, ...], names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    assert run(*SMALL, "--json", "--out", str(out), "--stages", *stages) == 0
    printed = capsys.readouterr().out
    record: dict[str, Any] = json.loads(printed)
    assert json.loads(out.read_text()) == record
    assert record["kind"] == "bench"
    assert record["repeats"] == 2
    assert record["torch_threads"] == 1
    assert record["command"].startswith("make bench ARGS='--quick")
    assert record["machine"]["cores"] >= 1
    rows = {row["name"]: row for row in record["measurements"]}
    assert list(rows) == names
    for row in rows.values():
        assert len(row["runs"]) == 2
        assert min(row["runs"]) > 0
        assert row["median"] == pytest.approx(median(row["runs"]), rel=1e-4)
        if "beside" in row:
            ratios = [one / other for one, other in zip(row["runs"], row["beside"]["runs"], strict=True)]
            assert row["ratio"]["runs"] == pytest.approx(ratios, rel=1e-3)
            assert row["ratio"]["median"] == pytest.approx(median(ratios), rel=1e-3)
        if row["name"].startswith("labelled frames"):
            assert row["beside"]["name"] == "bare encoder"
        if row["name"].startswith("end-to-end"):
            each = 0.75 if "humanoid" in row["name"] else 0.5
            assert row["settings"]["updates_per_rollout"] / row["settings"]["rollout"] == each
        if row["name"].startswith("collection"):
            # Far below what was measured, and far above what would mean that the fast way is not taken.
            assert row["ratio"]["median"] > 1


@pytest.mark.slow
def test_the_table_names_what_was_compared(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run("--quick", "--stages", "preprocessing", "updates", "--architectures", "RN50") == 0
    table = capsys.readouterr().out
    assert "preprocessing for RN50 (random" in table
    assert "common way" in table
    assert "updates/s" in table
    assert "medians of 1" in table
    assert "embedding" not in table


def test_what_cannot_be_measured_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        (("--stages", "drawin"), "unknown stage 'drawin'. Did you mean 'drawing'"),
        (("--repeats", "0"), "repeats must be"),
        (("--architectures", "ViT-B-33", "--stages", "embedding"), "unknown architecture 'ViT-B-33'"),
        (("--out", str(tmp_path / "no" / "bench.json")), "out must lie in a folder that exists"),
    ]:
        assert run("--quick", *arguments) == 2
        error = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert message in error
        assert "Traceback" not in error
