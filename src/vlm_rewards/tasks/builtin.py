"""The tasks of the paper that come with the package; importing this module registers them."""

from __future__ import annotations

from functools import partial

from vlm_rewards.tasks.cartpole import CartPoleSimulator, cartpole_balanced, cartpole_rule
from vlm_rewards.tasks.cartpole_captions import CartPoleCaptioner
from vlm_rewards.tasks.humanoid.tasks import GOALS, humanoid_task
from vlm_rewards.tasks.mountain_car import MountainCarSimulator, mountain_car_at_goal, mountain_car_rule
from vlm_rewards.tasks.mountain_car_captions import MountainCarCaptioner
from vlm_rewards.tasks.task import Task, any_step, every_step, register_task

CARTPOLE = register_task(
    Task(
        name="cartpole",
        goal="pole vertically upright on top of the cart",
        baseline="pole and cart",
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


def _mountain_car(name: str, *, textured: bool) -> Task:
    return Task(
        name=name,
        goal="a car at the peak of the mountain, next to the yellow flag",
        baseline="a car in the mountain",
        simulator=partial(MountainCarSimulator, textured=textured),
        horizon=200,
        criterion=mountain_car_at_goal,
        episode_rule=any_step,
        criterion_text="the car has reached the flag (position >= 0.45)",
        rule=mountain_car_rule,
        captioner=MountainCarCaptioner(textured=textured),
        dimension="position",
    )


MOUNTAIN_CAR = register_task(_mountain_car("mountaincar", textured=False))
MOUNTAIN_CAR_TEXTURED = register_task(_mountain_car("mountaincar-textured", textured=True))
HUMANOID = tuple(register_task(humanoid_task(name)) for name in GOALS)
