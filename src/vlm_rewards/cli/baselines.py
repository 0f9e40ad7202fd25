"""``vlm-rewards baselines TASK``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vlm_rewards.cli.common import captioned_for, command_line, load_reward, print_evaluation
from vlm_rewards.cli.task_choice import read_about_task
from vlm_rewards.errors import check_count
from vlm_rewards.evaluation.rollouts import REFERENCE_POLICIES, SIMULATORS, PolicyEvaluator, reference_policy
from vlm_rewards.files import write_atomically
from vlm_rewards.provenance import provenance
from vlm_rewards.rewards.base import describe_encoder
from vlm_rewards.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.presets import task_of


@dataclass(frozen=True)
class _Arguments:
    """Run the policies that any result is to be compared with: random, zero and the one-line rule."""

    goal: str | None = None
    """What the state should look like; default: the task's sentence."""
    baseline: str | None = None
    """What any state looks like; default: the task's sentence."""
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
    about = read_about_task("baselines", arguments, _Arguments)
    if about is None:
        return 0 if arguments else 2
    chosen, config = about.settings, about.config
    console = Console(quiet=chosen.json)
    check_count("episodes", chosen.episodes)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
    given = {name: getattr(chosen, name) for name in ("goal", "baseline", "encoder")}
    config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
    record = {"command": command_line("baselines", arguments), **_record(chosen, config, console)}
    text = json.dumps(record, indent=2) + "\n"
    if chosen.out is not None:
        write_atomically(chosen.out, text.encode())
    if chosen.json:
        print(text, end="")
    for name, summary in record["policies"].items():
        print_evaluation(console, summary, heading=f"{config.task}, {name}")
    return 0


def _record(chosen: _Arguments, config: TrainConfig, console: Console) -> dict[str, Any]:
    task = task_of(config)
    reward = load_reward(config, console)
    seed = derive_seed(chosen.seed, "evaluate")
    policies: dict[str, Any] = {}
    source = provenance()
    simulators = min(chosen.episodes, SIMULATORS)
    with PolicyEvaluator(task, reward, n_envs=simulators) as evaluator:
        for name in REFERENCE_POLICIES:
            if name == "rule" and task.rule is None:
                continue
            policy = reference_policy(name, task, evaluator.venv.action_space, seed=chosen.seed)
            policies[name] = evaluator.run(policy, episodes=chosen.episodes, seed=seed).to_dict()
    return {
        "kind": "baselines",
        "task": config.task,
        "criterion": task.criterion_text,
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "encoder": describe_encoder(reward),
        "captioned": captioned_for([describe_encoder(reward)], task),
        "seed": chosen.seed,
        "policies": policies,
        **source,
    }
