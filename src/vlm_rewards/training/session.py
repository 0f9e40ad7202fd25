"""The callbacks of one call of ``learn()``, and the state that they and the learner have together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.collection.watcher import FrameWatcher
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.callbacks import SCORE_COLUMNS, Metrics, ProgressBar, Snapshots, Stopwatch, ThreadPhases
from vlm_rewards.training.checkpoints import Checkpoints, Interruption, Resumption, restore_waiting, tensorboard_state
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.learner_state import learner_state, load_learner_state
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.run_folder import PolicyFunction, RunFolder
from vlm_rewards.training.watch import HackingWatch, window_of

_NEVER = 10**9  # rollouts between Stable-Baselines3's own log lines; we log at the end of each rollout


class Session:
    """One stretch of a run, from its beginning or from a checkpoint to its end or to Ctrl-C.

    Args:
        config: The settings.
        run: Where everything is written.
        reward: Scores frames.
        evaluate: Runs a policy on selection episodes; see `vlm_rewards.training.runner.Evaluate`.
        console: Where the progress bar goes.
        checkpoint_seconds: Between resume states.
        identity: What a resume state belongs to.
        history: When and with which version each stretch began, this one included.
        state: The checkpoint to go on from; None starts anew.
        against: What the reward is watched against; see `vlm_rewards.training.watch.watched_against`.
        held_out: The held-out reward, where it is watched against that.

    Attributes:
        labels: Fills in the rewards.
        stopwatch: Where the time went.
        snapshots: The policies saved.
        watch: Looks out for reward hacking; None where nobody watches.
        history: As given.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        reward: Any,
        evaluate: Callable[..., dict[str, Any]],
        console: Console,
        checkpoint_seconds: float,
        identity: dict[str, Any],
        history: list[dict[str, Any]],
        state: dict[str, Any] | None,
        *,
        against: str | None = None,
        held_out: FrameReward | None = None,
    ) -> None:
        selection_seed = derive_seed(config.seed, "select")

        def score(policy: PolicyFunction) -> dict[str, Any]:
            scores = evaluate(policy, episodes=config.selection_episodes, seed=selection_seed)
            return {key: scores[key] for key in SCORE_COLUMNS}

        before = state or {"metrics": None, "snapshots": None, "seconds": 0.0, "stopwatch": {}, "watch": None}
        self.config = config
        self.history = history
        self._identity = identity
        self._began = time.time() - before["seconds"]
        watcher = None
        if against is not None:
            second = held_out if against == "held-out" else None
            watcher = FrameWatcher(second, true_reward=against == "true-reward")
        self.labels = LabelRewards(
            reward, chunk_frames=config.chunk_frames, standardise=config.standardise, watcher=watcher
        )
        self.watch: HackingWatch | None = None
        if against is not None:
            window = window_of(config.steps // task_of(config).horizon)
            self.watch = HackingWatch(run, self.labels, against, console, before["watch"], window=window)
        self.threads = ThreadPhases(getattr(reward, "encoder", None))
        self.stopwatch = Stopwatch()
        self.stopwatch.seconds.update(before["stopwatch"])
        self.snapshots = Snapshots(run, config, score, self.stopwatch, before["snapshots"])
        self.metrics = Metrics(run, self.labels, config.steps, before["metrics"], watch=self.watch)
        self.bar = ProgressBar(console, config.steps, self.labels)
        self._interruption = Interruption()
        self._checkpoints = Checkpoints(
            run,
            self._capture,
            every=checkpoint_seconds,
            interruption=self._interruption,
            stopwatch=self.stopwatch,
            step=None if state is None else state["steps"],
        )
        # The labels first: the others report what they bring. The stopwatch last but one, so that a lap includes them
        # all; snapshots before it, so that their time is taken out of the lap. A checkpoint holds what all have done.
        watch = [] if self.watch is None else [self.watch]
        others: list[BaseCallback] = [self.threads, *watch, self.metrics, self.bar, self.snapshots, self.stopwatch]
        self._callbacks: list[BaseCallback] = [self.labels, *others, self._checkpoints]
        self._resumption = None if state is None else Resumption(state, self._restore, self._callbacks)
        if self._resumption is not None:
            self._callbacks.insert(1, self._resumption)

    @property
    def seconds(self) -> float:
        """Since the run began; what lay between two stretches does not count."""
        return time.time() - self._began

    def learn(self, model: BaseAlgorithm) -> bool:
        """Learn; True if Ctrl-C ended it.

        Raises:
            KeyboardInterrupt: It came before the run that is to go on was there again.
        """
        self._model = model
        try:
            with self._interruption:
                try:
                    model.learn(self.config.steps, callback=CallbackList(self._callbacks), log_interval=_NEVER)
                    return False
                except KeyboardInterrupt:
                    if self._resumption is not None and self._resumption.pending:
                        raise  # nothing has been learned, and what there is is not the run's policy
                    self._interruption.limit_last_words()
                    self._stop()
                    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: what there is must do
                        self.snapshots.finish()
                    return True
        finally:
            self._stop()
            model.logger.dump(model.num_timesteps)  # what came after the last row, to TensorBoard
            self.metrics.close()
            self.snapshots.close()
            model.logger.close()

    def _stop(self) -> None:
        self.labels.stop()
        self.threads.restore()
        self.bar.stop()

    def _capture(self) -> dict[str, Any]:
        buffer = getattr(self._model, "replay_buffer", None)
        return {
            "identity": self._identity,
            "history": self.history,
            "seconds": self.seconds,
            "stopwatch": dict(self.stopwatch.seconds),
            "metrics": self.metrics.state_dict(),
            "snapshots": self.snapshots.state_dict(),
            "tensorboard": tensorboard_state(self._model),
            "environment": self._venv.state_dict(),
            "replay": None if buffer is None else buffer.state_dict(),
            "labels": self.labels.state_dict(),
            "watch": None if self.watch is None else self.watch.state_dict(),
            "learner": learner_state(self._model),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._venv.load_state_dict(state["environment"])
        if state["replay"] is not None:
            self._model.replay_buffer.load_state_dict(state["replay"])  # type: ignore[attr-defined]
        self.labels.load_state_dict(state["labels"])
        restore_waiting(self._model, state["tensorboard"])
        load_learner_state(self._model, state["learner"])  # last: it has the random generators

    @property
    def _venv(self) -> RenderedVecEnv:
        venv = self._model.get_env()
        if not isinstance(venv, RenderedVecEnv):
            raise TypeError(f"a run steps a RenderedVecEnv, got {type(venv).__name__}")
        return venv
