"""The loop learns, learns the same each time, and leaves frozen parts alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vlm_rewards.encoders.trainable import TrainableModel, build_tiny, freeze
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.dataset import CaptionedStates
from vlm_rewards.finetuning.trainer import Trainer, learning_rate, split_parameters
from vlm_rewards.tasks.task import get_task

Quick = Callable[..., FinetuneConfig]


def make_trainer(config: FinetuneConfig, trained: TrainableModel | None = None) -> Trainer:
    """A trainer over freshly drawn states."""
    torch.manual_seed(config.seed)
    trained = trained or build_tiny(config.loss)
    captioners = [get_task(name).captioner for name in config.tasks]
    data = [
        CaptionedStates.draw(captioner, config.states_per_task, 96, np.random.default_rng([config.seed, number]))
        for number, captioner in enumerate(captioners)
    ]
    return Trainer(config, trained, data, torch.device("cpu"))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A copy of everything that is saved."""
    return {key: value.clone() for key, value in trainer.trained.model.state_dict().items()}


def test_learning_rate_by_hand():
    config = FinetuneConfig(steps=110, warmup_steps=10, learning_rate=0.01)
    assert learning_rate(0, config) == pytest.approx(0.001)
    assert learning_rate(9, config) == pytest.approx(0.01)
    assert learning_rate(10, config) == pytest.approx(0.01)
    assert learning_rate(60, config) == pytest.approx(0.005)  # half way down the cosine
    assert 0 < learning_rate(109, config) < 1e-5


def test_only_matrices_decay_and_frozen_parameters_are_left_out():
    model = build_tiny().model
    freeze(model, "image")
    decayed, plain = split_parameters(model.named_parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(p.ndim >= 2 for p in decayed)
    assert "logit_scale" in {names[id(p)] for p in plain}
    assert "text.token_embedding.weight" in {names[id(p)] for p in plain}
    assert not any(names[id(p)].startswith("visual.") for p in decayed + plain)


@pytest.mark.parametrize("loss", ["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def test_a_few_steps_reduce_the_loss(quick: Quick, loss: str):
    trainer = make_trainer(quick(steps=20, pictures_per_task=12, loss=loss))
    trainer.run()
    assert len(trainer.losses) == 20
    assert np.mean(trainer.losses[-5:]) < np.mean(trainer.losses[:5]) - 0.2


@pytest.mark.slow
def test_same_seed_same_weights_bit_for_bit_and_another_seed_others(quick: Quick):
    runs = []
    for seed in (0, 0, 1):
        trainer = make_trainer(quick(seed=seed))
        trainer.run()
        runs.append((trainer.losses, weights(trainer)))
    assert runs[0][0] == runs[1][0]
    for key, value in runs[0][1].items():
        assert torch.equal(value, runs[1][1][key]), key
    assert runs[0][0] != runs[2][0]


def test_batch_loss_equals_plain_sums_over_pairs(quick: Quick):
    trainer = make_trainer(
        quick(
            tasks=("cartpole", "mountaincar"),
            within_task=0.7,
            captions_per_picture=2,
            pictures_per_task=3,
            shares=(1, 2),
        )
    )
    model = trainer.trained.model.eval()
    images, texts = trainer._batch()
    with torch.no_grad():
        found = float(trainer.batch_loss(images, texts))
        seen = model.encode_image(images, normalize=True).numpy()
        columns = [model.encode_text(column, normalize=True).numpy() for column in texts]
    scale, total = float(model.logit_scale.detach().exp()), 0.0
    for said in columns:
        parts = (slice(0, 3), slice(3, 9))
        within = np.mean([contrast(seen[part], said[part], scale) for part in parts])
        total += 0.7 * within + 0.3 * contrast(seen, said, scale)
    assert found == pytest.approx(total / 2, abs=1e-4)


def contrast(seen: np.ndarray, said: np.ndarray, scale: float) -> float:
    """CLIP's loss, one pair after the other."""
    logits, total = scale * seen @ said.T, 0.0
    for i in range(len(seen)):
        total -= math.log(math.exp(logits[i, i]) / sum(math.exp(v) for v in logits[i]))
        total -= math.log(math.exp(logits[i, i]) / sum(math.exp(v) for v in logits[:, i]))
    return total / (2 * len(seen))


@pytest.mark.parametrize(("part", "prefix"), [("image", "visual."), ("text", "text.")])
def test_frozen_towers_do_not_move_nor_do_their_statistics(quick: Quick, part: str, prefix: str):
    trained = build_tiny()
    trained.from_scratch = False  # as a model that was loaded: its whole vocabulary stays
    freeze(trained.model, part)
    trainer = make_trainer(quick(), trained)
    before = weights(trainer)
    trainer.run()
    after = weights(trainer)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert not {key for key in moved if key.startswith(prefix)}


@pytest.mark.slow
def test_words_that_no_caption_has_are_zero_after_training(quick: Quick):
    trainer = make_trainer(quick(tasks=("cartpole",)))
    trainer.run()
    table = trainer.trained.model.text.token_embedding.weight.detach()
    tokenizer = trainer.trained.tokenizer
    zebra, upright = (tokenizer.encode(word)[0] for word in ("zebra", "upright"))
    assert not table[zebra].any()
    assert table[upright].any()
