"""The settings of a fine-tuning; each docstring is the help text of its option."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from vlm_rewards.errors import InvalidInputError
from vlm_rewards.settings import Count, Fraction, PositiveFraction, Settings, whole
from vlm_rewards.tasks.builtin import GOALS

Freeze = Literal["none", "image", "text"]
Loss = Literal["clip", "siglip"]
NotNegativeInt = Annotated[int, whole(0)]
Several = Annotated[int, whole(2)]
FROM_SCRATCH = ("tiny-xs", "tiny", "tiny-m", "tiny-l")
"""Models that have no weights yet: the names of `vlm_rewards.encoders.trainable.SIZES`, which needs torch."""


@dataclass(frozen=True)
class FinetuneConfig(Settings):
    """Train an encoder on captioned frames of simulators. The defaults make the bundled encoder."""

    tasks: tuple[str, ...] = ("cartpole", "mountaincar", "mountaincar-textured", "kneeling")
    """Tasks whose states are drawn and captioned. The humanoid's eight poses share theirs: name one of them."""
    shares: tuple[int, ...] = ()
    """How many times `pictures_per_task` and `states_per_task` each of the tasks gets; default: 3 times for the
    humanoid, whose states have more to them, and once for any other."""
    model: str = "tiny"
    """"tiny" for the bundled encoder's architecture from scratch ("tiny-xs", "tiny-m", "tiny-l": with a smaller or
    larger image tower), or any encoder that can be loaded, to go on from."""
    out: Path = Path("runs/finetuned")
    """Folder for the model, its model card and the training record."""
    overwrite: bool = False
    """Whether files of an earlier run in that folder may be replaced."""
    resume: bool = False
    """Whether to go on with the training in that folder, which was broken off. On the CPU the weights are those of a
    training that was never stopped."""
    seed: NotNegativeInt = 0
    """Seed of states, captions, weights and order."""
    steps: Count = 6000
    """Gradient steps."""
    pictures_per_task: Several = 16
    """Frames of each task in a batch, times its share."""
    captions_per_picture: Count = 2
    """Captions that are drawn for each frame of a batch."""
    states_per_task: Several = 12_000
    """States that are drawn of each task before training starts, times its share; every visit draws new captions."""
    learning_rate: PositiveFraction = 1e-3
    """Peak learning rate of AdamW, reached after the warm-up, from where it falls to zero as a cosine."""
    warmup_steps: NotNegativeInt = 50
    """Steps over which the learning rate rises from zero."""
    weight_decay: Fraction = 0.02
    """Weight decay of matrices and convolutions; biases, normalisations and token embeddings have none."""
    loss: Loss = "clip"
    """open_clip's loss: "clip" (softmax over the batch) or "siglip" (sigmoid of every pair)."""
    within_task: Fraction = 0.7
    """Weight of the loss among frames of one task; the rest is the loss over the whole batch, which tells tasks
    apart."""
    freeze: Freeze = "none"
    """Tower that is kept as it is, batch normalisation included."""
    unlocked_groups: NotNegativeInt = 0
    """How many of the frozen tower's last layer groups are trained nevertheless."""
    held_out_states: Several = 512
    """States of each task that are kept for the evaluation at the end."""
    device: str = "auto"
    """"auto" (CUDA where there is one, else the CPU), "cpu", "cuda", ..."""
    threads: Count = 2
    """Threads that torch computes with on the CPU. The weights depend on it in their last bits; the bundled encoder's
    towers are so small that more than two hardly help."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise InvalidInputError(f"tasks must name at least one task, each once, got {self.tasks!r}.")
        if self.shares and (len(self.shares) != len(self.tasks) or min(self.shares) < 1):
            raise InvalidInputError(
                f"shares must be one int of at least 1 for each of {len(self.tasks)} tasks, got {self.shares!r}."
            )
        if self.resume and self.overwrite:
            raise InvalidInputError("resume and overwrite exclude each other: one keeps what the other replaces.")
        if self.model in FROM_SCRATCH and self.freeze != "none":
            raise InvalidInputError(
                f"freeze must be 'none' for a model from scratch ({self.model!r}), got {self.freeze!r}."
            )
        if self.freeze == "none" and self.unlocked_groups:
            raise InvalidInputError(
                f"unlocked_groups needs a frozen tower, got {self.unlocked_groups} with freeze='none'."
            )

    def share(self, index: int) -> int:
        """Share of the task at this place in `tasks`."""
        if self.shares:
            return self.shares[index]
        return _HUMANOID_SHARE if self.tasks[index] in GOALS else 1


_HUMANOID_SHARE = 3
