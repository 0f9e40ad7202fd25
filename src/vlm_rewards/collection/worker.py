"""A process that hosts simulators and renders every state.

It is started as ``python -m vlm_rewards.collection.worker`` and never imports
torch: that would cost hundreds of megabytes a process, and a process that draws
with EGL and then imports parts of torch crashes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from vlm_rewards.collection.ring import FrameRing
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.seeding import episode_seed
from vlm_rewards.tasks.rendering import FrameRenderer, configure_headless


@dataclass(frozen=True)
class StepReply:
    """What a worker says after a step of its ``k`` simulators."""

    observations: np.ndarray
    """``[k ...]``; of the next episode where one has ended."""
    dones: np.ndarray
    """bool ``[k]``"""
    infos: list[dict[str, Any]]


_CLOSE_SECONDS = 1


class _Host:
    """Steps, renders, resets."""

    def __init__(self, factories: bytes, first: int, ring: FrameRing) -> None:
        makers: list[Callable[[], gym.Env[Any, Any]]] = pickle.loads(factories)
        self.envs = [make() for make in makers]
        self.renderers = [FrameRenderer(env, ring.size, ring.cameras) for env in self.envs]
        self.ring = ring
        self.first = first  # index of its first simulator among all
        self.seed = 0
        self.episodes = [0] * len(self.envs)
        # Find out now, not in the middle of a run's first step, that a simulator's frames are none. All are tried, so
        # that what a simulator remembers of resets does not depend on who hosts it.
        for env, renderer in zip(self.envs, self.renderers, strict=True):
            env.reset(seed=0)
            renderer.render()

    def reset(self, seed: int | None, slot: int) -> np.ndarray:
        if seed is not None:
            self.seed = seed
            self.episodes = [0] * len(self.envs)
        return np.stack([self._reset_one(index, slot) for index in range(len(self.envs))])

    def step(self, slot: int, actions: np.ndarray, due: np.ndarray) -> StepReply:
        """Step all simulators; render those that are due, and the last state of an episode in any case."""
        observations, dones, infos = [], [], []
        for index, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            observation, reward, terminated, truncated, info = env.step(action)
            done = bool(terminated or truncated)
            if done or due[index]:
                # Before any reset: the frame belongs to the state that this step led to.
                self.ring.frames[slot, self.first + index] = self.renderers[index].render()
            reply = {key: info[key] for key in ("criterion", "is_success") if key in info}
            reply["true_reward"] = float(info.get("true_reward", reward))
            if done:
                # A copy: some simulators hand out the same array every time, and the reset would change it.
                reply["terminal_observation"] = np.array(observation)
                reply["TimeLimit.truncated"] = bool(truncated and not terminated)
                observation = self._reset_one(index, slot)
            observations.append(observation)
            dones.append(done)
            infos.append(reply)
        return StepReply(np.stack(observations), np.asarray(dones, dtype=bool), infos)

    def replay(self, seed: int, rows: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
        """Begin the episodes of a saved state and take their actions again; nothing is rendered."""
        self.seed = seed
        self.episodes = [episodes - 1 for episodes, _ in rows]  # the reset counts the present one
        return np.stack([self._replay_one(index, actions) for index, (_, actions) in enumerate(rows)])

    def _replay_one(self, index: int, actions: np.ndarray) -> np.ndarray:
        observation = self._reset_one(index, None)
        for number, action in enumerate(actions):
            observation, _, terminated, truncated, _ = self.envs[index].step(action)
            if terminated or truncated:
                raise RuntimeError(
                    f"simulator {self.first + index} does not repeat itself: its episode ended after {number + 1} of "
                    f"{len(actions)} actions that had not ended it before."
                )
        return np.array(observation)  # a copy: some simulators hand out the same array every time

    def echo(self, token: str) -> str:
        return token

    def call(self, index: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.envs[index].get_wrapper_attr(name)(*args, **kwargs)

    def get(self, index: int, name: str) -> Any:
        try:
            return self.envs[index].get_wrapper_attr(name)
        except AttributeError as error:
            return AttributeError(str(error))  # the answer: a worker goes on, and the parent raises it

    def set(self, index: int, name: str, value: Any) -> None:
        self.envs[index].set_wrapper_attr(name, value)

    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        spaces = [(env.observation_space, env.action_space) for env in self.envs]
        check_same_spaces(spaces)
        return spaces[0]

    def close(self) -> None:
        for env in self.envs:
            with contextlib.suppress(Exception):
                env.close()

    def _reset_one(self, index: int, slot: int | None) -> Any:
        # An episode depends on (seed, simulator, episode) alone, not on who hosts it.
        seed = episode_seed(self.seed, self.first + index, self.episodes[index])
        self.episodes[index] += 1
        observation, _ = self.envs[index].reset(seed=seed)
        if slot is not None and self.ring.resets:
            frame = self.renderers[index].render()
            self.ring.frames[slot, self.ring.simulators + self.first + index] = frame
        return observation


def check_same_spaces(spaces: Sequence[tuple[gym.Space[Any], gym.Space[Any]]]) -> None:
    """Check that simulators which are to step together have the same spaces."""
    for own in spaces[1:]:
        if own != spaces[0]:
            raise InvalidInputError(
                f"all simulators must have the same observation and action spaces, got {spaces[0]} and {own}."
            )


def serve(connection: Connection, descriptor: int) -> None:
    """Answer requests until the connection closes.

    Every request is ``(method, arguments)``; every reply is ``(True, result)``
    or ``(False, traceback as text)``, or in place of a traceback an
    `InvalidInputError` where the simulators are not usable. When the parent dies
    the connection closes, and so does this process: no orphans.
    """
    host: _Host | None = None
    try:
        while True:
            method, arguments = connection.recv()
            try:
                if method == "setup":
                    factories, first, (slots, simulators, size, cameras, resets) = arguments
                    ring = FrameRing(slots, simulators, size, cameras=cameras, resets=resets, descriptor=descriptor)
                    host = _Host(factories, first, ring)
                    result = host.spaces()
                elif host is None:
                    raise RuntimeError(f"{method!r} before 'setup'")
                else:
                    result = getattr(host, method)(*arguments)
                connection.send((True, result))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except InvalidInputError as error:
                refused = method == "setup"  # later it is a simulator's failure like any other
                connection.send((False, InvalidInputError(str(error)) if refused else traceback.format_exc()))
                return
            except Exception:  # the simulator's, or a result that cannot be pickled
                connection.send((False, traceback.format_exc()))
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    finally:
        if host is not None:
            signal.alarm(_CLOSE_SECONDS)  # ends the process where a simulator's clean-up hangs
            host.close()


def main() -> None:
    """Entry point of the process: two inherited file descriptors as arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    faulthandler.enable()
    configure_headless()
    connection_descriptor, ring_descriptor = (int(argument) for argument in sys.argv[1:3])
    serve(Connection(connection_descriptor), ring_descriptor)
    sys.stdout.flush()
    os._exit(0)  # simulators' graphics libraries may hang or crash in their own clean-up


if __name__ == "__main__":
    # By its name, as the parent imports it: classes of `__main__` could not be unpickled there.
    from vlm_rewards.collection import worker

    worker.main()
