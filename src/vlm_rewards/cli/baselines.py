"""``vlm-rewards baselines TASK``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from vlm_rewards.cli.common import command_line, load_reward, print_evaluation
from vlm_rewards.cli.task_choice import read_choice
from vlm_rewards.envs import EnvironmentConfig, list_tasks
from vlm_rewards.errors import InvalidInputError, check_count
from vlm_rewards.evaluation.policies import BASELINES, baseline_policy
from vlm_rewards.evaluation.rollouts import SIMULATORS, PolicyEvaluator
from vlm_rewards.files import write_atomically
from vlm_rewards.provenance import provenance
from vlm_rewards.simulation.seeding import derive_seed
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.tasks import task_of

_USAGE = """usage: vlm-rewards baselines TASK [--episodes N] [--out FILE] [--json] [...]
       vlm-rewards baselines FILE.py[:TASK] [...]
       vlm-rewards baselines --env-id ID --goal SENTENCE --baseline SENTENCE [...]

Tasks: {tasks}.
"""


@dataclass(frozen=True)
class _Arguments:
    """Run the policies that any result is to be compared with: random, zero and the one-line rule."""

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


@dataclass(frozen=True)
class _EnvironmentArguments(_Arguments):
    """Run random and zero actions in a Gymnasium environment, to compare results with."""

    environment: tyro.conf.OmitArgPrefixes[EnvironmentConfig] = field(kw_only=True)
    """The environment."""
    goal: str = field(kw_only=True)
    """What the state should look like."""
    baseline: str = field(kw_only=True)
    """What any state looks like."""


def main(arguments: list[str]) -> int:
    """Evaluate the baseline policies of a task."""
    choice = read_choice(arguments)
    if choice.nothing:
        print(_USAGE.format(tasks=", ".join(list_tasks())))
        return 0 if arguments else 2
    for name in ("preset", "algo", "resume"):
        if getattr(choice, name) is not None:
            raise InvalidInputError(f"baselines takes no --{name}: nothing is trained.")
    config = choice.start()
    if choice.env_id is None:
        chosen = tyro.cli(_Arguments, prog=f"vlm-rewards baselines {choice.task}", args=choice.rest)
    else:
        given = choice.environment_arguments()
        chosen = tyro.cli(_EnvironmentArguments, prog="vlm-rewards baselines --env-id ID", args=given)
    console = Console(quiet=chosen.json)
    check_count("episodes", chosen.episodes)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
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
        "task": config.task,
        "criterion": task.criterion_text,
        "goal": config.goal,
        "baseline": config.baseline,
        "alpha": config.alpha,
        "encoder": reward.encoder.describe(),
        "seed": chosen.seed,
        "policies": policies,
        **source,
    }
