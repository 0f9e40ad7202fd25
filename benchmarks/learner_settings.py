"""Compare learners on the humanoid at equal time, on the criterion instead of a picture's reward.

    python benchmarks/learner_settings.py --seconds 450 --every 50 --out runs/learner-settings.json

No frame is drawn, so comparing many settings takes minutes. What a state is worth is the mean of the criterion's
conditions and the least of them once more: it rises towards the pose, as a vision-language reward does, and does not
tell where the criterion begins to hold. Every transition is charged what drawing and embedding its frame would take,
if it has one. Time is counted as the number of rollouts and of trainings, each times what the quickest tenth of them
took: a busy machine makes many of them long, and must not decide which setting is better. The record has, for each
setting, the share of steps on which the pose was held and the share of episodes that succeed, over time. A record
that is there already keeps its other settings, so that some can be measured now and others later (`--only`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from accumulating import keep_row, rows_of
from vlm_rewards.provenance import provenance
from vlm_rewards.tasks.humanoid.body import CONDITIONS, measure
from vlm_rewards.tasks.humanoid.model import HORIZON, HumanoidConfig, Observations, build_humanoid
from vlm_rewards.tasks.task import half_of_steps
from vlm_rewards.training.algorithms import SBXSACConfig, algorithm_name
from vlm_rewards.training.presets import preset

_LEAST, _MOST = -4.0, 0.3
_ENCODER = (0.75, 0.13)
"""Mean and standard deviation of the bundled encoder's rewards for kneeling under random actions (docs/records)."""
_EPISODES = 8
_RANDOM_EPISODES = 40  # as many steps as the preset standardises on
_QUICK = 10  # percentile


@dataclass(frozen=True)
class Setting:
    """One learner."""

    name: str
    algorithm: str
    observations: Observations
    n_envs: int
    updates: float
    """For each transition."""
    batch: int
    width: int
    learning_rate: float
    gamma: float
    label_every: int
    """Which states of an episode are charged for; rewards between them are not interpolated here."""
    policy_delay: int
    standardised: bool = True
    """Whether rewards have about unit spread, or lie as close together as those of an encoder do."""


_PRESET = preset("kneeling")
"""The ``cpu`` preset, which all poses share."""


def _learner() -> SBXSACConfig:
    learner = _PRESET.algorithm
    if not isinstance(learner, SBXSACConfig):
        raise TypeError(f"the settings start from sbx's SAC, not from {learner!r}")
    return learner


_LEARNER = _learner()
_ROLLOUT = _PRESET.n_envs * _LEARNER.train_freq
"""Transitions between two trainings."""
_BASE = Setting(
    "as the preset",
    algorithm=algorithm_name(_LEARNER),
    observations=(_PRESET.humanoid or HumanoidConfig()).observations,
    n_envs=_PRESET.n_envs,
    updates=_LEARNER.gradient_steps / _ROLLOUT,
    batch=_LEARNER.batch_size,
    width=_LEARNER.net_arch[0],
    learning_rate=_LEARNER.learning_rate,
    gamma=_LEARNER.gamma,
    label_every=_PRESET.label_every,
    policy_delay=_LEARNER.policy_delay,
)
SETTINGS = (
    _BASE,
    replace(_BASE, name="every state labelled", label_every=1),
    replace(_BASE, name="every second state labelled", label_every=2),
    replace(_BASE, name="full observations", observations="full"),
    replace(_BASE, name="one simulator", n_envs=1),
    replace(_BASE, name="minibatch of 256", batch=256),
    replace(_BASE, name="width 256", width=256),
    replace(_BASE, name="one update for four steps", updates=0.25),
    replace(_BASE, name="three updates for two steps", updates=1.5),
    replace(_BASE, name="rewards not standardised", standardised=False),
    replace(_BASE, name="step size 6e-4", learning_rate=6e-4),
    replace(_BASE, name="discount 0.98", gamma=0.98),
    replace(_BASE, name="CrossQ of sbx", algorithm="sbx-crossq", learning_rate=1e-3, policy_delay=3),
    replace(_BASE, name="SAC of Stable-Baselines3", algorithm="sac"),
    replace(_BASE, name="TQC of sb3-contrib", algorithm="tqc"),
)


class WorthEnv(gym.Env[np.ndarray, np.ndarray]):
    """The humanoid with a reward from the criterion's conditions, scaled by what it is under random actions."""

    def __init__(self, pose: str, setting: Setting, scale: tuple[float, float] = (0.0, 1.0)) -> None:
        self._env = build_humanoid(32, HumanoidConfig(observations=setting.observations))
        self._conditions, self._scale, self._steps = CONDITIONS[pose], scale, 0
        self._mean, self._std = (0.0, 1.0) if setting.standardised else _ENCODER
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self._steps = 0
        observation, _ = self._env.reset(seed=seed)
        return observation, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, *_ = self._env.step(action)
        self._steps += 1
        conditions = np.clip(self._conditions(measure(self._env)), _LEAST, _MOST)
        holds = conditions.min() >= 0
        worth = (0.5 * conditions.mean() + 0.25 * conditions.min() - self._scale[0]) / self._scale[1]
        return observation, self._mean + self._std * float(worth), False, self._steps >= HORIZON, {"holds": holds}


def scale_of(pose: str) -> tuple[float, float]:
    """Mean and standard deviation of what states are worth under random actions: what a run standardises by."""
    env = WorthEnv(pose, _BASE)
    env.action_space.seed(0)
    worths = []
    for episode in range(_RANDOM_EPISODES):
        env.reset(seed=episode)
        worths += [env.step(env.action_space.sample())[1] for _ in range(HORIZON)]
    return float(np.mean(worths)), float(np.std(worths))


class Curve(BaseCallback):
    """Evaluates at equal times, and ends the training when its time is up."""

    def __init__(self, pose: str, setting: Setting, seconds: float, every: float, frame_cost: float) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._env = DummyVecEnv([lambda: WorthEnv(pose, setting)] * _EPISODES)
        self._seconds, self._every, self._cost = seconds, every, frame_cost
        self._due = every
        self._phases: dict[str, list[float]] = {"rollouts": [], "trainings": []}
        self._phase_began = 0.0
        self._goes_on = True

    def _on_step(self) -> bool:
        return self._goes_on

    def _on_rollout_start(self) -> None:
        if self.model._n_updates:
            self._phases["trainings"].append(time.perf_counter() - self._phase_began)
        if self.charged >= self._due:
            self._evaluate()
        self._goes_on = self.charged < self._seconds
        self._phase_began = time.perf_counter()

    def _on_rollout_end(self) -> None:
        self._phases["rollouts"].append(time.perf_counter() - self._phase_began)
        self._phase_began = time.perf_counter()

    @property
    def charged(self) -> float:
        """Seconds that the training would have taken with frames, on a machine that is never busy with others."""
        alone = sum(len(times) * float(np.percentile(times, _QUICK)) for times in self._phases.values() if times)
        return alone + self.num_timesteps * self._cost

    def _evaluate(self) -> None:
        self._due += self._every
        held = self._held()
        row = {
            "seconds": round(self.charged),
            "steps": self.num_timesteps,
            "updates": int(self.model._n_updates),
            "share_of_steps": round(float(held.mean()), 4),
            "success_rate": float(np.mean([half_of_steps(episode) for episode in held.T])),
        }
        self.rows.append(row)
        print("   ", row, flush=True)

    def _held(self) -> np.ndarray:
        self._env.seed(10_000)
        observations: Any = self._env.reset()
        held = []
        for _ in range(HORIZON):
            actions, _ = self.model.predict(observations, deterministic=True)
            observations, _, _, infos = self._env.step(actions)
            held.append([info["holds"] for info in infos])
        return np.array(held)


def build(setting: Setting, venv: DummyVecEnv, seed: int) -> Any:
    """The learner of a setting."""
    from sb3_contrib import TQC
    from sbx import SAC as JaxSAC
    from sbx import CrossQ as JaxCrossQ
    from stable_baselines3 import SAC

    kinds = {"sac": SAC, "tqc": TQC, "sbx-sac": JaxSAC, "sbx-crossq": JaxCrossQ}
    more = {"policy_delay": setting.policy_delay} if setting.algorithm.startswith("sbx") else {}
    policy: dict[str, Any] = {"net_arch": [setting.width, setting.width]}
    rounds = max(1, _ROLLOUT // setting.n_envs)
    return kinds[setting.algorithm](
        "MlpPolicy",
        venv,
        learning_rate=setting.learning_rate,
        buffer_size=_LEARNER.buffer_size,
        learning_starts=_LEARNER.learning_starts,
        batch_size=setting.batch,
        gamma=setting.gamma,
        train_freq=rounds,
        gradient_steps=int(setting.updates * rounds * setting.n_envs),
        policy_kwargs=policy,
        seed=seed,
        **more,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pose", default="kneeling")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--every", type=float, default=100, help="seconds between evaluations; a part of --seconds")
    parser.add_argument("--frame-ms", type=float, default=2.3, help="charged for drawing and embedding a frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", type=int, help="numbers of settings")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/learner-settings.json"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    shared = {
        "kind": "learner-settings",
        "pose": chosen.pose,
        "frame_ms": chosen.frame_ms,
        "seed": chosen.seed,
        "charged_seconds": chosen.seconds,
    }
    made = provenance()
    rows_of(chosen.out, shared)  # refused before anything is measured
    scale = scale_of(chosen.pose)
    for number, setting in enumerate(SETTINGS):
        if chosen.only and number not in chosen.only:
            continue
        print(setting.name, flush=True)
        venv = DummyVecEnv([lambda setting=setting: WorthEnv(chosen.pose, setting, scale)] * setting.n_envs)
        curve = Curve(chosen.pose, setting, chosen.seconds, chosen.every, chosen.frame_ms / 1000 / setting.label_every)
        build(setting, venv, chosen.seed).learn(10**9, callback=curve)
        keep_row(chosen.out, shared, setting.name, {"setting": vars(setting), "curve": curve.rows}, made)


if __name__ == "__main__":
    main()
