"""The whole job in Python: from a prompt to an agent that is trained, evaluated and filmed."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm_rewards.collection.vec_env import RenderedVecEnv
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import CheckpointError, InvalidInputError, UnknownNameError, VLMRewardsError, check_count
from vlm_rewards.evaluation.rollouts import (
    REFERENCE_POLICIES,
    Evaluation,
    PolicyFunction,
    reference_policy,
    rollout_frames,
)
from vlm_rewards.files import read_json, write_json
from vlm_rewards.progress import LoggedProgress, Progress
from vlm_rewards.provenance import provenance
from vlm_rewards.reporting import sweeps
from vlm_rewards.reporting.figures.curves import plot_learning_curve
from vlm_rewards.reporting.videos import write_video
from vlm_rewards.rewards.base import FrameReward, as_frame_reward, describe_encoder
from vlm_rewards.rewards.config import OBJECT
from vlm_rewards.seeding import derive_seed
from vlm_rewards.settings import change
from vlm_rewards.tasks.any_env import EnvironmentConfig
from vlm_rewards.tasks.builtin import configured
from vlm_rewards.tasks.task import Task, get_task, list_tasks
from vlm_rewards.training.checkpoints import check_interval
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.presets import start_settings, task_of
from vlm_rewards.training.rewards import captioned_for, load_held_out, load_reward
from vlm_rewards.training.run_folder import (
    RunFolder,
    Snapshot,
    best_snapshot,
    find_snapshot,
    load_model,
    load_policy,
    policy_function,
)
from vlm_rewards.training.runner import CHECKPOINT_SECONDS, learn, open_evaluator
from vlm_rewards.training.sweep_plan import SweepRequest, make_plan
from vlm_rewards.training.watch import watched_against

_SMALLEST_FRAME = 32  # nobody looks at it
_VIDEO_SIZE, _VIDEO_EPISODES, _VIDEO_FPS = 256, 2, 30


def train(
    goal: str | None = None,
    env_id: str | None = None,
    *,
    task: str | Path | Task | None = None,
    baseline: str | None = None,
    reward: str | FrameReward | Callable[[Any], Any] | None = None,
    encoder: str | ImageTextEncoder | None = None,
    frame_size: int | None = None,
    config: TrainConfig | None = None,
    preset: str | None = None,
    algo: str | None = None,
    run_dir: str | Path | None = None,
    overwrite: bool = False,
    video: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    keep_state: bool = False,
    progress: Progress | None = None,
    command: str | None = None,
    **settings: Any,
) -> Run:
    """Train an agent from a prompt, evaluate it, draw its learning curve and record a video.

    One direction, no way back: a task's simulators step and draw frames; the reward makes a number of each frame; the
    numbers fill the replay buffer that the algorithm learns from; the best policy by the reward is evaluated.

    Args:
        goal: What the state should look like; None is the task's own prompt.
        env_id: A Gymnasium environment by its id, in place of a task; ``goal`` and ``baseline`` say what is wanted.
        task: Name of a task, a task, or ``FILE.py[:TASK]``.
        baseline: What any state looks like; None is the task's own prompt.
        reward: Name of a reward form (see `register_reward`), or an object that scores frames: any `FrameReward`, or a
            function of uint8 ``[n h w 3]`` to ``[n]``.
        encoder: As `load_encoder` takes it, or an encoder.
        frame_size: Side in pixels of the frames of a plain function.
        config: All settings at once, in place of task, environment, preset and algorithm.
        preset: ``"cpu"`` or ``"paper"``, the settings to start from.
        algo: Another algorithm than the preset's; see `register_algorithm`.
        run_dir: The run's folder; None is ``runs/TASK-SEED-TIME``.
        overwrite: Whether a run in that folder may be replaced.
        video: Whether to record a video of the best snapshot.
        checkpoint_seconds: Seconds between checkpoints, from which `Run.resume` goes on.
        keep_state: Keep the last checkpoint, replay buffer and all, when the run is complete.
        progress: Where progress and warnings go; None is the log ``vlm_rewards``.
        command: What asked for this, for the record.
        **settings: Any other setting by the name of its field, of `TrainConfig` (``steps``, ``seed``, ``alpha``), the
            algorithm (``learning_rate``), `RewardConfig`, `EnvironmentConfig` or `HumanoidConfig`.

    Returns:
        The run. Ctrl-C ends it early and is not raised: see `Run.interrupted`.

    Raises:
        InvalidInputError: A setting or the folder is not usable; nothing was started.
        WorkerError: A simulator raised or died.
        LabellerError: Scoring frames failed.
    """
    given = _Objects.of(task, reward, encoder, frame_size)
    settings |= _words(form=reward, encoder=encoder, goal=goal, baseline=baseline)
    config = _settings(config, env_id, task, preset, algo, given.settings(settings, env_id))
    check_interval(checkpoint_seconds)
    folder = Path(run_dir or f"runs/{config.task}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}")
    RunFolder(folder).check_free(overwrite=overwrite)  # before a model is loaded or fetched
    run = Run(folder, config, given, progress)
    options = {"overwrite": overwrite, "checkpoint_seconds": checkpoint_seconds, "command": command}
    return _train(run, video=video, keep_state=keep_state, **options)


def _train(run: Run, *, video: bool, keep_state: bool, resume: bool = False, **options: Any) -> Run:
    config, files, progress = run.config, run.files, run.progress
    task = run.task  # prompts, a factory of simulators, a criterion that the learner never sees
    watched_against(config, task)
    # What will turn frames, uint8 [n h w 3], into numbers, float32 [n]; nothing is scored yet. The usual formula is
    # eq. 3, `_eq3` in rewards/goal_baseline.py.
    reward = run.reward
    held_out = load_held_out(config, task, reward, progress)
    _announce(run)
    try:
        # Simulators -> frames -> reward -> replay -> algorithm. While they go, `reward(frames)` is called at one
        # place, `Labeller._score` in collection/labeller.py; `LabelRewards` in collection/callback.py starts it.
        outcome = learn(
            config, run.folder, reward, task=task, held_out=held_out, resume=resume, progress=progress, **options
        )
    except VLMRewardsError:
        if not resume and files.state.is_file():  # what was there before has been removed by now
            progress.say(_advice(run.folder))
        raise
    _draw_curve(run)
    run.interrupted = outcome.interrupted
    if outcome.interrupted:
        progress.say(f"interrupted after {outcome.record['steps']:,} steps; what was learned is in {run.folder}")
        progress.say(_advice(run.folder))
        return run
    record, started = outcome.record, time.time()
    seed = derive_seed(config.seed, "evaluate")
    snapshot = best_snapshot(files).path  # by the reward on the selection episodes, never by success
    evaluation = run._evaluated(snapshot, config.evaluation_episodes, seed)
    record["captioned"] = captioned_for([record["encoder"]], task)
    record["evaluation"] = {**evaluation.to_dict(), "snapshot": snapshot, "video": None}
    record["seconds"]["evaluation"] = round(time.time() - started, 2)
    write_json(files.record, record)  # before the video, which may fail
    if video:
        record["evaluation"]["video"] = str(run.record_video(snapshot, seed).relative_to(run.folder))
        write_json(files.record, record)
    if not keep_state:
        files.state.unlink(missing_ok=True)  # it can be large
    return run


def _announce(run: Run) -> None:
    config, budget = run.config, update_budget(run.config)
    run.progress.say(f'task      {config.task}: "{config.goal}" (baseline "{config.baseline}", alpha {config.alpha:g})')
    run.progress.say(
        f"plan      {config.algorithm_name.upper()}, {config.steps:,} steps in {config.n_envs} simulators, "
        f"{budget.updates:,} updates, each transition used {budget.replay_ratio:.1f} times"
    )
    run.progress.say(f"run       {run.folder}")


def _advice(folder: Path) -> str:
    return f"go on with: vlm-rewards train --resume {folder}"


def _draw_curve(run: Run) -> None:
    files, config = run.files, run.config
    if len(files.metrics.read_text(encoding="utf-8").splitlines()) > 1:  # an early Ctrl-C leaves the header alone
        plot_learning_curve(files.metrics, files.curve, title=f'{config.task}: "{config.goal}" (seed {config.seed})')


def _words(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if isinstance(value, str)}


@dataclasses.dataclass(frozen=True)
class _Objects:
    """What a run was given as objects; its settings hold their names alone."""

    task: Task | None = None
    reward: FrameReward | None = None
    encoder: ImageTextEncoder | None = None

    @classmethod
    def of(cls, task: Any, reward: Any, encoder: Any, frame_size: int | None) -> _Objects:
        if isinstance(task, Task) and task.name in list_tasks() and get_task(task.name) is not task:
            raise InvalidInputError(
                f"task {task.name!r} is another one in the registry: give yours a name of its own, or replace that one "
                "with register_task(task, replace=True)."
            )
        if reward is not None and not isinstance(reward, str):
            if encoder is not None:
                raise InvalidInputError("encoder must be left out with a reward that is an object: it has its own.")
            reward = as_frame_reward(reward, frame_size)
        elif frame_size is not None:
            raise InvalidInputError(f"frame_size is for a reward that is a plain function, got {frame_size!r}.")
        given = {"task": task, "reward": reward, "encoder": encoder}
        return cls(**{name: value for name, value in given.items() if not isinstance(value, (str, Path))})

    def settings(self, settings: dict[str, Any], env_id: str | None) -> dict[str, Any]:
        """Settings with what the objects say of themselves; where there is no task, with words in place of prompts."""
        if self.encoder is not None:
            return {"encoder": f"{self.encoder.name}{OBJECT}", **settings}
        if self.reward is None:
            return settings
        reward: Any = self.reward
        facts, own = reward.describe(), getattr(reward, "encoder", None)
        name = facts.get("name") or facts.get("formula") or type(reward).__name__
        found: dict[str, Any] = {"form": f"{name}{OBJECT}", "encoder": f"{'none' if own is None else own.name}{OBJECT}"}
        if env_id is not None:
            found |= {"goal": f"what {name} scores high", "baseline": "any state"}
        for setting, kind in (("goal", str), ("baseline", str), ("alpha", float)):
            if isinstance(said := getattr(reward, setting, None), kind):
                found[setting] = said
        return {**found, **settings}


def _settings(
    config: TrainConfig | None,
    env_id: str | None,
    task: str | Path | Task | None,
    preset: str | None,
    algo: str | None,
    settings: dict[str, Any],
) -> TrainConfig:
    """All settings of a run, checked."""
    if config is not None:
        others = {"env_id": env_id, "task": task, "preset": preset, "algo": algo}
        for name, value in others.items():
            if value is not None and not isinstance(value, Task):
                raise InvalidInputError(f"{name} must be left out with config, which has one, got {value!r}.")
        if isinstance(task, Task) and task.name != config.task:
            raise InvalidInputError(f"task must be that of config, {config.task!r}, got {task.name!r}.")
        return change(config, settings)
    environment = None
    if env_id is not None:
        fields = {field.name for field in dataclasses.fields(EnvironmentConfig)}
        own = {name: settings.pop(name) for name in fields & set(settings)}
        environment = EnvironmentConfig.from_dict({"env_id": env_id, **own}, "environment")
    start = start_settings(
        task if isinstance(task, Task) or task is None else str(task),
        environment,
        goal=settings.get("goal"),
        baseline=settings.get("baseline"),
        name=preset,
        algorithm=algo,
        encoder=settings.get("encoder"),
    )
    return change(start, settings)


class Run:
    """A run in its folder: what `train` returns, and `Run.open` of one that is there.

    Attributes:
        folder: The folder.
        files: The paths in it.
        config: The settings.
        interrupted: Whether Ctrl-C ended it.
        progress: Where progress and notes go.
    """

    def __init__(self, folder: Path, config: TrainConfig, given: _Objects, progress: Progress | None = None) -> None:
        self.folder, self.files, self.config = folder, RunFolder(folder), config
        self.progress = progress or LoggedProgress()
        self.interrupted = False
        self._given = given
        self._policies: dict[str, PolicyFunction] = {}

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        task: Task | None = None,
        reward: FrameReward | Callable[[Any], Any] | None = None,
        encoder: ImageTextEncoder | None = None,
        frame_size: int | None = None,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> Run:
        """Open the folder of a run.

        Args:
            folder: What `train` wrote.
            task: The task, where the run was given one that no registry or file has.
            reward: The reward, where the run was given an object.
            encoder: The encoder, where the run was given an object.
            frame_size: Side in pixels of the frames of a plain function.
            device: Where encoder and policy run, in place of the run's own.
            progress: Where progress and notes go; None is the log.

        Raises:
            InvalidInputError: There is no such run.
            CheckpointError: Its settings are damaged.
        """
        config = RunFolder.open(Path(folder)).read_config(run_task_file=True)
        if device is not None:
            config = dataclasses.replace(config, device=device)
        return cls(Path(folder), config, _Objects.of(task, reward, encoder, frame_size), progress)

    @functools.cached_property
    def task(self) -> Task:
        """The task.

        Raises:
            InvalidInputError: It cannot be had; the message says what to do.
        """
        if self._given.task is not None:
            own, humanoid = self._given.task, self.config.humanoid
            return own if humanoid is None else configured(own, humanoid)
        try:
            return task_of(self.config)
        except UnknownNameError as error:
            raise UnknownNameError(
                f"{error} A task that no registry has can be passed again: vlm_rewards.Run.open(folder, task=...)."
            ) from None

    @functools.cached_property
    def reward(self) -> FrameReward:
        """What scores the frames.

        Raises:
            InvalidInputError: It was an object, and has to be passed to `open` again.
        """
        reward, encoder = self._given.reward, self._given.encoder
        return load_reward(self.config, self.task, self.progress, reward=reward, encoder=encoder)

    @property
    def record(self) -> dict[str, Any]:
        """What came out, as ``record.json`` has it."""
        return read_json(self.files.record)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """How the best snapshot did in the evaluation at the end; None where the run did not get there."""
        return (self.files.finished_record() or {}).get("evaluation")

    @property
    def best(self) -> Snapshot | None:
        """The snapshot with the highest VLM return on the selection episodes; None before the first."""
        try:
            return best_snapshot(self.files)
        except CheckpointError:
            return None

    @property
    def curve(self) -> Path | None:
        """The drawing of the learning curve."""
        return self.files.curve if self.files.curve.is_file() else None

    @property
    def video(self) -> Path | None:
        """The video that was recorded at the end."""
        name = (self.evaluation or {}).get("video")
        return None if name is None else self.folder / name

    def evaluate(self, episodes: int = 100, *, seed: int = 1_000_000, snapshot: str | None = None) -> Evaluation:
        """Run a snapshot with deterministic actions on fresh episodes.

        Args:
            episodes: How many.
            seed: Seeds them; the default is far from the seeds that training derives its own from.
            snapshot: File name inside the run's ``checkpoints``; None is the best by VLM return.

        Raises:
            InvalidInputError: There is no such snapshot, or the reward was an object and is not here.
        """
        check_count("episodes", episodes)
        return self._evaluated(find_snapshot(self.files, snapshot).name, episodes, derive_seed(seed, "evaluate"))

    def _evaluated(self, snapshot: str, episodes: int, seed: int) -> Evaluation:
        reward = self.reward
        self.progress.start(f"evaluating {snapshot} over {episodes} episodes")
        try:
            with open_evaluator(self.config, self.task, reward, episodes) as evaluator:
                policy = load_policy(self.files, self.config, evaluator.venv, snapshot)
                self._policies[snapshot] = policy
                return evaluator.run(policy, episodes=episodes, seed=seed)
        finally:
            self.progress.stop()

    def policy(self, observations: np.ndarray) -> np.ndarray:
        """What the best snapshot does, without exploration.

        Args:
            observations: One, or several as ``[n ...]``.

        Returns:
            The action, or the actions ``[n ...]``.
        """
        return self._policy(find_snapshot(self.files, None).name)(observations)

    def _policy(self, snapshot: str) -> PolicyFunction:
        if snapshot not in self._policies:
            self._policies[snapshot] = policy_function(self.load_model(snapshot))
        return self._policies[snapshot]

    def load_model(self, snapshot: str | None = None) -> Any:
        """The algorithm of Stable-Baselines3 with a snapshot's policy, and nothing to go on learning from.

        Args:
            snapshot: File name inside the run's ``checkpoints``; None is the best by VLM return.
        """
        name, task = find_snapshot(self.files, snapshot).name, self.task
        venv = RenderedVecEnv(task, 1, image_size=_SMALLEST_FRAME, n_workers=1, cameras=task.cameras)
        try:
            return load_model(self.files, self.config, venv, name)
        finally:
            venv.close()

    def record_video(self, snapshot: str, seed: int) -> Path:
        """Write a video of a snapshot's first episodes of a seed; returns its path."""
        path = self.files.videos / f"{snapshot.removesuffix('.safetensors')}-seed-{seed}.mp4"
        episodes = {"episodes": _VIDEO_EPISODES, "seed": seed, "image_size": _VIDEO_SIZE}
        write_video(rollout_frames(self._policy(snapshot), self.task, **episodes), path, _VIDEO_FPS)
        return path

    def resume(
        self,
        *,
        video: bool = True,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        keep_state: bool = False,
        other_versions: bool = False,
        command: str | None = None,
    ) -> Run:
        """Go on from the last checkpoint, as if the run had never been stopped. Arguments are those of `train`.

        With ``other_versions`` it goes on although packages have other versions; the result is no longer the same.

        Raises:
            InvalidInputError: The run is complete, or was given an object that is not here.
            CheckpointError: The checkpoint is damaged, or of another task, reward or version.
        """
        if self.files.finished_record() is not None:
            raise InvalidInputError(f"run {str(self.folder)!r} is complete; there is nothing to resume.")
        options = {"checkpoint_seconds": checkpoint_seconds, "other_versions": other_versions, "command": command}
        return _train(self, video=video, keep_state=keep_state, resume=True, **options)


def evaluate(
    what: Run | str | Path | Task | None = None,
    policy: str | PolicyFunction | None = None,
    *,
    episodes: int = 100,
    seed: int | None = None,
    env_id: str | None = None,
    reward: str | FrameReward | Callable[[Any], Any] | None = None,
    encoder: str | ImageTextEncoder | None = None,
    frame_size: int | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Evaluation:
    """Evaluate a run's agent, or any policy in a task.

    Args:
        what: A run or its folder; or a task as `train` takes it.
        policy: ``"random"``, ``"zero"``, ``"rule"``, or observations ``[n ...]`` to actions ``[n ...]``; None is the
            run's own best.
        episodes: How many.
        seed: Seeds the episodes; None is 0, for a run's own policy the default of `Run.evaluate`.
        env_id: A Gymnasium environment in place of a task.
        reward: As `train` takes it.
        encoder: As `train` takes it.
        frame_size: As `train` takes it.
        progress: Where notes go; None is the log.
        **settings: As `train` takes them, the prompts among them.

    Raises:
        InvalidInputError: There is no such run, task or policy, or a setting is not usable.
    """
    named = _words(form=reward, encoder=encoder)
    if isinstance(what, (str, Path)) and RunFolder(Path(what)).config.is_file():
        objects: dict[str, Any] = {"reward": reward, "encoder": encoder}
        objects = {name: value for name, value in objects.items() if value is not None and not isinstance(value, str)}
        what = Run.open(what, **objects, frame_size=frame_size, progress=progress)
        reward = encoder = frame_size = None
    if isinstance(what, Run):
        if settings or named or any(value is not None for value in (env_id, reward, encoder, frame_size)):
            raise InvalidInputError("settings must be left out with a run, which has its own.")
        if policy is None:
            return what.evaluate(episodes) if seed is None else what.evaluate(episodes, seed=seed)
        run = what
    else:
        if policy is None:
            raise InvalidInputError(
                f"what must be a run or its folder, got {what!r}; in a task, policy must be one of "
                f"{', '.join(REFERENCE_POLICIES)}, or a function."
            )
        given = _Objects.of(what, reward, encoder, frame_size)
        settings = given.settings(settings | named, env_id)
        run = Run(Path(), _settings(None, env_id, what, None, None, settings), given, progress)
    return _evaluate_policies(run, [policy], episodes, seed or 0)[0]


def _evaluate_policies(
    run: Run, policies: Sequence[str | PolicyFunction], episodes: int, seed: int
) -> list[Evaluation]:
    check_count("episodes", episodes)
    with open_evaluator(run.config, run.task, run.reward, episodes) as evaluator:
        space = evaluator.venv.action_space
        return [
            evaluator.run(
                reference_policy(policy, run.task, space, seed=seed) if isinstance(policy, str) else policy,
                episodes=episodes,
                seed=derive_seed(seed, "evaluate"),
            )
            for policy in policies
        ]


def baselines_record(
    config: TrainConfig, policies: Sequence[str], *, episodes: int, seed: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Evaluate policies that learned nothing, named as in `REFERENCE_POLICIES`, for a record to compare results with.

    Returns:
        The record, JSON-able; its ``policies`` has what `Evaluation.to_dict` says by name.
    """
    run, source = Run(Path(), config, _Objects(), progress), provenance()
    found = _evaluate_policies(run, policies, episodes, seed)
    encoder = describe_encoder(run.reward)
    return {
        "kind": "baselines",
        "task": config.task,
        "criterion": run.task.criterion_text,
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "encoder": encoder,
        "captioned": captioned_for([encoder], run.task),
        "seed": seed,
        "policies": {name: one.to_dict() for name, one in zip(policies, found, strict=True)},
        **source,
    }


def sweep(
    out: str | Path,
    grid: Mapping[str, Sequence[Any]],
    *,
    task: str | Path | None = None,
    env_id: str | None = None,
    preset: str | None = None,
    jobs: int = 1,
    video: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a run for each point of a grid, each in a process of its own, and sum up over seeds.

    The same call goes on with a sweep that was stopped: a complete run is never trained again.

    Args:
        out: The sweep's folder.
        grid: Values to try by setting: ``goal``, ``baseline``, ``alpha``, ``encoder``, ``form``, ``algo``, ``seed``.
        task: As `train` takes it, by name or file.
        env_id: A Gymnasium environment in place of a task.
        preset: The settings to start from.
        jobs: Runs at a time; each takes all cores that it finds, see ``n_workers``.
        video: Whether each records a video.
        progress: Told of each run, in a line, when it starts and ends; None is the log.
        **settings: What all runs have in common, as `train` takes them.

    Returns:
        The summary, as ``summary.json`` has it: a row a setting, with intervals over its seeds.

    Raises:
        InvalidInputError: A setting is not usable, or the folder holds other runs.
        RunFolderError: The folder can no longer be written.
    """

    def configure(cell: Mapping[str, Any]) -> tuple[TrainConfig, Sequence[str]]:
        own = {**settings, **cell}
        own |= _words(form=own.pop("reward", None))
        return _settings(None, env_id, task, preset, own.pop("algo", None), own), ()

    cells = SweepRequest(grid=grid).combinations()
    say = (progress or LoggedProgress()).say
    plan, options = make_plan(cells, Path(out), configure), () if video else ("--no-video",)
    return sweeps.sweep(plan, jobs=jobs, resume_options=options, say=say)
