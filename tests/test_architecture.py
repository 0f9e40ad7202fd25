"""Who may import whom, and what importing must not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vlm_rewards

ROOT = Path(vlm_rewards.__file__).parent
GROUND = {
    "errors",
    "arrays",
    "files",
    "media",
    "provenance",
    "registry",
    "seeding",
    "settings",
    "progress",
    "templates",
}
LAYERS = [
    {"ground"},
    {"tasks"},
    {"encoders"},
    {"rewards"},
    {"collection"},
    {"evaluation"},
    {"training"},
    {"finetuning", "offline", "reporting", "serving"},
    {"run"},  # the front door
    {"app", "cli"},
    {"testing"},  # may use anything; used by nothing but tests, examples and users
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
TORCH = {"torch", "torchvision", "stable_baselines3", "open_clip"}
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in ROOT.rglob("*.py"))


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it, for type checking too."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "vlm_rewards":
                yield from (f"vlm_rewards.{alias.name}" for alias in node.names if alias.name != "__version__")


def layer(module: str) -> str:
    name = module.split(".")[0]
    return "ground" if name in GROUND else name


def calls(module: str, name: str) -> list[int]:
    nodes = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    return [node.lineno for node in nodes if isinstance(node.func, ast.Name) and node.func.id == name]


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("module", [module for module in MODULES if module not in {"__init__", "__main__"}])
def test_imports_go_down_the_layers(module: str) -> None:
    own = layer(module)
    assert own in RANK, f"{module} belongs to no layer of DESIGN.md"
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "vlm_rewards" or len(parts) == 1:
            continue
        target = layer(".".join(parts[1:]))
        allowed = target == own or RANK[target] < RANK[own]
        assert allowed, f"{module} ({own}) must not import {name} ({target})"


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_its_place(module: str) -> None:
    libraries = {name.split(".")[0] for name in imports(module)}
    if layer(module) != "encoders":
        assert "open_clip" not in libraries
    if not module.startswith("reporting.figures"):
        assert "matplotlib" not in libraries
    if layer(module) in {"tasks", "rewards"} or module.startswith("collection.worker"):
        assert not libraries & TORCH


@pytest.mark.parametrize("module", MODULES)
def test_house_rules(module: str) -> None:
    nodes = list(ast.walk(tree(module)))
    assert not [n.lineno for n in nodes if isinstance(n, ast.ImportFrom) and n.level], "relative import"
    assert not [n.lineno for n in nodes if isinstance(n, ast.Assert)], "assert is stripped by -O; raise instead"
    if layer(module) != "cli":
        assert not calls(module, "print"), "print belongs to the command line"


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("vlm_rewards", TORCH | {"OpenGL", "mujoco", "gymnasium", "matplotlib", "scipy", "numpy"}),
        ("vlm_rewards.rewards", TORCH | {"OpenGL", "mujoco", "gymnasium", "matplotlib", "scipy"}),
        ("vlm_rewards.tasks.builtin", TORCH | {"OpenGL", "matplotlib", "triton", "pygame"}),
        ("vlm_rewards.collection.worker", TORCH | {"OpenGL", "matplotlib", "triton"}),
        ("vlm_rewards.evaluation", TORCH | {"OpenGL", "mujoco", "gymnasium", "matplotlib", "scipy"}),
    ],
)
def test_importing_loads_no_more_than_it_must(module: str, banned: set[str]) -> None:
    loaded = set(run_python(f"import sys, {module}; print(*sys.modules)").split())
    assert module in loaded
    assert not loaded & banned


@pytest.mark.alone
def test_importing_the_package_is_quick() -> None:
    bare, ours = (min(_seconds(code) for _ in range(3)) for code in ("pass", "import vlm_rewards"))
    assert ours - bare < 1.0


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def f():\n    from vlm_rewards.collection.labeller import Labeller", test_imports_go_down_the_layers),
        ("from vlm_rewards import collection", test_imports_go_down_the_layers),
        ("import torch.nn", test_each_library_has_its_place),
        ("from matplotlib import pyplot", test_each_library_has_its_place),
        ("import open_clip", test_each_library_has_its_place),
        ("from . import model", test_house_rules),
        ("assert True", test_house_rules),
        ("print(1)", test_house_rules),
    ],
)
def test_breaking_a_rule_is_noticed(
    source: str, rule: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "bad.py").write_text(source)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises(AssertionError):
        rule("rewards.bad")


def _seconds(code: str) -> float:
    start = time.perf_counter()
    run_python(code)
    return time.perf_counter() - start
