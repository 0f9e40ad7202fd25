"""Encoders of other families: by scheme, entry point, function or file, and what is refused."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from vlm_rewards.encoders import loading
from vlm_rewards.encoders.loading import check_encoder_name, is_openclip, load_encoder, register_encoder, trained_on
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import InvalidInputError, VLMRewardsError, WeightsNotFoundError
from vlm_rewards.testing.fakes import FakeEncoder

FILE = """
from vlm_rewards.testing.fakes import FakeEncoder
made = []
def plain():
    made.append("plain")
    return FakeEncoder(8)
def told(dtype, *, batch_size, seed=3): return FakeEncoder(batch_size, seed=seed + (dtype == "bf16"))
def everything(**settings): return FakeEncoder(len(settings))
def nothing(): pass
def half(): return type("Half", (), {"name": "half", "image_size": 32, "embed_images": None})()
def flat(): return FakeEncoder(image_size=0)
def broken(): return {}["weights"]
def refusing():
    from vlm_rewards.errors import WeightsNotFoundError
    raise WeightsNotFoundError("the server does not answer")
number = 3
"""


@pytest.fixture(autouse=True)
def no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.ENCODERS, "_points", {})


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "own_family.py").write_text(FILE)
    return str(tmp_path / "own_family.py")


def test_a_scheme_is_given_the_rest_of_the_name_and_the_settings() -> None:
    given = []
    register_encoder(
        "fake", lambda rest, **settings: given.append((rest, settings)) or FakeEncoder(int(rest)), check=int
    )
    encoder = load_encoder("fake:8", device="cpu", dtype="bf16")
    assert encoder.embedding_dim == 8
    assert given == [("8", {"device": "cpu", "dtype": "bf16", "batch_size": None})]
    check_encoder_name("fake:8")
    assert len(given) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        check_encoder_name("fake:eight")
    with pytest.raises(InvalidInputError, match="encoder 'fake:eight' cannot be loaded: ValueError: invalid literal"):
        load_encoder("fake:eight")
    with pytest.raises(InvalidInputError, match="encoder 'fake' is already registered; pass replace=True"):
        register_encoder("fake", lambda rest, **settings: FakeEncoder())
    with pytest.raises(InvalidInputError, match=r"scheme must be a letter, then small letters, .* got 'my scheme'"):
        register_encoder("my scheme", lambda rest, **settings: FakeEncoder())


def test_own_schemes_are_taken_and_can_be_replaced() -> None:
    with pytest.raises(InvalidInputError, match="encoder 'hf-hub' is already registered"):
        register_encoder("hf-hub", lambda rest, **settings: FakeEncoder())
    register_encoder("hf-hub", lambda rest, **settings: FakeEncoder(5), replace=True)
    assert load_encoder("hf-hub:org/name").embedding_dim == 5


def test_entry_points_bring_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("http", "vlm_rewards.testing.fakes:FakeEncoder", "vlm_rewards.encoders")
    monkeypatch.setattr(loading.ENCODERS, "_points", {"http": point})
    monkeypatch.setattr(FakeEncoder, "__init__", lambda self, rest, **settings: setattr(self, "rest", rest))
    monkeypatch.setattr(FakeEncoder, "image_size", 32, raising=False)
    monkeypatch.setattr(FakeEncoder, "name", "http", raising=False)
    monkeypatch.setattr(FakeEncoder, "embedding_dim", 16, raising=False)
    assert load_encoder("http://host:80").rest == "//host:80"  # type: ignore[attr-defined]


def test_a_class_or_function_of_a_module() -> None:
    name = "vlm_rewards.testing.fakes:FakeEncoder"
    check_encoder_name(name)
    encoder = load_encoder(name)
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(encoder.embed_images(frames), FakeEncoder().embed_images(frames))
    assert trained_on(name) is None


def test_a_function_of_a_file_is_given_the_settings_that_it_takes(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_encoder(f"{file}:plain").embedding_dim == 8
    told = load_encoder(f"{file}:told", batch_size=6, dtype="bf16", device="cpu")
    assert (told.embedding_dim, told.describe()["seed"]) == (6, 4)
    assert load_encoder(f"{file}:everything").embedding_dim == 3
    monkeypatch.chdir(Path(file).parent)
    assert load_encoder("own_family.py:plain").embedding_dim == 8


def test_checking_a_name_runs_the_file_once_and_the_function_never(file: str) -> None:
    check_encoder_name(f"{file}:plain")
    module = loading._function(f"{file}:plain").__globals__
    assert module["made"] == []
    load_encoder(f"{file}:plain")
    assert module["made"] == ["plain"]
    Path(file).write_text(FILE.replace("FakeEncoder(8)", "FakeEncoder(9)"))
    assert load_encoder(f"{file}:plain").embedding_dim == 9


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "must have all of an ImageTextEncoder; what was made for it, a NoneType, lacks name, image_size, "),
        ("half", "a Half, lacks embedding_dim, embed_texts, describe."),
        ("flat", "image_size of encoder .* must be an int of at least 1, got 0"),
        ("broken", "own_family.py:broken' cannot be loaded: KeyError: 'weights'"),
        ("number", "must name a function that makes an encoder, got 3"),
        ("plan", "unknown function in .*own_family.py' 'plan'. Did you mean 'plain'"),
    ],
)
def test_what_a_function_does_wrong_is_said(file: str, function: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_encoder(f"{file}:{function}")


def test_refusals_of_a_function_and_faults_of_a_file(file: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"^the server does not answer$"):
        load_encoder(f"{file}:refusing")
    (tmp_path / "bad.py").write_text("1 / 0")
    for load in (load_encoder, check_encoder_name):
        with pytest.raises(InvalidInputError, match=r"encoder file .*bad.py' raised ZeroDivisionError"):
            load(f"{tmp_path}/bad.py:load")
        with pytest.raises(InvalidInputError, match=r"encoder file '\./nowhere.py' does not exist"):
            load("./nowhere.py:load")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf-hubb:org/name", "unknown encoder scheme or module 'hf-hubb'. Did you mean 'hf-hub'.*Accepted: bundled"),
        ("no_such_package:load", "unknown encoder scheme or module 'no_such_package'"),
        ("vlm_rewards.testing.fakes:FakeEncodr", "cannot be loaded: AttributeError: .*FakeEncodr"),
        ("vlm_rewards.nothing:load", "cannot be loaded: ModuleNotFoundError"),
        ("bundle", "unknown encoder 'bundle'"),
        ("hf-hub:one", "must be 'hf-hub:org/name'"),
    ],
)
def test_names_are_refused_alike_where_they_are_checked_and_loaded(name: str, message: str) -> None:
    for function in (check_encoder_name, load_encoder):
        with pytest.raises(InvalidInputError, match=message):
            function(name)


def test_settings_are_judged_whoever_loads(file: str) -> None:
    with pytest.raises(InvalidInputError, match=r"device must be auto, cpu, .* got 'tpu'"):
        load_encoder(f"{file}:plain", device="tpu")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bundled", True),
        ("ViT-B-32/openai", True),
        ("ViT-B-32=/path/a:b.safetensors", True),
        ("/path/a:b", True),
        ("./a:b", True),
        (Path("a:b"), True),
        ("hf-hub:org/name", True),
        ("local-dir:dir", True),
        ("./a.py:load", False),
        ("package.module:load", False),
        ("http://host:80", False),
    ],
)
def test_which_names_are_open_clips(name: str | Path, expected: bool) -> None:
    assert is_openclip(name) is expected
    if not expected:
        with pytest.raises(VLMRewardsError, match="must be a model of open_clip here"):
            parse_source(name)
