"""``vlm-rewards report`` as a user meets it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from report_runs import RECORDS, record, run_folder
from vlm_rewards.cli import main
from vlm_rewards.reporting.page import BEGIN, END

ONE = RECORDS / "cartpole-0.json"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["report", *map(str, arguments)])
    return int(stop.value.code or 0)


def names(folder: str = ".") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    before = sorted(Path().rglob("*"))
    assert run(*arguments) == 2
    assert sorted(Path().rglob("*")) == before
    return " ".join(capsys.readouterr().err.split())


def test_one_page_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ONE) == 0
    text = Path("report.html").read_text()
    assert "<h1>1 run of cartpole</h1>" in text
    assert f"$ vlm-rewards report {ONE}</pre>" in text
    assert capsys.readouterr().out == f"report.html: {len(text.encode()) / 1e6:.2f} MB\n"
    assert run(ONE, "--title", "Mine & yours") == 0  # an earlier report is written over
    assert "<h1>Mine &amp; yours</h1>" in Path("report.html").read_text()
    assert names() == ["report.html"]


def test_markdown_with_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(Path("runs/a"))
    for _ in range(2):
        assert run("runs", "--markdown", "mine.md", "--out", "mine.html") == 0
        assert "mine.md: 0.0" in capsys.readouterr().out
    assert names("mine-files") == ["a-best.mp4", "a-curve.png", "cartpole-runs.png"]
    assert Path("mine-files/a-best.mp4").read_bytes() == Path("runs/a/videos/best.mp4").read_bytes()
    assert "](mine-files/a-curve.png)" in Path("mine.md").read_text()
    assert "data:video/mp4" in Path("mine.html").read_text()


def test_tables_alone_where_the_page_has_the_lines() -> None:
    page = Path("page.md")
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert run(ONE, "--markdown", page) == 0
    assert page.read_text().startswith(f"before\n{BEGIN}\n| task | policy |")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert names() == ["page.md"]


def test_what_does_not_fit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(Path("a"), record(seed=1))
    assert run("a", "--max-mb", 0.005) == 0
    out = capsys.readouterr().out
    assert "left out, as the page is to have at most 0.005 MB: a, best: the best snapshot by VLM return" in out
    assert "the text alone has more than 0.005 MB; it is never cut" in out


def test_bad_input_is_refused_before_anything_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("thesis.html").write_text("everything")
    Path("thesis.md").write_text("everything")
    Path("half.md").write_text(BEGIN)
    Path("folder").mkdir()
    assert "holds none that is shown" in refused(capsys, "folder")
    left_alone = "'thesis.html' is something else, and is left alone"
    assert left_alone in refused(capsys, ONE, "--out", "thesis.html")
    assert f"or have the lines {BEGIN} and {END}; 'thesis.md'" in refused(capsys, ONE, "--markdown", "thesis.md")
    assert "each once, in this order" in refused(capsys, ONE, "--markdown", "half.md")
    assert "out must be a file, got 'folder'" in refused(capsys, ONE, "--out", "folder")
    assert "max_mb must be a positive number, got nan" in refused(capsys, ONE, "--max-mb", "nan")
    assert Path("thesis.html").read_text() == Path("thesis.md").read_text() == "everything"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert "cannot be read or written" in refused(capsys, ONE, "--out", "locked/a.html")
