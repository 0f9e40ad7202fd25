"""Watches a run for reward hacking, and says so while it can still be stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from vlm_rewards.envs import Task
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.labelling import LabelRewards, Sighting
from vlm_rewards.labelling.episodes import EpisodeSummary
from vlm_rewards.montage import montage, write_png
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.hacking import WINDOW, Comparison, HackingDetector
from vlm_rewards.training.run_folder import RunFolder

REFERENCES = {"criterion": "criterion", "true-reward": "true reward", "held-out": "held-out reward"}
"""What a reward can be watched against, as settings and as records call it."""

_SHOWN = 8  # pictures of an alarm


def watched_against(config: TrainConfig, task: Task) -> str | None:
    """What the reward of a run is watched against; None where nobody watches.

    Returns:
        ``"criterion"``, ``"true-reward"`` or ``"held-out"``.

    Raises:
        InvalidInputError: The task has no criterion to watch against.
    """
    if config.watch == "off":
        return None
    if config.watch == "criterion" and task.criterion is None:
        raise InvalidInputError(
            f"watch must not be 'criterion': task {task.name!r} has none. Choices: auto, true-reward, held-out, off."
        )
    if config.watch != "auto":
        return config.watch
    if task.criterion is not None:
        return "criterion"
    return "held-out" if config.has_held_out else "true-reward"


class HackingWatch(BaseCallback):
    """Raises an alarm where episodes get better by the VLM's reward and worse by what it stands for.

    The alarm goes to the terminal, to TensorBoard with its pictures, to the
    folder ``alarms`` of the run, and to its record. Nothing is stopped and
    nothing that is learned changes. Must come after `LabelRewards`, whose
    `Witness` keeps the pictures.

    Args:
        run: Where alarms are written.
        labels: Where episodes and pictures come from.
        against: What `watched_against` said.
        console: Where alarms are announced.
        state: What `state_dict` said at the last checkpoint; None starts anew.
        window: Episodes that are compared with as many others; see `vlm_rewards.training.hacking.window_of`.

    Attributes:
        alarms: Those raised so far, JSON-able.
    """

    def __init__(
        self,
        run: RunFolder,
        labels: LabelRewards,
        against: str,
        console: Console,
        state: Mapping[str, Any] | None = None,
        *,
        window: int = WINDOW,
    ) -> None:
        super().__init__()
        self._run = run
        self._labels = labels
        self._against = against
        self._console = console
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
            if self._detector.observe(episode.vlm_return / episode.length, self._truth(episode)):
                self._raise_alarm()
        comparison = self.comparison
        if comparison is not None:
            self.logger.record("watch/truth", comparison.truth_now)
            self.logger.record("watch/alarms", len(self.alarms))
            if comparison.correlation is not None:
                self.logger.record("watch/correlation", comparison.correlation)

    def _on_step(self) -> bool:
        return True

    def _truth(self, episode: EpisodeSummary) -> float:
        if self._against == "true-reward":
            return episode.true_return / episode.length
        value = episode.criterion if self._against == "criterion" else episode.held_out
        if value is None:
            raise InvalidInputError(f"watch: an episode came without a {REFERENCES[self._against]}.")
        return value

    def _raise_alarm(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        witness = self._labels.witness
        shown = _telling(witness.sightings if witness is not None else [])
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
            words += f"; pictures: {path}"
        self.alarms.append(alarm)
        self._console.print(f"warning: {words}", style="yellow", markup=False, soft_wrap=True)

    def _show_in_tensorboard(self, sheet: np.ndarray) -> None:
        # Straight to the writer: a picture that waits in the logger would have to be part of every checkpoint.
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_image("watch/alarm", sheet, self.num_timesteps, dataformats="HWC")


def _telling(sightings: list[Sighting]) -> list[Sighting]:
    """The pictures that the two scores disagree on most: low by the truth, and the highest by the reward of those."""
    known = [seen for seen in sightings if seen.truth is not None]
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


def _facts(seen: Sighting, simulators: int) -> dict[str, Any]:
    step = (seen.step + 1) * simulators
    return {"step": step, "simulator": seen.simulator, "vlm": seen.reward, "reference": seen.truth}
