"""The training loop: batches of frames and captions, gradient steps, and how it is resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from vlm_rewards.encoders.trainable import KnownTokens, TrainableModel, make_loss
from vlm_rewards.errors import CheckpointError, InvalidInputError, RunFolderError
from vlm_rewards.files import read_state, seconds_to_wait, write_state
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.dataset import CaptionedStates, Jitter
from vlm_rewards.provenance import provenance
from vlm_rewards.training.learner_state import (
    array_to_tensor,
    load_optimiser,
    module_arrays,
    module_tensors,
    optimiser_arrays,
    tensor_to_array,
)

_MAX_LOGIT_SCALE = math.log(100.0)
_SCAN = 10_000
"""Captions of each task that are read to find out which tokens there are."""
_LENGTH_GROUPS = 4
"""Groups of captions of like length in a batch."""


@dataclass
class Trainer:
    """Trains a model on captioned states, the same way each time for one seed on one machine.

    Args:
        config: Settings.
        trained: The model; it is changed in place.
        data: States of each task.
        device: Where the model computes.
    """

    config: FinetuneConfig
    trained: TrainableModel
    data: Sequence[CaptionedStates]
    device: torch.device
    losses: list[float] = field(default_factory=list)
    """Loss of each step so far."""
    _known: KnownTokens | None = None

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.config.seed, 1])
        self._noise = torch.Generator().manual_seed(self.config.seed)
        self._jitter = Jitter(self._noise)
        self._preprocess = self.trained.preprocessing
        self._loss = make_loss(self.config.loss)

    def run(
        self,
        advance: Callable[[float], object] = lambda loss: None,
        *,
        keep: Callable[[Callable[[], dict[str, Any]]], object] = lambda state: None,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        """Take all steps, or those that are left.

        Args:
            advance: Called with each step's loss, for a progress bar.
            keep: Called after each step with a function that gives the state: JSON values and numpy arrays.
            saved: State to go on from. The rest is as if there had been no stop, on the CPU to the last bit.
        """
        model = self.trained.model
        if self.trained.from_scratch:
            self._announce_tokens()
        model.to(self.device).to(memory_format=torch.channels_last)
        optimiser = self._optimiser()
        set_training_mode(model)
        if saved is not None:
            self._restore(optimiser, saved)
        for step in range(len(self.losses), self.config.steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, self.config)
            advance(self._step(optimiser))
            keep(lambda: self._state(optimiser))
        if self._known:
            self._known.restore()
        self.trained.from_scratch = False
        model.eval()

    def _step(self, optimiser: torch.optim.Optimizer) -> float:
        images, texts = self._batch()
        loss = self.batch_loss(images, texts)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained.model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            self.trained.model.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)
        self.losses.append(float(loss.detach()))
        return self.losses[-1]

    def _state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """What the next step depends on, but for the learning rate, which the settings decide."""
        return {
            "losses": list(self.losses),
            "model": module_arrays(self.trained.model.state_dict(), copy=False),
            "optimiser": optimiser_arrays(optimiser.state_dict(), copy=False),
            "order": self._rng.bit_generator.state,
            "noise": tensor_to_array(self._noise.get_state()),
            "torch": tensor_to_array(torch.get_rng_state()),
        }

    def _restore(self, optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        """Be as `_state` found it."""
        self.losses = list(saved["losses"])
        self.trained.model.load_state_dict(module_tensors(saved["model"]))
        load_optimiser(optimiser, saved["optimiser"])
        self._rng.bit_generator.state = saved["order"]
        self._noise.set_state(array_to_tensor(saved["noise"]))
        torch.set_rng_state(array_to_tensor(saved["torch"]))

    def _batch(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Jittered frames of all tasks, and as many sets of tokens as there are captions a frame."""
        frames: list[np.ndarray] = []
        captions: list[list[str]] = [[] for _ in range(self.config.captions_per_picture)]
        for states, size in zip(self.data, self._sizes(), strict=True):
            rows = self._rng.integers(len(states.states), size=size)
            frames.append(states.pictures[rows])
            for column in captions:
                column += states.captions(rows, self._rng)
        pixels = torch.from_numpy(np.concatenate(frames)).permute(0, 3, 1, 2).to(self.device, torch.float32)
        images = self._preprocess.normalise(self._jitter(pixels)).contiguous(memory_format=torch.channels_last)
        return images, [self._tokens(column) for column in captions]

    def _sizes(self) -> list[int]:
        """Frames of each task in a batch."""
        return [self.config.pictures_per_task * self.config.share(index) for index in range(len(self.config.tasks))]

    def _tokens(self, captions: Sequence[str]) -> torch.Tensor:
        tokens = self.trained.tokenizer(list(captions))
        return (self._known.compact(tokens) if self._known else tokens).to(self.device)

    def batch_loss(self, images: torch.Tensor, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Mean over the caption sets of the loss within each task and over the whole batch.

        Within a task every other frame is a hard negative; over the whole batch most are easy.
        """
        seen = self.trained.model.encode_image(images, normalize=True)
        read = self._read(torch.cat(list(texts))).chunk(len(texts))
        sizes, share = self._sizes(), self.config.within_task
        total = seen.new_zeros(())
        for said in read:
            groups = zip(seen.split(sizes), said.split(sizes), strict=True)
            within = torch.stack([self._contrast(a, b) for a, b in groups]).mean()
            total = total + share * within + (1 - share) * self._contrast(seen, said)
        return total / len(texts)

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed captions, short ones apart from long ones: most of a batch would be padding otherwise."""
        if self._known is None:
            return self.trained.model.encode_text(tokens, normalize=True)
        lengths = (tokens != 0).sum(1)
        order = lengths.argsort(stable=True)
        parts = []
        for rows in order.chunk(_LENGTH_GROUPS):
            longest = int(lengths[rows].max())
            with self._known.short_context(longest):
                parts.append(self.trained.model.encode_text(tokens[rows, :longest], normalize=True))
        return torch.cat(parts)[order.argsort()]

    def _contrast(self, seen: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
        model = self.trained.model
        extra = () if model.logit_bias is None else (model.logit_bias,)
        return self._loss(seen, said, model.logit_scale.exp(), *extra)

    def _announce_tokens(self) -> None:
        """Find the tokens of captions, so that no work goes into those that never occur."""
        rng = np.random.default_rng([self.config.seed, 2])
        ids = {0}
        for states in self.data:
            rows = rng.integers(len(states.states), size=_SCAN)
            for start in range(0, _SCAN, 1000):
                tokens = self.trained.tokenizer(states.captions(rows[start : start + 1000], rng))
                ids.update(tokens.unique().tolist())
        self._known = KnownTokens(self.trained.model, sorted(ids))

    def _optimiser(self) -> torch.optim.Optimizer:
        decayed, plain = split_parameters(self.trained.model.named_parameters())
        groups = [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=(0.9, 0.98), eps=1e-6)


def set_training_mode(model: Any) -> None:
    """Training mode, but for batch normalisation whose parameters are frozen."""
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def split_parameters(
    named: Iterable[tuple[str, torch.nn.Parameter]],
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Parameters to decay, and those not to: vectors, scalars and embeddings. Frozen ones are left out."""
    decayed, plain = [], []
    for name, parameter in named:
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or "embedding" in name else decayed).append(parameter)
    return decayed, plain


def learning_rate(step: int, config: FinetuneConfig) -> float:
    """Linear warm-up, then a cosine that ends at zero with the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    rest = max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - config.warmup_steps) / rest))


STATE = "state.npz"
"""In the folder of a training that is not finished."""
FORMAT = 1
"""Of the state; another number is another layout."""

_SECONDS = 60.0
"""Between two states."""


@dataclass
class Keeper:
    """Writes the state of a training now and then; `vlm_rewards.finetuning.trainer.Trainer` calls it after each step.

    Args:
        path: File of the state.
        settings: What decides the weights, to be held against what a later call asks for.
        earlier: The state that this training goes on from, if it does.

    Attributes:
        commit: Commit that the training began with.
        resumed: ``step`` and ``commit`` of each time that it went on.
    """

    path: Path
    settings: Mapping[str, Any]
    earlier: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        origin = provenance()
        self._versions, self._before = _versions(origin), 0.0
        self.commit: str | None = origin["commit"]
        self.resumed: list[dict[str, Any]] = []
        if self.earlier is not None:
            went_on = {"step": len(self.earlier["trainer"]["losses"]), "commit": self.commit}
            self.resumed = [*self.earlier["resumed"], went_on]
            self.commit, self._before = self.earlier["commit"], float(self.earlier["seconds"])
        self.start()

    def start(self) -> None:
        """Training begins; what came before is not its time."""
        self._began = time.perf_counter()
        self._due = self._began + _SECONDS

    def seconds(self) -> float:
        """Time spent in training, that of earlier calls included."""
        return self._before + time.perf_counter() - self._began

    def __call__(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write the state if it is time to.

        Raises:
            RunFolderError: It cannot be written; the state before is as it was.
        """
        started = time.perf_counter()
        if started < self._due:
            return
        whole = {
            "format": FORMAT,
            "settings": dict(self.settings),
            "versions": self._versions,
            "commit": self.commit,
            "resumed": self.resumed,
            "seconds": self.seconds(),
            "trainer": state(),
        }
        try:
            write_state(self.path, whole)
        except OSError as error:
            raise RunFolderError(
                f"{str(self.path)!r} cannot be written: {error}. Make room, and go on with --resume where there is an "
                "earlier state."
            ) from error
        finished = time.perf_counter()
        self._due = finished + seconds_to_wait(_SECONDS, finished - started)

    def forget(self) -> None:
        """The training is finished, or begins anew."""
        self.path.unlink(missing_ok=True)


def load_state(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state of a training that was broken off, and hold its settings against what is asked for now.

    Raises:
        InvalidInputError: There is none, or it is of other settings; the message says which, then and now.
        CheckpointError: It is damaged, or other versions of packages wrote it: the weights would not be the same.
    """
    if not path.is_file():
        raise InvalidInputError(
            f"resume: there is no training to go on with in {str(path.parent)!r}: it is finished, or was stopped in "
            "its first minute. Leave --resume out to begin."
        )
    state = read_state(path)
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} has format {state.get('format')!r}, this version reads {FORMAT}.")
    told = _differences(state["settings"], settings)
    if told:
        raise InvalidInputError(f"resume: the training in {str(path.parent)!r} has other settings: {told}.")
    told = _differences(state["versions"], _versions(provenance()))
    if told:
        raise CheckpointError(
            f"the training in {str(path.parent)!r} began with other versions: {told}. The weights would not be those "
            "of a training that was never stopped; install these versions, or begin again with --overwrite."
        )
    return state


def _versions(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"vlm-rewards": origin["version"], **origin["versions"]}


def _differences(saved: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    keys = [key for key in {**saved, **present} if saved.get(key) != present.get(key)]
    return ", ".join(f"{key} was {saved.get(key)!r} and is {present.get(key)!r} now" for key in keys)
