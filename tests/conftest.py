"""What every test starts from: one thread, no screen, no network, known generators."""

from __future__ import annotations

import importlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from typing import Any

# Before anything imports torch, SDL or a hub client: they read these once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hypothesis
import numpy as np
import pytest

# No deadline: the machine may be busy. CI tries the same examples every time, so that a push is never unlucky;
# at home they are new ones on each run, and `make test-all` tries more of them.
for profile, examples in (("quick", 25), ("thorough", 100)):
    hypothesis.settings.register_profile(
        profile, max_examples=examples, deadline=None, derandomize=bool(os.environ.get("CI"))
    )
hypothesis.settings.load_profile("quick")


@pytest.fixture(autouse=True)
def _known_generators() -> None:
    """Seed the global generators, so that no test depends on the ones before it."""
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the legacy generator is the one that libraries draw from
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    """What a test registers is gone with it."""
    from vlm_rewards.encoders.loading import ENCODERS
    from vlm_rewards.rewards.registry import FORMS
    from vlm_rewards.tasks.task import TASKS
    from vlm_rewards.training.algorithms import ALGORITHMS

    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for registry in (TASKS, FORMS, ENCODERS, ALGORITHMS):
        for module in registry._own.values():  # once, now: what a test replaces would pass for the package's own
            importlib.import_module(module)
        before.append((registry._values, dict(registry._values)))
    yield
    for values, then in before:
        values.clear()
        values.update(then)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """One torch thread: small models on few cores lose more to threads than they win."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_works() -> None:
    """A shell that starts the tests in the background lets them ignore Ctrl-C, which some of them are about."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach out fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"the network was touched: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(0)
