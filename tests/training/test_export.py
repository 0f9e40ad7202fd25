"""Exported policies act like the ones they were made of, in every format and for every algorithm, from plain files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from every_algorithm import CASES, tiny, with_slow_ones
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import InvalidInputError, MissingExtraError, UnknownNameError
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.export import export_policy

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")  # and yet in use
TORCH = [case for case in CASES if not case.startswith("sbx")]
OBSERVATIONS = np.linspace(0, 1, 7, dtype=np.float32)[:, None]
PLAIN = """
import sys, numpy as np
observations = np.linspace(0, 1, 7, dtype=np.float32)[:, None]
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    actions = onnxruntime.InferenceSession(sys.argv[1]).run(["actions"], {"observations": observations})[0]
else:
    import torch
    actions = torch.jit.load(sys.argv[1])(torch.as_tensor(observations)).detach().numpy()
assert not [name for name in sys.modules if name.startswith(("vlm_rewards", "stable_baselines3"))]
print(actions.dtype, actions.reshape(-1).tolist())
"""


def model_of(case: str, venvs: dict[str, RenderedVecEnv]) -> Any:
    return build_algorithm(tiny(case), venvs[CASES[case][1]], seed=3, device="cpu")


@pytest.mark.parametrize("case", with_slow_ones(TORCH, common=["sac"]))
def test_every_format_acts_as_the_policy_does(case: str, venvs: dict[str, RenderedVecEnv], tmp_path: Path) -> None:
    import onnxruntime

    model = model_of(case, venvs)
    expected = model.predict(OBSERVATIONS, deterministic=True)[0]
    for kind, name in (("sb3", "x.zip"), ("torchscript", "x.pt"), ("onnx", "x.onnx")):
        export_policy(model, tmp_path / name, kind)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.onnx", "x.pt", "x.zip"]
    zipped = type(model).load(tmp_path / "x.zip", device="cpu").predict(OBSERVATIONS, deterministic=True)[0]
    script = torch.jit.load(str(tmp_path / "x.pt"))(torch.as_tensor(OBSERVATIONS)).detach().numpy()
    (graph,) = onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(["actions"], {"observations": OBSERVATIONS})
    assert zipped.tolist() == expected.tolist()
    for actions in (script, np.asarray(graph)):
        assert actions.shape == expected.shape
        assert actions.dtype == expected.dtype
        assert actions == pytest.approx(expected, abs=1e-6)
    one = onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(["actions"], {"observations": OBSERVATIONS[:1]})
    assert np.asarray(one[0]) == pytest.approx(expected[:1], abs=1e-6)  # a batch of any size


@pytest.mark.slow
def test_plain_files_need_neither_this_package_nor_stable_baselines3(
    venvs: dict[str, RenderedVecEnv], tmp_path: Path
) -> None:
    model = model_of("sac", venvs)
    expected = model.predict(OBSERVATIONS, deterministic=True)[0].reshape(-1)
    for kind, name in (("torchscript", "x.pt"), ("onnx", "x.onnx")):
        export_policy(model, tmp_path / name, kind)
        done = subprocess.run(
            [sys.executable, "-c", PLAIN, str(tmp_path / name)], capture_output=True, text=True, timeout=500, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        dtype, actions = done.stdout.split(" ", 1)
        assert dtype == "float32"
        assert eval(actions) == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sbx-sac", "sbx-crossq"])
def test_jax_has_the_zip_alone(case: str, venvs: dict[str, RenderedVecEnv], tmp_path: Path) -> None:
    model = model_of(case, venvs)
    for kind in ("torchscript", "onnx"):
        with pytest.raises(InvalidInputError, match=r"needs a policy in torch, and .* of sbx is in JAX. Use 'sb3'"):
            export_policy(model, tmp_path / "x", kind)
    assert not list(tmp_path.iterdir())
    expected = model.predict(OBSERVATIONS, deterministic=True)[0]
    export_policy(model, tmp_path / "x.zip", "sb3")
    assert (
        type(model).load(tmp_path / "x.zip").predict(OBSERVATIONS, deterministic=True)[0].tolist() == expected.tolist()
    )


WRITES = """
import pathlib, sys
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.testing.point import point_task
from vlm_rewards.training.algorithms import DQNConfig
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.export import export_policy
venv = RenderedVecEnv(point_task(), 1, image_size=32, n_workers=1, slots=2)
settings = DQNConfig(net_arch=(8,), buffer_size=9, scale_observations=sys.argv[2] == "True")
export_policy(build_algorithm(settings, venv, seed=3, device="cpu"), pathlib.Path(sys.argv[1]), "sb3")
venv.close()
"""
LOADS = """
import sys
sys.modules["vlm_rewards"] = None
from stable_baselines3 import DQN
policy = DQN.load(sys.argv[1]).policy
print(policy.predict([0.5])[0].dtype, type(policy.q_net.features_extractor).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("scaled", "extractor"), [(False, "FlattenExtractor"), (True, "ScaledObservations")])
def test_the_zip_loads_where_this_package_is_not_installed(scaled: bool, extractor: str, tmp_path: Path) -> None:
    for code in (WRITES, LOADS):  # without the checks of shapes, which cannot be pickled
        command = [sys.executable, "-c", code, str(tmp_path / "x.zip"), str(scaled)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"int64 {extractor}\n"
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert scaled or b"vlm_rewards" not in archive.read("data")


def test_refusals_leave_no_file(
    venvs: dict[str, RenderedVecEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("dqn", venvs)
    with pytest.raises(UnknownNameError, match=r"unknown format 'onxn'. Did you mean 'onnx'"):
        export_policy(model, tmp_path / "x", "onxn")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"ONNX needs onnx: pip install 'vlm-rewards\[onnx\]'"):
        export_policy(model, tmp_path / "x", "onnx")
    assert not list(tmp_path.iterdir())
