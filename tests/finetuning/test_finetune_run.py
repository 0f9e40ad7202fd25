"""From settings to a folder: model, card and record."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vlm_rewards.encoders.loading import load_encoder
from vlm_rewards.errors import InvalidInputError
from vlm_rewards.finetuning.card import model_card
from vlm_rewards.finetuning.config import FinetuneConfig
from vlm_rewards.finetuning.run import CARD, RECORD, command_line, landscape, run_finetune
from vlm_rewards.tasks.captions import PAPER_PROMPTS
from vlm_rewards.tasks.task import get_task

Quick = Callable[..., FinetuneConfig]


def test_a_run_leaves_a_model_a_card_and_a_record(quick: Quick):
    told: list[tuple[str, int, int, str]] = []
    threads = torch.get_num_threads()
    folder = run_finetune(quick(tasks=("cartpole", "mountaincar")), progress=lambda *one: told.append(one))
    assert [what for what, done, total, _ in told if done == total] == ["drawing states", "training"]
    assert told[-1][-1].startswith("loss ")
    assert torch.get_num_threads() == threads
    record = json.loads((folder / RECORD).read_text())
    assert record["config"]["seed"] == 0
    assert record["loss"]["step"] == [1, 2, 3]
    assert set(record["evaluation"]) == {"cartpole", "mountaincar"}
    assert {"torch", "open_clip_torch", "python"} <= set(record["versions"])
    assert record["version"]
    assert "processor" in record["machine"]
    card = (folder / CARD).read_text()
    assert "In-domain, not zero-shot" in card
    assert record["command"] in card
    assert all(prompt in card for prompt in PAPER_PROMPTS)
    encoder = load_encoder(folder)
    assert encoder.embed_images(np.zeros((2, 96, 96, 3), np.uint8)).shape == (2, encoder.embedding_dim)


@pytest.mark.slow
def test_the_global_generator_is_left_alone(quick: Quick):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run_finetune(quick(steps=1))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.slow
def test_a_saved_model_is_fine_tuned_with_a_frozen_tower(quick: Quick, tmp_path):
    first = run_finetune(quick(steps=1))
    second = run_finetune(quick(model=str(first), freeze="image", steps=2, out=tmp_path / "second"))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
    before, after = load_encoder(first), load_encoder(second)
    np.testing.assert_allclose(after.embed_images(pictures), before.embed_images(pictures), atol=1e-6)
    assert np.abs(after.embed_texts(["a pole"]) - before.embed_texts(["a pole"])).max() > 1e-4


@pytest.mark.slow
def test_a_folder_with_something_in_it_is_kept(quick: Quick):
    config = quick()
    config.out.mkdir()
    (config.out / "mine.txt").write_text("keep")
    with pytest.raises(InvalidInputError, match="is not empty; pass --overwrite"):
        run_finetune(config)
    assert [path.name for path in config.out.iterdir()] == ["mine.txt"]
    run_finetune(quick(overwrite=True, steps=1))
    assert (config.out / "mine.txt").read_text() == "keep"


def test_a_file_in_place_of_the_folder_is_refused(quick: Quick, tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(InvalidInputError, match="out must be a folder, got the file"):
        run_finetune(quick())


def test_the_command_names_what_differs_from_the_defaults():
    assert command_line(FinetuneConfig()) == "vlm-rewards finetune --out FOLDER"
    config = FinetuneConfig(tasks=("cartpole", "mountaincar"), steps=7)
    assert command_line(config) == "vlm-rewards finetune --tasks cartpole mountaincar --steps 7 --out FOLDER"


class OracleEncoder:
    """Embeds a CartPole frame by how high its pole reaches; the goal is high, the baseline low."""

    name, image_size, embedding_dim = "oracle", 64, 2

    def embed_images(self, frames: np.ndarray) -> np.ndarray:
        brown = frames[..., 0].astype(int) - frames[..., 2] > 30
        turn = np.pi / 2 * brown.any(2).argmax(1) / 64
        return np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)

    def embed_texts(self, prompts: list[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if "upright" in prompt else [0.0, 1.0] for prompt in prompts], np.float32)

    def describe(self) -> dict[str, str]:
        return {}


def test_landscape_finds_the_top_of_an_oracle():
    facts = landscape(OracleEncoder(), get_task("cartpole"))
    assert facts is not None
    for alpha in ("alpha 0", "alpha 0.5", "alpha 1"):
        assert abs(facts[alpha]["best"]) <= 20
        scaled = facts[alpha]["scaled_reward"]
        assert scaled["0"] > scaled["30"] > scaled["60"] > scaled["120"]
        assert scaled["180"] < 0.3


@pytest.mark.slow
def test_card_without_captions_to_search_still_lists_every_prompt(quick: Quick):
    folder = run_finetune(quick(steps=1))
    record = json.loads((folder / RECORD).read_text())
    card = model_card(record, [get_task("cartpole")], captions=1)
    assert card.count("none shares a content word") >= 3
