# The public names, each once: type checkers read them here, and the package imports them when they are first used.
from .collection.callback import LabelRewards as LabelRewards
from .collection.replay_buffer import LabelledNStepReplayBuffer as LabelledNStepReplayBuffer
from .collection.replay_buffer import LabelledReplayBuffer as LabelledReplayBuffer
from .collection.vec_env import RenderedVecEnv as RenderedVecEnv
from .collection.vector_wrapper import VLMRewardVectorWrapper as VLMRewardVectorWrapper
from .collection.wrapper import FrameInInfo as FrameInInfo
from .collection.wrapper import VLMRewardWrapper as VLMRewardWrapper
from .encoders.base import ImageTextEncoder as ImageTextEncoder
from .encoders.loading import load_encoder as load_encoder
from .rewards.cameras import CameraReward as CameraReward
from .rewards.contrast import ContrastReward as ContrastReward
from .rewards.demonstration import DemonstrationReward as DemonstrationReward
from .rewards.goal_baseline import goal_baseline_reward as goal_baseline_reward
from .rewards.goal_baseline import goal_reward as goal_reward
from .rewards.goal_pictures import GoalPictureReward as GoalPictureReward
from .rewards.model import VLMReward as VLMReward
from .rewards.registry import register_form as register_form
from .rewards.shaping import PotentialShaping as PotentialShaping
from .rewards.softmax import SoftmaxReward as SoftmaxReward
from .rewards.weighted import WeightedSum as WeightedSum
from .run import Run as Run
from .run import evaluate as evaluate
from .run import train as train
from .tasks.task import Task as Task
from .tasks.task import get_task as get_task
from .tasks.task import register_task as register_task
from .training.algorithms import register_algorithm as register_algorithm

__version__: str
