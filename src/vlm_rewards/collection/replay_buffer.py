"""A replay buffer whose rewards arrive later than its transitions, and whether that many transitions fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from vlm_rewards.errors import CheckpointError, InvalidInputError, UnlabelledSampleError, check_count


def check_memory(field: str, rows: int, bytes_each: int) -> None:
    """Refuse more transitions (rows) than there is memory for; ``field`` is the setting that asks for so many."""
    available = psutil.virtual_memory().available
    if rows * bytes_each > available:
        raise InvalidInputError(
            f"{field} asks for {rows:,} transitions of {bytes_each:,} bytes, {rows * bytes_each / 2**20:,.0f} MiB; "
            f"{available / 2**20:,.0f} MiB of memory are available: at most {available // bytes_each:,} transitions "
            "fit."
        )


def replay_row(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> dict[str, np.dtype[Any]]:
    """What `LabelledReplayBuffer` keeps of a transition: kind and shape of each part, by the name of its array."""
    observation, action = _stored(observation_space), _stored(action_space)
    if action.base == np.float64:  # Stable-Baselines3 keeps actions of replay in single precision
        action = np.dtype((np.float32, action.shape))
    numbers = {"rewards": np.float32, "dones": np.float32, "timeouts": np.float32, "tickets": np.int64, "pending": bool}
    row = {"observations": observation, "next_observations": observation, "actions": action}
    return row | {name: np.dtype(kind) for name, kind in numbers.items()}


def rollout_row(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> dict[str, np.dtype[Any]]:
    """What PPO keeps of a transition; arguments and result are those of `replay_row`."""
    numbers = ("rewards", "returns", "values", "log_probs", "advantages", "episode_starts")
    row = {"observations": _stored(observation_space), "actions": _stored(action_space)}
    return row | {name: np.dtype(np.float32) for name in numbers}


def bytes_of(row: Mapping[str, np.dtype[Any]]) -> int:
    """Bytes of a row of `replay_row` or `rollout_row`."""
    return sum(kind.itemsize for kind in row.values())


def _stored(space: gym.Space[Any]) -> np.dtype[Any]:
    """An observation or an action of a Box or Discrete space, as Stable-Baselines3 stores it."""
    return np.dtype((space.dtype, space.shape or (1,)))


class LabelledReplayBuffer(ReplayBuffer):
    """Stable-Baselines3's replay buffer, with rewards filled in by frame ticket.

    A transition is stored without a reward and its row is *pending*. `fill`
    delivers rewards for tickets; `sample` refuses to work while a row is
    pending. A row that is overwritten before its reward arrives loses its
    claim to it, so wrap-around needs no special care.

    Pass it as ``replay_buffer_class`` and add `LabelRewards` as a callback.

    Args:
        buffer_size: Transitions over all simulators.
        observation_space: Box or Discrete.
        action_space: Box or Discrete.
        device: Where samples go.
        n_envs: Simulators.
        optimize_memory_usage: Must be False.
        handle_timeout_termination: Must be True: a time limit is no termination.

    Attributes:
        newest_ticket: The ticket added last; -1 before the first.

    Raises:
        InvalidInputError: An option that would store wrong transitions was chosen, or the transitions need more memory
            than there is.
    """

    _ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "tickets", "pending")

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
    ) -> None:
        if optimize_memory_usage:
            raise InvalidInputError(
                "optimize_memory_usage must be False: it keeps no separate next observation, so the last one of a "
                "truncated episode would be the next episode's first."
            )
        if not handle_timeout_termination:
            raise InvalidInputError(
                "handle_timeout_termination must be True: otherwise time limits would count as terminations."
            )
        check_count("buffer_size", buffer_size)
        check_memory("buffer_size", buffer_size, bytes_of(replay_row(observation_space, action_space)))
        super().__init__(buffer_size, observation_space, action_space, device, n_envs=n_envs)
        shape = (self.buffer_size, self.n_envs)
        # A ticket is the number of a frame. Rewards find their rows by it, however late they come, and whatever has
        # been overwritten meanwhile.
        self.tickets = np.full(shape, -1, dtype=np.int64)
        # A mask, not NaN in `rewards`: n-step returns multiply by masks, and 0 * NaN is NaN.
        self.pending = np.zeros(shape, dtype=bool)
        self._rows: dict[int, tuple[int, int]] = {}
        self.newest_ticket = -1

    @property
    def pending_count(self) -> int:
        """Rows that have no reward yet."""
        return len(self._rows)

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store transitions without their rewards; ``reward`` is ignored.

        Raises:
            InvalidInputError: An info has no ``frame_ticket``.
        """
        try:
            tickets = [int(info["frame_ticket"]) for info in infos]
        except KeyError:
            raise InvalidInputError(
                "LabelledReplayBuffer needs infos with 'frame_ticket': use it with RenderedVecEnv."
            ) from None
        row = self.pos
        super().add(obs, next_obs, action, np.zeros_like(reward), done, infos)
        for column, ticket in enumerate(tickets):
            if self.pending[row, column]:  # overwritten before its reward came: nobody waits for that any more
                del self._rows[int(self.tickets[row, column])]
            self._rows[ticket] = (row, column)
        self.tickets[row] = tickets
        self.pending[row] = True
        self.newest_ticket = max(self.newest_ticket, *tickets)

    def reset(self) -> None:
        """Forget all transitions, those without a reward too."""
        super().reset()
        self.tickets[:] = -1
        self.pending[:] = False
        self._rows.clear()
        self.newest_ticket = -1

    def state_dict(self) -> dict[str, Any]:
        """The rows that are filled, for `load_state_dict`: JSON values and arrays (views, not copies)."""
        rows = self.size()
        return {
            "pos": self.pos,
            "full": self.full,
            "newest_ticket": self.newest_ticket,
            "rows": {name: getattr(self, name)[:rows] for name in self._ARRAYS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave, of a buffer with the same sizes and dtypes."""
        rows = self.buffer_size if state["full"] else state["pos"]
        for name in self._ARRAYS:
            own, given = getattr(self, name), state["rows"].get(name)
            if given is None or given.dtype != own.dtype or given.shape != (rows, *own.shape[1:]):
                found = "nothing" if given is None else f"{given.dtype} {list(given.shape)}"
                raise CheckpointError(
                    f"the replay buffer's {name} must be {own.dtype} {[rows, *own.shape[1:]]}, got {found}."
                )
        self.reset()
        for name in self._ARRAYS:
            getattr(self, name)[:rows] = state["rows"][name]
        self.pos, self.full, self.newest_ticket = state["pos"], state["full"], state["newest_ticket"]
        self._rows = {
            int(self.tickets[row, column]): (int(row), int(column)) for row, column in np.argwhere(self.pending)
        }

    def fill(self, tickets: np.ndarray, rewards: np.ndarray) -> int:
        """Deliver rewards.

        Args:
            tickets: int ``[n]``, each of a transition that has been added.
            rewards: float ``[n]``, finite.

        Returns:
            How many rows were filled; the others have been overwritten meanwhile.

        Raises:
            InvalidInputError: Shapes differ, a reward is not finite, or a ticket
                was never added.
        """
        tickets, rewards = np.asarray(tickets), np.asarray(rewards)
        if tickets.shape != rewards.shape or tickets.ndim != 1:
            raise InvalidInputError(
                f"tickets and rewards must be vectors of one length, got {tickets.shape}, {rewards.shape}."
            )
        if not np.isfinite(rewards).all():
            raise InvalidInputError("rewards must be finite.")
        if tickets.size and tickets.max() > self.newest_ticket:
            raise InvalidInputError(f"ticket {tickets.max()} has not been added (newest: {self.newest_ticket}).")
        filled = 0
        for ticket, reward in zip(tickets.tolist(), rewards.tolist(), strict=True):
            place = self._rows.pop(ticket, None)
            if place is not None:
                self.rewards[place] = reward
                self.pending[place] = False
                filled += 1
        return filled

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Sample a minibatch.

        Raises:
            UnlabelledSampleError: A row has no reward yet.
        """
        if self._rows:
            raise UnlabelledSampleError(
                f"{len(self._rows)} transitions have no reward yet. Pass callback=LabelRewards(reward) to learn(), "
                "or call fill() before sampling."
            )
        return super().sample(batch_size, env)


class LabelledNStepReplayBuffer(LabelledReplayBuffer, NStepReplayBuffer):
    """`LabelledReplayBuffer` whose samples carry n-step returns (Sutton 1988), for the algorithms with ``n_steps``.

    The returns are summed when a minibatch is drawn, by which time every row
    has its reward; Stable-Baselines3's own `NStepReplayBuffer` does the sums
    and minds the ends of episodes and of the buffer.

    Args:
        arguments: As `LabelledReplayBuffer`.
        n_steps: Rewards in a sum, at least 1.
        gamma: Discount per step; must be the algorithm's.
        options: As `LabelledReplayBuffer`.

    Raises:
        InvalidInputError: An option that would store wrong transitions was chosen.
    """

    def __init__(self, *arguments: Any, n_steps: int = 3, gamma: float = 0.99, **options: Any) -> None:
        check_count("n_steps", n_steps)
        super().__init__(*arguments, **options)
        self.n_steps = n_steps
        self.gamma = gamma
