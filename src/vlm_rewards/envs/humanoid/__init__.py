"""The MuJoCo humanoid: its model, its poses, the eight tasks, and what a task of one's own needs."""

from vlm_rewards.envs.humanoid.body import Body, measure
from vlm_rewards.envs.humanoid.model import HORIZON
from vlm_rewards.envs.humanoid.simulator import HumanoidConfig, build_humanoid
from vlm_rewards.envs.humanoid.tasks import humanoid_task

__all__ = ["HORIZON", "Body", "HumanoidConfig", "build_humanoid", "humanoid_task", "measure"]
