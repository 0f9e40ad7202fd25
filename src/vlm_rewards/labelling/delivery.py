"""Where late rewards go: into a replay buffer by ticket, or into the rollout that on-policy algorithms learn from."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling.replay_buffer import LabelledNStepReplayBuffer, LabelledReplayBuffer


@runtime_checkable
class Delivery(Protocol):
    """Puts rewards where the learner finds them."""

    learnable_rows: int
    """Transitions that are there when learning first happens."""
    limit: str
    """What that number is called."""

    @property
    def pending(self) -> int:
        """Transitions that have no reward yet."""
        ...

    def deliver(self, tickets: np.ndarray, rewards: np.ndarray, rollout: dict[str, Any]) -> None:
        """Put down rewards.

        Args:
            tickets: int ``[n]``, ascending.
            rewards: float ``[n]``.
            rollout: The local variables of the rollout that has just ended.
        """
        ...


def delivery_for(model: BaseAlgorithm) -> Delivery:
    """Find out how an algorithm takes its rewards.

    Raises:
        InvalidInputError: It cannot take late rewards; the message says why.
    """
    if isinstance(model, OffPolicyAlgorithm):
        return ReplayDelivery(_replay_buffer(model), model.learning_starts)
    if isinstance(model, OnPolicyAlgorithm):
        buffer = model.rollout_buffer
        if type(buffer) is not RolloutBuffer:
            raise InvalidInputError(
                f"{type(model).__name__} keeps its rollouts in a {type(buffer).__name__}, whose late rewards nobody "
                "here fills in. On-policy algorithms need the plain RolloutBuffer: PPO or A2C with a Box or Discrete "
                "observation space."
            )
        return RolloutDelivery(buffer)
    raise InvalidInputError(
        f"LabelRewards needs an algorithm of Stable-Baselines3 with a replay or rollout buffer, "
        f"got {type(model).__name__}."
    )


def _replay_buffer(model: OffPolicyAlgorithm) -> LabelledReplayBuffer:
    buffer = model.replay_buffer
    if not isinstance(buffer, LabelledReplayBuffer):
        raise InvalidInputError(
            f"the algorithm must be built with replay_buffer_class=LabelledReplayBuffer, got {type(buffer).__name__}."
        )
    wanted = getattr(model, "n_steps", 1)
    own = buffer.n_steps if isinstance(buffer, LabelledNStepReplayBuffer) else 1
    if wanted != 1 and wanted != own:
        raise InvalidInputError(
            f"n_steps={wanted} needs replay_buffer_class=LabelledNStepReplayBuffer with replay_buffer_kwargs="
            f"{{'n_steps': {wanted}, 'gamma': {model.gamma}}}, got {type(buffer).__name__} with {own}."
        )
    if isinstance(buffer, LabelledNStepReplayBuffer) and buffer.gamma != model.gamma:
        raise InvalidInputError(
            f"gamma of LabelledNStepReplayBuffer must be the algorithm's {model.gamma}, got {buffer.gamma}."
        )
    return buffer


class ReplayDelivery:
    """Rewards for the rows of a replay buffer.

    Args:
        buffer: The buffer.
        learning_starts: Transitions before the first update.
    """

    limit = "learning_starts"

    def __init__(self, buffer: LabelledReplayBuffer, learning_starts: int) -> None:
        self._buffer = buffer
        self.learnable_rows = learning_starts

    @property
    def pending(self) -> int:
        """Transitions that have no reward yet."""
        return self._buffer.pending_count

    def deliver(self, tickets: np.ndarray, rewards: np.ndarray, rollout: dict[str, Any]) -> None:
        """Fill rows; see `Delivery.deliver`."""
        # A step on which a callback ended the run is labelled but never stored.
        stored = tickets <= self._buffer.newest_ticket
        self._buffer.fill(tickets[stored], rewards[stored])


class RolloutDelivery:
    """Rewards for a rollout that has just been collected.

    They are *added* to what is there: zeros, and where an episode was cut off
    by its time limit ``gamma * V(last state)``, by which Stable-Baselines3
    bootstraps. Advantages and returns are computed again.

    Args:
        buffer: The buffer of the algorithm.
    """

    limit = "n_steps x n_envs"
    pending = 0
    """A rollout that was interrupted is thrown away whole."""

    def __init__(self, buffer: RolloutBuffer) -> None:
        self._buffer = buffer
        self.learnable_rows = buffer.buffer_size * buffer.n_envs

    def deliver(self, tickets: np.ndarray, rewards: np.ndarray, rollout: dict[str, Any]) -> None:
        """Add rewards to the rollout; see `Delivery.deliver`."""
        rows = self._buffer.pos
        if not self._buffer.full or rewards.size != self._buffer.rewards.size:
            return  # ended early by another callback: nothing will be learned from it
        self._buffer.rewards += rewards.reshape(rows, self._buffer.n_envs)
        values: torch.Tensor = rollout["values"]
        self._buffer.compute_returns_and_advantage(last_values=values, dones=rollout["dones"])
