"""``vlm-rewards baselines TASK``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line, load_reward, print_evaluation
from vlm_rewards.envs import get_task
from vlm_rewards.errors import check_count
from vlm_rewards.evaluation.policies import BASELINES, baseline_policy
from vlm_rewards.evaluation.rollouts import SIMULATORS, PolicyEvaluator
from vlm_rewards.provenance import provenance
from vlm_rewards.simulation.seeding import derive_seed
from vlm_rewards.training.presets import preset
from vlm_rewards.training.run_folder import write_atomically


@dataclass(frozen=True)
class _Arguments:
    """Run the policies that any result is to be compared with: random, zero and the one-line rule."""

    task: tyro.conf.Positional[str]
    """Name of the task."""
    episodes: int = 100
    """How many episodes of each."""
    seed: int = 0
    """Seeds the episodes and the random actions."""
    encoder: str | None = None
    """Encoder for the VLM return; default: the task's preset."""
    out: Path | None = None
    """File to write the record to, as JSON."""
    json: bool = False
    """Print JSON instead of tables."""


def main(arguments: list[str]) -> int:
    """Evaluate the baseline policies of a task."""
    chosen = tyro.cli(_Arguments, prog="vlm-rewards baselines", args=arguments)
    console = Console(quiet=chosen.json)
    check_count("episodes", chosen.episodes)
    get_task(chosen.task)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"command": command_line("baselines", arguments), **_record(chosen, console)}
    text = json.dumps(record, indent=2) + "\n"
    if chosen.out is not None:
        write_atomically(chosen.out, text.encode())
    if chosen.json:
        print(text, end="")
    for name, summary in record["policies"].items():
        print_evaluation(console, summary, heading=f"{chosen.task}, {name}")
    return 0


def _record(chosen: _Arguments, console: Console) -> dict[str, Any]:
    task = get_task(chosen.task)
    config = preset(chosen.task)
    if chosen.encoder is not None:
        config = dataclasses.replace(config, encoder=chosen.encoder)
    reward = load_reward(config, console)
    seed = derive_seed(chosen.seed, "evaluate")
    policies: dict[str, Any] = {}
    source = provenance()
    simulators = min(chosen.episodes, SIMULATORS)
    with PolicyEvaluator(task, reward, image_size=reward.encoder.image_size, n_envs=simulators) as evaluator:
        for name in BASELINES:
            if name == "rule" and task.rule is None:
                continue
            policy = baseline_policy(name, task, evaluator.venv.action_space, seed=chosen.seed)
            policies[name] = evaluator.run(policy, episodes=chosen.episodes, seed=seed).to_dict()
    return {
        "kind": "baselines",
        "task": chosen.task,
        "criterion": task.criterion_text,
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "encoder": reward.encoder.describe(),
        "seed": chosen.seed,
        "policies": policies,
        **source,
    }
