"""The tasks of the paper that come with the package; importing this module registers them."""

from __future__ import annotations

import dataclasses
from functools import partial

from vlm_rewards.errors import InvalidInputError, unknown_name
from vlm_rewards.tasks.captions import PAPER_BASELINES, PAPER_GOALS
from vlm_rewards.tasks.cartpole import CartPoleSimulator, cartpole_balanced, cartpole_rule
from vlm_rewards.tasks.cartpole_captions import CartPoleCaptioner
from vlm_rewards.tasks.humanoid.body import PoseCriterion
from vlm_rewards.tasks.humanoid.captions import HumanoidCaptioner
from vlm_rewards.tasks.humanoid.model import HORIZON, HumanoidConfig, build_humanoid
from vlm_rewards.tasks.humanoid.states import PoseStates
from vlm_rewards.tasks.mountain_car import MountainCarSimulator, mountain_car_at_goal, mountain_car_rule
from vlm_rewards.tasks.mountain_car_captions import MountainCarCaptioner
from vlm_rewards.tasks.task import Task, any_step, every_step, half_of_steps, register_task

register_task(
    Task(
        name="cartpole",
        goal=PAPER_GOALS["cartpole"],
        baseline=PAPER_BASELINES["cartpole"],
        simulator=CartPoleSimulator,
        horizon=200,
        criterion=cartpole_balanced,
        episode_rule=every_step,
        criterion_text="the pole stays within 12 degrees and the cart within 2.4 m on every step",
        rule=cartpole_rule,
        captioner=CartPoleCaptioner(),
        dimension="pole_angle",
    )
)


for _name, _textured in (("mountaincar", False), ("mountaincar-textured", True)):
    register_task(
        Task(
            name=_name,
            goal=PAPER_GOALS["mountaincar"],
            baseline=PAPER_BASELINES["mountaincar"],
            simulator=partial(MountainCarSimulator, textured=_textured),
            horizon=200,
            criterion=mountain_car_at_goal,
            episode_rule=any_step,
            criterion_text="the car has reached the flag (position >= 0.45)",
            rule=mountain_car_rule,
            captioner=MountainCarCaptioner(textured=_textured),
            dimension="position",
        )
    )

GOALS = {name: goal for name, goal in PAPER_GOALS.items() if name not in ("cartpole", "mountaincar")}
"""The paper's goal prompts for the humanoid, by task."""

CAPTIONER = HumanoidCaptioner()
"""All poses share their states and captions."""

CRITERIA = {
    "kneeling": "both knees on the floor, trunk upright and in balance",
    "lotus": "seated low, knees out and feet in, trunk upright",
    "standing": "upright on straight legs and in balance",
    "arms-raised": "standing, both hands above the head",
    "splits": "seated on the floor, legs stretched and spread to the sides",
    "hands-on-hips": "standing, both hands at the base of the hips, elbows out",
    "arms-crossed": "standing, forearms crossed before the chest",
    "one-leg": "standing, one foot clearly above the floor",
}
"""The criteria in words; in numbers: `vlm_rewards.tasks.humanoid.body`."""


def humanoid_task(name: str, config: HumanoidConfig | None = None) -> Task:
    """One of the eight poses.

    Args:
        name: One of `GOALS`.
        config: How the robot is drawn and what is observed of it; default: as in the paper.

    Returns:
        The task, registered nowhere.

    Raises:
        UnknownNameError: There is no such pose.
    """
    if name not in GOALS:
        raise unknown_name("pose", name, GOALS)
    chosen = config or HumanoidConfig()
    return Task(
        name=name,
        goal=GOALS[name],
        baseline=PAPER_BASELINES["humanoid"],
        simulator=partial(build_humanoid, config=chosen),
        horizon=HORIZON,
        criterion=PoseCriterion(name),
        criterion_text=f"{CRITERIA[name]} on at least half of the steps",
        episode_rule=half_of_steps,
        camera=chosen.camera,
        captioner=CAPTIONER,
        generator=PoseStates(name),
        metadata={"humanoid": chosen.to_dict()},
    )


def config_of(task: Task) -> HumanoidConfig | None:
    """How a task's humanoid is drawn and observed; None where its simulator is another."""
    made = task.simulator
    own = isinstance(made, partial) and made.func is build_humanoid
    return made.keywords.get("config") or HumanoidConfig() if own else None


def configured(task: Task, config: HumanoidConfig) -> Task:
    """The same pose, drawn or observed in another way; a task whose simulator is not `build_humanoid` is refused."""
    if config_of(task) is None:
        raise InvalidInputError(f"humanoid must be left out: the simulator of task {task.name!r} is another.")
    simulator = partial(build_humanoid, config=config)
    metadata = {**task.metadata, "humanoid": config.to_dict()}
    return dataclasses.replace(task, simulator=simulator, camera=config.camera, metadata=metadata)


for _name in GOALS:
    register_task(humanoid_task(_name))
