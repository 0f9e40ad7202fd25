"""What people expect of their own files: task files, runs made of them, checkpoints of CLIP, and videos."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import open_clip
import pytest
import torch

from cases.command_line import OFF_POLICY, SMALL, CommandLine
from commands import record_of
from vlm_rewards import load_encoder
from vlm_rewards.encoders.sizing import without_warnings
from vlm_rewards.errors import CheckpointError, VLMRewardsError
from vlm_rewards.media import read_frames

EXAMPLE = Path(__file__).parents[2] / "examples" / "09_own_reward_form.py"
TRAIN = (*SMALL, *OFF_POLICY)
TASK_FILE = """
import dataclasses
from vlm_rewards.testing.point import point_task
TASK = dataclasses.replace(point_task("mine"), goal="the pole is upright")
"""
IMPORTING = """
from neighbour import GOAL, Simulator
def build(size): return Simulator(size)
TASK = dataclasses.replace(TASK, goal=GOAL, simulator=build)
"""
NEIGHBOUR = """
from vlm_rewards.testing.point import PointEnv
GOAL = "the pole is hanging straight down below the cart"
class Simulator(PointEnv): pass
"""
SENTENCES = ["a kneeling robot", "a cat"]
OWN_FORM = pytest.mark.xfail(strict=True, raises=AssertionError, reason="the form is known to the training alone")


def check_evaluated(cli: CommandLine, run: Path) -> None:
    """`evaluate`, with the seed of the training, gives the returns that its end gave."""
    ended = cli("evaluate", run, "--episodes", "2", "--seed", "0", "--json", "--no-video", "--device", "cpu")
    ended.check_done()
    found = json.loads(ended.printed[ended.printed.index("{") : ended.printed.rindex("}") + 1])
    known = record_of(run)["evaluation"]
    names = ("episodes", "vlm_return", "vlm_return_std", "true_return")
    assert [found[name] for name in names] == pytest.approx([known[name] for name in names])


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a task file's folder is not on the path")
def test_a_task_file_may_import_its_neighbour(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    (tmp_path / "mine.py").write_text(TASK_FILE + IMPORTING)
    cli("train", tmp_path / "mine.py", *TRAIN, "--run-dir", tmp_path / "run").check_done()
    assert record_of(tmp_path / "run")["config"]["goal"] == "the pole is hanging straight down below the cart"
    check_evaluated(cli, tmp_path / "run")


def trained(cli: CommandLine, run: Path, *arguments: object) -> Path:
    """Train, in so far as that is no failure that is expected."""
    ended = cli("train", *arguments, *TRAIN, "--run-dir", run)
    if ended.code:
        raise RuntimeError(ended.printed)
    return run


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a run knows its task by the path of a file alone")
def test_a_run_is_evaluated_after_its_task_file_was_moved(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TASK_FILE)
    run = trained(cli, tmp_path / "run", tmp_path / "mine.py")
    (tmp_path / "mine.py").rename(tmp_path / "renamed.py")
    check_evaluated(cli, run)


@pytest.fixture(scope="module")
def angle_run(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the reward form of an example."""
    return trained(cli, tmp_path_factory.mktemp("own-form") / "run", EXAMPLE, "--form", "angle")


@pytest.mark.slow
@OWN_FORM
def test_a_run_with_an_own_form_is_evaluated(angle_run: Path, cli: CommandLine) -> None:
    check_evaluated(cli, angle_run)


@pytest.mark.slow
@OWN_FORM
def test_a_run_with_an_own_form_is_exported(angle_run: Path, cli: CommandLine, tmp_path: Path) -> None:
    from stable_baselines3 import DQN

    cli("export", angle_run, "--out", tmp_path / "policy.zip").check_done()
    action, _ = DQN.load(tmp_path / "policy.zip", device="cpu").predict(np.zeros(4, np.float32))
    assert action in (0, 1)


@pytest.mark.slow
@OWN_FORM
def test_a_run_with_an_own_form_is_resumed(cli: CommandLine, tmp_path: Path) -> None:
    run = tmp_path / "run"
    form = (EXAMPLE, "--form", "angle")
    ended = cli("train", *form, *TRAIN, "--run-dir", run, fails="stable_baselines3.dqn.dqn:DQN.train", call=10)
    if "the cause that must be named" not in ended.printed:
        raise RuntimeError(ended.printed)  # no failure that is expected
    cli("train", "--resume", run).check_done()
    assert record_of(run)["steps"] >= 400
    assert record_of(run)["config"]["reward"]["form"] == "angle"


def embedded(model: Any, architecture: str) -> np.ndarray:
    """What open_clip's model itself makes of the sentences."""
    with torch.no_grad():
        rows = model.encode_text(open_clip.get_tokenizer(architecture)(SENTENCES))
    return torch.nn.functional.normalize(rows, dim=-1).numpy()


@pytest.mark.slow
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the activation is that of the architecture's name")
def test_a_file_of_a_model_with_quick_gelu(tmp_path: Path) -> None:
    """All pretrained RN50 have QuickGELU, so a file that was tuned from one has, too."""
    with without_warnings():
        model = open_clip.create_model("RN50", force_quick_gelu=True).eval()
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "rn50.pt")
    try:
        found = load_encoder(f"RN50={tmp_path / 'rn50.pt'}", device="cpu").embed_texts(SENTENCES)
    except VLMRewardsError as refusal:
        assert "quickgelu" in str(refusal).lower().replace("_", "")  # noqa: PT017 - either is right
    else:
        np.testing.assert_allclose(found, embedded(model, "RN50"), atol=1e-5)


class Archive(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.* deprecated")
@pytest.mark.xfail(strict=True, raises=CheckpointError, reason="TorchScript archives are refused")
def test_an_archive_of_openai_is_read_as_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_warnings():
        model: Any = open_clip.create_model("ViT-B-32", force_quick_gelu=True).eval()
    archive = Archive()  # the parts of the model at the top, and three numbers beside them
    parts = ("visual", "transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection")
    for name in (*parts, "logit_scale"):
        setattr(archive, name, getattr(model, name))
    for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
        setattr(archive, name, torch.nn.Parameter(torch.tensor(value), requires_grad=False))
    torch.jit.save(torch.jit.trace(archive, torch.zeros(1), check_trace=False), tmp_path / "ViT-B-32.pt")

    def run_code(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("the archive's own code was run")

    monkeypatch.setattr(torch.jit, "load", run_code)
    encoder = load_encoder(f"ViT-B-32/openai={tmp_path / 'ViT-B-32.pt'}", device="cpu")
    np.testing.assert_allclose(encoder.embed_texts(SENTENCES), embedded(model, "ViT-B-32"), atol=1e-5)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="frames are repeated to a constant rate")
def test_times_of_frames_are_those_of_the_video(tmp_path: Path) -> None:
    """As telephones write them: here ten frames a tenth of a second apart, then ten half a second apart."""
    times = [0.1 * n if n < 10 else 1 + 0.5 * (n - 10) for n in range(20)]
    source = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2")
    rate = ("-vf", "setpts='if(lt(N,10),N*0.1,1+(N-10)*0.5)/TB'", "-fps_mode", "vfr")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *source, *rate, tmp_path / "phone.mp4"]
    subprocess.run(command, check=True)
    with contextlib.closing(read_frames(tmp_path / "phone.mp4")) as frames:
        assert [frame.time_s for frame in frames] == pytest.approx(times, abs=0.01)
