"""The callback that brings rewards to a Stable-Baselines3 algorithm, unchanged, and where it puts them."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from vlm_rewards.collection.episodes import EpisodeLedger, EpisodeSummary, Interpolation
from vlm_rewards.collection.labeller import Labeller, chunk_length
from vlm_rewards.collection.replay_buffer import LabelledNStepReplayBuffer, LabelledReplayBuffer
from vlm_rewards.collection.shaping import LateTransitions, TransitionRule, rule_of
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.collection.watcher import FrameWatcher
from vlm_rewards.errors import InvalidInputError, LabellerError, check_count
from vlm_rewards.rewards.base import AnyReward, check_callable, score_columns
from vlm_rewards.rewards.standardise import Standardiser


def delivery_for(model: BaseAlgorithm) -> ReplayDelivery | RolloutDelivery:
    """Find out how an algorithm takes its rewards; one that cannot take late ones is refused with the reason."""
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

    Attributes:
        learnable_rows: Transitions that are there when learning first happens.
        limit: What that number is called.
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
        """Put down rewards, float ``[n]``, of ascending tickets, int ``[n]``; ``rollout`` has its local variables."""
        # A step on which a callback ended the run is labelled but never stored.
        stored = tickets <= self._buffer.newest_ticket
        self._buffer.fill(tickets[stored], rewards[stored])


class RolloutDelivery:
    """Rewards for a rollout that has just been collected.

    They are *added* to what is there: zeros, and where an episode was cut off
    by its time limit ``gamma * V(last state)``, by which Stable-Baselines3
    bootstraps. Advantages and returns are computed again. Attributes are those of `ReplayDelivery`.
    """

    limit = "n_steps x n_envs"
    pending = 0
    """A rollout that was interrupted is thrown away whole."""

    def __init__(self, buffer: RolloutBuffer) -> None:
        self._buffer = buffer
        self.learnable_rows = buffer.buffer_size * buffer.n_envs

    def deliver(self, tickets: np.ndarray, rewards: np.ndarray, rollout: dict[str, Any]) -> None:
        """Add rewards to the rollout; arguments are those of `ReplayDelivery.deliver`."""
        rows = self._buffer.pos
        if not self._buffer.full or rewards.size != self._buffer.rewards.size:
            return  # ended early by another callback: nothing will be learned from it
        self._buffer.rewards += rewards.reshape(rows, self._buffer.n_envs)
        values: torch.Tensor = rollout["values"]
        self._buffer.compute_returns_and_advantage(last_values=values, dones=rollout["dones"])


_RECENT_EPISODES = 100


class LabelRewards(BaseCallback):
    """Scores the frames in the background and delivers the rewards before each update.

    Off-policy algorithms (DQN, SAC, TD3, DDPG, TQC, CrossQ, those of sbx) must
    be built with ``replay_buffer_class=LabelledReplayBuffer``, or
    `LabelledNStepReplayBuffer` for n-step returns. PPO and A2C need nothing:
    rewards are added to the rollout, and advantages computed again.

    Where the environment renders only some states (``render_every``),
    the others' rewards are interpolated; after the last frame of a rollout
    its reward holds, so a rollout should end with a frame.

    Logs ``rollout/vlm_return``, ``rollout/true_return`` and, where the task has
    a criterion, ``rollout/success_rate`` over the last 100 episodes.

    Args:
        reward: Scores frames (uint8 ``[n h w 3]`` to float ``[n]``), such as
            `VLMReward`. It is called from another thread. With `PotentialShaping`
            the environment must have been made with ``render_resets=True``.
        chunk_frames: Frames scored in one go, about; rounded up to whole
            vector steps and cut to what the environment's ring holds.
        standardise: None leaves rewards as they are. A number fits mean and
            standard deviation on that many first labelled transitions (at
            least), freezes them, and delivers ``(reward - mean) / std``. Must
            not exceed the algorithm's ``learning_starts``, or for PPO a rollout.
            `Standardiser` says when this changes the optimal policy.
        watcher: Looks at every frame beside the learner; None where nobody watches.
        verbose: Stable-Baselines3's verbosity.

    Attributes:
        standardiser: The affine map in use; the identity until it is fitted.
        episodes: The last 100 finished episodes.
        labelled_frames: States scored so far: transitions, less those whose reward is interpolated.
        finished: Episodes finished since the rollout began, newest last.
    """

    def __init__(
        self,
        reward: AnyReward,
        *,
        chunk_frames: int = 256,
        standardise: int | None = None,
        watcher: FrameWatcher | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        for field, value in (("chunk_frames", chunk_frames), ("standardise", standardise)):
            if value is not None:
                check_count(field, value)
        self.reward = check_callable(reward)
        self.chunk_frames = chunk_frames
        self.standardise = standardise
        self.watcher = watcher
        self.standardiser = Standardiser()
        self.episodes: deque[EpisodeSummary] = deque(maxlen=_RECENT_EPISODES)
        self.finished: list[EpisodeSummary] = []
        self.labelled_frames = 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._transitions = LateTransitions(TransitionRule())  # plain: no episode is followed yet
        self._labeller: Labeller | None = None
        self._served: tuple[Any, Any] = (None, None)

    def _on_training_start(self) -> None:
        self.stop()  # an exception may have ended the last call of learn()
        self._venv = _rendered_venv(self.training_env)
        self._delivery = delivery_for(self.model)
        rows, limit = self._delivery.learnable_rows, self._delivery.limit
        if self.standardise is not None and self.standardise > rows:
            raise InvalidInputError(
                f"standardise must be at most {limit} ({rows}), got {self.standardise}: "
                "learning would start before the rewards are known."
            )
        same = self._served[0] is self._venv and self._served[1] is self.model
        if not same or self._delivery.pending == 0:
            self._waiting = []  # of other rows: tickets count from 0 in every environment
        # Whether episodes go on, learn(reset_num_timesteps=False), of which every step has been delivered.
        rule = rule_of(self.reward)
        follows = same and not self._venv.just_reset and self._ledger.complete
        follows = follows and self._transitions.rule.needs_resets == rule.needs_resets
        self._served = (self._venv, self.model)
        lost = self._delivery.pending - sum(len(tickets) for tickets, _ in self._waiting)
        if lost > 0:
            raise InvalidInputError(
                f"{lost} transitions in the replay buffer were left without a reward when the last learn() was "
                "interrupted; their frames are gone. Go on with a fresh replay buffer (model.replay_buffer.reset())."
            )
        if not follows:
            self._ledger = EpisodeLedger(self._venv.num_envs)
            self._interpolation = Interpolation(self._venv.num_envs)
            self._venv.render_next()
            self._transitions = LateTransitions(rule, self._first_values(rule) if rule.needs_resets else None)
        self._start()

    def _first_values(self, rule: TransitionRule) -> np.ndarray:
        if not self._venv.ring.resets:
            raise InvalidInputError(
                "potential-based shaping needs the states after resets: RenderedVecEnv(render_resets=True)."
            )
        if not self._venv.just_reset:
            raise InvalidInputError(
                "potential-based shaping must follow episodes from their first state; these have begun without it, or "
                "the last learn() was interrupted among them: learn(reset_num_timesteps=True)."
            )
        return rule.score(self._venv.reset_frames())

    def _start(self) -> None:
        venv = self._venv
        chunk_steps = chunk_length(self.chunk_frames, venv.num_envs, venv.ring.slots)
        scored_by = rule_of(self.reward).state_rewards
        if self.watcher is not None and self.watcher.held_out is not None:
            scored_by = (*scored_by, self.watcher.held_out)  # the last column is nothing that the learner sees
        self._labeller = Labeller(
            functools.partial(score_columns, scored_by),
            venv.ring,
            venv.gate,
            first_step=venv.steps_taken,
            chunk_steps=chunk_steps,
            columns=len(scored_by),
            look=None if self.watcher is None else self.watcher.look,
        )

    def _on_rollout_start(self) -> None:
        self.finished = []

    def _on_step(self) -> bool:
        dones, infos = self.locals["dones"], self.locals["infos"]
        self._ledger.observe(dones, infos)
        resets = self._transitions.observe(dones, infos)
        self._running().submit(self._venv.steps_taken - 1, resets, self._venv.rendered)
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
            "interpolation": self._interpolation.state_dict(),
            "transitions": self._transitions.state_dict(),
            "watcher": None if self.watcher is None else self.watcher.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave, inside ``learn()``, after the environment was put back."""
        # The environment comes first and the labeller last: it starts at the environment's vector step, and what was
        # rendered before that is scored already.
        self.stop()
        self.standardiser = Standardiser.from_dict(state["standardiser"])
        self.labelled_frames = state["labelled_frames"]
        self.episodes.clear()
        self.episodes.extend(EpisodeSummary(**episode) for episode in state["episodes"])
        self._waiting = [(one["tickets"], one["rewards"]) for one in state["waiting"]]
        self._ledger.load_state_dict(state["ledger"])
        self._interpolation.load_state_dict(state["interpolation"])
        self._transitions.load_state_dict(state["transitions"])
        if self.watcher is not None:
            self.watcher.load_state_dict(state["watcher"])
        self._start()

    def _running(self) -> Labeller:
        if self._labeller is None:
            raise InvalidInputError("LabelRewards works only inside learn().")
        return self._labeller

    def _deliver(self) -> None:
        first_step, raw = self._running().drain()
        after_resets = self._running().drain_resets()
        if raw.size == 0:
            return
        self.labelled_frames += int((~np.isnan(raw[:, :, 0])).sum())
        raw = self._interpolation.fill(raw)
        own = self._transitions.rule.columns
        values, held_out = raw[:, :, :own], raw[:, :, own] if raw.shape[2] > own else None
        returns = values[:, :, 0]
        if self.watcher is not None:
            truths = self._ledger.truths(len(returns), true_reward=self.watcher.true_reward)
            self.watcher.learn_truth(first_step, truths if held_out is None else held_out)
        finished = self._ledger.label(first_step, returns, held_out)
        self.finished.extend(finished)
        self.episodes.extend(finished)
        rewards = self._transitions.rewards(values, after_resets[:, :own])
        first_ticket = first_step * self._venv.num_envs
        self._waiting.append((np.arange(first_ticket, first_ticket + rewards.size), rewards.reshape(-1)))
        if self.standardise is not None and not self.standardiser.fitted and not self._fit(self.standardise):
            return  # these rows stay pending: nothing may be learned from them yet
        for tickets, waiting in self._waiting:
            delivered = self.standardiser.apply(waiting) if self.standardiser.fitted else waiting
            self._delivery.deliver(tickets, delivered, self.locals)
        self._waiting = []

    def _fit(self, least: int) -> bool:
        if sum(len(rewards) for _, rewards in self._waiting) < least:
            return False
        try:
            self.standardiser.fit(np.concatenate([rewards for _, rewards in self._waiting]))
        except InvalidInputError as error:  # no input of the user's is at fault: the run has found it out
            raise LabellerError(f"the first rewards cannot be standardised: {error}") from error
        return True


def _rendered_venv(venv: VecEnv) -> RenderedVecEnv:
    layer = venv
    while isinstance(layer, VecEnvWrapper):
        if isinstance(layer, VecNormalize) and layer.norm_reward:
            raise InvalidInputError(
                "VecNormalize must have norm_reward=False: it would normalise the zeros that stand in for rewards "
                "which are not known yet. Use LabelRewards(standardise=...) instead."
            )
        layer = layer.venv
    if not isinstance(layer, RenderedVecEnv):
        raise InvalidInputError(f"LabelRewards needs a RenderedVecEnv, got {type(layer).__name__}.")
    return layer
