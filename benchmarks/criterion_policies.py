"""Train one network on the criteria of all eight poses, for the states that rewards are judged on.

    python benchmarks/criterion_policies.py --steps 300000

No vision-language model has a part in it, and no frame is drawn. What a transition is worth for a pose is the mean of
its criterion's conditions, the least of them counting again, and a bonus where all hold. Every transition is learned
from for all poses at once: those in a minibatch are told a pose at random. The weights at several times go into the
package; ``docs/measurements/criterion-policies.json`` says how well each does. Half of the episodes begin in a pose,
which teaches what it is worth before anybody can get there (DeepMimic, arXiv 1804.02717). What is reported begins as
Gymnasium does; of the episodes that rewards are judged on, four in ten begin in a pose, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sbx import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv

from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.humanoid.body import CONDITIONS, measure
from vlm_rewards.tasks.humanoid.model import HORIZON, VELOCITIES, HumanoidConfig, build_humanoid, shared_model
from vlm_rewards.tasks.humanoid.poses import draw_pose, family_of
from vlm_rewards.tasks.humanoid.states import OBSERVED, WEIGHTS, PoseNetwork

POSES = tuple(CONDITIONS)
_LEAST, _MOST = -8.0, 0.3
"""Where a condition is cut off. Arms that hang are at -6 of being raised, and have to be told which way is up."""
_BONUS = 1.0
_OFTEN = ("arms-raised", "arms-crossed", "hands-on-hips")
"""Poses that are asked for twice as often as the others: they take standing first."""
_SNAPSHOTS = (0.1, 0.3, 1.0)


class PoseEnv(gym.Env[np.ndarray, np.ndarray]):
    """The humanoid, told which pose to take; ``info["worth"]`` has what its state is worth for each."""

    def __init__(self, posed: float = 0.0) -> None:
        self._env = build_humanoid(32, HumanoidConfig(observations="compact"))
        self._pose, self._steps, self._posed = 0, 0, posed
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (OBSERVED + len(POSES),), np.float32)
        self.action_space = self._env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        odds = np.array([2.0 if pose in _OFTEN else 1.0 for pose in POSES])
        self._pose, self._steps = int(self.np_random.choice(len(POSES), p=odds / odds.sum())), 0
        observation, _ = self._env.reset(seed=int(self.np_random.integers(2**31)))
        if self.np_random.random() < self._posed:
            start = self._pose if self.np_random.random() < 0.75 else int(self.np_random.integers(len(POSES)))
            positions = draw_pose(family_of(POSES[start]), self.np_random, shared_model())
            simulator: Any = self._env.unwrapped
            simulator.set_state(positions, np.zeros(VELOCITIES))
            observation = simulator._get_obs()  # Gymnasium's way to start elsewhere than at its own start
        return self._told(observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, *_ = self._env.step(action)
        self._steps += 1
        body = measure(self._env)
        worth = np.zeros(len(POSES), np.float32)
        holds = np.zeros(len(POSES), dtype=bool)
        for number, pose in enumerate(POSES):
            conditions = np.clip(CONDITIONS[pose](body), _LEAST, _MOST)
            holds[number] = conditions.min() >= 0
            worth[number] = 0.5 * conditions.mean() + 0.25 * conditions.min() + _BONUS * holds[number]
        info = {"worth": worth, "holds": holds}
        return self._told(observation), float(worth[self._pose]), False, self._steps >= HORIZON, info

    def _told(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation, np.eye(len(POSES))[self._pose]]).astype(np.float32)


class EveryPoseBuffer(ReplayBuffer):
    """Keeps what each transition is worth for every pose, and samples it for any."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._worth = np.zeros((self.buffer_size, self.n_envs, len(POSES)), np.float32)
        self._rng = np.random.default_rng(0)

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: list[dict[str, Any]]) -> None:
        self._worth[self.pos] = [info["worth"] for info in infos]
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        count = len(batch_inds)
        envs = self._rng.integers(self.n_envs, size=count)
        first = self.observations[batch_inds, envs].copy()
        after = self.next_observations[batch_inds, envs].copy()
        poses = self._rng.integers(len(POSES), size=count)
        own = self._rng.random(count) < 0.4
        poses[own] = first[own, OBSERVED:].argmax(axis=1)
        first[:, OBSERVED:] = after[:, OBSERVED:] = np.eye(len(POSES), dtype=np.float32)[poses]
        rewards = self._worth[batch_inds, envs, poses][:, None]
        dones = np.zeros((count, 1), np.float32)  # episodes are truncated, never terminated
        parts = (first, self.actions[batch_inds, envs], after, dones, rewards)
        return ReplayBufferSamples(*map(self.to_torch, parts))


class Snapshots(BaseCallback):
    """Keeps the policy's weights at some times."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.kept: list[tuple[int, list[tuple[np.ndarray, np.ndarray]]]] = []
        self._due = [int(share * steps) for share in _SNAPSHOTS]
        self._report = time.time()

    def _on_step(self) -> bool:
        while self._due and self.num_timesteps >= self._due[0]:
            self._due.pop(0)
            self.kept.append((self.num_timesteps, network_of(self.model)))
        if time.time() - self._report > 120:
            self._report = time.time()
            shares = success(PoseNetwork(network_of(self.model)), episodes=4)
            print(self.num_timesteps, {pose: round(value, 2) for pose, value in shares.items()}, flush=True)
        return True


def network_of(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights of the actor's mean, layer by layer."""
    parameters = model.policy.actor_state.params["params"]
    layers = [parameters[name] for name in sorted(parameters) if name.startswith("Dense")]
    *hidden, mean, _log_std = layers
    return [(np.asarray(layer["kernel"]).T, np.asarray(layer["bias"])) for layer in (*hidden, mean)]


def success(network: PoseNetwork, episodes: int) -> dict[str, float]:
    """Share of steps in which each pose's criterion holds, over some episodes."""
    env = PoseEnv()
    shares = {}
    for number, pose in enumerate(POSES):
        held = []
        for seed in range(episodes):
            observation, _ = env.reset(seed=seed)
            for _ in range(HORIZON):
                observation, _, _, _, info = env.step(network.act(observation[:OBSERVED], number).astype(np.float32))
                held.append(info["holds"][number])
        shares[pose] = float(np.mean(held))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--updates-per-step", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--record", type=Path, default=Path("docs/measurements/criterion-policies.json"))
    chosen = parser.parse_args()
    source = provenance()  # now: the weights of the package are about to be replaced
    torch.set_num_threads(1)
    simulators, rounds = 8, 8
    venv = DummyVecEnv([lambda: PoseEnv(posed=0.5)] * simulators)
    model = SAC(
        "MlpPolicy",
        venv,
        learning_rate=6e-4,
        buffer_size=chosen.steps,
        learning_starts=4_000,
        batch_size=256,
        gamma=0.95,
        train_freq=rounds,
        gradient_steps=int(chosen.updates_per_step * rounds * simulators),
        policy_kwargs={"net_arch": [256, 256]},
        replay_buffer_class=EveryPoseBuffer,
        seed=0,
    )
    started = time.time()
    snapshots = Snapshots(chosen.steps)
    model.learn(chosen.steps, callback=snapshots)
    arrays, results = {}, []
    for place, (steps, layers) in enumerate(snapshots.kept):
        small = [(weight.astype(np.float16), bias.astype(np.float16)) for weight, bias in layers]
        for layer, (weight, bias) in enumerate(small):
            arrays |= {f"{place}/{layer}/weight": weight, f"{place}/{layer}/bias": bias}
        results.append({"steps": steps, "share_of_steps": success(PoseNetwork(small), episodes=20)})
    np.savez(chosen.out, **arrays)
    record = {
        "kind": "criterion-policies",
        "command": f"python benchmarks/criterion_policies.py --steps {chosen.steps} "
        f"--updates-per-step {chosen.updates_per_step:g}",
        "episodes": 20,
        "snapshots": results,
        "seconds": round(time.time() - started),
        **source,
    }
    chosen.record.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
