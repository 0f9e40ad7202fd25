"""What a run will do and take, found out before it starts: no weights, no training, nothing written."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch

from vlm_rewards.collection.episodes import FrameCount
from vlm_rewards.collection.labeller import chunk_length
from vlm_rewards.collection.replay_buffer import bytes_of, check_memory, replay_row, rollout_row
from vlm_rewards.collection.ring import free_bytes, ring_folder, ring_shape
from vlm_rewards.collection.vec_env import SimulatorProbe, probe_simulator
from vlm_rewards.encoders.loading import check_encoder_name, is_openclip
from vlm_rewards.encoders.openclip import resolve_batch_size, resolve_device, resolve_dtype
from vlm_rewards.encoders.sizing import PlannedEncoder, check_sentences, plan_encoder, why_unplannable
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.rewards.goal_pictures import check_files
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import PPOConfig, check_action_space, rollout_rows
from vlm_rewards.training.config import TrainConfig, UpdateBudget, update_budget
from vlm_rewards.training.learner_size import LearnerSize, plan_learner
from vlm_rewards.training.paper import PaperSetting, compare_with_paper
from vlm_rewards.training.run_folder import planned_snapshots
from vlm_rewards.training.runner import ring_slots
from vlm_rewards.training.watch import watched_against

ASSUMED_SIZE = 224
"""Side in pixels of the frames that simulators are tried with where the encoder's is not known."""
_KINDS = ("cuda", "cpu")

PlanRollouts = Callable[[int, int], FrameCount]
"""Episodes and steps of each to what evaluating them takes. It is handed in, as the evaluation itself is."""


@dataclass(frozen=True)
class Precision:
    """How an encoder would compute on a kind of device."""

    dtype: str
    """``"fp32"``, ``"bf16"`` or ``"fp16"``."""
    batch_size: int
    """Frames that pass through it at once, at most."""
    weight_bytes: int | None
    """Memory of its weights; activations come on top. None where its size is not known."""


@dataclass(frozen=True)
class EncoderPlan:
    """An encoder that a run will load."""

    name: str
    """As `load_encoder` takes it."""
    architecture: str
    """What open_clip calls it; a folder for one that has no name there."""
    tag: str | None
    """open_clip's name of its weights, where it has one."""
    facts: PlannedEncoder | None
    """Its sizes and where its weights come from; None where they cannot be known without the network."""
    unknown: str | None
    """Why they cannot."""
    precision: dict[str, Precision | None]
    """By kind of device, ``"cuda"`` and ``"cpu"``; None where the settings' dtype is not to be had there."""


@dataclass(frozen=True)
class Pictures:
    """Frames that a run embeds."""

    training: int
    """One for each state that is rendered and camera; twice as many where a held-out reward has an encoder of its
    own. Where not every state is and episodes may end before time, about."""
    after_resets: int
    """Of the states that episodes begin in, which shaping needs; at least, where episodes may end before time."""
    selection: int
    """To choose the best snapshot."""
    evaluation: int
    """For the final evaluation."""
    chunks: int
    """Times that the encoder is called in training, selection and evaluation."""
    batches: dict[str, int]
    """Batches that pass through it, by kind of device, ``"cuda"`` and ``"cpu"``; without those after resets."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.training + self.after_resets + self.selection + self.evaluation


@dataclass(frozen=True)
class Frames:
    """Memory for frames in flight: what the simulators write and the encoder reads."""

    shape: tuple[int, ...]
    """Of the ring: slots, simulators, height, width, 3, all uint8; each camera adds a frame to the height, and
    frames after resets double the simulators."""
    nbytes: int
    """Bytes of it."""
    selection_nbytes: int
    """Bytes of the ring of the simulators in which snapshots are compared, which are there all the time."""


@dataclass(frozen=True)
class Stored:
    """Transitions that the learner keeps: its replay buffer, or PPO's rollout."""

    kind: str
    """``"replay"`` or ``"rollout"``."""
    rows: int
    """Transitions."""
    row: dict[str, np.dtype[Any]]
    """What one holds, by the name of the buffer's array."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one."""
        return bytes_of(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of all. A replay buffer takes them as it fills."""
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class Machine:
    """This machine, and what of the plan it has room for."""

    device: str
    """Where encoder and learner would run here."""
    available: int
    """Bytes of memory that are free now."""
    needed: int | None
    """Bytes of it that the run takes at least, loading its encoders included; None where they cannot be known."""
    gpu_available: int | None
    """Bytes of the GPU's memory that are free now; None without one."""
    gpu_needed: int | None
    """Bytes that encoder and learner take on a GPU; activations come on top."""
    ring_folder: Path | None
    """Where the frames in flight would lie; None where there is no room, or they are not known."""
    ring_free: int | None
    """Bytes that are free there."""
    workers: int
    """Processes that host simulators, those in which snapshots are compared included."""

    @property
    def fits(self) -> bool | None:
        """Whether there is room for the run, in so far as it can be known; None where it cannot be."""
        if self.needed is None:
            return None
        gpu = self.gpu_available is None or (self.gpu_needed or 0) <= self.gpu_available
        return self.needed <= self.available and gpu


@dataclass(frozen=True)
class TrainingPlan:
    """What a run will do and take."""

    config: TrainConfig
    """Its settings."""
    horizon: int
    """Steps of an episode."""
    cameras: int
    """Frames of each state."""
    encoder: EncoderPlan
    """What scores the frames."""
    held_out: EncoderPlan | None
    """The encoder of the held-out reward, where that has its own."""
    simulator: SimulatorProbe
    """One that was tried, with frames of the encoder's size."""
    budget: UpdateBudget
    """Rollouts and updates."""
    vector_steps: int
    """Steps of all simulators together between two rounds of updates."""
    snapshots: tuple[int, ...]
    """Environment steps after which policies are saved and compared."""
    watched: str | None
    """What the reward is watched against."""
    pictures: Pictures
    """What is embedded."""
    frames: Frames | None
    """Memory for frames in flight; None where the encoder's frame size is not known."""
    stored: Stored
    """Memory for transitions."""
    learner: LearnerSize
    """Memory for networks and optimisers."""
    machine: Machine
    """Whether it fits here."""
    paper: tuple[PaperSetting, ...]
    """The paper's settings beside these, where the preset is the paper's."""
    refusals: tuple[str, ...]
    """Why training would end on this machine before it began, though the plan itself is sound: too little memory."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able plan; every size is in bytes."""
        encoders = {name: _encoder_dict(getattr(self, name)) for name in ("encoder", "held_out")}
        spaces = {
            name: {"space": repr(space), "shape": list(space.shape or ()), "dtype": str(space.dtype)}
            for name, space in (
                ("observation", self.simulator.observation_space),
                ("action", self.simulator.action_space),
            )
        }
        row = {name: {"shape": list(kind.shape), "dtype": str(kind.base)} for name, kind in self.stored.row.items()}
        size = None if self.encoder.facts is None else self.encoder.facts.embedding_dim
        return {
            "config": self.config.to_dict(),
            **encoders,
            "shapes": {
                **spaces,
                "picture": list(self.simulator.frame_shape),
                "embedding": None if size is None else [size],
                "row": row,
            },
            "horizon": self.horizon,
            "cameras": self.cameras,
            "updates": {**dataclasses.asdict(self.budget), "vector_steps_in_a_round": self.vector_steps},
            "snapshots": list(self.snapshots),
            "watched_against": self.watched,
            "pictures": {**dataclasses.asdict(self.pictures), "total": self.pictures.total},
            "memory": {
                "frames": None if self.frames is None else dataclasses.asdict(self.frames),
                self.stored.kind: {
                    "rows": self.stored.rows,
                    "row_bytes": self.stored.row_bytes,
                    "nbytes": self.stored.nbytes,
                },
                "learner": dataclasses.asdict(self.learner),
                "worker": self.simulator.worker_bytes,
            },
            "machine": {
                **dataclasses.asdict(self.machine),
                "ring_folder": None if self.machine.ring_folder is None else str(self.machine.ring_folder),
                "fits": self.machine.fits,
            },
            "paper": [{**dataclasses.asdict(one), "same": one.same} for one in self.paper],
            "refusals": list(self.refusals),
        }


def plan_training(
    config: TrainConfig,
    task: Task,
    plan_rollouts: PlanRollouts,
    try_one: Callable[[Task, int], SimulatorProbe] = probe_simulator,
) -> TrainingPlan:
    """Check a run's settings as training does before it starts, and work out what the run will do and take.

    Args:
        config: The settings.
        task: Their task.
        plan_rollouts: What an evaluation takes.
        try_one: Tries a simulator with frames of the given size.

    Returns:
        The plan. Whether it fits this machine stands in it, and is no reason to raise.

    Raises:
        InvalidInputError: Training would refuse the settings, the encoder's name or the simulator.
        VLMRewardsError: The encoder's architecture cannot be built, or a library is missing.
    """
    device = resolve_device(config.device)
    resolve_dtype(config.dtype, device)
    watched = watched_against(config, task)
    check_files(config.reward.files)
    encoder = _plan_encoder(config.encoder, config.dtype)
    check_sentences(config.encoder, (config.goal, config.baseline, *config.reward.others))
    own = watched == "held-out" and config.watch_encoder not in (None, config.encoder)
    held_out = _plan_encoder(str(config.watch_encoder), config.dtype) if own else None
    if watched == "held-out":
        other = config.watch_encoder or config.encoder
        check_sentences(other, (config.watch_goal or config.goal, config.watch_baseline or config.baseline))
    simulator = try_one(task, ASSUMED_SIZE if encoder.facts is None else encoder.facts.image_size)
    check_action_space(config.algorithm, simulator.action_space)
    learner = plan_learner(config.algorithm, simulator.observation_space, simulator.action_space)
    budget, snapshots = update_budget(config), planned_snapshots(config)
    flow = _training_flow(config, budget, task.horizon)
    selection, evaluation = (
        plan_rollouts(episodes, task.horizon) for episodes in (config.selection_episodes, config.evaluation_episodes)
    )
    selection = dataclasses.replace(selection, times=len(snapshots))
    frames = None
    if encoder.facts is not None:
        size = encoder.facts.image_size
        shape = ring_shape(flow.slots, flow.simulators, size, cameras=task.cameras, resets=config.reward.shaping)
        other = ring_shape(selection.slots, selection.simulators, size, cameras=task.cameras)
        frames = Frames(shape, math.prod(shape), math.prod(other))
    stored = _stored(config, simulator.observation_space, simulator.action_space)
    folder, refusals = _refusals(config, frames, stored)
    most = os.cpu_count() or 1 if config.n_workers is None else config.n_workers
    workers = min(most, flow.simulators) + min(most, selection.simulators)
    encoders = [encoder] if held_out is None else [encoder, held_out]
    weights = {kind: _sum([one.precision[kind] for one in encoders]) for kind in _KINDS}
    # Weights are read in fp32, in main memory, one encoder after the other, before anything else is there.
    loading = max(0 if one.facts is None else one.facts.memory_bytes("fp32") for one in encoders)
    running = _running(device.type, weights, frames, stored, learner, workers * simulator.worker_bytes)
    return TrainingPlan(
        config=config,
        horizon=task.horizon,
        cameras=task.cameras,
        encoder=encoder,
        held_out=held_out,
        simulator=simulator,
        budget=budget,
        vector_steps=flow.vector_steps,
        snapshots=tuple(snapshots),
        watched=watched,
        pictures=_pictures(config, task, flow, selection, evaluation, twice=held_out is not None),
        frames=frames,
        stored=stored,
        learner=learner,
        machine=Machine(
            device=device.type,
            available=psutil.virtual_memory().available,
            needed=None if running is None else max(running, loading),
            gpu_available=torch.cuda.mem_get_info()[0] if device.type == "cuda" else None,
            gpu_needed=None if weights["cuda"] is None else weights["cuda"] + learner.nbytes,
            ring_folder=folder,
            ring_free=None if folder is None else free_bytes(folder),
            workers=workers,
        ),
        paper=compare_with_paper(config, task.horizon) if config.preset == "paper" else (),
        refusals=refusals,
    )


def _encoder_dict(encoder: EncoderPlan | None) -> dict[str, Any] | None:
    return None if encoder is None else dataclasses.asdict(encoder)


def _plan_encoder(name: str, dtype: str) -> EncoderPlan:
    check_encoder_name(name)
    source = parse_source(name) if is_openclip(name) else None
    unknown = why_unplannable(source) if source else "its size is known once it is loaded"
    facts = plan_encoder(name) if unknown is None else None
    precision = {kind: _precision(facts, dtype, torch.device(kind)) for kind in _KINDS}
    return EncoderPlan(
        name, source.model if source else name, source.tag if source else None, facts, unknown, precision
    )


def _precision(facts: PlannedEncoder | None, dtype: str, device: torch.device) -> Precision | None:
    try:
        chosen = resolve_dtype(dtype, device)
    except InvalidInputError:
        return None
    weights = None if facts is None else facts.memory_bytes(chosen)
    return Precision(chosen, resolve_batch_size(None, device), weights)


def _training_flow(config: TrainConfig, budget: UpdateBudget, horizon: int) -> FrameCount:
    slots = ring_slots(config.chunk_frames, config.n_envs)
    return FrameCount(
        config.n_envs,
        slots,
        chunk_length(config.chunk_frames, config.n_envs, slots),
        vector_steps=rollout_rows(config.algorithm, config.n_envs) // config.n_envs,
        times=budget.rounds,
        every=config.label_every,
        horizon=horizon,
    )


def _pictures(
    config: TrainConfig, task: Task, flow: FrameCount, selection: FrameCount, evaluation: FrameCount, *, twice: bool
) -> Pictures:
    encoders = 2 if twice else 1  # a held-out reward is no part of selection and evaluation
    flows = [(flow, encoders), (selection, 1), (evaluation, 1)]
    begun = config.n_envs * (1 + flow.vector_steps * flow.times // task.horizon) if config.reward.shaping else 0
    return Pictures(
        training=flow.states * task.cameras * encoders,
        after_resets=begun * task.cameras,
        selection=selection.states * task.cameras,
        evaluation=evaluation.states * task.cameras,
        chunks=sum(one.chunks * count for one, count in flows),
        batches={
            kind: sum(
                one.passes(resolve_batch_size(None, torch.device(kind)), task.cameras) * count for one, count in flows
            )
            for kind in _KINDS
        },
    )


def _stored(config: TrainConfig, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> Stored:
    if isinstance(config.algorithm, PPOConfig):
        rows = rollout_rows(config.algorithm, config.n_envs)
        return Stored("rollout", rows, rollout_row(observation_space, action_space))
    # Stable-Baselines3 keeps as many transitions of each simulator.
    rows = max(config.algorithm.buffer_size // config.n_envs, 1) * config.n_envs
    return Stored("replay", rows, replay_row(observation_space, action_space))


def _refusals(config: TrainConfig, frames: Frames | None, stored: Stored) -> tuple[Path | None, tuple[str, ...]]:
    """Where the frames in flight would lie, and what training would say of memory before it starts."""
    folder: Path | None = None
    said: list[str] = []
    try:
        if frames is not None:
            folder = ring_folder(frames.nbytes)
    except InvalidInputError as error:
        said.append(str(error))
    asks = config.algorithm
    field, rows = ("n_steps", stored.rows) if isinstance(asks, PPOConfig) else ("buffer_size", asks.buffer_size)
    try:
        check_memory(field, rows, stored.row_bytes)
    except InvalidInputError as error:
        said.append(str(error))
    return folder, tuple(said)


def _running(
    device: str,
    weights: dict[str, int | None],
    frames: Frames | None,
    stored: Stored,
    learner: LearnerSize,
    workers: int,
) -> int | None:
    """Bytes of main memory."""
    encoders = weights["cpu" if device == "cpu" else "cuda"]
    if frames is None or encoders is None:
        return None
    own = 0 if device == "cuda" else encoders + learner.nbytes  # mps has the machine's own memory
    return frames.nbytes + frames.selection_nbytes + stored.nbytes + own + workers


def _sum(precisions: list[Precision | None]) -> int | None:
    sizes = [None if one is None else one.weight_bytes for one in precisions]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
