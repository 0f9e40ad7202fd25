"""What a run will do and take, found out before it starts: no weights, no training, nothing written.

The encoder's architecture is built without weights, one simulator and the learner's networks are built for real; the
plan is their sizes.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from vlm_rewards.collection.replay_buffer import bytes_of, check_memory, replay_row, rollout_row
from vlm_rewards.collection.ring import free_bytes, ring_folder, ring_shape
from vlm_rewards.collection.vec_env import SimulatorProbe, count_rendered, default_slots, probe_simulator
from vlm_rewards.encoders.loading import check_encoder_name, is_openclip
from vlm_rewards.encoders.openclip import resolve_batch_size, resolve_device, resolve_dtype
from vlm_rewards.encoders.sizing import PlannedEncoder, check_prompt_lengths, plan_encoder, why_unplannable
from vlm_rewards.encoders.sources import parse_source
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.evaluation.rollouts import SIMULATORS
from vlm_rewards.rewards.config import needs_encoder
from vlm_rewards.rewards.goal_pictures import check_files
from vlm_rewards.rewards.registry import get_form
from vlm_rewards.tasks.task import Task
from vlm_rewards.training.algorithms import AlgorithmConfig, OffPolicyConfig, PPOConfig, build_algorithm, rollout_rows
from vlm_rewards.training.config import TrainConfig, update_budget
from vlm_rewards.training.learner_state import learner_state, policy_arrays
from vlm_rewards.training.presets import compare_with_paper
from vlm_rewards.training.run_folder import planned_snapshots
from vlm_rewards.training.runner import ring_slots
from vlm_rewards.training.watch import watched_against

_ASSUMED_SIZE = 224  # side in pixels of the frames that a simulator is tried with where the reward's is not known
_KINDS = ("cuda", "cpu")


@dataclass(frozen=True)
class LearnerSize:
    """Numbers and bytes of a learner, its replay buffer or rollouts apart."""

    networks: dict[str, int]
    """Numbers of each network, targets and batch statistics included, by Stable-Baselines3's name: ``"critic"`` is all
    critics."""
    parameters: int
    """Their sum."""
    nbytes: int
    """Bytes of these and of Adam's two moments of each number that is trained; gradients come on top."""


def plan_training(
    config: TrainConfig, task: Task, probe: Callable[[Task, int], SimulatorProbe] = probe_simulator
) -> dict[str, Any]:
    """Check a run's settings as training does before it starts, and work out what the run will do and take.

    Args:
        config: The settings.
        task: Their task.
        probe: Tries a simulator with frames of the given size.

    Returns:
        A JSON-able record. Sizes are in bytes; None is what cannot be known without the network, or is not there.

        ``encoder`` and ``held_out`` (the encoder of a held-out reward that has its own): ``name``, ``architecture``,
        ``tag``, ``facts`` (`PlannedEncoder`), ``unknown`` (why there are none), and by kind of device, ``"cuda"`` and
        ``"cpu"``, the ``precision``: ``dtype``, ``batch_size``, ``weight_bytes``; None where the dtype is not to be
        had there. No ``encoder`` where the reward form needs none.

        ``shapes``: ``observation``, ``action``, ``frame`` (as a simulator drew it), ``frame_size`` (that the reward
        wants), ``embedding``, and the ``row`` of a transition.

        ``updates``: `UpdateBudget`, and ``vector_steps_in_a_round``. ``snapshots``: environment steps after which
        policies are saved and compared. ``watched_against``: see `watched_against`.

        ``frames`` to be scored, for ``training`` (twice as many where a held-out reward has an encoder of its own),
        ``after_resets`` (for shaping), ``selection`` of the best snapshot, final ``evaluation``, and in ``total``. If
        episodes may end before time, the first is not exact with ``label_every``, and the second is the least.

        ``memory``: ``frames`` in flight (``shape`` of the ring, ``nbytes``, and ``selection_nbytes`` for comparing
        snapshots), ``replay`` or ``rollout`` (``rows``, ``row_bytes``, ``nbytes``), ``learner`` (`LearnerSize`), and
        one ``worker``. Activations and gradients come on top.

        ``machine``: ``device``, memory ``available`` and ``needed`` at least, ``gpu_available`` and ``gpu_needed``,
        ``ring_folder`` for the frames in flight, ``ring_free`` there, ``workers`` (processes with simulators), and
        whether all ``fits`` as far as that can be known.

        ``paper``: the paper's settings and the run's, where the preset is the paper's. ``refusals``: why training
        would end on this machine before it began, though the plan is sound: too little memory. They are not raised.

    Raises:
        InvalidInputError: Training would refuse the settings, the encoder's name or the simulator.
        VLMRewardsError: The encoder's architecture cannot be built, or a library is missing.
    """
    device = resolve_device(config.device)
    resolve_dtype(config.dtype, device)
    watched = watched_against(config, task)
    check_files(config.reward.files)
    encoder, held_out = _plan_encoders(config, watched)
    size = _frame_size(config, encoder)
    simulator = probe(task, _ASSUMED_SIZE if size is None else size)
    spaces = simulator.observation_space, simulator.action_space
    row = (rollout_row if isinstance(config.algorithm, PPOConfig) else replay_row)(*spaces)
    budget, snapshots = update_budget(config), planned_snapshots(config)
    memory = {
        "frames": None if size is None else _frames_in_flight(config, task, size),
        **_stored(config, bytes_of(row)),
        "learner": dataclasses.asdict(plan_learner(config.algorithm, *spaces)),
        "worker": simulator.worker_bytes,
    }
    encoders = [one for one in (encoder, held_out) if one is not None]
    facts = encoder and encoder["facts"]
    folder, refusals = _check_room(config, memory)
    return {
        "config": config.to_dict(),
        "encoder": encoder,
        "held_out": held_out,
        "shapes": {
            "observation": _space(simulator.observation_space),
            "action": _space(simulator.action_space),
            "frame": list(simulator.frame_shape),
            "frame_size": size,
            "embedding": facts and [facts["embedding_dim"]],
            "row": {name: {"shape": list(kind.shape), "dtype": str(kind.base)} for name, kind in row.items()},
        },
        "horizon": task.horizon,
        "cameras": task.cameras,
        "updates": {
            **dataclasses.asdict(budget),
            "vector_steps_in_a_round": rollout_rows(config.algorithm, config.n_envs) // config.n_envs,
        },
        "snapshots": snapshots,
        "watched_against": watched,
        "frames": _count_frames(config, task, budget.rounds, len(snapshots), passes=max(len(encoders), 1)),
        "memory": memory,
        "machine": _machine(config, device, encoders, memory, folder),
        "paper": compare_with_paper(config, task.horizon) if config.preset == "paper" else [],
        "refusals": refusals,
    }


def plan_learner(
    algorithm: AlgorithmConfig, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> LearnerSize:
    """Build a learner for Box or Discrete spaces on the CPU, without memory for transitions, and count its networks."""
    if isinstance(algorithm, PPOConfig):
        algorithm = dataclasses.replace(algorithm, n_steps=2, batch_size=2)  # no rollout will be kept
    venv = DummyVecEnv([lambda: _Spaces(observation_space, action_space)])
    return learner_size(build_algorithm(algorithm, venv, seed=0, device="cpu", for_inference=True))


def learner_size(model: BaseAlgorithm) -> LearnerSize:
    """Count the numbers of a learner, whether it has learned already or not."""
    networks: dict[str, int] = {}
    for name, array in policy_arrays(model).items():
        network = re.split(r"\W", name)[0]
        networks[network] = networks.get(network, 0) + array.size
    state = learner_state(model)["parameters"]
    # Torch makes the moments at the first update, JAX at once.
    optimisers = state.pop("optimisers", {})
    trained = [one for name in optimisers for group in attrgetter(name)(model).param_groups for one in group["params"]]
    moments = sum(2 * one.numel() * one.element_size() for one in trained)
    return LearnerSize(networks, sum(networks.values()), moments + _nbytes(state))


def _nbytes(tree: Any) -> int:
    return sum(map(_nbytes, tree.values())) if isinstance(tree, Mapping) else getattr(tree, "nbytes", 0)


class _Spaces(gym.Env[Any, Any]):
    """Nothing but spaces."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space


def _space(space: gym.Space[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"space": repr(space), "shape": list(space.shape or ()), "dtype": str(space.dtype)}
    if isinstance(space, gym.spaces.Box) and np.isfinite([space.low, space.high]).all():
        facts |= {"low": float(np.min(space.low)), "high": float(np.max(space.high))}
    return facts


def _plan_encoders(config: TrainConfig, watched: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The encoder, and that of a held-out reward where that has its own; what they will read is checked."""
    if not needs_encoder(config.reward):
        return None, None
    encoder, held_out = _plan_encoder(config.encoder, config.dtype), None
    check_prompt_lengths(config.encoder, (config.goal, config.baseline, *config.reward.others))
    if watched == "held-out":
        name = config.watch_encoder or config.encoder
        held_out = _plan_encoder(name, config.dtype) if name != config.encoder else None
        check_prompt_lengths(name, (config.watch_goal or config.goal, config.watch_baseline or config.baseline))
    return encoder, held_out


def _plan_encoder(name: str, dtype: str) -> dict[str, Any]:
    check_encoder_name(name)
    source = parse_source(name) if is_openclip(name) else None
    unknown = why_unplannable(source) if source else "its size is known once it is loaded"
    facts = plan_encoder(name) if unknown is None else None
    return {
        "name": name,
        "architecture": source.model if source else name,
        "tag": source.tag if source else None,
        "facts": None if facts is None else dataclasses.asdict(facts),
        "unknown": unknown,
        "precision": {kind: _precision(facts, dtype, torch.device(kind)) for kind in _KINDS},
    }


def _precision(facts: PlannedEncoder | None, dtype: str, device: torch.device) -> dict[str, Any] | None:
    try:
        chosen = resolve_dtype(dtype, device)
    except InvalidInputError:
        return None
    weights = None if facts is None else facts.memory_bytes(chosen)
    return {"dtype": chosen, "batch_size": resolve_batch_size(None, device), "weight_bytes": weights}


def _frame_size(config: TrainConfig, encoder: dict[str, Any] | None) -> int | None:
    """Side in pixels of the frames that the reward wants, where it can be known."""
    if encoder is None:
        return get_form(config.reward.form).frame_size
    return encoder["facts"] and encoder["facts"]["image_size"]


def _count_frames(config: TrainConfig, task: Task, rounds: int, snapshots: int, *, passes: int) -> dict[str, int]:
    """Frames to be scored; those of training by so many encoders, as a held-out reward is no part of evaluations."""

    def evaluation(episodes: int) -> int:
        simulators = min(episodes, SIMULATORS)  # all go on until the last one has had its share of the episodes
        return simulators * -(-episodes // simulators) * task.horizon

    steps = rounds * rollout_rows(config.algorithm, config.n_envs) // config.n_envs
    rendered = count_rendered(steps, render_every=config.label_every, horizon=task.horizon)
    states = {
        "training": config.n_envs * rendered * passes,
        "after_resets": config.n_envs * (1 + steps // task.horizon) if config.reward.shaping else 0,
        "selection": evaluation(config.selection_episodes) * snapshots,
        "evaluation": evaluation(config.evaluation_episodes),
    }
    frames = {name: count * task.cameras for name, count in states.items()}
    return {**frames, "total": sum(frames.values())}


def _frames_in_flight(config: TrainConfig, task: Task, size: int) -> dict[str, Any]:
    slots, simulators = ring_slots(config.chunk_frames, config.n_envs), min(config.selection_episodes, SIMULATORS)
    shape = ring_shape(slots, config.n_envs, size, cameras=task.cameras, resets=config.reward.shaping)
    selection = ring_shape(default_slots(simulators), simulators, size, cameras=task.cameras)
    return {"shape": list(shape), "nbytes": math.prod(shape), "selection_nbytes": math.prod(selection)}


def _stored(config: TrainConfig, row_bytes: int) -> dict[str, Any]:
    kind, rows = "rollout", rollout_rows(config.algorithm, config.n_envs)
    if isinstance(config.algorithm, OffPolicyConfig):
        # Stable-Baselines3 keeps as many transitions of each simulator.
        kind, rows = "replay", max(config.algorithm.buffer_size // config.n_envs, 1) * config.n_envs
    return {kind: {"rows": rows, "row_bytes": row_bytes, "nbytes": rows * row_bytes}}


def _machine(
    config: TrainConfig,
    device: torch.device,
    encoders: list[dict[str, Any]],
    memory: dict[str, Any],
    folder: Path | None,
) -> dict[str, Any]:
    most = os.cpu_count() or 1 if config.n_workers is None else config.n_workers
    workers = min(most, config.n_envs) + min(most, config.selection_episodes, SIMULATORS)
    weights = {kind: _weights(encoders, kind) for kind in _KINDS}
    learner, frames = memory["learner"]["nbytes"], memory["frames"]
    needed = None
    used = weights["cpu" if device.type == "cpu" else "cuda"]  # mps computes in a GPU's dtype
    if frames is not None and used is not None:
        on_host = 0 if device.type == "cuda" else used + learner  # mps has the machine's own memory
        stored = (memory.get("replay") or memory["rollout"])["nbytes"]
        running = frames["nbytes"] + frames["selection_nbytes"] + stored + on_host + workers * memory["worker"]
        # Weights are read in fp32, in main memory, one encoder after the other, before anything else is there.
        needed = max([running, *(4 * one["facts"]["parameters"] for one in encoders)])
    gpu_needed = None if weights["cuda"] is None else weights["cuda"] + learner
    gpu_available = torch.cuda.mem_get_info()[0] if device.type == "cuda" else None
    available = psutil.virtual_memory().available
    room = gpu_available is None or (gpu_needed or 0) <= gpu_available
    return {
        "device": device.type,
        "available": available,
        "needed": needed,
        "gpu_available": gpu_available,
        "gpu_needed": gpu_needed,
        "ring_folder": None if folder is None else str(folder),
        "ring_free": None if folder is None else free_bytes(folder),
        "workers": workers,
        "fits": None if needed is None else needed <= available and room,
    }


def _weights(encoders: list[dict[str, Any]], kind: str) -> int | None:
    sizes = [(one["precision"][kind] or {}).get("weight_bytes") for one in encoders]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _check_room(config: TrainConfig, memory: dict[str, Any]) -> tuple[Path | None, list[str]]:
    """Where the frames in flight would lie, and what training would say of memory before it starts."""
    asks, frames, stored = config.algorithm, memory["frames"], memory.get("replay") or memory["rollout"]
    field, rows = (
        ("buffer_size", asks.buffer_size) if isinstance(asks, OffPolicyConfig) else ("n_steps", stored["rows"])
    )
    said: list[str] = []

    def tried(check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except InvalidInputError as error:
            said.append(str(error))

    folder = None if frames is None else tried(ring_folder, frames["nbytes"])
    tried(check_memory, field, rows, stored["row_bytes"])
    return folder, said
