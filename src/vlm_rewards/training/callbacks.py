"""What happens beside learning: the log, the snapshots, the progress bar, the stopwatch."""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from vlm_rewards.collection.callback import LabelRewards
from vlm_rewards.collection.episodes import EpisodeSummary
from vlm_rewards.collection.watcher import WatchedFrame
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.rollouts import PolicyEvaluator
from vlm_rewards.media import montage, write_png
from vlm_rewards.progress import Progress
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.run_folder import (
    RunFolder,
    Snapshot,
    mark_best,
    policy_function,
    save_policy,
    snapshot_marks,
)
from vlm_rewards.training.watch import REFERENCES, Comparison, HackingDetector

METRIC_COLUMNS = (
    "step",
    "wall_seconds",
    "episodes",
    "vlm_return_mean",
    "vlm_return_std",
    "true_return_mean",
    "success_rate",
    "watch_truth",
    "watch_correlation",
    "updates",
    "loss",
    "steps_per_second",
)
_SCORE_COLUMNS = ("vlm_return", "vlm_return_std", "true_return", "success_rate")
SNAPSHOT_COLUMNS = ("step", *_SCORE_COLUMNS, "path")
_METRIC_ROWS = 200


class CsvLog:
    """A CSV file that is complete after every row; an existing one is replaced, or continued."""

    def __init__(self, path: Path, columns: tuple[str, ...], *, continued: bool = False) -> None:
        self._path = path
        self._file: IO[str] = path.open("a" if continued else "w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns)
        if not continued:
            self._writer.writeheader()
            self._file.flush()

    def sync(self) -> int:
        """Put everything on disk, and return the file's size in bytes: where a resumed run goes on."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._path.stat().st_size

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; None becomes an empty cell."""
        self._writer.writerow({key: "" if value is None else value for key, value in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()


class Callback(BaseCallback):
    """A callback that has nothing to do at single steps."""

    def _on_step(self) -> bool:
        return True


class Stopwatch(Callback):
    """Splits the run's wall time into stages; `Snapshots` and `Checkpoints` take theirs out of the other two."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = {"collect_and_label": 0.0, "update": 0.0, "select": 0.0, "checkpoint": 0.0}
        self._since: float | None = None

    def _on_rollout_start(self) -> None:
        self._lap("update")

    def _on_rollout_end(self) -> None:
        self._lap("collect_and_label")

    def _on_training_start(self) -> None:
        self._since = time.perf_counter()

    def _on_training_end(self) -> None:
        self._lap("update")

    def exclude(self, seconds: float, stage: str) -> None:
        """Count time as another stage instead of what is running now."""
        self.seconds[stage] += seconds
        if self._since is not None:
            self._since += seconds

    def _lap(self, stage: str) -> None:
        now = time.perf_counter()
        if self._since is not None:
            self.seconds[stage] += now - self._since
        self._since = now


_LARGE_ENCODER = 20_000_000
"""Weights from which an encoder is so slow that simulators hardly compete with it for the cores."""


_LARGE_NETWORKS = 300_000
"""Weights of a learner's networks from which a second thread pays for itself in the updates."""


class ThreadPhases(Callback):
    """Shares the cores out to torch: some threads while frames are embedded, one or two for the updates.

    Threads of torch that compete with simulators for the same cores wait for
    each other: with a small encoder, which draws level with the simulators,
    half of the cores are 12 % faster than all. With a large one the simulators
    wait most of the time, and half of the cores embed half as fast as all (two
    cores, CartPole, the bundled encoder and ViT-B-32). A minibatch of a few
    hundred rows through small networks gains nothing from a second thread;
    SAC on the Humanoid's observations gains 40 %.

    The choice depends on the sizes of encoder and networks, never on the
    clock: sums may depend on the number of threads in their last bits. Must
    come after `LabelRewards` in the list, which waits for the last frames at
    the end of a rollout. None in place of an encoder is a small one.
    """

    def __init__(self, encoder: ImageTextEncoder | None = None) -> None:
        super().__init__()
        facts: dict[str, Any] = {} if encoder is None else encoder.describe()
        self._large = facts.get("parameters", 0) >= _LARGE_ENCODER

    def _on_training_start(self) -> None:
        self._all = torch.get_num_threads()
        self._embedding = self._all if self._large else max(1, self._all // 2)
        self._updates = min(update_threads(self.model.policy), self._all)

    def _on_rollout_start(self) -> None:
        torch.set_num_threads(self._embedding)

    def _on_rollout_end(self) -> None:
        torch.set_num_threads(self._updates)

    def _on_training_end(self) -> None:
        self.restore()

    def restore(self) -> None:
        """Leave torch as it was found. Safe to call twice."""
        if hasattr(self, "_all"):
            torch.set_num_threads(self._all)


def update_threads(policy: Any) -> int:
    """How many threads of torch updates of these networks can use: 1 or 2."""
    weights = sum(weight.numel() for weight in policy.parameters()) if isinstance(policy, torch.nn.Module) else 0
    return 2 if weights >= _LARGE_NETWORKS else 1


class Metrics(Callback):
    """Writes ``metrics.csv`` and TensorBoard's log, some 200 rows a run; ``state`` is that of the last checkpoint."""

    def __init__(
        self,
        run: RunFolder,
        labels: LabelRewards,
        total_steps: int,
        state: Mapping[str, Any] | None = None,
        *,
        watch: HackingWatch | None = None,
    ) -> None:
        super().__init__()
        self.log = CsvLog(run.metrics, METRIC_COLUMNS, continued=state is not None)
        state = state or {"written": -1, "next": 0, "episodes": 0, "seconds": 0.0}
        self._written: int = state["written"]
        self._labels = labels
        self._watch = watch
        self._every = max(1, total_steps // _METRIC_ROWS)
        self._next: int = state["next"]
        self._episodes: int = state["episodes"]
        self._started = time.perf_counter() - state["seconds"]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to write the same rows."""
        return {
            "size": self.log.sync(),
            "written": self._written,
            "next": self._next,
            "episodes": self._episodes,
            "seconds": time.perf_counter() - self._started,
        }

    def _on_rollout_end(self) -> None:
        self._episodes += len(self._labels.finished)
        if self.num_timesteps >= self._next and self._labels.episodes:
            self._next = self.num_timesteps + self._every
            self._write()

    def _on_training_end(self) -> None:
        if self._labels.episodes and self._written != self.num_timesteps:
            self._write()
        self.log.close()

    def _write(self) -> None:
        self._written = self.num_timesteps
        self.log.write(self._row())
        self.logger.dump(self.num_timesteps)  # to TensorBoard

    def _row(self) -> dict[str, Any]:
        recent = list(self._labels.episodes)
        returns = [episode.vlm_return for episode in recent]
        judged = [episode.success for episode in recent if episode.success is not None]
        seconds = time.perf_counter() - self._started
        losses = self.logger.name_to_value
        loss = losses.get("train/loss", losses.get("train/critic_loss"))
        seen = None if self._watch is None else self._watch.comparison
        return {
            "step": self.num_timesteps,
            "wall_seconds": round(seconds, 2),
            "episodes": self._episodes,
            "vlm_return_mean": float(np.mean(returns)),
            "vlm_return_std": float(np.std(returns)),
            "true_return_mean": float(np.mean([episode.true_return for episode in recent])),
            "success_rate": float(np.mean(judged)) if judged else None,
            "watch_truth": None if seen is None else seen.truth_now,
            "watch_correlation": None if seen is None else seen.correlation,
            "updates": getattr(self.model, "_n_updates", None),
            "loss": None if loss is None else float(loss),
            "steps_per_second": round(self.num_timesteps / seconds, 1),
        }


class Snapshots(Callback):
    """Saves the policy at equal distances and keeps track of the best by VLM return.

    The paper chooses the checkpoint with the highest VLM reward, never by
    success (section 3 of its experiments); the selection episodes have seeds of
    their own. ``state`` is that of the last checkpoint.
    """

    def __init__(
        self,
        run: RunFolder,
        config: TrainConfig,
        evaluator: PolicyEvaluator,
        stopwatch: Stopwatch,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.log = CsvLog(run.snapshots, SNAPSHOT_COLUMNS, continued=state is not None)
        if state is None:
            state = {"best": None, "last": -1}
        self.best: Snapshot | None = None if state["best"] is None else Snapshot(**state["best"])
        self._run = run
        self._evaluator = evaluator
        self._episodes = {"episodes": config.selection_episodes, "seed": derive_seed(config.seed, "select")}
        self._stopwatch = stopwatch
        self._last: int = state["last"]
        self._due = [mark for mark in snapshot_marks(config) if mark > self._last]
        mark_best(run, self.best)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to take the same snapshots."""
        best = None if self.best is None else dataclasses.asdict(self.best)
        return {"size": self.log.sync(), "best": best, "last": self._last}

    def _on_rollout_start(self) -> None:
        # Here, and not in `_on_step`, the updates that belong to the steps so far have been made.
        if self._due and self.num_timesteps >= self._due[0]:
            while self._due and self.num_timesteps >= self._due[0]:
                self._due.pop(0)
            self.take()

    def _on_training_end(self) -> None:
        self.finish()

    def finish(self) -> None:
        """Save the policy as it is now, unless that has just been done, and close the log."""
        started = getattr(self, "model", None) is not None  # Ctrl-C may come before the first step
        if started and self._last != self.num_timesteps:
            self.take()
        self.log.close()

    def take(self) -> None:
        """Save the policy and run it on the selection episodes."""
        started = time.perf_counter()
        path = f"step_{self.num_timesteps:010d}.safetensors"
        save_policy(self.model, self._run.checkpoints / path)  # type: ignore[arg-type]
        found = self._evaluator.run(policy_function(self.model), **self._episodes).to_dict()  # type: ignore[arg-type]
        scores = {key: found[key] for key in _SCORE_COLUMNS}
        self._last = self.num_timesteps  # not before: Ctrl-C may end the scoring
        self.log.write({"step": self.num_timesteps, "path": path, **scores})
        self.logger.record("snapshot/vlm_return", scores["vlm_return"])
        if self.best is None or scores["vlm_return"] > self.best.vlm_return:
            self.best = Snapshot(self.num_timesteps, float(scores["vlm_return"]), path)
            mark_best(self._run, self.best)
        self._stopwatch.exclude(time.perf_counter() - started, "select")


class ProgressBar(Callback):
    """Shows how far the run has come, and the latest returns."""

    def __init__(self, progress: Progress, total_steps: int, labels: LabelRewards) -> None:
        super().__init__()
        self._progress, self._total, self._labels = progress, total_steps, labels

    def _on_training_start(self) -> None:
        self._progress.start("training", self._total)

    def _on_rollout_end(self) -> None:
        recent = self._labels.episodes
        note = f"VLM return {np.mean([episode.vlm_return for episode in recent]):.1f}" if recent else ""
        self._progress.advance(self.num_timesteps, note)

    def _on_training_end(self) -> None:
        self._progress.stop()


_SHOWN = 8  # frames of an alarm


class HackingWatch(Callback):
    """Raises an alarm where episodes get better by the VLM's reward and worse by what it stands for.

    The alarm goes to the terminal, to TensorBoard with its frames, to the
    folder ``alarms`` of the run, and to its record. Nothing is stopped and
    nothing that is learned changes. Must come after `LabelRewards`, whose
    `FrameWatcher` keeps the frames. ``state`` is that of the last checkpoint, and
    ``window`` what `window_of` says.
    """

    def __init__(
        self,
        run: RunFolder,
        labels: LabelRewards,
        against: str,
        progress: Progress,
        state: Mapping[str, Any] | None = None,
        *,
        window: int,
    ) -> None:
        super().__init__()
        self._run = run
        self._labels = labels
        self._against = against
        self._progress = progress
        self._detector = HackingDetector(bounded=against == "criterion", window=window)
        self.alarms: list[dict[str, Any]] = []
        if state is not None:
            self._detector.load_state_dict(state["detector"])
            self.alarms = list(state["alarms"])

    @property
    def comparison(self) -> Comparison | None:
        """The best episodes so far beside the latest; None before there are enough."""
        return self._detector.comparison

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to raise the same alarms."""
        return {"detector": self._detector.state_dict(), "alarms": self.alarms}

    def to_record(self) -> dict[str, Any]:
        """JSON-able: what was watched, the last comparison, and the alarms."""
        comparison = self.comparison
        return {
            "reference": REFERENCES[self._against],
            "correlation": None if comparison is None else comparison.correlation,
            "comparison": None if comparison is None else _course(comparison),
            "alarms": self.alarms,
        }

    def _on_rollout_end(self) -> None:
        for episode in self._labels.finished:
            raised = self._detector.observe(episode.vlm_return / episode.length, self._truth(episode))
            if raised and self.comparison is not None:
                self._raise_alarm(self.comparison)
        comparison = self.comparison
        if comparison is not None:
            self.logger.record("watch/truth", comparison.truth_now)
            self.logger.record("watch/alarms", len(self.alarms))
            if comparison.correlation is not None:
                self.logger.record("watch/correlation", comparison.correlation)

    def _truth(self, episode: EpisodeSummary) -> float:
        if self._against == "true-reward":
            return episode.true_return / episode.length
        value = episode.criterion if self._against == "criterion" else episode.held_out
        if value is None:
            raise InvalidInputError(f"watch: an episode came without a {REFERENCES[self._against]}.")
        return value

    def _raise_alarm(self, comparison: Comparison) -> None:
        watcher = self._labels.watcher
        shown = _telling(watcher.watched if watcher is not None else [])
        alarm: dict[str, Any] = {
            "step": self.num_timesteps,
            "correlation": comparison.correlation,
            **_course(comparison),
            "picture": None,
            "frames": [_facts(seen, self.training_env.num_envs) for seen in shown],
        }
        words = (
            f"possible reward hacking at step {self.num_timesteps:,}: reward a step {comparison.reward_before:.3f} -> "
            f"{comparison.reward_now:.3f}, {REFERENCES[self._against]} {comparison.truth_before:.3f} -> "
            f"{comparison.truth_now:.3f}, correlation {comparison.correlation:+.2f}"
        )
        if shown:
            captions = [f"reward {seen.reward:.3f}\n{REFERENCES[self._against]} {seen.truth:.3g}" for seen in shown]
            sheet = montage([seen.frame for seen in shown], captions, columns=4)
            path = write_png(sheet, self._run.alarms / f"step_{self.num_timesteps:010d}.png")
            alarm["picture"] = str(path.relative_to(self._run.path))
            self._show_in_tensorboard(sheet)
            words += f"; frames: {path}"
        self.alarms.append(alarm)
        self._progress.say(words, warning=True)

    def _show_in_tensorboard(self, sheet: np.ndarray) -> None:
        # Straight to the writer: a frame that waits in the logger would have to be part of every checkpoint.
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_image("watch/alarm", sheet, self.num_timesteps, dataformats="HWC")


def _telling(watched: list[WatchedFrame]) -> list[WatchedFrame]:
    """The frames that the two scores disagree on most: low by the truth, and the highest by the reward of those."""
    known = [seen for seen in watched if seen.truth is not None]
    truths = np.array([seen.truth for seen in known], dtype=np.float64)
    if not known:
        return []
    low = truths <= max(truths.mean(), truths.min())  # where a criterion holds now and then: where it does not
    told = sorted(np.flatnonzero(low).tolist(), key=lambda index: -known[index].reward)
    return [known[index] for index in told[:_SHOWN]]


def _course(comparison: Comparison) -> dict[str, Any]:
    """How reward and reference were where the reference was best, and how they are now."""
    return {
        "correlation_before": comparison.correlation_before,
        "vlm_before": comparison.reward_before,
        "vlm_now": comparison.reward_now,
        "reference_before": comparison.truth_before,
        "reference_now": comparison.truth_now,
    }


def _facts(seen: WatchedFrame, simulators: int) -> dict[str, Any]:
    step = (seen.step + 1) * simulators
    return {"step": step, "simulator": seen.simulator, "vlm": seen.reward, "reference": seen.truth}
