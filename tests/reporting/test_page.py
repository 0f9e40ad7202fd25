"""The report as HTML and as Markdown: whole, safe, self-contained, of bounded size."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from report_runs import RECORDS, record, run_folder, video
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.media import read_frames
from vlm_rewards.reporting.contents import Media, Shelf, contents
from vlm_rewards.reporting.gathering import gather
from vlm_rewards.reporting.page import (
    BEGIN,
    END,
    Fitted,
    embedded_size,
    fit,
    has_markers,
    html_page,
    markdown_page,
    placed,
)
from vlm_rewards.templates import markdown_code, markdown_text

Told = tuple[dict[str, Any], list[Media]]

HOSTILE = "<script>alert(1)</script><img src=http://x.example/y onerror=a>\"'&|*_`[x](http://x.example)"
VOID = {"meta", "img", "br"}
RETURNS = (("true", 1), ("vlm", 2))  # and their decimals


class Page(HTMLParser):
    """A page, parsed; refuses what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        self.words = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._words.append(data)
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def told_of(*paths: Path, title: str = "A title", command: str = "vlm-rewards report") -> Told:
    told, media = contents(gather(paths))
    return {**told, "title": title, "command": command}, media


def paged(told: Told, max_mb: float = 15) -> tuple[bytes, Fitted]:
    text, fitted = html_page(*told, max_mb)
    return text.encode("utf-8", "replace"), fitted


def made(*paths: Path, title: str = "A title") -> tuple[bytes, Page]:
    content, _ = paged(told_of(*paths, title=title))
    return content, Page(content.decode())


def check_self_contained(text: str, parsed: Page) -> None:
    assert {tag for tag, _ in parsed.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "dl", "dt", "dd", "ul", "li", "nav"),
        *("main", "section", "div", "table", "thead", "tbody", "tr", "th", "td", "a", "strong", "code", "pre"),
        *("details", "summary", "figure", "figcaption", "img", "video", "p"),
    }
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    for source in parsed.values("src"):
        assert source.startswith(("data:image/png;base64,", "data:video/mp4;base64,"))
    assert {name for _, attributes in parsed.tags for name in attributes} <= {
        *("lang", "charset", "http-equiv", "content", "name", "id", "class", "href", "src", "alt", "controls", "loop"),
        *("muted", "playsinline", "preload", "aria-label"),
    }
    anchors = parsed.values("id")
    assert len(anchors) == len(set(anchors))
    for target in parsed.values("href"):
        assert target.startswith("#")
        assert target[1:] in anchors
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|@font-face|https?:", style)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, bytes, Page]:
    """Ten runs in every state, the committed baselines, a judgement."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(4):
        run_folder(folder / f"seed-{seed}", record(f"cartpole-{seed}"), alarms=2 if seed == 1 else 0)
    run_folder(folder / "stopped", record(seed=4, interrupted=True, evaluation=None, steps=9_000))
    run_folder(folder / "killed", record(seed=5), recorded=False)
    run_folder(folder / "unjudged", record(seed=6, evaluation=None))
    plan = {"kind": "sweep-plan", "runs": [{"name": "to-come", "config": record(seed=7)["config"]}]}
    (folder / "plan.json").write_text(json.dumps(plan))
    run_folder(folder / "car", record("mountaincar-0"))
    run_folder(folder / "car-2", record("mountaincar-0", seed=1, config={"alpha": 0.25}, alpha=0.25))
    rows = [{"encoder": 0, "prompt": 0, "alpha": 0.5, "epic": 0.123, "auroc": None}]
    judged = {
        "kind": "judge",
        "command": "vlm-rewards judge cartpole",
        "encoders": [{"name": "one", "source": "random"}],
        "rows": rows,
    }
    (folder / "judge.json").write_text(json.dumps({**judged, "prompts": [{"goal": "up", "baseline": "any"}]}))
    Image.new("RGB", (30, 20)).save(folder / "judge.png")
    (folder / "bench.json").write_text('{"kind": "bench"}')
    whole = told_of(folder, *RECORDS.glob("baselines-*.json"))
    content, _ = paged(whole)
    return folder, whole, content, Page(content.decode())


@pytest.mark.slow
def test_ten_runs_make_one_file_that_loads_nothing(everything: tuple[Path, Told, bytes, Page]) -> None:
    _, _, content, parsed = everything
    check_self_contained(content.decode(), parsed)
    assert len(content) < 15_000_000
    assert sum(source.startswith("data:video") for source in parsed.values("src")) == 6
    for source in parsed.values("src"):
        data = base64.b64decode(source.partition(",")[2], validate=True)
        assert data.startswith(b"\x89PNG") or data[4:8] == b"ftyp"


def test_every_run_is_a_row_and_a_section_with_its_state(everything: tuple[Path, Told, bytes, Page]) -> None:
    rows = {row[0]: row for row in everything[3].rows}
    words = everything[3].words
    assert "6 complete" in words
    assert rows["DQN, seed 4"][1] == "interrupted after 9,000 of 24,000 steps, not evaluated"
    assert rows["DQN, seed 5"][1] == "unfinished: killed or still going, at 24,000 of 24,000 steps"
    assert rows["DQN, seed 6"][1] == "not evaluated (trained for 24,064 of 24,000 steps)"
    assert rows["DQN, seed 7"][1] == "planned, not started"
    for name in ("seed-0", "seed-3", "stopped", "killed", "unjudged", "to-come", "car", "car-2"):
        assert re.search(rf"seed \d: {name} ", words)
    assert sum(anchor.startswith("run-") for anchor in everything[3].values("id")) == 10


def test_the_numbers_are_those_of_the_records(everything: tuple[Path, Told, bytes, Page]) -> None:
    rows = [tuple(row) for row in everything[3].rows]
    baselines = rows.index(("random actions", "0/100 (0.0 to 3.7 %)", "35.0 ± 15.9", "111.60 ± 9.16", "-", "-"))
    assert [row[0] for row in rows[baselines + 1 : baselines + 4]] == ["zero actions", "one-line rule", "DQN, seed 0"]
    told = record("cartpole-0")
    scores = told["evaluation"]
    true, vlm = (f"{scores[f'{kind}_return']:.{n}f} ± {scores[f'{kind}_return_std']:.{n}f}" for kind, n in RETURNS)
    share = f"{scores['successes']}/100 (96.3 to 100.0 %)"
    made_in = (f"{told['steps']:,}", f"{told['seconds']['training']:.0f}")
    assert rows[baselines + 3] == ("DQN, seed 0", share, true, vlm, *made_in)


def test_what_else_is_to_be_known(everything: tuple[Path, Told, bytes, Page]) -> None:
    folder, _, _, parsed = everything
    for words in (
        f"Left out: '{folder}/bench.json' is a record of kind 'bench'",
        "Possible reward hacking, seed-1: 2 alarms against the criterion.",
        "“pole vertically upright on top of the cart”",
        "the pole stays within 12 degrees and the cart within 2.4 m on every step",
        "in-domain, not zero-shot; weights c8246cb371fa",
        "IQM is the interquartile mean over seeds",
        "DQN: 4 of 8 runs have no evaluation and do not count.",
        "VLM returns here are of 2 different rewards",
        "Settings: as in preset cpu of cartpole",
        "Settings: 1 not as in preset cpu of mountaincar",
        "$ vlm-rewards train cartpole --seed 3 --run-dir runs/cartpole-3",
        f"training {record()['seconds']['training']:.0f} s",
        f"torch {record()['versions']['torch']}",
        "AMD EPYC, 2 cores",
        "89e32b92c942",
        "Rewards judged before training: judge.json",
        "one (random weights: its scores mean nothing; weights not recorded)",
    ):
        assert words in parsed.words
    assert ["5,000", "0.412 → 0.733", "0.900 → 0.125", "0.810 → -0.620"] in parsed.rows
    assert ["alpha", "0.25", "0.5"] in parsed.rows
    assert ["one", "goal “up”, baseline “any”", "0.5", "0.123", "-"] in parsed.rows


def test_a_record_without_its_folder_says_so() -> None:
    assert "none: its record came without its folder" in made(RECORDS / "cartpole-0.json")[1].words


def test_hostile_strings_stay_strings(tmp_path: Path) -> None:
    told = record(goal=HOSTILE, criterion=HOSTILE, config={"goal": HOSTILE, "preset": HOSTILE}, command=HOSTILE)
    told |= {"commit": HOSTILE, "version": "\ud800", "machine": {"processor": HOSTILE}, "task": HOSTILE}
    told["encoder"]["name"] = HOSTILE
    told["watch"] = {"reference": HOSTILE, "alarms": [{"step": HOSTILE, "picture": "../../x.png"}]}
    run_folder(tmp_path / "<b>bold", told)
    study = {"kind": "landscape", "command": HOSTILE, HOSTILE: HOSTILE, "rows": [{HOSTILE: HOSTILE}]}
    (tmp_path / "s.json").write_text(json.dumps(study))
    content, parsed = made(tmp_path, title=HOSTILE)
    check_self_contained(content.decode(), parsed)
    assert parsed.words.count(" ".join(HOSTILE.split())) > 10
    told, media = told_of(tmp_path, title=HOSTILE, command=HOSTILE)
    text = markdown_page(told, {one.name: f"files/{one.name}" for one in media})
    outside = re.sub(r"(?<!`)(`{2,})(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)  # the string has one itself
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)]\(http", outside)
    assert outside.count("&lt;script&gt;") > 10


def test_broken_tables_and_videos_break_nothing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    for name in ("metrics.csv", "snapshots.csv", "videos/best.mp4"):
        (folder / name).write_bytes(b"")
    _, parsed = made(folder)
    assert "none: no numbers over time came with this run" in parsed.words
    assert not parsed.values("src")


def test_what_does_not_fit_is_left_out_by_name(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    video(folder / "videos" / "best.mp4", frames=30, side=96)
    whole = told_of(tmp_path)
    everything, _ = paged(whole)
    coarse, fitted = paged(whole, (len(everything) - 1) / 1e6)
    assert (len(fitted.smaller), fitted.left_out) == (1, ())
    assert len(coarse) < len(everything)
    assert "1 video is coarser than recorded, as the page is to have at most" in Page(coarse.decode()).words
    bare = Page(paged(whole, 0.001)[0].decode())  # the text is never cut
    assert not bare.values("src")
    caption = "run, best: the best snapshot by VLM return"
    assert f"MB: {caption}" in bare.words
    assert f"Left out for the size of this file: {caption}" in bare.words


def test_videos_go_first_and_shrink_before_they_go(tmp_path: Path) -> None:
    film = video(tmp_path / "film.mp4", frames=40, side=256).read_bytes()
    videos = [Media(f"{place}.mp4", "mp4", film, f"video {place}", (4, place)) for place in range(3)]
    figure = Media("a.png", "png", b"x" * 3_000, "figure", (0, 0))
    assert embedded_size(figure) == 4_400
    roomy = fit([*videos, figure], 4 * len(film) * 2)
    assert (len(roomy.kept), roomy.smaller, roomy.left_out) == (4, (), ())
    tight = fit([*videos, figure], len(film))
    assert tight.kept[0] is figure
    assert tight.smaller == tight.kept[1:]
    (tmp_path / "checked.mp4").write_bytes(tight.kept[1].content)
    frames = list(read_frames(tmp_path / "checked.mp4"))
    assert frames[0].pixels.shape == (192, 192, 3)
    assert len(frames) == 20  # 15 a second
    assert fit([*videos, figure], 4_400).left_out == tuple(fit(videos, 0).left_out)


def test_a_video_that_cannot_be_read_is_kept_as_it_is_or_left_out() -> None:
    broken = Media("a.mp4", "mp4", b"x" * 900, "broken", (4, 0))
    other = Media("b.mp4", "mp4", b"x" * 90_000, "other", (4, 1))
    fitted = fit([broken, other], 2_000)
    assert (list(fitted.kept), fitted.smaller, fitted.left_out) == ([broken], (), (other,))


def test_markdown_says_the_same(everything: tuple[Path, Told, bytes, Page]) -> None:
    _, whole, _, parsed = everything
    told, media = whole
    text = markdown_page(told, {one.name: f"my%20files/{one.name}" for one in media})
    assert text.startswith("<!-- written by vlm-rewards report -->\n\n# A title\n")
    links = re.findall(r"\]\((my%20files/[^)]+)\)", text)
    assert [link.removeprefix("my%20files/") for link in links] == [one.name for one in media]
    assert all(re.fullmatch(r"[\w.-]+", one.name) for one in media)
    for row in parsed.rows:
        if row[0].startswith(("DQN", "SAC")) and len(row) == 6 and "/" in row[1]:
            assert f"| **{row[0]}** | " + " | ".join(row[1:]) + " |" in text


def test_tables_go_between_the_lines_of_a_page() -> None:
    before = f"# Mine\n{BEGIN}\nan earlier table\n{END}\nafter\n"
    assert has_markers(before)
    text = placed(before, gather([RECORDS]))
    assert text.startswith(f"# Mine\n{BEGIN}\n| task | policy |")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "earlier" not in text
    assert "| cartpole | **DQN, seed 3** | 100/100 (96.3 to 100.0 %) | - | - | 200.0 ± 0.0 | " in text
    assert "| cartpole: DQN | 5 of 5 | 100.0 % (100.0 to 100.0 %) |" in text
    assert "$ vlm-rewards train cartpole --seed 0 --run-dir runs/cartpole-0" in text
    assert placed(text, gather([RECORDS])) == text


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_lines_of_a_page_must_be_a_pair(text: str) -> None:
    with pytest.raises(InvalidInputError, match="each once, in this order"):
        has_markers(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b $5 ~c~", "a&#124;b &#36;5 &#126;c&#126;"),
        ("*_`[x]\\", "\\*\\_\\`\\[x\\]\\\\"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("# a\n b", "\\# a b"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("-6.6 ± 0.5", "-6.6 ± 0.5"),
    ],
)
def test_nothing_has_a_meaning_in_markdown(text: str, expected: str) -> None:
    assert markdown_text(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("a|b\nc", "`a\\|b c`")])
def test_code_in_markdown(text: str, expected: str) -> None:
    assert markdown_code(text) == expected


def test_names_of_files_are_never_the_same() -> None:
    shelf = Shelf()
    wanted = ("../A b", "a/b", "A-B", "…", "x" * 200)
    assert [shelf.add(name, "png", b"", "", (0, 0)).name for name in wanted] == [
        "A-b.png",
        "a-b-2.png",
        "A-B-3.png",
        "file.png",
        f"{'x' * 80}.png",
    ]


def test_a_report_is_the_same_twice_and_its_frames_are_those_of_the_files(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", alarms=1)
    content, parsed = made(tmp_path)
    assert content == made(tmp_path)[0]
    images = [source.partition(",")[2] for source in parsed.values("src") if source.startswith("data:image")]
    decoded = [base64.b64decode(image) for image in images]
    assert (folder / "alarms" / "step_0000005000.png").read_bytes() in decoded
    assert all(Image.open(io.BytesIO(data)).size[0] > 90 for data in decoded)


def test_a_sweeps_summary_is_a_table(tmp_path: Path) -> None:
    def score(seeds: list[float], interval: list[float] | None) -> dict[str, Any]:
        return {"seeds": seeds, "iqm": seeds[0] if seeds else None, "iqm_interval_95": interval}

    rows = [
        {
            "label": "alpha 0.5",
            "seeds": {"planned": [0, 1], "done": [0, 1]},
            "success_rate": score([0.5, 0.5], [0.25, 0.75]),
            "true_return": score([10.0, 10.0], [9.0, 11.0]),
        },
        {
            "label": "alpha 1",
            "seeds": {"planned": [0, 1], "done": [0]},
            "success_rate": score([], None),
            "true_return": score([10.0], None),
        },
    ]
    (tmp_path / "summary.json").write_text(json.dumps({"kind": "sweep", "task": "cartpole", "settings": rows}))
    assert made(tmp_path)[1].rows[1:3] == [
        ["alpha 0.5", "2 of 2", "50.0 % (25.0 to 75.0 %)", "10.0 (9.0 to 11.0)"],
        ["alpha 1", "1 of 2", "-", "10.0 (one seed)"],
    ]
