"""One seed becomes many that do not overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.seeding import check_seed, derive_seed, episode_seed

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS)
def test_seeds_stay_in_range_and_are_repeatable(seed: int) -> None:
    for derived in (derive_seed(seed, "train"), episode_seed(seed, 3, 5)):
        assert 0 <= derived < 2**32
        assert isinstance(derived, int)
    assert derive_seed(seed, "train") == derive_seed(seed, "train") != derive_seed(seed, "evaluate")


def test_episodes_of_all_simulators_differ() -> None:
    seeds = {episode_seed(0, simulator, episode) for simulator in range(32) for episode in range(100)}
    assert len(seeds) == 3200


def test_simulator_and_episode_are_not_mixed_up() -> None:
    assert episode_seed(0, 1, 2) != episode_seed(0, 2, 1)
    assert episode_seed(1, 0, 2) != episode_seed(0, 1, 2)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1", None, True])
def test_refuses_what_is_no_seed(seed: object) -> None:
    with pytest.raises(InvalidInputError, match=r"seed must be an int from 0 to 4294967295, got "):
        check_seed(seed)


def test_accepts_numpy_integers() -> None:
    assert check_seed(np.int64(7)) == 7
