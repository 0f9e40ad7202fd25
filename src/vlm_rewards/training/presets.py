"""Settings to start from, the paper's and ones that finish on two CPU cores; and the task of a run's settings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN, SAC

from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.rewards.config import OBJECT
from vlm_rewards.tasks.any_env import EnvironmentConfig, environment_task
from vlm_rewards.tasks.builtin import GOALS, config_of, configured
from vlm_rewards.tasks.files import file_digest
from vlm_rewards.tasks.humanoid.model import HumanoidConfig
from vlm_rewards.tasks.task import Task, get_task, list_tasks
from vlm_rewards.training.algorithms import (
    AlgorithmConfig,
    DQNConfig,
    OffPolicyConfig,
    SACConfig,
    SBXSACConfig,
    algorithm_name,
    check_action_space,
    get_algorithm,
)
from vlm_rewards.training.config import TrainConfig, task_from_file

PRESETS = ("cpu", "paper")

# The training settings of the paper, to start from and to compare a run's own with.
_LIBRARY = {"dqn": DQN, "sac": SAC}
_DEFAULT = object()  # the paper names the library's default
_PAPER_CARTPOLE = {
    "algorithm": "dqn",
    "steps": 3_000_000,
    "horizon": 200,
    "snapshot_every": 64_000,
    "learning_rate": 2.3e-3,
    "net_arch": (256, 256),
    "learning_starts": 75_000,
    "train_freq": 200,
    "gradient_steps": 200,
    **dict.fromkeys(("gamma", "tau", "batch_size"), _DEFAULT),
}
_PAPER_MOUNTAIN_CAR = {
    "algorithm": "sac",
    "steps": 3_000_000,
    "horizon": 200,
    "learning_rate": 1e-4,
    "net_arch": (64, 64),
    **dict.fromkeys(("learning_starts", "train_freq", "gradient_steps", "batch_size"), _DEFAULT),
    "gamma": 0.9999,
    "tau": 0.01,
    "ent_coef": "0.1",
}
_PAPER_HUMANOID = {
    "algorithm": "sac",
    "steps": 10_000_000,
    "horizon": 100,
    "encoder": "ViT-bigG-14/laion2b_s39b_b160k",
    "n_envs": 32,
    "chunk_frames": 3_200,
    "snapshot_every": 128_000,
    "humanoid": HumanoidConfig().to_dict(),
    "learning_rate": 6e-4,
    "net_arch": (256, 256),
    "learning_starts": 50_000,
    "train_freq": 100,
    "gradient_steps": 100,
    "batch_size": 512,  # of the released job file
    "gamma": 0.95,
    "tau": 0.005,
    "ent_coef": "auto",
}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "cartpole": _PAPER_CARTPOLE,
    "mountaincar": _PAPER_MOUNTAIN_CAR,
    "mountaincar-textured": _PAPER_MOUNTAIN_CAR,
    **dict.fromkeys(GOALS, _PAPER_HUMANOID),
}
PAPER_TASKS = frozenset(_PUBLISHED)
"""Tasks that the paper has settings for."""


def _published(task: str) -> dict[str, Any] | None:
    """All that the paper says of a task; where it names the library's default, that is its value."""
    said = _PUBLISHED.get(task)
    if said is None:
        return None
    library = inspect.signature(_LIBRARY[said["algorithm"]].__init__).parameters
    return {name: library[name].default if value is _DEFAULT else value for name, value in said.items()}


_SMALLEST_PICTURE = 32  # nobody looks at it


Start = dict[str, Any]
"""What a preset decides besides the task's own prompts: fields of `TrainConfig` by name."""

_CARTPOLE = Start(algorithm=DQNConfig(gradient_steps=128, target_update_interval=512), steps=24_000, standardise=2_000)
# White noise never leaves the valley: gSDE's smooth noise, drawn anew every 16 steps, rocks the car
# onto the hill now and then. The discount lets the flag, some 100 steps away, outweigh leaning on the slope.
_MOUNTAIN_CAR = Start(
    algorithm=SACConfig(
        learning_rate=1e-3,
        gamma=0.999,
        tau=0.02,
        ent_coef="0.1",
        gradient_steps=128,
        use_sde=True,
        use_sde_at_warmup=True,
        sde_sample_freq=16,
        log_std_init=0.0,
        net_arch=(64, 64),
        scale_observations=True,
    ),
    steps=32_000,
    standardise=2_000,
)
# What brings how much on two cores: docs/humanoid.md.
_HUMANOID = Start(
    algorithm=SBXSACConfig(
        learning_starts=4_000,
        buffer_size=200_000,
        batch_size=128,
        gamma=0.95,
        train_freq=16,
        gradient_steps=96,
        net_arch=(128, 128),
    ),
    steps=300_000,
    standardise=4_000,
    snapshots=30,  # how long a pose is held differs much from one to the next
    label_every=4,
    humanoid=HumanoidConfig(observations="compact"),
)
_OF_TASKS: dict[str, Start] = {
    "cartpole": _CARTPOLE,
    "mountaincar": _MOUNTAIN_CAR,
    "mountaincar-textured": _MOUNTAIN_CAR,
    **dict.fromkeys(GOALS, _HUMANOID),
}


def _paper(task: Task) -> Start:
    said = _published(task.name)
    if said is None:
        raise InvalidInputError(f"preset must be 'cpu' for task {task.name!r}: the paper does not have this task.")
    # Where the paper names nothing: Stable-Baselines3's defaults, and one simulator.
    full = {"buffer_size": 1_000_000, "target_update_interval": 10_000, "exploration_fraction": 0.1, **said}
    kind = {"dqn": DQNConfig, "sac": SACConfig}[said["algorithm"]]
    names = {field.name for field in dataclasses.fields(kind)}
    return Start(
        algorithm=kind(**{name: value for name, value in full.items() if name in names}),
        steps=said["steps"],
        n_envs=said.get("n_envs", 1),
        snapshots=said["steps"] // said.get("snapshot_every", 64_000),
        chunk_frames=said.get("chunk_frames", TrainConfig.chunk_frames),
    )


def preset(task: str | Task, name: str = "cpu", algorithm: str | None = None) -> TrainConfig:
    """Settings to start from.

    Args:
        task: Name of a registered task, or a task.
        name: ``"cpu"`` or ``"paper"``.
        algorithm: Another learning algorithm than the preset's, by its name in
            `vlm_rewards.training.algorithms.ALGORITHMS`. It takes over what the preset says of both.

    Returns:
        The settings. A task of the user's own gets those of the poses on the
        humanoid, and elsewhere general ones for its kind of actions.

    Raises:
        UnknownNameError: There is no such task, preset or algorithm.
        InvalidInputError: The algorithm cannot work here, or the paper has no such settings.
    """
    known = get_task(task) if isinstance(task, str) else task
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    wanted = None if algorithm is None else get_algorithm(algorithm)
    start = _paper(known) if name == "paper" else dict(_OF_TASKS.get(known.name) or _general(known))
    if wanted is not None and wanted.config is not type(start["algorithm"]):
        if name == "paper":
            raise InvalidInputError(
                f"preset must be 'cpu' with algorithm {algorithm!r}: the paper trained task {known.name!r} with "
                f"{algorithm_name(start['algorithm'])}."
            )
        start["algorithm"] = _other(start, wanted.config)
        check_action_space(start["algorithm"], _action_space(known))
    own, environment = config_of(known), known.metadata.get("environment")
    return TrainConfig(
        task=known.name,
        preset=name,
        goal=known.goal,
        baseline=known.baseline,
        environment=None if environment is None else EnvironmentConfig.from_dict(environment, "environment"),
        **{**start, "humanoid": None if own is None else start.get("humanoid") or own},
    )


def compare_with_paper(config: TrainConfig, horizon: int) -> list[dict[str, Any]]:
    """Hold settings against the paper's: ``name``, value in ``paper`` and ``here``, whether they are the ``same``.

    Nothing where the paper does not have the task.
    """
    said = _published(config.task)
    if said is None:
        return []
    task, algorithm = get_task(config.task), config.algorithm
    here = {
        "algorithm": config.algorithm_name,
        "horizon": horizon,
        "snapshot_every": config.steps // config.snapshots,
        "humanoid": None if config.humanoid is None else config.humanoid.to_dict(),
    }
    rows: list[dict[str, Any]] = []
    for name, value in {"goal": task.goal, "baseline": task.baseline, **said}.items():
        own = here[name] if name in here else getattr(config, name, getattr(algorithm, name, None))
        rows.append({"name": name, "paper": value, "here": own, "same": value == own})
    return rows


_ROLLOUT_ROWS = 2_048
"""Transitions in a rollout of PPO: Stable-Baselines3's own default."""
_KEPT = (
    "learning_starts",
    "buffer_size",
    "gamma",
    "train_freq",
    "gradient_steps",
    "use_sde",
    "use_sde_at_warmup",
    "sde_sample_freq",
    "scale_observations",
)
"""What a preset says of the task rather than of its algorithm."""


def _other(start: Start, kind: type[AlgorithmConfig]) -> AlgorithmConfig:
    names, old = {field.name for field in dataclasses.fields(kind)}, start["algorithm"]
    kept = {name: getattr(old, name) for name in _KEPT if name in names and hasattr(old, name)}
    if not issubclass(kind, OffPolicyConfig):
        kept["n_steps"] = -(-max(_ROLLOUT_ROWS, start.get("standardise") or 0) // TrainConfig.n_envs)
    return kind(**kept)


def _action_space(task: Task) -> gym.Space[Any]:
    simulator = task.simulator(_SMALLEST_PICTURE)
    simulator.close()
    return simulator.action_space


def _general(task: Task) -> Start:
    if config_of(task) is not None:
        return {**_HUMANOID, "humanoid": None}  # drawn and observed as the task itself says
    kind = type(_action_space(task)).__name__
    if kind == "Discrete":
        return _CARTPOLE
    if kind == "Box":
        return Start(algorithm=SACConfig(), steps=100_000, standardise=2_000)
    raise InvalidInputError(f"the action space of task {task.name!r} must be Box or Discrete, got {kind}.")


def task_of(config: TrainConfig) -> Task:
    """Build the task of a run: from the registry, an environment by its id, or from a Python file.

    Raises:
        InvalidInputError: The task's file is gone, fails or has changed since; or the environment is not usable.
        UnknownNameError: There is no such task.
    """
    if config.environment is not None:
        return _environment_task(config.environment, config.goal, config.baseline)
    if config.task_file is not None:
        path, digest = Path(config.task_file), config.task_file_sha256
        if path.is_file() and digest not in (None, file_digest(path)):
            raise InvalidInputError(
                f"task file {str(path)!r} has changed since the run began: it is another task now. Bring back the file "
                "as it was, or start a new run."
            )
        task = task_from_file(config.task_file, config.task, digest)
    else:
        task = get_task(config.task)
    return task if config.humanoid is None else configured(task, config.humanoid)


_NEEDED = {
    "goal": "what the state should look like, as in 'a cheetah running'",
    "baseline": "what any state looks like, as in 'a cheetah'",
}


def start_settings(
    task: str | Task | None,
    environment: EnvironmentConfig | None = None,
    *,
    goal: str | None = None,
    baseline: str | None = None,
    name: str | None = None,
    algorithm: str | None = None,
    encoder: str | None = None,
) -> TrainConfig:
    """Settings to start from, as `preset`, whatever the task is: one, its name, ``FILE.py[:TASK]``, or an environment.

    The prompts are for an environment alone. Without a name, the preset is the paper's where a GPU, a task of the paper
    and a model to judge it come together; the bundled encoder, or none, does not ask for millions of steps.

    Raises:
        InvalidInputError: What was asked for does not exist or does not go together.
    """
    if environment is None:
        if task is None:
            raise InvalidInputError(f"task or env_id must be given. Tasks: {', '.join(list_tasks())}.")
        known = task.name if isinstance(task, Task) else task
        # A reward that is an object, or without an encoder, does not ask for the paper's millions of steps either.
        pretrained = (encoder or "none").removesuffix(OBJECT) not in ("none", "bundled")
        large = pretrained and known in PAPER_TASKS and torch.cuda.is_available()
        name = name or ("paper" if large else "cpu")
        named = None if isinstance(task, Task) else re.fullmatch(r"(?P<file>.+\.py)(:(?P<name>[^:/\\]*))?", task)
        if named is None:
            return preset(task, name, algorithm)
        path = Path(named["file"]).expanduser()
        if not path.is_file():
            raise InvalidInputError(f"task file {str(path)!r} does not exist.")
        file, digest = str(path.resolve()), file_digest(path)
        config = preset(task_from_file(file, named["name"] or None, digest), name, algorithm)
        return dataclasses.replace(config, task_file=file, task_file_sha256=digest)
    if task is not None:
        given = task.name if isinstance(task, Task) else task
        raise InvalidInputError(f"give a task or env_id, not both: got {given!r} and {environment.env_id!r}.")
    if name not in (None, "cpu"):
        raise InvalidInputError(f"preset must be 'cpu' with env_id, got {name!r}.")
    if goal is None or baseline is None:
        lacking = "goal" if goal is None else "baseline"
        raise InvalidInputError(f"{lacking} must be given with env_id: {_NEEDED[lacking]}.")
    return preset(_environment_task(environment, goal, baseline), "cpu", algorithm)


@functools.lru_cache(maxsize=16)
def _environment_task(config: EnvironmentConfig, goal: str, baseline: str) -> Task:
    return environment_task(config, goal=goal, baseline=baseline)
