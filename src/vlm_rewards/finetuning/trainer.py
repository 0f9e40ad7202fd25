"""The training loop: batches of pictures and captions, and gradient steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from vlm_rewards.encoders.trainable import KnownTokens, TrainableModel, make_loss
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.dataset import CaptionedStates, Jitter
from vlm_rewards.torch_state import (
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
        """Jittered pictures of all tasks, and as many sets of tokens as there are captions a picture."""
        pictures: list[np.ndarray] = []
        captions: list[list[str]] = [[] for _ in range(self.config.captions_per_picture)]
        for states, size in zip(self.data, self._sizes(), strict=True):
            rows = self._rng.integers(len(states.states), size=size)
            pictures.append(states.pictures[rows])
            for column in captions:
                column += states.captions(rows, self._rng)
        pixels = torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2).to(self.device, torch.float32)
        images = self._preprocess.normalise(self._jitter(pixels)).contiguous(memory_format=torch.channels_last)
        return images, [self._tokens(column) for column in captions]

    def _sizes(self) -> list[int]:
        """Pictures of each task in a batch."""
        return [self.config.pictures_per_task * self.config.share(index) for index in range(len(self.config.tasks))]

    def _tokens(self, captions: Sequence[str]) -> torch.Tensor:
        tokens = self.trained.tokenizer(list(captions))
        return (self._known.compact(tokens) if self._known else tokens).to(self.device)

    def batch_loss(self, images: torch.Tensor, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Mean over the caption sets of the loss within each task and over the whole batch.

        Within a task every other picture is a hard negative; over the whole batch most are easy.
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
