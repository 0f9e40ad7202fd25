"""Catches the figures that modules of `vlm_rewards.reporting.figures` save, to look into them."""

from __future__ import annotations

from types import ModuleType

import pytest
from matplotlib.figure import Figure


def saved_by(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> list[Figure]:
    """The figures that these modules save from now on, newest last; they are written as ever."""
    caught: list[Figure] = []
    for module in modules:
        save = module.save
        monkeypatch.setattr(
            module, "save", lambda figure, out, save=save: (caught.append(figure), save(figure, out))[1]
        )
    return caught
