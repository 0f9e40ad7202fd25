"""Tasks, the simulators behind them, and their pictures.

Importing this package registers the tasks that come with it. It loads no torch:
the worker processes that host simulators must stay without it.
"""

from vlm_rewards.envs.any_env import EnvironmentConfig, environment_task
from vlm_rewards.envs.builtin import CARTPOLE, MOUNTAIN_CAR, MOUNTAIN_CAR_TEXTURED
from vlm_rewards.envs.cartpole import CartPoleSimulator, draw_cartpole
from vlm_rewards.envs.episode import TaskEpisode, make_task_env
from vlm_rewards.envs.mountain_car import MountainCarSimulator, draw_mountain_car
from vlm_rewards.envs.photographer import Photographer, letterbox
from vlm_rewards.envs.tasks import (
    StateCaptioner,
    Task,
    any_step,
    every_step,
    get_task,
    half_of_steps,
    list_tasks,
    register_task,
)

__all__ = [
    "CARTPOLE",
    "MOUNTAIN_CAR",
    "MOUNTAIN_CAR_TEXTURED",
    "CartPoleSimulator",
    "EnvironmentConfig",
    "MountainCarSimulator",
    "Photographer",
    "StateCaptioner",
    "Task",
    "TaskEpisode",
    "any_step",
    "draw_cartpole",
    "draw_mountain_car",
    "environment_task",
    "every_step",
    "get_task",
    "half_of_steps",
    "letterbox",
    "list_tasks",
    "make_task_env",
    "register_task",
]
