"""Settings that could not work are refused, with the field, the rule, the value and the choices."""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import Any

import pytest

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.finetuning import config
from vlm_rewards.finetuning.config import FinetuneConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, r"tasks must name at least one task, each once, got \(\)"),
        ({"tasks": ("cartpole", "cartpole")}, "tasks must name at least one task, each once"),
        ({"shares": (1, 2)}, r"shares must be one int of at least 1 for each of 4 tasks, got \(1, 2\)"),
        ({"shares": (1, 0, 1, 1)}, r"shares must be one int of at least 1 for each of 4 tasks, got \(1, 0, 1, 1\)"),
        ({"steps": 0}, "steps must be an int of at least 1, got 0"),
        ({"pictures_per_task": 1}, "pictures_per_task must be an int of at least 2, got 1"),
        ({"seed": -1}, "seed must be an int of at least 0, got -1"),
        ({"threads": 0}, "threads must be an int of at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0 to 1, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0 to 1, got nan"),
        ({"within_task": 1.5}, "within_task must be a number from 0 to 1, got 1.5"),
        ({"freeze": "image"}, "freeze must be 'none' for a model from scratch"),
        ({"resume": True, "overwrite": True}, "resume and overwrite exclude each other"),
        ({"unlocked_groups": 2}, "unlocked_groups needs a frozen tower, got 2"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str):
    with pytest.raises(InvalidInputError, match=message):
        FinetuneConfig(**changes)


def test_the_humanoid_has_three_shares_unless_told_otherwise():
    config = FinetuneConfig(tasks=("cartpole", "lotus"))
    assert [config.share(index) for index in range(2)] == [1, 3]
    told = FinetuneConfig(tasks=("cartpole", "lotus"), shares=(2, 1))
    assert [told.share(index) for index in range(2)] == [2, 1]


def test_a_field_without_help_would_show_as_a_bare_option():
    tree = ast.parse(inspect.getsource(config))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    for statement, after in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(statement)
