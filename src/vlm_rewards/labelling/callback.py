"""The callback that brings rewards to a Stable-Baselines3 algorithm, unchanged."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from vlm_rewards.errors import InvalidInputError, LabellerError, check_count
from vlm_rewards.labelling.episodes import EpisodeLedger, EpisodeSummary
from vlm_rewards.labelling.labeller import FrameReward, Labeller
from vlm_rewards.labelling.replay_buffer import LabelledReplayBuffer
from vlm_rewards.rewards import Standardiser
from vlm_rewards.simulation import PhotographedVecEnv

_RECENT_EPISODES = 100


class LabelRewards(BaseCallback):
    """Scores the pictures in the background and fills the replay buffer before each update.

    Logs ``rollout/vlm_return``, ``rollout/true_return`` and, where the task has
    a criterion, ``rollout/success_rate`` over the last 100 episodes.

    Args:
        reward: Scores pictures (uint8 ``[n h w 3]`` to float ``[n]``), such as
            `VLMReward`. It is called from another thread.
        chunk_frames: Pictures scored in one go, about; rounded up to whole
            vector steps and cut to what the environment's ring holds.
        standardise: None leaves rewards as they are. A number fits mean and
            standard deviation on that many first labelled transitions (at
            least), freezes them, and delivers ``(reward - mean) / std``. Must
            not exceed the algorithm's ``learning_starts``. `Standardiser` says
            when this changes the optimal policy.
        verbose: Stable-Baselines3's verbosity.

    Attributes:
        standardiser: The affine map in use; the identity until it is fitted.
        episodes: The last 100 finished episodes.
        labelled_frames: Pictures scored so far.
        finished: Episodes finished since the rollout began, newest last.
    """

    def __init__(
        self, reward: FrameReward, *, chunk_frames: int = 256, standardise: int | None = None, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        if not callable(reward):
            raise InvalidInputError(f"reward must be callable, got {reward!r}.")
        for field, value in (("chunk_frames", chunk_frames), ("standardise", standardise)):
            if value is not None:
                check_count(field, value)
        self.reward = reward
        self.chunk_frames = chunk_frames
        self.standardise = standardise
        self.standardiser = Standardiser()
        self.episodes: deque[EpisodeSummary] = deque(maxlen=_RECENT_EPISODES)
        self.finished: list[EpisodeSummary] = []
        self.labelled_frames = 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._labeller: Labeller | None = None

    def _on_training_start(self) -> None:
        self.stop()  # an exception may have ended the last call of learn()
        self._venv = _photographed(self.training_env)
        self._buffer = self._check_model()
        lost = self._buffer.pending_count - sum(len(tickets) for tickets, _ in self._waiting)
        if lost > 0:
            raise InvalidInputError(
                f"{lost} transitions in the replay buffer were left without a reward when the last learn() was "
                "interrupted; their pictures are gone. Go on with a fresh replay buffer (model.replay_buffer.reset())."
            )
        self._ledger = EpisodeLedger(self._venv.num_envs)
        self._start()

    def _start(self) -> None:
        chunk_steps = min(-(-self.chunk_frames // self._venv.num_envs), self._venv.ring.slots - 1)
        self._labeller = Labeller(
            self.reward, self._venv.ring, self._venv.gate, first_step=self._venv.steps_taken, chunk_steps=chunk_steps
        )

    def _on_rollout_start(self) -> None:
        self.finished = []

    def _on_step(self) -> bool:
        self._ledger.observe(self.locals["dones"], self.locals["infos"])
        self._running().submit(self._venv.steps_taken - 1)
        return True

    def _on_rollout_end(self) -> None:
        self._deliver()
        if self.episodes:
            self.logger.record("rollout/vlm_return", float(np.mean([e.vlm_return for e in self.episodes])))
            self.logger.record("rollout/true_return", float(np.mean([e.true_return for e in self.episodes])))
        judged = [e.success for e in self.episodes if e.success is not None]
        if judged:
            self.logger.record("rollout/success_rate", float(np.mean(judged)))

    def _on_training_end(self) -> None:
        self._deliver()  # another callback may have ended a rollout early; learn() may be called again
        self.stop()

    def stop(self) -> None:
        """End the background thread; after an interruption, call it yourself. Safe to call twice."""
        if self._labeller is not None:
            self._labeller.close()
            self._labeller = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, between two rollouts: JSON values and arrays, for `load_state_dict`."""
        return {
            "standardiser": self.standardiser.to_dict(),
            "labelled_frames": self.labelled_frames,
            "episodes": [dataclasses.asdict(episode) for episode in self.episodes],
            "waiting": [{"tickets": tickets, "rewards": rewards} for tickets, rewards in self._waiting],
            "ledger": self._ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave, inside ``learn()``, after the environment was put back."""
        self.stop()
        self.standardiser = Standardiser.from_dict(state["standardiser"])
        self.labelled_frames = state["labelled_frames"]
        self.episodes.clear()
        self.episodes.extend(EpisodeSummary(**episode) for episode in state["episodes"])
        self._waiting = [(one["tickets"], one["rewards"]) for one in state["waiting"]]
        self._ledger.load_state_dict(state["ledger"])
        self._start()

    def _running(self) -> Labeller:
        if self._labeller is None:
            raise InvalidInputError("LabelRewards works only inside learn().")
        return self._labeller

    def _deliver(self) -> None:
        first_step, raw = self._running().drain()
        if raw.size == 0:
            return
        self.labelled_frames += raw.size
        finished = self._ledger.label(first_step, raw)
        self.finished.extend(finished)
        self.episodes.extend(finished)
        first_ticket = first_step * self._venv.num_envs
        self._waiting.append((np.arange(first_ticket, first_ticket + raw.size), raw.reshape(-1)))
        if self.standardise is not None and not self.standardiser.fitted:
            if sum(len(rewards) for _, rewards in self._waiting) < self.standardise:
                return  # these rows stay pending: nothing may be learned from them yet
            try:
                self.standardiser.fit(np.concatenate([rewards for _, rewards in self._waiting]))
            except InvalidInputError as error:  # no input of the user's is at fault: the run has found it out
                raise LabellerError(f"the first rewards cannot be standardised: {error}") from error
        for tickets, rewards in self._waiting:
            # A step on which a callback ended the run is labelled but never stored.
            stored = tickets <= self._buffer.newest_ticket
            delivered = self.standardiser.apply(rewards) if self.standardiser.fitted else rewards
            self._buffer.fill(tickets[stored], delivered[stored])
        self._waiting = []

    def _check_model(self) -> LabelledReplayBuffer:
        model = self.model
        if not isinstance(model, OffPolicyAlgorithm):
            raise InvalidInputError(
                f"LabelRewards needs an off-policy algorithm of Stable-Baselines3, got {type(model).__name__}."
            )
        if not isinstance(model.replay_buffer, LabelledReplayBuffer):
            raise InvalidInputError(
                "the algorithm must be built with replay_buffer_class=LabelledReplayBuffer, "
                f"got {type(model.replay_buffer).__name__}."
            )
        if getattr(model, "n_steps", 1) > 1:
            raise InvalidInputError(f"n_steps must be 1 with LabelledReplayBuffer, got {model.n_steps}.")
        if self.standardise is not None and self.standardise > model.learning_starts:
            raise InvalidInputError(
                f"standardise must be at most learning_starts ({model.learning_starts}), got {self.standardise}: "
                "learning would start before the rewards are known."
            )
        return model.replay_buffer


def _photographed(venv: VecEnv) -> PhotographedVecEnv:
    layer = venv
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, VecNormalize) and layer.norm_reward:
            raise InvalidInputError(
                "VecNormalize must have norm_reward=False: it would normalise the zeros that stand in for rewards "
                "which are not known yet. Use LabelRewards(standardise=...) instead."
            )
        layer = layer.venv
    if not isinstance(layer, PhotographedVecEnv):
        raise InvalidInputError(f"LabelRewards needs a PhotographedVecEnv, got {type(layer).__name__}.")
    return layer
