"""Potential-based shaping on Markov decision processes that are solved exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_rewards.collection.shaping import shaped

STATES, ACTIONS = 5, 3


class Process:
    """A random process with transition probabilities, rewards of (state, action, next state) and terminal states."""

    def __init__(self, seed: int, gamma: float, terminal: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.gamma = gamma
        self.probabilities = rng.dirichlet(np.ones(STATES) * 0.4, (STATES, ACTIONS))
        self.rewards = rng.normal(size=(STATES, ACTIONS, STATES))
        self.terminated = np.zeros(STATES, dtype=bool)
        self.terminated[rng.choice(STATES, terminal, replace=False)] = True

    def values(self, rewards: np.ndarray) -> np.ndarray:
        """Action values of the optimal policy, by value iteration."""
        action_values = np.zeros(rewards.shape[:2])
        for _ in range(2_000):
            after = np.where(self.terminated, 0.0, action_values.max(axis=1))
            action_values = (self.probabilities * (rewards + self.gamma * after)).sum(axis=2)
        return action_values

    def shaped(self, potential: np.ndarray) -> np.ndarray:
        before, after = potential[:, None, None], potential[None, None, :]
        everywhere = np.broadcast_to(self.terminated[None, None, :], self.rewards.shape)
        return shaped(self.rewards, before, after, everywhere, self.gamma).astype(np.float64)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.0, 0.95), st.integers(0, 2), st.floats(0.1, 20.0))
def test_the_optimal_policy_does_not_change(seed: int, gamma: float, terminal: int, scale: float) -> None:
    process = Process(seed, gamma, terminal)
    potential = np.random.default_rng(seed + 1).normal(size=STATES) * scale
    plain, guided = process.values(process.rewards), process.values(process.shaped(potential))
    # Theorem 1 of Ng et al.: Q' = Q - Phi(s), so the best action of every state stays the best.
    np.testing.assert_allclose(guided, plain - potential[:, None], atol=1e-4 * max(1.0, scale) / (1 - gamma))


def test_paying_the_potential_itself_changes_it() -> None:
    # Two states, and a way back and forth: by Phi(s') alone, staying where Phi is high beats the goal.
    probabilities = np.zeros((3, 2, 3))
    probabilities[0, 0, 2] = probabilities[0, 1, 1] = 1.0  # leave for the goal, or go to the pretty state
    probabilities[1, :, 0] = 1.0
    probabilities[2, :, 2] = 1.0
    process = Process(0, 0.9)
    process.probabilities, process.terminated = probabilities, np.array([False, False, True])
    process.rewards = np.zeros((3, 2, 3))
    process.rewards[0, 0, 2] = 1.0
    potential = np.array([0.0, 1.0, 0.0])
    assert process.values(process.rewards)[0].argmax() == 0
    assert process.values(process.shaped(potential))[0].argmax() == 0
    assert process.values(process.rewards + potential)[0].argmax() == 1


def test_a_potential_of_terminated_states_changes_it() -> None:
    # Two ways to end, of which one is right and the other looks good.
    probabilities = np.zeros((3, 2, 3))
    probabilities[0, 0, 1] = probabilities[0, 1, 2] = 1.0
    probabilities[1, :, 1] = probabilities[2, :, 2] = 1.0
    process = Process(0, 0.9)
    process.probabilities, process.terminated = probabilities, np.array([False, True, True])
    process.rewards = np.zeros((3, 2, 3))
    process.rewards[0, 0, 1] = 1.0
    potential = np.array([0.0, 0.0, 5.0])
    naive = process.rewards + 0.9 * potential[None, None, :] - potential[:, None, None]
    assert process.values(process.rewards)[0].argmax() == 0
    assert process.values(process.shaped(potential))[0].argmax() == 0
    assert process.values(naive)[0].argmax() == 1


def test_by_hand() -> None:
    rewards = shaped([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [2.0, 2.0, 2.0], [False, True, False], 0.9)
    np.testing.assert_allclose(rewards, [1 + 1.8 - 0.5, 1 - 0.5, 1 + 1.8 - 0.5])
    assert rewards.dtype == np.float32
