"""One run: from settings to a folder with policies, logs and a record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from vlm_rewards.envs import Task, get_task
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling import LabelRewards
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards import VLMReward
from vlm_rewards.simulation import PhotographedVecEnv
from vlm_rewards.simulation.seeding import derive_seed
from vlm_rewards.training.algorithms import build_algorithm
from vlm_rewards.training.callbacks import SCORE_COLUMNS, Metrics, ProgressBar, Snapshots, Stopwatch, ThreadPhases
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.run_folder import RunFolder
from vlm_rewards.training.snapshots import PolicyFunction, Snapshot

_NEVER = 10**9  # rollouts between Stable-Baselines3's own log lines; we log at the end of each rollout


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
    reward: VLMReward,
    evaluate: Evaluate,
    *,
    overwrite: bool = False,
    console: Console | None = None,
    command: str | None = None,
) -> TrainingOutcome:
    """Train a policy with a VLM reward.

    Args:
        config: The settings.
        run_dir: Where everything is written.
        reward: Scores pictures; must be what ``config`` says.
        evaluate: Runs a policy on the selection episodes.
        overwrite: Whether a run in ``run_dir`` may be replaced.
        console: Where the progress bar and warnings go; None is nowhere.
        command: The command line that asked for this, for the record.

    Returns:
        The outcome. Ctrl-C ends a run early with a snapshot, and is not raised.

    Raises:
        InvalidInputError: A setting or the folder is not usable; nothing was started.
        WorkerError: A simulator raised or died.
        LabellerError: Scoring pictures failed.
    """
    task = get_task(config.task)
    _check_reward(config, reward)
    console = console or Console(quiet=True)
    source = provenance()  # now: the checkout may have changed by the end of the run
    budget = update_budget(config)
    if budget.warning:
        console.print(f"[yellow]warning:[/] {budget.warning}")
    started = time.time()
    with _environment(config, task, reward) as venv:
        model = build_algorithm(config.algorithm, venv, seed=derive_seed(config.seed, "learner"), device=config.device)
        venv.seed(derive_seed(config.seed, "train"))
        run = RunFolder.create(run_dir, config, overwrite=overwrite)
        model.set_logger(configure(str(run.path / "tensorboard"), ["tensorboard"]))
        session = _Session(config, run, reward, evaluate, console)
        interrupted = session.learn(model)
    record = {
        "command": command,
        **_record(config, task, reward, session, started, interrupted, model.num_timesteps),
        **source,
    }
    run.write_json(run.record, record)
    return TrainingOutcome(run, session.snapshots.best, record, interrupted)


class _Session:
    """The callbacks of one call of learn(), in the order in which they must run."""

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        reward: VLMReward,
        evaluate: Evaluate,
        console: Console,
    ) -> None:
        selection_seed = derive_seed(config.seed, "select")

        def score(policy: PolicyFunction) -> dict[str, Any]:
            scores = evaluate(policy, episodes=config.selection_episodes, seed=selection_seed)
            return {key: scores[key] for key in SCORE_COLUMNS}

        self.config = config
        self.labels = LabelRewards(reward, chunk_frames=config.chunk_frames, standardise=config.standardise)
        self.threads = ThreadPhases()
        self.stopwatch = Stopwatch()
        self.snapshots = Snapshots(run, config, score, self.stopwatch)
        self.metrics = Metrics(run, self.labels, config.steps)
        self.bar = ProgressBar(console, config.steps, self.labels)

    def learn(self, model: OffPolicyAlgorithm) -> bool:
        """Learn; True if Ctrl-C ended it."""
        # The labels first: the others report what they bring. The stopwatch last, so that a lap
        # includes them; snapshots before it, so that their time is taken out of the lap.
        callbacks = [self.labels, self.threads, self.metrics, self.bar, self.snapshots, self.stopwatch]
        try:
            model.learn(self.config.steps, callback=CallbackList(callbacks), log_interval=_NEVER)
            return False
        except KeyboardInterrupt:
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


def _check_reward(config: TrainConfig, reward: VLMReward) -> None:
    """Refuse a reward that is not what the settings, and so the record, say."""
    for name in ("goal", "baseline", "alpha"):
        given, said = getattr(reward, name, None), getattr(config, name)
        if given is not None and given != said:
            raise InvalidInputError(f"{name} of the reward must be that of the settings, {said!r}, got {given!r}.")


@contextlib.contextmanager
def _environment(config: TrainConfig, task: Task, reward: VLMReward) -> Iterator[PhotographedVecEnv]:
    venv = PhotographedVecEnv(
        task,
        config.n_envs,
        image_size=reward.encoder.image_size,
        seed=derive_seed(config.seed, "train"),
        n_workers=config.n_workers,
        slots=max(4, 2 * -(-config.chunk_frames // config.n_envs) + 1),
    )
    try:
        yield venv
    finally:
        venv.close()


def _record(
    config: TrainConfig, task: Task, reward: VLMReward, session: _Session, started: float, interrupted: bool, steps: int
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
        "encoder": reward.encoder.describe(),
        "preset": config.preset,
        "seed": config.seed,
        "steps": steps,
        "planned_steps": config.steps,
        "interrupted": interrupted,
        "updates_planned": budget.updates,
        "labelled_frames": session.labels.labelled_frames,
        "standardiser": session.labels.standardiser.to_dict(),
        "seconds": {
            **{stage: round(value, 2) for stage, value in session.stopwatch.seconds.items()},
            "training": round(time.time() - started, 2),
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "best": None if best is None else {"step": best.step, "vlm_return": best.vlm_return, "path": best.path},
        "config": config.to_dict(),
    }
