"""One run: from settings to a folder with policies, logs and a record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure

from vlm_rewards.collection.shaping import reward_needs_resets
from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError, VLMRewardsError
from vlm_rewards.files import read_state
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import FrameReward, describe_encoder
from vlm_rewards.seeding import derive_seed
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.checkpoints import check_identity, check_interval, cut_logs, identity
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.presets import task_of
from vlm_rewards.training.run_folder import PolicyFunction, RunFolder, Snapshot
from vlm_rewards.training.session import Session
from vlm_rewards.training.watch import watched_against

CHECKPOINT_SECONDS = 60.0
"""Between resume states."""


@runtime_checkable
class Evaluate(Protocol):
    """Runs a policy and says how it did. The runner gets it handed in: it evaluates nothing itself."""

    def __call__(self, policy: PolicyFunction, *, episodes: int, seed: int) -> dict[str, Any]:
        """Run a policy without exploration.

        Returns:
            At least ``vlm_return``, ``vlm_return_std``, ``true_return``, ``success_rate``.
        """
        ...


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


def train(
    config: TrainConfig,
    run_dir: Path,
    reward: FrameReward,
    evaluate: Evaluate,
    *,
    held_out: FrameReward | None = None,
    overwrite: bool = False,
    resume: bool = False,
    other_versions: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    console: Console | None = None,
    command: str | None = None,
) -> TrainingOutcome:
    """Train a policy with a VLM reward, or go on with a run that was stopped.

    Args:
        config: The settings; with ``resume`` those of the run.
        run_dir: Where everything is written.
        reward: Scores frames; must be what ``config`` says.
        evaluate: Runs a policy on the selection episodes.
        held_out: Another reward, which the learner never sees, to watch the first one against; must be what ``config``
            says, and None where it asks for none.
        overwrite: Whether a run in ``run_dir`` may be replaced.
        resume: Go on from the last checkpoint in ``run_dir``: the result is that of a run that was never stopped. A
            run that was stopped before its first checkpoint starts again, with the same result.
        other_versions: Resume although packages have other versions than when the run was stopped.
        checkpoint_seconds: Seconds between checkpoints, each of which replaces the one before; never more than 5 % of
            the time is spent on them. 0 is before every rollout, infinity only at the end and on Ctrl-C.
        console: Where the progress bar and warnings go; None is nowhere.
        command: The command line that asked for this, for the record.

    Returns:
        The outcome. Ctrl-C ends a run early, with a checkpoint and a snapshot, and is not raised. The last checkpoint
        stays in the folder; `RunFolder.drop_state` removes it.

    Raises:
        InvalidInputError: A setting or the folder is not usable; nothing was started.
        CheckpointError: The resume state is damaged, or of another task, reward or version; it is left as it was.
        RunFolderError: The folder can no longer be written. The last checkpoint is intact.
        WorkerError: A simulator raised or died.
        LabellerError: Scoring frames failed.
    """
    task = task_of(config)
    against = watched_against(config, task)
    _check_reward(config, reward)
    _check_held_out(config, against, held_out)
    check_interval(checkpoint_seconds)
    console = console or Console(quiet=True)
    source = provenance()  # now: the checkout may have changed by the end of the run
    budget = update_budget(config)
    if budget.warning:
        console.print(f"[yellow]warning:[/] {budget.warning}")
    old = RunFolder.open(run_dir) if resume else None
    with contextlib.ExitStack() as stack:
        if old is not None:
            stack.enter_context(old.locked())
        state = _read_state(old, config)
        venv = stack.enter_context(_environment(config, task, reward))
        model = build_algorithm(config.algorithm, venv, seed=derive_seed(config.seed, "learner"), device=config.device)
        venv.seed(derive_seed(config.seed, "train"))
        present = identity(task, venv, reward, held_out)
        if state is not None:
            check_identity(state["identity"], present, other_versions=other_versions)
        if state is None or old is None:
            if overwrite and old is None:
                RunFolder(run_dir).check_unlocked()
            run = RunFolder.create(run_dir, config, overwrite=overwrite or old is not None)
            if old is None:
                stack.enter_context(run.locked())
            history = [_beginning(0, source)]
        else:
            run = old
            cut_logs(run, state)
            history = [*state["history"], _beginning(state["steps"], source)]
        with _as_run_folder_errors(run):
            model.set_logger(configure(str(run.tensorboard), ["tensorboard"]))
            settled = (console, checkpoint_seconds, present, history, state)
            session = Session(config, run, reward, evaluate, *settled, against=against, held_out=held_out)
            interrupted = session.learn(model)
            record = {"command": command, **_record(config, task, reward, session, interrupted, model), **source}
            run.write_json(run.record, record)
    return TrainingOutcome(run, session.snapshots.best, record, interrupted)


def _read_state(run: RunFolder | None, config: TrainConfig) -> dict[str, Any] | None:
    if run is None or not run.state.is_file():
        return None
    if run.read_config() != config:
        raise CheckpointError(f"the settings must be those of the run {str(run.path)!r}; they were changed.")
    return read_state(run.state)


def _beginning(steps: int, source: dict[str, Any]) -> dict[str, Any]:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"steps": steps, "started": started, "version": source["version"], "commit": source["commit"]}


@contextlib.contextmanager
def _as_run_folder_errors(run: RunFolder) -> Iterator[None]:
    """A disk that fills up in the middle of a run is no bad input, and no reason for a traceback either."""
    try:
        yield
    except OSError as error:
        if isinstance(error, VLMRewardsError):
            raise
        raise RunFolderError(
            f"the run folder {str(run.path)!r} can no longer be written: {error.strerror or error}. "
            "What was complete before is intact."
        ) from error


def _check_reward(config: TrainConfig, reward: FrameReward) -> None:
    """Refuse a reward that is not what the settings, and so the record, say."""
    for name in ("goal", "baseline", "alpha"):
        given, said = getattr(reward, name, None), getattr(config, name)
        if given is not None and given != said:
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
def _environment(config: TrainConfig, task: Task, reward: FrameReward) -> Iterator[RenderedVecEnv]:
    venv = RenderedVecEnv(
        task,
        config.n_envs,
        image_size=reward.frame_size,
        seed=derive_seed(config.seed, "train"),
        n_workers=config.n_workers,
        slots=ring_slots(config.chunk_frames, config.n_envs),
        render_resets=reward_needs_resets(reward),
        render_every=config.label_every,
    )
    try:
        yield venv
    finally:
        venv.close()


def _record(
    config: TrainConfig,
    task: Task,
    reward: FrameReward,
    session: Session,
    interrupted: bool,
    model: BaseAlgorithm,
) -> dict[str, Any]:
    budget = update_budget(config)
    best = session.snapshots.best
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
        "steps": model.num_timesteps,
        "planned_steps": config.steps,
        "interrupted": interrupted,
        "updates_planned": budget.updates,
        "labelled_frames": session.labels.labelled_frames,
        "standardiser": session.labels.standardiser.to_dict(),
        "seconds": {
            **{stage: round(value, 2) for stage, value in session.stopwatch.seconds.items()},
            "training": round(session.seconds, 2),
        },
        "started": session.history[0]["started"],
        "resumed": session.history[1:],
        "watch": None if session.watch is None else session.watch.to_record(),
        "best": None if best is None else {"step": best.step, "vlm_return": best.vlm_return, "path": best.path},
        "config": config.to_dict(),
    }
