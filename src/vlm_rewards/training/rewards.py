"""The reward that a run's settings ask for, and what is to be known of its encoder before its scores are trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_rewards.collection.shaping import PotentialShaping, shaped_by
from vlm_rewards.encoders.base import ImageTextEncoder
from vlm_rewards.encoders.loading import load_encoder, trained_on
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.progress import Progress
from vlm_rewards.rewards.base import FrameReward
from vlm_rewards.rewards.combined import CameraReward
from vlm_rewards.rewards.config import OBJECT, build_reward
from vlm_rewards.tasks.task import Task, get_task, list_tasks
from vlm_rewards.training.config import TrainConfig
from vlm_rewards.training.watch import watched_against

_IN_DOMAIN_NOTE = (
    "note: encoder {encoder!r} was trained on frames of these very simulators: it is in-domain, not zero-shot. "
    "See its MODEL_CARD.md, and --encoder for a pretrained CLIP."
)
_STRANGER_WARNING = (
    "encoder {encoder!r} was trained on frames of a few simulators, and {task!r} is none of them: its scores mean "
    "little there. Use --encoder for a pretrained CLIP."
)


def load_reward(
    config: TrainConfig,
    task: Task,
    progress: Progress,
    *,
    reward: FrameReward | None = None,
    encoder: ImageTextEncoder | None = None,
) -> FrameReward:
    """Make the reward of a run: load the encoder, embed the prompts, put them into the formula.

    A reward or encoder that is an object, not a name in the settings, must be given.

    Raises:
        InvalidInputError: The run was given an object, and it is not here.
    """
    if reward is None:
        _check_at_hand("reward", config.reward.form)

        def load() -> ImageTextEncoder:  # only where the form is made of one
            if encoder is not None:
                return encoder
            _check_at_hand("encoder", config.encoder)
            prompts = (config.goal, config.baseline, *config.reward.others)
            return load_encoder_for(task, config.encoder, prompts, progress, device=config.device, dtype=config.dtype)

        prompts: dict[str, Any] = {"goal": config.goal, "baseline": config.baseline, "alpha": config.alpha}
        reward = build_reward(config.reward, load, **prompts, cameras=task.cameras)
    elif task.cameras > getattr(reward, "cameras", 1):
        if isinstance(reward, PotentialShaping):
            raise InvalidInputError("put CameraReward inside of PotentialShaping, around its potential.")
        reward = CameraReward(reward, cameras=task.cameras, rule=config.reward.camera_rule)
    return shaped_by(reward, config.reward.shaping, config.algorithm.gamma)


def _check_at_hand(what: str, name: str) -> None:
    if name.endswith(OBJECT):
        raise InvalidInputError(
            f"{what} {name!r} of this run was an object, which its folder does not hold: pass it again, in Python, "
            f"with vlm_rewards.Run.open(folder, {what}=...)."
        )


def load_held_out(config: TrainConfig, task: Task, reward: FrameReward, progress: Progress) -> FrameReward | None:
    """Make the reward that a run is watched against: the same form with another prompt or encoder; None without."""
    if not config.has_held_out:
        return None
    if watched_against(config, task) != "held-out":
        progress.say(
            f"{config.task!r} is watched against its criterion; a held-out sentence or encoder is of use with "
            "--watch held-out alone.",
            warning=True,
        )
        return None
    if config.reward.form.endswith(OBJECT):
        raise InvalidInputError(f"watch_goal, watch_baseline and watch_encoder need a reward by name, got {reward!r}.")

    def encoder() -> ImageTextEncoder:
        own: ImageTextEncoder | None = getattr(reward, "encoder", None)
        if own is not None and config.watch_encoder in (None, config.encoder):
            return own  # the same object: frames are embedded once for both
        return load_encoder(config.watch_encoder or config.encoder, device=config.device, dtype=config.dtype)

    return build_reward(
        config.reward,
        encoder,
        goal=config.watch_goal or config.goal,
        baseline=config.watch_baseline or config.baseline,
        alpha=config.alpha,
        cameras=task.cameras,
    )


def load_encoder_for(
    task: Task | None, name: str, prompts: Sequence[str], progress: Progress, *, device: str, dtype: str
) -> ImageTextEncoder:
    """Load an encoder, and say what is to be known of it before its scores of a task are trusted.

    That is: whether it was trained on the task's simulator, or on none but others, and which words of the prompts it
    has never seen, without which it reads on.
    """
    encoder = load_encoder(name, device=device, dtype=dtype)
    if encoder.describe().get("in_domain"):
        if task is None or knows(name, task):
            progress.say(_IN_DOMAIN_NOTE.format(encoder=encoder.name))
        else:
            progress.say(_STRANGER_WARNING.format(encoder=encoder.name, task=task.name), warning=True)
    unknown_words = getattr(encoder, "unknown_words", lambda prompt: ())  # encoders need not know
    words = list(dict.fromkeys(word for prompt in prompts for word in unknown_words(prompt)))
    if words:
        names = ", ".join(map(repr, words))
        progress.say(f"encoder {encoder.name!r} has never seen {names} and reads on without.", warning=True)
    return encoder


def knows(name: str, task: Task) -> bool:
    """Whether an encoder that was trained on frames of simulators was trained on this task's.

    Of one that was not trained so it says whether it could have been.
    """
    if task.captioner is None:
        return False
    tasks = trained_on(name)
    if tasks is None:  # nothing says on which: take its word
        return True
    others = [get_task(one) for one in tasks if one in list_tasks()]
    return task.name in tasks or any(other.captioner is task.captioner for other in others)


def captioned_for(encoders: Sequence[Mapping[str, Any]], task: Task) -> bool:
    """Whether those encoders, as they describe themselves, that were trained on simulators all know this task."""
    trained = [str(encoder["name"]) for encoder in encoders if encoder.get("in_domain")]
    return task.captioner is not None and all(knows(name, task) for name in trained)
