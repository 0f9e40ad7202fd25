"""``vlm-rewards list`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_rewards.cli import main
from vlm_rewards.encoders.cache import EmbeddingCache
from vlm_rewards.testing.fakes import FakeEncoder


class Named(FakeEncoder):
    def __init__(self, name: str) -> None:
        super().__init__(16)
        self.name = name

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "weights_sha256": self.name}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingCache:
    monkeypatch.setenv("VLM_REWARDS_CACHE", str(tmp_path / "cache"))
    return EmbeddingCache()


@pytest.fixture
def filled(cache: EmbeddingCache) -> EmbeddingCache:
    frames = np.arange(1_200 * 3, dtype=np.uint32).view(np.uint8).reshape(1_200, 1, 4, 3)
    cache.embed(Named("ViT-B-32/[tag]"), frames)
    cache.embed(Named("bundled"), frames[:3])
    return cache


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["list", *arguments])
    shown = capsys.readouterr()
    return int(stop.value.code or 0), shown.out, " ".join(shown.err.split())


def test_list_as_a_table(capsys: pytest.CaptureFixture[str], filled: EmbeddingCache) -> None:
    code, out, _ = run(capsys, "cached")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    keys = [entry.key[:12] for entry in filled.entries()]
    # 1,200 vectors of 16 float32: 76,800 bytes.
    assert rows == [["ViT-B-32/[tag]", keys[0], "1,200", "0.1 MiB"], ["bundled", keys[1], "3", "0.0 MiB"]]
    assert out.splitlines()[-1] == f"{filled.path}: {filled.size_bytes() / 2**20:.1f} MiB of at most 2.0 GiB"


def test_list_as_json(capsys: pytest.CaptureFixture[str], filled: EmbeddingCache) -> None:
    code, out, _ = run(capsys, "cached", "--json")
    assert code == 0
    answer = json.loads(out)
    facts = [(row["name"], row["embeddings"], row["size_bytes"]) for row in answer.pop("encoders")]
    assert facts == [("ViT-B-32/[tag]", 1_200, 76_800), ("bundled", 3, 192)]
    assert answer == {"file": str(filled.path), "size_bytes": filled.path.stat().st_size, "max_bytes": 2**31}


def test_an_empty_cache(capsys: pytest.CaptureFixture[str], cache: EmbeddingCache) -> None:
    assert run(capsys, "cached") == (0, f"{cache.path}: 0.0 MiB of at most 2.0 GiB\n", "")
    assert json.loads(run(capsys, "cached", "--json")[1])["encoders"] == []
    assert run(capsys, "cached", "--clear-all")[1] == "forgot 0 embeddings, freed 0.0 MiB\n"
    code, _, error = run(capsys, "cached", "--clear", "bundled")
    assert (code, error) == (
        2,
        "vlm-rewards: error: clear must name an encoder in the cache, got 'bundled': the cache is empty.",
    )
    assert not cache.path.exists()


def test_clear_one_and_then_all(capsys: pytest.CaptureFixture[str], filled: EmbeddingCache) -> None:
    code, out, _ = run(capsys, "cached", "--clear", "ViT-B-32/[tag]")
    assert code == 0
    assert out.startswith("forgot 1,200 embeddings of ViT-B-32/[tag], freed 0.")
    assert [entry.name for entry in filled.entries()] == ["bundled"]
    assert run(capsys, "cached", "--clear-all")[1].startswith("forgot 3 embeddings, freed")
    assert filled.entries() == []


def test_a_damaged_file_is_mended(capsys: pytest.CaptureFixture[str], filled: EmbeddingCache) -> None:
    filled.path.write_bytes(b"no database, " * 100_000)
    for arguments in (["cached"], ["cached", "--json"], ["cached", "--clear", "bundled"]):
        code, out, error = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert "file is not a database. `vlm-rewards list cached --clear-all` starts it anew" in error
    assert run(capsys, "cached", "--clear-all") == (0, "forgot 0 embeddings, freed 1.2 MiB\n", "")
    assert run(capsys, "cached")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caches"], "invalid choice 'caches'"),
        (["cached", "--clear"], "Missing value for argument '--clear"),
        (["cached", "--clear", "bundeld"], "unknown encoder in the cache 'bundeld'. Did you mean 'bundled'?"),
        (["cached", "--clear", "bundled", "--clear-all"], "give --clear or --clear-all, not both"),
        (["--clear-all"], "clear and clear-all go with `vlm-rewards list cached`"),
        (["cached", "--clear-all", "--json"], "without --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_words(
    capsys: pytest.CaptureFixture[str], filled: EmbeddingCache, arguments: list[str], message: str
) -> None:
    code, out, error = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in error.replace("│ ", "").replace(" │", "")
    assert sum(entry.embeddings for entry in filled.entries()) == 1_203


def test_all_in_one_screen(capsys: pytest.CaptureFixture[str], cache: EmbeddingCache) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    for heading in ("task", "name of an encoder", "reward", "algorithm"):
        assert f"┃ {heading} " in out
    assert "ViTamin" not in out
    code, out, _ = run(capsys, "--json")
    answer = json.loads(out)
    assert list(answer) == ["tasks", "encoders", "rewards", "algorithms", "cached"]
    assert {"name": "softmax", "needs": [], "takes": ["others", "temperature"]} in answer["rewards"]
    assert "histogram:..." not in answer["encoders"]


def test_encoders_are_forms_schemes_and_open_clips_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlm_rewards.encoders.loading import ENCODERS, Scheme

    monkeypatch.setitem(ENCODERS._values, "toy", Scheme(lambda rest, **_: FakeEncoder(), about="a [toy]"))
    forms = json.loads(run(capsys, "encoders", "--json")[1])
    assert forms["toy:..."] == "a [toy]"
    assert "hf-hub:..." not in forms
    out = run(capsys, "encoders")[1]
    assert "a [toy]" in out
    assert "openai, laion400m_e31" in out


def test_algorithms_are_those_that_are_trained_with(capsys: pytest.CaptureFixture[str]) -> None:
    from vlm_rewards.training.algorithms import ALGORITHMS

    assert set(json.loads(run(capsys, "algorithms", "--json")[1])) == set(ALGORITHMS.names())


def test_it_does_not_wait_for_torch(cache: EmbeddingCache) -> None:
    code = "import sys; from vlm_rewards.cli.listing import main; main([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=True)
    assert not {"torch", "open_clip", "stable_baselines3"} & set(done.stdout.splitlines()[-1].split())
