"""Stable-Baselines3's vector environment over simulators that render every state, and a probe of one of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from vlm_rewards.collection.pool import WorkerPool
from vlm_rewards.collection.ring import FrameRing, StepGate
from vlm_rewards.collection.worker import StepReply, check_same_spaces
from vlm_rewards.errors import CheckpointError, InvalidInputError, WorkerError, check_count
from vlm_rewards.seeding import check_seed
from vlm_rewards.tasks.canvas import check_size
from vlm_rewards.tasks.task import Task, make_task_env

_DEFAULT_FRAMES_IN_FLIGHT = 1024


def falls_due(step: int, render_every: int) -> bool:
    """Whether the state that an episode's step, counted from 1, leads to is rendered although it is not its last."""
    return step == 1 or step % render_every == 0


def count_rendered(steps: int, *, render_every: int, horizon: int) -> int:
    """States that one simulator renders in so many steps, if each of its episodes lasts ``horizon`` steps."""

    def due(length: int) -> int:
        return length // render_every + (render_every > 1 and length > 0)

    episodes, rest = divmod(steps, horizon)
    last = horizon > 1 and horizon % render_every != 0
    return episodes * (due(horizon) + last) + due(rest)


class RenderedVecEnv(VecEnv):
    """Steps simulators in worker processes and renders every state they reach.

    The frame of a step shows the state that the step led to; at the end of an
    episode it is taken before the reset. The rewards that this environment
    returns are zeros: the simulator's own reward is for the log alone, as
    ``info["true_reward"]``. Every info carries ``frame_ticket`` (int), the
    number of the frame among all of this environment's, from which
    `LabelledReplayBuffer` knows which row a reward belongs to. Where an episode
    has ended, ``terminal_observation``, ``TimeLimit.truncated`` and, where the
    task has a criterion, ``is_success`` are set.

    Args:
        task: A task, or callables without arguments that build one simulator
            each (a Gymnasium environment with ``render_mode="rgb_array"`` whose
            episodes end by themselves).
        n_envs: Simulators; taken from the callables where those are given.
        image_size: Side of the square frames in pixels: the encoder's
            ``image_size``.
        seed: Seeds every episode of every simulator, in ``[0, 2**32)``.
        n_workers: Processes; default: as many as there are cores, at most one a
            simulator. The results do not depend on it.
        slots: Vector steps whose frames fit into memory, at least 2 (one is
            written while another is read); default: about 1,024 frames.
            Memory is ``slots * n_envs * image_size**2 * 3`` bytes, times ``cameras``.
        cameras: Frames of each state, if the simulators' ``render()`` returns uint8 ``[cameras h w 3]``; default: as
            many as the task has. They are put one below another.
        render_resets: Render the states after resets, too, which doubles the memory; potential-based shaping
            needs it.
        render_every: Render one state in so many, counted from an episode's first step, and the first and the
            last state that its steps lead to. `LabelRewards` interpolates the rewards of those between.

    Attributes:
        render_every: As given.
        rendered: Which simulators' states were rendered in the last step, bool ``[n_envs]``.

    Raises:
        InvalidInputError: An argument is out of range, or the observation or
            action space is not supported.
        WorkerError: A simulator could not be built, raised, or its process died.
    """

    def __init__(
        self,
        task: Task | Sequence[Callable[[], gym.Env[Any, Any]]],
        n_envs: int | None = None,
        *,
        image_size: int = 96,
        seed: int = 0,
        n_workers: int | None = None,
        slots: int | None = None,
        cameras: int | None = None,
        render_resets: bool = False,
        render_every: int = 1,
    ) -> None:
        image_size = check_size(image_size)
        self.render_every = check_count("render_every", render_every)
        if cameras is None:
            cameras = task.cameras if isinstance(task, Task) else 1
        check_count("cameras", cameras)
        factories = _factories(task, n_envs, image_size)
        count = len(factories)
        slots = default_slots(count) if slots is None else check_count("slots", slots, least=2)
        workers = (os.cpu_count() or 1) if n_workers is None else check_count("n_workers", n_workers)
        self._base_seed = check_seed(seed)
        self._fresh_seed = True
        self._episodes = np.zeros(count, dtype=np.int64)
        self._actions: list[list[np.ndarray]] = [[] for _ in range(count)]
        self._observations: np.ndarray | None = None
        self._just_reset = False
        self._due = self.rendered = np.ones(count, dtype=bool)
        self._all_due = False
        self.ring = FrameRing(slots, count, image_size, cameras=cameras, resets=render_resets)
        self.gate = StepGate(slots)
        self.steps_taken = 0
        try:
            self._pool = WorkerPool(factories, workers, self.ring)
        except BaseException:
            self.ring.close()
            raise
        observation_space, action_space = self._pool.spaces[0]
        try:
            check_same_spaces(self._pool.spaces)
            _check_spaces(observation_space, action_space)
        except InvalidInputError:
            self.close()
            raise
        super().__init__(count, observation_space, action_space)
        self.render_mode = "rgb_array"

    @property
    def worker_pids(self) -> list[int]:
        """Process identifiers of the workers, for monitoring."""
        return self._pool.pids

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Start all episodes anew from this seed at the next reset."""
        if seed is not None:
            self._base_seed = check_seed(seed)
        self._fresh_seed = True
        return [self._base_seed] * self.num_envs

    def reset(self) -> np.ndarray:
        """Reset all simulators: observations ``[n_envs ...]``."""
        self._pool.discard_replies()
        # Step t shows the state after step t; a reset before it belongs, like one at the end of an episode, to t - 1.
        slot = (self.steps_taken - 1) % self.ring.slots
        self._pool.send_all("reset", self._base_seed if self._fresh_seed else None, slot)
        observations = np.concatenate(self._pool.receive_all())
        self._episodes = np.ones_like(self._episodes) if self._fresh_seed else self._episodes + 1
        self._fresh_seed = False
        self._actions = [[] for _ in range(self.num_envs)]
        self._observations, self._just_reset = observations.copy(), True
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Send actions ``[n_envs ...]`` to the workers, once there is room for the frames."""
        self.gate.wait_for(self.steps_taken)
        taken_after = [len(taken) + 1 for taken in self._actions]
        due = [self._all_due or falls_due(step, self.render_every) for step in taken_after]
        self._due = np.array(due, dtype=bool)
        self._all_due = False
        self._pool.send_all("step", self.steps_taken % self.ring.slots, rows=(actions, self._due))
        for taken, action in zip(self._actions, np.array(actions), strict=True):
            taken.append(action)
        self._just_reset = False

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Wait for all simulators.

        Returns:
            Observations ``[n_envs ...]``, zeros float32 ``[n_envs]``, dones bool
            ``[n_envs]`` and the infos.
        """
        replies: list[StepReply] = self._pool.receive_all()
        infos = [info for reply in replies for info in reply.infos]
        first_ticket = self.steps_taken * self.num_envs
        for index, info in enumerate(infos):
            info["frame_ticket"] = first_ticket + index
        self.steps_taken += 1
        observations = np.concatenate([reply.observations for reply in replies])
        dones = np.concatenate([reply.dones for reply in replies])
        self.rendered = self._due | dones
        for index in np.flatnonzero(dones):
            self._actions[index] = []
            self._episodes[index] += 1
        self._observations = observations.copy()
        return observations, np.zeros(self.num_envs, dtype=np.float32), dones, infos

    def state_dict(self) -> dict[str, Any]:
        """What it takes to bring all simulators back to where they are: seeds, and the actions since the last reset.

        JSON values and arrays, for `load_state_dict`. A simulator's own state is not asked for: few can tell it, and
        MuJoCo's state vector, for one, does not give the same next reward.
        """
        if self._observations is None:
            raise InvalidInputError("the simulators have no state before the first reset().")
        empty = np.zeros((0, *(self.action_space.shape or ())), dtype=self.action_space.dtype)
        return {
            "seed": self._base_seed,
            "steps_taken": self.steps_taken,
            "episodes": self._episodes.copy(),
            "actions": [np.stack(taken) if taken else empty for taken in self._actions],
            "observations": self._observations.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> np.ndarray:
        """Bring all simulators to where they were, by taking the same actions again without a frame.

        Returns:
            The present observations, ``[n_envs ...]``.

        Raises:
            CheckpointError: A simulator does not repeat itself, or the state is of other simulators.
            WorkerError: A simulator raised or died.
        """
        if len(state["actions"]) != self.num_envs:
            raise CheckpointError(f"the state is of {len(state['actions'])} simulators, there are {self.num_envs}.")
        self._pool.discard_replies()
        rows = list(zip(state["episodes"].tolist(), state["actions"], strict=True))
        self._pool.send_all("replay", state["seed"], rows=(rows,))
        observations = np.concatenate(self._pool.receive_all())
        for index, (now, before) in enumerate(zip(observations, state["observations"], strict=True)):
            if now.tobytes() != before.tobytes():
                raise CheckpointError(
                    f"simulator {index} does not repeat itself: after the same seed and {len(state['actions'][index])} "
                    "actions its observation is another one. Has it changed, or does it draw random numbers that "
                    "reset(seed=...) does not reach? Its runs cannot be resumed."
                )
        self._base_seed, self._fresh_seed = state["seed"], False
        self.steps_taken = state["steps_taken"]
        self._episodes = np.array(state["episodes"])
        self._actions = [list(taken) for taken in state["actions"]]
        self._observations, self._just_reset = observations.copy(), False
        self._all_due = False  # who looks has looked before
        return observations

    def render_next(self) -> None:
        """Render all simulators' states in the next step, due or not: somebody begins to look."""
        self._all_due = True

    def last_frames(self) -> np.ndarray:
        """Copy of the frames of the last step: uint8 ``[n_envs size size 3]``, strips where there are more cameras.

        With ``render_every`` those of simulators that were not rendered are older ones.

        Raises:
            InvalidInputError: No step has been taken yet.
        """
        if self.steps_taken == 0:
            raise InvalidInputError("there is no frame before the first step.")
        return self.ring.copy_steps(range(self.steps_taken - 1, self.steps_taken))

    @property
    def just_reset(self) -> bool:
        """Whether no simulator has taken a step since the last `reset`."""
        return self._observations is not None and self._just_reset

    def reset_frames(self) -> np.ndarray:
        """Copy of the frames of all simulators after `reset`, before the first step: uint8 ``[n_envs h w 3]``."""
        if not self.ring.resets or not self.just_reset:
            raise InvalidInputError("reset_frames needs render_resets=True and a reset() that no step followed.")
        return self.ring.copy_resets([(self.steps_taken - 1, index) for index in range(self.num_envs)])

    def get_images(self) -> Sequence[np.ndarray | None]:
        """The frames of the last step, for `VecEnv.render`."""
        return list(self.last_frames())

    def close(self) -> None:
        """End the worker processes and give the shared memory back. Safe to call twice."""
        self.gate.open()
        self._pool.close()
        self.ring.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Read an attribute of the simulators."""
        if attr_name == "render_mode":  # asked for by VecEnv's constructor
            return ["rgb_array"] * self.num_envs
        return [self._pool.ask(index, "get", attr_name) for index in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the simulators; the value is pickled."""
        for index in self._get_indices(indices):
            self._pool.ask(index, "set", attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the simulators; arguments and results are pickled."""
        return [
            self._pool.ask(index, "call", method_name, method_args, method_kwargs)
            for index in self._get_indices(indices)
        ]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether the simulators are wrapped: not told across processes, so False."""
        return [False] * len(list(self._get_indices(indices)))


def default_slots(simulators: int) -> int:
    """Vector steps whose frames are kept unless one says otherwise: about 1,024 frames."""
    return max(4, -(-_DEFAULT_FRAMES_IN_FLIGHT // simulators))


def _factories(
    task: Task | Sequence[Callable[[], gym.Env[Any, Any]]], n_envs: int | None, image_size: int
) -> list[Callable[[], gym.Env[Any, Any]]]:
    if isinstance(task, Task):
        n_envs = 1 if n_envs is None else n_envs
        return [functools.partial(make_task_env, task, image_size)] * check_count("n_envs", n_envs)
    factories = list(task)
    if not factories or not all(callable(factory) for factory in factories):
        raise InvalidInputError(f"task must be a Task or a sequence of callables that build simulators, got {task!r}.")
    if n_envs is not None and n_envs != len(factories):
        raise InvalidInputError(f"n_envs must be left out or equal the {len(factories)} callables, got {n_envs!r}.")
    return factories


def _check_spaces(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
    supported = (gym.spaces.Box, gym.spaces.Discrete)
    for field, space in (("observation", observation_space), ("action", action_space)):
        if not isinstance(space, supported):
            raise InvalidInputError(
                f"the {field} space must be Box or Discrete, got {space!r}. "
                "Wrap the simulator first, e.g. in gymnasium.wrappers.FlattenObservation."
            )
    if isinstance(action_space, gym.spaces.Box) and not np.isfinite([action_space.low, action_space.high]).all():
        raise InvalidInputError(f"the action space must be bounded, got {action_space!r}.")


@dataclass(frozen=True)
class SimulatorProbe:
    """What a task's simulator turned out to be."""

    observation_space: gym.Space[Any]
    """Box or Discrete."""
    action_space: gym.Space[Any]
    """Box or Discrete."""
    frame_shape: tuple[int, ...]
    """Of the frame of a state: height, width, 3."""
    worker_bytes: int
    """Memory of a worker process that hosts one simulator."""


def probe_simulator(task: Task, image_size: int) -> SimulatorProbe:
    """Build one simulator in a worker process, reset it, take a random step and render where that led.

    Raises:
        InvalidInputError: It cannot be built, stepped or drawn, or has spaces that are not supported.
    """
    try:
        venv = RenderedVecEnv(task, 1, image_size=image_size, n_workers=1, slots=2)
        try:
            venv.reset()
            venv.action_space.seed(0)
            venv.step(np.stack([venv.action_space.sample()]))
            frame = venv.last_frames()[0]
            resident = psutil.Process(venv.worker_pids[0]).memory_info().rss
        finally:
            venv.close()
    except WorkerError as error:
        raise InvalidInputError(f"the simulator of task {task.name!r} cannot be used: {error}") from error
    return SimulatorProbe(venv.observation_space, venv.action_space, frame.shape, resident)
