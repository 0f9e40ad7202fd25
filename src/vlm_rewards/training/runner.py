"""One run: simulators, frames, rewards, replay and algorithm put together, learning, and a record of what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure

from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.shaping import rule_of
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.collection.watcher import FrameWatcher
from vlm_rewards.errors import CheckpointError, InvalidInputError
from vlm_rewards.evaluation.rollouts import SIMULATORS, PolicyEvaluator
from vlm_rewards.files import read_state, write_json
from vlm_rewards.progress import LoggedProgress, Progress
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import FrameReward, describe_encoder
from vlm_rewards.seeding import derive_seed
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.callbacks import HackingWatch, Metrics, ProgressBar, Snapshots, Stopwatch, ThreadPhases
from vlm_rewards.training.checkpoints import (
    Checkpoints,
    Interruption,
    Resumption,
    check_identity,
    check_interval,
    cut_logs,
    identity,
    restore_waiting,
    tensorboard_state,
)
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.learner_state import learner_state, load_learner_state
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.run_folder import LOCK, RunFolder, Snapshot, still_writable
from vlm_rewards.training.watch import watched_against, window_of

CHECKPOINT_SECONDS = 60.0
"""Between resume states."""
_NEVER = 10**9  # rollouts between Stable-Baselines3's own log lines; we log at the end of each rollout


@dataclass(frozen=True)
class TrainingOutcome:
    """What a run left behind."""

    run: RunFolder
    """Its folder."""
    best: Snapshot | None
    """The snapshot with the highest VLM return; None if there was no time for one."""
    record: dict[str, Any]
    """What was written to ``record.json``."""
    interrupted: bool
    """Whether Ctrl-C ended it."""


def learn(
    config: TrainConfig,
    run_dir: Path,
    reward: FrameReward,
    *,
    task: Task | None = None,
    held_out: FrameReward | None = None,
    overwrite: bool = False,
    resume: bool = False,
    other_versions: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Progress | None = None,
    command: str | None = None,
) -> TrainingOutcome:
    """Learn a policy from a reward of frames, or go on with a run that was stopped.

    ``reward``, and ``held_out``, which the learner never sees and the first one is watched against, must be what the
    settings say. With ``resume`` the result is that of a run that was never stopped; one that was stopped before its
    first checkpoint starts again, with the same result.

    Each checkpoint replaces the one before, and never more than 5 % of the time is spent on them;
    ``checkpoint_seconds`` of 0 is before every rollout, infinity only at the end and on Ctrl-C. That ends a run early,
    with a checkpoint and a snapshot, and is not raised. The last checkpoint stays in the folder; it can be large.

    Raises:
        InvalidInputError: A setting or the folder is not usable; nothing was started.
        CheckpointError: The resume state is damaged, or of another task, reward or version; it is left as it was.
        RunFolderError: The folder can no longer be written. The last checkpoint is intact.
        WorkerError: A simulator raised or died.
        LabellerError: Scoring frames failed.
    """
    task = task or task_of(config)
    against = watched_against(config, task)
    _check_reward(config, reward)
    _check_held_out(config, against, held_out)
    check_interval(checkpoint_seconds)
    progress = progress or LoggedProgress()
    source = provenance()  # now: the checkout may have changed by the end of the run
    if warning := update_budget(config).warning:
        progress.say(warning, warning=True)
    old = RunFolder.open(run_dir) if resume else None
    with contextlib.ExitStack() as stack:
        if old is not None:
            stack.enter_context(old.locked())
        state = _read_state(old, config)
        evaluator = stack.enter_context(open_evaluator(config, task, reward, config.selection_episodes))
        # Simulators step in processes of their own, which draw every state that is to be scored into shared memory.
        simulators = stack.enter_context(open_simulators(config, task, reward))
        # The algorithm is the library's own, but for its replay buffer: that refuses to be sampled while a row still
        # waits for its reward.
        seed = derive_seed(config.seed, "learner")
        model = build_algorithm(config.algorithm, simulators, seed=seed, device=config.device)
        simulators.seed(derive_seed(config.seed, "train"))
        watcher = None
        if against is not None:
            watcher = FrameWatcher(held_out if against == "held-out" else None, true_reward=against == "true-reward")
        # Where a frame becomes a reward, from `session.learn()` on: `LabelRewards` hands chunks of drawn frames to
        # `reward(frames)` (`Labeller._score`, collection/labeller.py), in a thread while the simulators step on, and
        # puts the numbers into the replay buffer, or for PPO the rollout, before the next update.
        labels = LabelRewards(reward, chunk_frames=config.chunk_frames, standardise=config.standardise, watcher=watcher)
        present = identity(task, simulators, reward, held_out)
        if state is not None:
            check_identity(state["identity"], present, other_versions=other_versions)
        run = _prepared(run_dir, config, old, state, stack, overwrite=overwrite)
        history = [*(state["history"] if state else []), _beginning(state["steps"] if state else 0, source)]
        with still_writable(f"the run folder {str(run.path)!r}"):
            model.set_logger(configure(str(run.tensorboard), ["tensorboard"]))
            watch = None
            if against is not None:
                before, window = state["watch"] if state else None, window_of(config.steps // task.horizon)
                watch = HackingWatch(run, labels, against, progress, before, window=window)
            threads = ThreadPhases(getattr(reward, "encoder", None))
            parts = (config, run, model, labels, evaluator, watch, threads, progress)
            session = _Session(*parts, identity=present, history=history, state=state, every=checkpoint_seconds)
            interrupted = session.learn()
            record = {"command": command, **_record(session, task, reward, interrupted), **source}
            write_json(run.record, record)
    return TrainingOutcome(run, session.snapshots.best, record, interrupted)


def _prepared(
    run_dir: Path,
    config: TrainConfig,
    old: RunFolder | None,
    state: dict[str, Any] | None,
    stack: contextlib.ExitStack,
    *,
    overwrite: bool,
) -> RunFolder:
    """The run's folder, locked: a new one, one that starts again, or one whose logs end where its checkpoint does."""
    if old is not None and state is not None:
        cut_logs(old, state)
        return old
    if old is not None:
        return RunFolder.create(run_dir, config, overwrite=True)
    if overwrite and (run_dir / LOCK).is_file():
        with RunFolder(run_dir).locked():
            pass  # or somebody else writes it
    run = RunFolder.create(run_dir, config, overwrite=overwrite)
    stack.enter_context(run.locked())
    return run


def _read_state(run: RunFolder | None, config: TrainConfig) -> dict[str, Any] | None:
    if run is None or not run.state.is_file():
        return None
    if run.read_config() != config:
        raise CheckpointError(f"the settings must be those of the run {str(run.path)!r}; they were changed.")
    return read_state(run.state)


def _beginning(steps: int, source: dict[str, Any]) -> dict[str, Any]:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"steps": steps, "started": started, "version": source["version"], "commit": source["commit"]}


def _check_reward(config: TrainConfig, reward: FrameReward) -> None:
    """Refuse a reward that is not what the settings, and so the record, say."""
    for name in ("goal", "baseline", "alpha"):
        given, said = getattr(reward, name, None), getattr(config, name)
        # Several wordings of a prompt are told by the reward itself, in the record: settings have room for one.
        if isinstance(given, (str, float)) and given != said:
            raise InvalidInputError(f"{name} of the reward must be that of the settings, {said!r}, got {given!r}.")


def _check_held_out(config: TrainConfig, against: str | None, held_out: FrameReward | None) -> None:
    """There must be one where it is watched against; one that settings ask for, and nobody watches, may be missing."""
    if (held_out is None and against == "held-out") or (held_out is not None and not config.has_held_out):
        wanted = "one" if config.has_held_out else "none"
        raise InvalidInputError(f"held_out must be what the settings ask for, {wanted}, got {held_out!r}.")


def ring_slots(chunk_frames: int, n_envs: int) -> int:
    """Vector steps whose frames a run keeps: a chunk that is drawn while another is scored, and one step more."""
    return max(4, 2 * -(-chunk_frames // n_envs) + 1)


@contextlib.contextmanager
def open_simulators(config: TrainConfig, task: Task, reward: FrameReward) -> Iterator[RenderedVecEnv]:
    """The simulators that a run learns in, which draw frames of the size that the reward wants."""
    venv = RenderedVecEnv(
        task,
        config.n_envs,
        image_size=reward.frame_size,
        seed=derive_seed(config.seed, "train"),
        n_workers=config.n_workers,
        slots=ring_slots(config.chunk_frames, config.n_envs),
        render_resets=rule_of(reward).needs_resets,
        render_every=config.label_every,
    )
    try:
        yield venv
    finally:
        venv.close()


def open_evaluator(config: TrainConfig, task: Task, reward: FrameReward, episodes: int) -> PolicyEvaluator:
    """Simulators in which policies of a run are evaluated: at most as many as there are episodes."""
    simulators = min(episodes, SIMULATORS)
    return PolicyEvaluator(task, reward, n_envs=simulators, n_workers=config.n_workers)


class _Session:
    """One stretch of a run, from its beginning or from a checkpoint to its end or to Ctrl-C."""

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        model: BaseAlgorithm,
        labels: LabelRewards,
        evaluator: PolicyEvaluator,
        watch: HackingWatch | None,
        threads: ThreadPhases,
        progress: Progress,
        *,
        identity: dict[str, Any],
        history: list[dict[str, Any]],
        state: dict[str, Any] | None,
        every: float,
    ) -> None:
        before = state or {"metrics": None, "snapshots": None, "seconds": 0.0, "stopwatch": {}, "steps": None}
        self.config, self.model, self.labels, self.watch, self.history = config, model, labels, watch, history
        self._identity, self._threads, self._progress = identity, threads, progress
        self._began = time.time() - before["seconds"]
        self.stopwatch = Stopwatch()
        self.stopwatch.seconds.update(before["stopwatch"])
        self.snapshots = Snapshots(run, config, evaluator, self.stopwatch, before["snapshots"])
        self.metrics = Metrics(run, labels, config.steps, before["metrics"], watch=watch)
        self._interruption = Interruption()
        checkpoints = Checkpoints(
            run,
            self._capture,
            every=every,
            interruption=self._interruption,
            stopwatch=self.stopwatch,
            step=before["steps"],
        )
        # The labels first: the others report what they bring. The stopwatch last but one, so that a lap includes them
        # all; snapshots before it, so that their time is taken out of the lap. A checkpoint holds what all have done.
        watching = [] if watch is None else [watch]
        bar = ProgressBar(progress, config.steps, labels)
        others: list[BaseCallback] = [threads, *watching, self.metrics, bar, self.snapshots, self.stopwatch]
        self._callbacks: list[BaseCallback] = [labels, *others, checkpoints]
        self._resumption = None if state is None else Resumption(state, self._restore, self._callbacks)
        if self._resumption is not None:
            self._callbacks.insert(1, self._resumption)

    @property
    def seconds(self) -> float:
        """Since the run began; what lay between two stretches does not count."""
        return time.time() - self._began

    def learn(self) -> bool:
        """Learn; True if Ctrl-C ended it. It is raised if the run that is to go on was not there again."""
        model = self.model
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
            self.metrics.log.close()
            self.snapshots.log.close()
            model.logger.close()

    def _stop(self) -> None:
        self.labels.stop()
        self._threads.restore()
        self._progress.stop()

    def _capture(self) -> dict[str, Any]:
        buffer = getattr(self.model, "replay_buffer", None)
        return {
            "identity": self._identity,
            "history": self.history,
            "seconds": self.seconds,
            "stopwatch": dict(self.stopwatch.seconds),
            "metrics": self.metrics.state_dict(),
            "snapshots": self.snapshots.state_dict(),
            "tensorboard": tensorboard_state(self.model),
            "environment": self._venv.state_dict(),
            "replay": None if buffer is None else buffer.state_dict(),
            "labels": self.labels.state_dict(),
            "watch": None if self.watch is None else self.watch.state_dict(),
            "learner": learner_state(self.model),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._venv.load_state_dict(state["environment"])
        if state["replay"] is not None:
            self.model.replay_buffer.load_state_dict(state["replay"])  # type: ignore[attr-defined]
        self.labels.load_state_dict(state["labels"])
        restore_waiting(self.model, state["tensorboard"])
        load_learner_state(self.model, state["learner"])  # last: it has the random generators

    @property
    def _venv(self) -> RenderedVecEnv:
        venv = self.model.get_env()
        if not isinstance(venv, RenderedVecEnv):
            raise TypeError(f"a run steps a RenderedVecEnv, got {type(venv).__name__}")
        return venv


def _record(session: _Session, task: Task, reward: FrameReward, interrupted: bool) -> dict[str, Any]:
    config, best = session.config, session.snapshots.best
    return {
        "task": config.task,
        "criterion": task.criterion_text,
        "camera": task.camera,
        "metadata": dict(task.metadata),
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "encoder": describe_encoder(reward),
        "reward": reward.describe(),
        "preset": config.preset,
        "seed": config.seed,
        "steps": session.model.num_timesteps,
        "planned_steps": config.steps,
        "interrupted": interrupted,
        "updates_planned": update_budget(config).updates,
        "labelled_frames": session.labels.labelled_frames,
        "standardiser": session.labels.standardiser.to_dict(),
        "seconds": {
            **{stage: round(value, 2) for stage, value in session.stopwatch.seconds.items()},
            "training": round(session.seconds, 2),
        },
        "started": session.history[0]["started"],
        "resumed": session.history[1:],
        "watch": None if session.watch is None else session.watch.to_record(),
        "best": None if best is None else dataclasses.asdict(best),
        "config": config.to_dict(),
    }
