"""Medians and ratios, and who is measured when."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bench.measurement import Measurement, paired, repeat
from bench.settings import BenchSettings
from vlm_rewards.errors import InvalidInputError, UnknownNameError


def test_ratios_are_those_of_the_pairs_not_of_the_medians() -> None:
    result = Measurement("x", "frames/s", (10.0, 40.0, 90.0), "common way", (10.0, 2.0, 30.0), {"steps": 5}).to_dict()
    assert result["median"] == 40
    assert result["beside"]["median"] == 10
    assert result["ratio"] == {"median": 3, "lowest": 1, "highest": 20, "runs": [1, 20, 3]}
    assert json.loads(json.dumps(result)) == result


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = Measurement("x", "frames/s", (1.0, 2.0), "common way", (1.0,)).ratios


def test_without_a_partner_there_is_no_ratio() -> None:
    assert set(Measurement("x", "frames/s", (1.0,)).to_dict()) == {
        "name", "unit", "median", "lowest", "highest", "runs", "settings",
    }  # fmt: skip


def recorder(order: list[str], name: str) -> Callable[[], float]:
    def measure() -> float:
        order.append(name)
        return float(len(order))

    return measure


def test_partners_take_turns_in_going_first_after_one_to_warm_up_each() -> None:
    order: list[str] = []
    ours, theirs = paired(recorder(order, "a"), recorder(order, "b"), 3)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert ours == (3.0, 6.0, 7.0)
    assert theirs == (4.0, 5.0, 8.0)


def test_the_first_run_does_not_count() -> None:
    assert repeat(recorder([], "a"), 2) == (2.0, 3.0)


def test_settings_are_checked() -> None:
    with pytest.raises(UnknownNameError, match=r"stage 'drawin'.*drawing"):
        BenchSettings(stages=("drawin",))
    with pytest.raises(InvalidInputError, match="stages must name at least one"):
        BenchSettings(stages=())
    with pytest.raises(InvalidInputError, match=r"repeats must be .* at least 1"):
        BenchSettings(repeats=0)
    with pytest.raises(InvalidInputError, match=r"humanoid_rollouts must be .* at least 1"):
        BenchSettings(humanoid_rollouts=0)
