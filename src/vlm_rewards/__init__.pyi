# The public names, each once: type checkers read them here, and the package imports them when they are first used.
from .collection.callback import LabelRewards as LabelRewards
from .collection.replay_buffer import LabelledNStepReplayBuffer as LabelledNStepReplayBuffer
from .collection.replay_buffer import LabelledReplayBuffer as LabelledReplayBuffer
from .collection.shaping import PotentialShaping as PotentialShaping
from .collection.vec_env import RenderedVecEnv as RenderedVecEnv
from .collection.vector_wrapper import VLMRewardVectorWrapper as VLMRewardVectorWrapper
from .collection.wrapper import FrameInInfo as FrameInInfo
from .collection.wrapper import VLMRewardWrapper as VLMRewardWrapper
from .encoders.base import ImageTextEncoder as ImageTextEncoder
from .encoders.loading import load_encoder as load_encoder
from .encoders.loading import register_encoder as register_encoder
from .offline.dataset import RelabelOptions as RelabelOptions
from .offline.relabelling import open_dataset as open_dataset
from .offline.relabelling import relabel as relabel
from .reporting.page import report as report
from .rewards.base import EmbeddingReward as EmbeddingReward
from .rewards.base import FrameReward as FrameReward
from .rewards.base import as_frame_reward as as_frame_reward
from .rewards.cameras import CameraReward as CameraReward
from .rewards.contrast import ContrastReward as ContrastReward
from .rewards.demonstration import DemonstrationReward as DemonstrationReward
from .rewards.goal_baseline import goal_baseline_reward as goal_baseline_reward
from .rewards.goal_baseline import goal_reward as goal_reward
from .rewards.goal_pictures import GoalPictureReward as GoalPictureReward
from .rewards.model import VLMReward as VLMReward
from .rewards.registry import register_reward as register_reward
from .rewards.softmax import SoftmaxReward as SoftmaxReward
from .rewards.weighted import WeightedSum as WeightedSum
from .tasks.task import Task as Task
from .tasks.task import get_task as get_task
from .tasks.task import register_task as register_task

__version__: str
