"""Every algorithm learns a task whose answer is known: go where it is bright."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from every_algorithm import with_slow_ones
from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.testing.point import brightness_reward, darkness_reward, point_task
from vlm_rewards.training.algorithms import ALGORITHMS, build_algorithm, get_algorithm

OFF_POLICY = {
    "learning_starts": 100,
    "train_freq": 4,
    "gradient_steps": 10,
    "batch_size": 32,
    "gamma": 0.8,
    "buffer_size": 2_000,
    "net_arch": (16,),
    "learning_rate": 1e-2,
}
DISCRETE = {**OFF_POLICY, "exploration_fraction": 0.5, "target_update_interval": 40}
ENTROPY = {**OFF_POLICY, "ent_coef": "0.01", "tau": 0.05}
NOISE = {**OFF_POLICY, "tau": 0.05, "action_noise": 0.5}
WIDE = {**OFF_POLICY, "ent_coef": "0.01", "critic_arch": (64,)}
ON_POLICY = {"n_steps": 16, "batch_size": 32, "gamma": 0.8, "learning_rate": 1e-2, "net_arch": (16,)}
CASES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "dqn": ("dqn", "discrete", DISCRETE, 640),
    "dqn, 3 steps": ("dqn", "discrete", {**DISCRETE, "n_steps": 3}, 640),
    "qrdqn": ("qrdqn", "discrete", {**DISCRETE, "n_quantiles": 5}, 640),
    "sac": ("sac", "box", ENTROPY, 640),
    "sac, 3 steps": ("sac", "box", {**ENTROPY, "n_steps": 3}, 640),
    "td3": ("td3", "box", NOISE, 640),
    "ddpg": ("ddpg", "box", NOISE, 640),
    "tqc": ("tqc", "box", {**ENTROPY, "n_quantiles": 5}, 640),
    "crossq": ("crossq", "box", WIDE, 960),
    "sbx-sac": ("sbx-sac", "box", ENTROPY, 640),
    "sbx-crossq": ("sbx-crossq", "box", WIDE, 960),
    "ppo, discrete": ("ppo", "discrete", ON_POLICY, 1_280),
    "ppo, continuous": ("ppo", "box", ON_POLICY, 1_920),
}


def test_all_are_here() -> None:
    assert {name for name, *_ in CASES.values()} == set(ALGORITHMS.names())


def final_positions(model: Any, venv: RenderedVecEnv) -> np.ndarray:
    venv.seed(1)
    observations = venv.reset()
    for _ in range(7):
        observations = venv.step(model.predict(observations, deterministic=True)[0])[0]
    return np.asarray(observations)[:, 0]


@pytest.mark.parametrize("case", with_slow_ones(CASES, common=["dqn"]))
def test_learns_to_go_where_it_is_bright_and_not_where_it_is_dark(case: str) -> None:
    name, actions, settings, steps = CASES[case]
    venv = RenderedVecEnv(point_task(actions=actions), 4, image_size=32, n_workers=1)  # type: ignore[arg-type]
    try:
        for reward, low, high in ((brightness_reward, 0.9, 1.0), (darkness_reward, 0.0, 0.1)):
            model = build_algorithm(get_algorithm(name).config(**settings), venv, seed=3, device="cpu")
            model.learn(steps, callback=LabelRewards(reward, standardise=64))
            reached = final_positions(model, venv)
            assert ((low <= reached) & (reached <= high)).all(), f"{reward.__name__}: {reached}"
    finally:
        venv.close()


def step_sizes(model: Any) -> set[float]:
    """Of all optimisers, whatever library they are from."""
    if hasattr(model, "qf_learning_rate"):
        states = (model.policy.actor_state.opt_state, model.policy.qf_state.opt_state)
        return {round(float(state.hyperparams["learning_rate"]), 9) for state in states}
    modules = [getattr(model.policy, name, model.policy) for name in ("actor", "critic")]
    return {round(group["lr"], 9) for module in modules for group in module.optimizer.param_groups}


@pytest.mark.parametrize("case", with_slow_ones(["dqn", "sac", "sbx-sac", "ppo, continuous"], common=["dqn", "sac"]))
def test_the_step_size_falls_on_a_straight_line(case: str) -> None:
    name, actions, settings, _ = CASES[case]
    algorithm = get_algorithm(name).config(**{**settings, "learning_rate": 1e-2, "final_learning_rate": 2e-3})
    venv = RenderedVecEnv(point_task(actions=actions), 4, image_size=32, n_workers=1)  # type: ignore[arg-type]
    seen: dict[int, set[float]] = {}

    def record(model: Any, train: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        train(*args, **kwargs)
        seen[model.num_timesteps] = step_sizes(model)

    try:
        model: Any = build_algorithm(algorithm, venv, seed=3, device="cpu")
        model.train = partial(record, model, model.train)
        model.learn(640, callback=LabelRewards(brightness_reward, standardise=64))
    finally:
        venv.close()
    assert len(seen) > 5
    for steps, sizes in seen.items():
        assert [*sizes] == [pytest.approx(1e-2 - 8e-3 * steps / 640, abs=1e-8)]
